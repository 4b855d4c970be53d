"""Designs: cross-fitting, training seeds and the learning curve, from the division of samples to whole commands."""

from __future__ import annotations

import json
import shutil
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands import die_at_write, workbench
from tests.judged_run import jsonl, label, question, run_it
from tests.test_run_command import contents, only_run, write_data
from tests.test_run_command import experiment as cheap_experiment
from workbench.evidence import gather
from workbench.experiment import Experiment, ExperimentError
from workbench.runs import Run

# -- whole commands over brought and echoed answers ------------------------------------------------------


@pytest.fixture
def folds(tmp_path: Path) -> Path:
    """Three folds over 30 rows: few-shot is fitted anew for each."""
    write_data(tmp_path)
    cheap_experiment(tmp_path, data={"path": "data.jsonl", "split": {"dev": 0.1, "folds": 3}})
    return tmp_path


def run(folder: Path, *arguments: str, **options: Any) -> Any:
    return workbench(folder, "run", "experiment.yaml", "--offline", *arguments, **options)


def test_a_crossfitted_run(folds: Path) -> None:
    done = run(folds)
    assert done.returncode == 0, done.stderr
    assert "few-shot · few-shot, fold 2 of 3" in done.stderr
    made = only_run(folds)
    tested = [s.id for s in made.samples()]
    assert [s.question for s in made.samples()] == [question(i) for i in range(30)], (
        "all, in the file's order"
    )
    assert made.splits() == {"train": [], "dev": [], "test": tested}
    assert sorted(i for fold in made.folds() for i in fold) == sorted(tested) and len(made.folds()) == 3
    for name in ("zero-shot", "few-shot", "theirs"):
        assert [p.id for p in made.predictions(name)] == tested == [p.id for p in made.prompts(name)]
        info = made.contender(name) or {}
        assert (info["status"], info["folds"]) == ("success", 3)
    for number, ids in enumerate(made.folds()):
        place = made.part("folds", str(number))
        assert (place.splits() or {})["test"] == ids
        fitted = {s for part in ("train", "dev") for s in (place.splits() or {})[part]}
        assert fitted == set(tested) - set(ids)
        shown = {m.text for p in place.prompts("few-shot") for m in p.messages[:-1] if m.role == "user"}
        assert len(shown) == 3 and not shown & {s.question for s in place.samples()}, (
            "shots of the fold's training rows"
        )
    verdict = made.verdict()
    assert verdict is not None and verdict.n == 30 and verdict.tuned == "theirs"
    assert "cheap · 30 test samples" in done.stdout


def test_the_scores_over_folds_are_those_of_all_answers(folds: Path) -> None:
    assert run(folds).returncode == 0
    scores = (only_run(folds).scores("theirs") or {})["metrics"]["exact_match"]
    right = sum(label(i) == label(i // 3 * 3) for i in range(30))
    assert (scores["value"], scores["n"]) == (right / 30, 30)


# 10 answers a fold and contender: layout, amid folds, between them, at the joining.
@pytest.mark.parametrize("number", [4, 10, 25, 38, 47, 62, 75, 90, 110, 125, 133])
def test_killed_inside_a_fold_and_run_again(number: int, folds: Path, tmp_path_factory: Any) -> None:
    whole = tmp_path_factory.getbasetemp() / "folds-uninterrupted"
    if not whole.exists():
        shutil.copytree(folds, whole)
        assert run(whole).returncode == 0
    killed = run(folds, prepare=partial(die_at_write, number))
    assert killed.returncode == -signal.SIGKILL
    finished = {
        path: path.stat().st_mtime_ns
        for path in folds.glob("runs/*/folds/*/contenders/*/predictions.jsonl")
        if json.loads((path.parent / "contender.json").read_text())["status"] == "success"
    }
    assert run(folds).returncode == 0
    assert contents(only_run(folds).folder) == contents(only_run(whole).folder)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished, "a finished fold is not redone"


def test_fresh_forgets_the_folds_too(folds: Path) -> None:
    assert run(folds).returncode == 0
    done = run(folds, "--fresh")
    assert done.returncode == 0 and "kept" not in done.stderr
    assert run(folds).stderr.count("kept") == 9


def test_fresh_with_only_forgets_only_those(folds: Path) -> None:
    assert run(folds).returncode == 0
    before = contents(only_run(folds).folder)
    assert run(folds, "--fresh", "--only", "few-shot").stderr.count("kept") == 0
    assert run(folds).stderr.count("kept") == 9
    assert contents(only_run(folds).folder) == before


def test_predict_after_folds_says_which_fit_answers(folds: Path) -> None:
    assert run(folds).returncode == 0
    place = str(only_run(folds).folder.relative_to(folds))
    done = workbench(folds, "predict", place, "Where is it?", "--contender", "few-shot")
    assert (done.returncode, done.stdout) == (0, "Where is it?\n")
    assert "few-shot answers as it was fitted for the first of 3 folds" in done.stderr


def test_too_few_rows_for_the_folds(tmp_path: Path) -> None:
    write_data(tmp_path, rows=5)
    cheap_experiment(tmp_path, data={"path": "data.jsonl", "split": {"folds": 4}})
    done = run(tmp_path)
    assert (
        done.returncode == 2
        and "of 4" in done.stderr
        and "too few samples for the split in fold" in done.stderr
    )


def test_another_number_of_folds_is_another_run(folds: Path) -> None:
    assert run(folds).returncode == 0
    cheap_experiment(folds, data={"path": "data.jsonl", "split": {"dev": 0.1, "folds": 5}})
    assert run(folds).returncode == 0
    assert len(Run.all(folds / "runs")) == 2


# -- seeds -----------------------------------------------------------------------------------------------


def brought_seeds(folder: Path, **split: Any) -> None:
    """A tuned contender brought in three files: right on 3, 6 and 9 rows more than every third."""
    write_data(folder)
    for number in (1, 2, 3):
        rows = [
            {"input": question(i), "prediction": label(i if i < 3 * number else i // 3 * 3)}
            for i in range(30)
        ]
        jsonl(folder / f"seed{number}.jsonl", rows)
    files = [f"seed{number}.jsonl" for number in (1, 2, 3)]
    contenders = [
        {"name": "zero-shot", "kind": "prompting"},
        {"name": "theirs", "kind": "predictions", "path": files, "tuned": True},
    ]
    cheap_experiment(
        folder,
        contenders=contenders,
        data={"path": "data.jsonl", "split": {"dev": 0.1, "test": 0.4, **split}},
    )


@pytest.mark.parametrize("split", [{}, {"folds": 3}])
def test_brought_seeds(split: dict[str, Any], tmp_path: Path) -> None:
    brought_seeds(tmp_path, **split)
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    made = only_run(tmp_path)
    assert (made.contender("theirs") or {})["seeds"] == [1, 2, 3]
    ids = [s.id for s in made.samples()]
    values = []
    for place in (made, made.part("seeds", "2"), made.part("seeds", "3")):
        assert [p.id for p in place.predictions("theirs")] == ids
        values.append((place.scores("theirs") or {})["metrics"]["exact_match"]["value"])
    assert values == sorted(values) and values[0] < values[2]
    (evidence,) = [e for e in gather(made, Experiment.load(tmp_path / "experiment.yaml")) if e.tuned]
    assert evidence.seeds == 3 and len(evidence.of_seeds("exact_match")) == 3
    assert evidence.summary.score == pytest.approx(sum(values) / 3)
    assert evidence.summary.interval is not None
    verdict = made.verdict()
    assert verdict is not None and verdict.seeds == 3 and verdict.difference is not None
    assert "3 runs, their spread taken in by t" in verdict.difference.method
    before = contents(made.folder)
    again = run(tmp_path)
    assert again.returncode == 0 and contents(made.folder) == before


@pytest.mark.parametrize("number", [20, 46, 58, 71, 84])
def test_killed_inside_a_seed_and_run_again(number: int, tmp_path: Path) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        brought_seeds(tmp_path / name)
    assert run(tmp_path / "whole").returncode == 0
    killed = run(tmp_path / "killed", prepare=partial(die_at_write, number))
    assert killed.returncode == -signal.SIGKILL
    assert run(tmp_path / "killed").returncode == 0
    made, whole = (only_run(tmp_path / name).folder for name in ("killed", "whole"))
    assert contents(made) == contents(whole)


def test_seeds_may_come_and_go(tmp_path: Path) -> None:
    brought_seeds(tmp_path)
    path = tmp_path / "experiment.yaml"
    three = path.read_text()
    one = yaml.safe_load(three)
    one["contenders"][1]["path"] = "seed1.jsonl"
    path.write_text(yaml.safe_dump(one, sort_keys=False))
    for text, seeds, kept in ((path.read_text(), 0, 0), (three, 3, 2), (path.read_text(), 0, 2)):
        path.write_text(text)
        done = run(tmp_path)
        assert done.returncode == 0 and done.stderr.count("kept") == kept, (
            "the first seed is not played again"
        )
        (evidence,) = [e for e in gather(only_run(tmp_path), Experiment.load(path)) if e.tuned]
        assert evidence.seeds == seeds


def test_a_seed_whose_file_lacks_answers_is_found_before_anything_is_asked(tmp_path: Path) -> None:
    brought_seeds(tmp_path)
    jsonl(tmp_path / "seed3.jsonl", [{"input": "another question", "prediction": "till"}])
    done = run(tmp_path)
    assert done.returncode == 2 and "seed3.jsonl answers 0 of 12" in done.stderr
    assert not only_run(tmp_path).predictions("zero-shot")


# -- what cannot be ----------------------------------------------------------------------------------------

LORA = {"name": "lora", "kind": "fine-tuned", "epochs": 1, "rank": 2, "alpha": 4, "batch_size": 2}
LOCAL = {"local": {"kind": "hf", "model": "tiny", "device": "cpu", "dtype": "float32", "max_new_tokens": 4}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {
                "contenders": [{"name": "ours", "kind": "predictions", "path": "x", "tuned": True}],
                "learning_curve": {},
            },
            "ours was tuned elsewhere",
        ),
        (
            {"contenders": [{"name": "plain", "kind": "prompting"}], "learning_curve": {}},
            "nothing is tuned here",
        ),
        ({"contenders": [LORA | {"adapter": "there"}], "learning_curve": {}}, "lora was tuned elsewhere"),
        (
            {"data": {"path": "rows.jsonl", "split": {"folds": 3}}, "learning_curve": {}},
            "leave out learning_curve or split.folds",
        ),
        ({"contenders": [LORA | {"adapter": "there", "seeds": 3}]}, "there is one training: leave out seeds"),
    ],
)
def test_designs_that_cannot_be(changes: dict[str, Any], words: str) -> None:
    tree: dict[str, Any] = {
        "name": "x",
        "data": {"path": "rows.jsonl"},
        "backends": LOCAL,
        "contenders": [LORA],
    }
    with pytest.raises(ExperimentError, match=words):
        Experiment.parse(yaml.safe_dump(tree | changes), path=Path("experiment.yaml"))


# -- trainings of a tiny model -------------------------------------------------------------------------------


def tiny(folder: Path, model: Path, rows: int = 24, **changes: Any) -> Path:
    """An experiment with the tiny model, tuned on up to 24 rows."""
    folder.mkdir(exist_ok=True)
    write_data(folder, rows)
    if not (folder / "tiny").exists():
        (folder / "tiny").symlink_to(model)
    tree = {
        "backends": LOCAL | {"echo": {"kind": "echo"}},
        "contenders": [{"name": "parrot", "kind": "prompting", "backend": "echo"}, LORA],
        "metrics": {"primary": "exact_match", "also": ["perplexity"]},
    }
    cheap_experiment(folder, **tree | changes)
    return folder


def in_process(folder: Path) -> Run:
    """A run in this process, which has the libraries of training loaded already."""
    return run_it(folder / "experiment.yaml", folder / "runs")[0]


def adapters(made: Run) -> dict[str, bytes]:
    found = made.folder.rglob("adapter_model.safetensors")
    return {path.relative_to(made.folder).as_posix(): path.read_bytes() for path in found}


def test_seeds_and_a_curve_of_real_trainings(tmp_path: Path, tiny_model: Path) -> None:
    parrot = {"name": "parrot", "kind": "prompting", "backend": "echo"}
    changes = {
        "contenders": [parrot, LORA | {"seeds": 2}],
        "learning_curve": {"fractions": [0.25, 0.5, 1.0], "seeds": 1},
    }
    first = "contenders/lora/adapter/adapter_model.safetensors"
    parts = ["", "seeds/8/", "curve/0.25-7/", "curve/0.5-7/"]
    made = in_process(tiny(tmp_path / "one", tiny_model, **changes))
    found = adapters(made)
    assert sorted(found) == sorted(part + first for part in parts), (
        "the whole split is trained on once a seed"
    )
    assert len(set(found.values())) == len(parts)
    trained = len((made.splits() or {})["train"])
    for part in made.parts():
        info = part.contender("lora") or {}
        fraction = float(part.folder.name.split("-")[0]) if part.folder.parent.name == "curve" else 1.0
        assert abs(info["training"]["examples"] - fraction * trained) <= 1
        assert (part.scores("lora") or {})["metrics"]["exact_match"]["n"] == len(made.samples())
    assert (made.contender("lora") or {})["seeds"] == [7, 8]
    verdict = made.verdict()
    assert verdict is not None and "not scored" not in "".join(verdict.caveats)
    # Killed amid the trainings, the same command goes on to the same adapters.
    other = tiny(tmp_path / "other", tiny_model, **changes)
    killed = run(other, prepare=partial(die_at_write, 55))
    assert killed.returncode == -signal.SIGKILL
    assert 0 < len(adapters(only_run(other))) < len(parts)
    again = in_process(other)
    assert adapters(again) == found
    # The report tells durations, in the unit that fits them.
    one, other_one = (
        {name: held for name, held in contents(there.folder).items() if not name.startswith("report.")}
        for there in (made, again)
    )
    assert one == other_one


def test_the_mean_over_folds_chooses_on_dev(tmp_path: Path, tiny_model: Path) -> None:
    tiny(
        tmp_path,
        tiny_model,
        rows=16,
        data={"path": "data.jsonl", "split": {"dev": 0.25, "folds": 2}},
        contenders=[LORA, LORA | {"name": "other", "seed": 9}],
        metrics={"primary": "perplexity", "also": []},
    )
    made = in_process(tmp_path)
    assert len(adapters(made)) == 4 and not (made.folder / "contenders/lora/adapter").exists()
    means = {}
    for name in ("lora", "other"):
        folds = [made.part("folds", str(number)) for number in (0, 1)]
        values = [(fold.contender(name) or {})["dev"]["value"] for fold in folds]
        info = made.contender(name) or {}
        assert info["dev"] == {"metric": "perplexity", "value": pytest.approx(sum(values) / 2)}
        seconds = [(fold.contender(name) or {})["training"]["seconds"] for fold in folds]
        assert info["training"]["seconds"] == pytest.approx(sum(seconds))
        assert [p.id for p in made.predictions(name)] == [s.id for s in made.samples()] and made.training(
            name
        )
        means[name] = info["dev"]["value"]
    before = contents(made.folder)
    assert contents(in_process(tmp_path).folder) == before
    verdict = made.verdict()
    assert verdict is not None and verdict.tuned == min(means, key=lambda name: means[name])
