"""Options chosen on dev: which are tried, which is kept, what is written down, and that nothing is asked twice."""

from __future__ import annotations

import json
import re
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands import die_at_write, workbench
from tests.judged_run import NOW, TODAY, Silent, chat, jsonl, label, question
from tests.test_run_command import contents, only_run, write_data
from tests.test_run_command import experiment as cheap
from validators.examples import Message
from workbench.choosing import choose, kept_option, options_of, said
from workbench.contenders import ContenderError
from workbench.data import read_files
from workbench.experiment import Experiment, ExperimentError
from workbench.plan import plan
from workbench.records import Prediction, Sample
from workbench.report import write_report
from workbench.runner import Session, run
from workbench.runs import Run
from workbench.scoring import Retrieved

# -- which options there are -------------------------------------------------------------------------


def experiment(folder: Path, *contenders: dict[str, Any], **changes: Any) -> Experiment:
    tree: dict[str, Any] = {
        "name": "options",
        "task": "classification",
        "data": {"path": "data.jsonl", "corpus": "corpus", "split": {"dev": 0.2, "test": 0.3}},
        "backends": {"echo": {"kind": "echo"}},
        "contenders": [{"name": f"c{n}", **c} for n, c in enumerate(contenders)],
        "metrics": {"primary": "exact_match", "also": []},
    }
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(tree | changes, sort_keys=False), encoding="utf-8")
    return Experiment.load(path)


OPTIONS: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
    ({"kind": "prompting"}, [{}]),
    ({"kind": "prompting", "systems": ["a", None, "a"]}, [{"system": "a"}, {"system": None}]),
    ({"kind": "prompting", "systems": [{"file": "prompt.txt"}]}, [{"system": "From a file."}]),
    ({"kind": "few-shot", "examples": [4, 2, 4]}, [{"examples": 4}, {"examples": 2}]),
    (
        {"kind": "few-shot", "examples": [1, 2], "choose": ["random", "similar"]},
        [{"examples": n, "choose": how} for n in (1, 2) for how in ("random", "similar")],
    ),
    (
        {"kind": "rag", "top_k": [1, 2], "retriever": ["bm25"], "examples": [0, 3]},
        [{"top_k": k, "retriever": "bm25", "examples": n} for n in (0, 3) for k in (1, 2)],
    ),
    ({"kind": "fine-tuned", "with": "rag"}, [{}]),
]


@pytest.mark.parametrize(("contender", "expected"), OPTIONS, ids=lambda v: str(v)[:40])
def test_every_combination_is_an_option_once(
    tmp_path: Path, contender: dict[str, Any], expected: list[dict[str, Any]]
) -> None:
    (tmp_path / "prompt.txt").write_text("From a file.\n")
    made = experiment(tmp_path, contender, backends={"local": {"kind": "hf", "model": "tiny"}})
    (settings,) = made.contenders
    options = options_of(settings, made)
    assert [
        {key: getattr(o, key) for key in want} for o, want in zip(options, expected, strict=True)
    ] == expected
    assert all(options_of(o, made) == (o,) for o in options), "an option has no options"
    if len(expected) == 1 and expected[0] == {}:
        assert options == (settings,)


FAULTS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (
        {"kind": "few-shot", "examples": [4, 0]},
        {},
        r"contenders\[0\].examples\[1\]: must be greater than 0 \(found 0\)",
    ),
    ({"kind": "few-shot", "choose": ["simlar"]}, {}, r"did you mean 'similar'"),
    ({"kind": "few-shot", "examples": []}, {}, "examples: at least one is needed"),
    ({"kind": "prompting", "system": "a", "systems": ["b"]}, {}, "either system or systems"),
    ({"kind": "prompting", "systems": [{"fil": "x"}]}, {}, "fil"),
    ({"kind": "fine-tuned", "top_k": 2}, {}, "only a contender with: rag has passages.*leave out top_k"),
    ({"kind": "fine-tuned", "wiht": "rag"}, {}, "did you mean 'with'"),
    (
        {"kind": "few-shot", "examples": [1, 2]},
        {"data": {"path": "data.jsonl", "split": {"dev": 0}}},
        r"'c0' has options to choose from on dev, but there is none: set data.split.dev",
    ),
    (
        {"kind": "few-shot", "examples": [1, 2]},
        {"metrics": {"primary": "judge"}, "judge": {"backend": "echo"}},
        "judge rates only when all answers are in",
    ),
    ({"kind": "rag", "context": "oracle"}, {}, "data.sources must say where"),
    (
        {"kind": "fine-tuned", "with": "rag"},
        {"data": {"path": "data.jsonl"}},
        "retrieves, but data.corpus names no",
    ),
    ({"kind": "predictions", "path": "p.jsonl", "constrain": "labels"}, {}, "cannot be held to labels now"),
]


@pytest.mark.parametrize(("contender", "changes", "words"), FAULTS, ids=[f[2][:30] for f in FAULTS])
def test_impossible_options_are_told_before_anything_runs(
    tmp_path: Path, contender: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    backends = {"local": {"kind": "hf", "model": "tiny"}, "echo": {"kind": "echo"}}
    with pytest.raises(ExperimentError) as caught:
        experiment(tmp_path, contender, **({"backends": backends} | changes))
    assert re.search(words, str(caught.value)), caught.value


def test_a_missing_prompt_file_is_named(tmp_path: Path) -> None:
    made = experiment(tmp_path, {"kind": "prompting", "systems": ["a", {"file": "nowhere.txt"}]})
    with pytest.raises(ContenderError, match=r"'c0': systems: .*nowhere\.txt cannot be read: No such file"):
        options_of(made.contenders[0], made)


# -- which is kept -----------------------------------------------------------------------------------

DEV = [Sample(id=str(n), messages=(Message("user", "?"),), references=("yes",)) for n in range(4)]


def answers(marks: str, *, usd: float | None = None, tokens: int = 10) -> list[Prediction]:
    """+ right, - wrong, ! failed."""
    given = {"+": "yes", "-": "no"}
    return [
        Prediction(
            id=str(n),
            references=("yes",),
            prediction=given.get(mark),
            error=None if mark in given else "no answer came",
            usd=usd,
            prompt_tokens=tokens,
            completion_tokens=1,
        )
        for n, mark in enumerate(marks)
    ]


KEPT: list[tuple[str, list[list[Prediction]], int]] = [
    ("the best", [answers("++--"), answers("+++-")], 1),
    ("equal: the first", [answers("++--"), answers("--++")], 0),
    ("equal: the cheaper", [answers("++--", usd=0.2), answers("++--", usd=0.1)], 1),
    ("equal, no price: fewer tokens", [answers("++--", tokens=90), answers("++--", tokens=50)], 1),
    ("failures come last", [answers("+++!"), answers("+---")], 1),
    ("all failed somewhere: the best of them", [answers("+--!"), answers("++-!")], 1),
    ("fewer failures, though the few answers of the other are right", [answers("+!!!"), answers("+--!")], 1),
    ("one without any score", [answers("!!!!"), answers("----")], 1),
]


@pytest.mark.parametrize(("given", "kept"), [k[1:] for k in KEPT], ids=[k[0] for k in KEPT])
def test_the_best_on_dev_is_kept(tmp_path: Path, given: list[list[Prediction]], kept: int) -> None:
    made = experiment(tmp_path, {"kind": "few-shot", "examples": [1, 2]})
    options = options_of(made.contenders[0], made)
    asked = []

    def answer(number: int, option: Any) -> tuple[list[Prediction], Retrieved]:
        asked.append(option)
        return given[number], Retrieved({}, {})

    choice = choose(options, made, DEV, answer, tokenizer="t")
    assert tuple(asked) == options
    assert (choice["metric"], choice["n"], choice["kept"]) == ("exact_match", 4, kept)
    assert [said(o) for o in choice["options"]] == ["examples 1", "examples 2"]
    assert [o["failed"] for o in choice["options"]] == [sum(p.error is not None for p in g) for g in given]
    assert json.dumps(choice)
    assert kept_option(options, [choice], made) is options[kept]
    other = made.model_copy(update={"metrics": made.metrics.model_copy(update={"primary": "rouge_l"})})
    assert kept_option(options, [choice], other) is None, "another metric chooses anew"


def test_lower_is_better_turns_the_choice_round(tmp_path: Path) -> None:
    costs = {"yes": {"no": 5.0}, "no": {"yes": 1.0}}
    metrics = {"primary": "cost_of_error", "also": [], "options": {"cost_of_error": {"costs": costs}}}
    made = experiment(tmp_path, {"kind": "few-shot", "examples": [1, 2]}, metrics=metrics)
    options = options_of(made.contenders[0], made)
    given = [answers("+---"), answers("+++-")]
    choice = choose(options, made, DEV, lambda n, _: (given[n], Retrieved({}, {})), tokenizer="t")
    assert [o["value"] for o in choice["options"]] == [3.75, 1.25] and choice["kept"] == 1


def test_nothing_to_choose_by_is_an_error(tmp_path: Path) -> None:
    made = experiment(tmp_path, {"kind": "few-shot", "examples": [1, 2]})
    options = options_of(made.contenders[0], made)
    with pytest.raises(ContenderError, match=r"has 2 options.*no dev samples: set data.split.dev"):
        choose(options, made, [], lambda *_: ([], Retrieved({}, {})), tokenizer="t")
    with pytest.raises(
        ContenderError, match=r"none of its 2 options has a exact_match on dev.*no answer came"
    ):
        choose(options, made, DEV, lambda *_: (answers("!!!!"), Retrieved({}, {})), tokenizer="t")


# -- in a run ----------------------------------------------------------------------------------------

GOOD, BAD = "Answer with the desk.", "Answer as you like."
Asked = list[dict[str, Any]]


@pytest.fixture
def desk(serve: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Asked]:
    """A server that knows the answers, but gives them only under the good system prompt."""
    monkeypatch.setenv("OPENAI_API_KEY", "k")

    def behave(body: dict[str, Any], _: int) -> tuple[int, dict[str, str], dict[str, Any]]:
        first, last = body["messages"][0]["content"], body["messages"][-1]["content"]
        number = int((re.search(r"\d{4}", last) or ["0"])[0])
        text = label(number) if first == GOOD or (first == BAD and number % 2) else "nowhere"
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
        about = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
        return 200, {}, {**about, "choices": [choice], "usage": usage}

    address, asked = serve(behave)
    return address, asked


def play(folder: Path, address: str, contender: dict[str, Any], **changes: Any) -> Run:
    made = write(folder, address, contender, **changes)
    path = folder / "experiment.yaml"
    session = Session(made, path, path.read_text(), folder / "runs", Silent(), lambda: NOW, TODAY)
    return run(session)[0]


def write(folder: Path, address: str, contender: dict[str, Any], **changes: Any) -> Experiment:
    jsonl(folder / "data.jsonl", [chat(question(i), label(i)) for i in range(40)])
    backends = {"api": {"kind": "openai", "base_url": address, "model": "m"}}
    plain = {"backends": backends, "data": {"path": "data.jsonl", "split": {"dev": 0.2, "test": 0.3}}}
    return experiment(folder, contender, {"kind": "prompting"}, **(plain | changes))


def of_option(asked: Asked, system: str) -> int:
    return sum(body["messages"][0]["content"] == system for body in asked)


def test_the_best_prompt_answers_test_and_all_is_written_down(
    tmp_path: Path, desk: tuple[str, Asked]
) -> None:
    address, asked = desk
    made = play(tmp_path, address, {"kind": "prompting", "systems": [BAD, GOOD, None]})
    splits = made.splits() or {}
    dev, test = len(splits["dev"]), len(splits["test"])
    # The losers answered dev alone; the data's own prompt is that of the other contender too.
    assert (of_option(asked, BAD), of_option(asked, GOOD)) == (dev, dev + test)
    assert len(asked) == 3 * dev + 2 * test
    info = made.contender("c0") or {}
    (choice,) = info["choices"]
    assert (choice["kept"], choice["n"], choice["metric"]) == (1, dev, "exact_match")
    assert [o["settings"] for o in choice["options"]] == [{"system": BAD}, {"system": GOOD}, {"system": None}]
    assert choice["options"][1]["value"] == 1.0 and choice["options"][2]["value"] == 0.0
    assert all(o["n"] == dev and o["interval"] and o["tokens_per_request"] == 12 for o in choice["options"])
    assert {p.prediction == p.references[0] for p in made.predictions("c0")} == {True}
    assert {p.id for n in range(3) for p in made.predictions("c0", f"options/{n}")} == set(splits["dev"])
    write_report(made)
    text = made.report_path("md").read_text()
    assert "How options were chosen" in text and f"system {GOOD}" in text and "kept" in text


def test_nothing_is_asked_twice_and_a_change_redoes_its_contender_alone(
    tmp_path: Path, desk: tuple[str, Asked]
) -> None:
    address, asked = desk
    first = {"kind": "prompting", "systems": [BAD, GOOD]}
    made = play(tmp_path, address, first)
    asked.clear()
    play(tmp_path, address, first)
    assert not asked
    # As if killed while the second option was answering dev.
    info = made.contender("c0") or {}
    made.write_contender("c0", info | {"status": "started", "choices": None})
    made.write_predictions("c0", [])
    kept = made.predictions("c0", "options/1")
    made.write_predictions("c0", kept[:3], "options/1")
    play(tmp_path, address, first)
    dev, test = (len((made.splits() or {})[part]) for part in ("dev", "test"))
    assert of_option(asked, BAD) == 0 and of_option(asked, GOOD) <= dev - 3 + test
    assert made.contender("c0") == info
    asked.clear()
    before = made.contender("c1")
    play(tmp_path, address, {"kind": "prompting", "systems": [BAD, GOOD, "Another."]})
    assert made.contender("c1") == before and of_option(asked, "Another.") == dev
    assert len((made.contender("c0") or {})["choices"][0]["options"]) == 3


def test_another_metric_chooses_anew_from_the_answers_that_are_there(
    tmp_path: Path, desk: tuple[str, Asked]
) -> None:
    address, asked = desk
    contender = {"kind": "prompting", "systems": [BAD, GOOD]}
    made = play(tmp_path, address, contender)
    asked.clear()
    # A metric that prefers what is wrong.
    (tmp_path / "wrong.py").write_text(
        "def score(prediction, references):\n    return float(prediction not in references)\n"
    )
    own = {"primary": "wrongness", "also": [], "own": {"wrongness": {"file": "wrong.py"}}}
    play(tmp_path, address, contender, metrics=own)
    (choice,) = (made.contender("c0") or {})["choices"]
    assert (choice["metric"], choice["kept"]) == ("wrongness", 0)
    assert of_option(asked, GOOD) == 0 and set(map(first_text, asked)) <= {BAD}
    assert any(p.prediction != p.references[0] for p in made.predictions("c0")), (
        "no answer of the other option is left"
    )


def first_text(body: dict[str, Any]) -> str:
    return str(body["messages"][0]["content"])


def test_with_folds_each_chooses_on_its_own_dev(tmp_path: Path, desk: tuple[str, Asked]) -> None:
    address, _ = desk
    data = {"path": "data.jsonl", "split": {"dev": 0.2, "folds": 3}}
    made = play(tmp_path, address, {"kind": "prompting", "systems": [BAD, GOOD]}, data=data)
    choices = (made.contender("c0") or {})["choices"]
    assert [(c["fold"], c["kept"]) for c in choices] == [(1, 1), (2, 1), (3, 1)]
    for number, choice in enumerate(choices):
        place = made.part("folds", str(number))
        tried = {p.id for p in place.predictions("c0", "options/0")}
        assert tried == set((place.splits() or {})["dev"]) and choice["n"] == len(tried)
        assert not tried & set((place.splits() or {})["test"])


def test_the_plan_counts_what_dev_is_asked(tmp_path: Path) -> None:
    made = write(tmp_path, "http://127.0.0.1:1/v1", {"kind": "prompting", "systems": ["a", "b " * 50]})
    rows, hashes = read_files(made)
    planned = plan(made, rows, hashes, offline=True, speed=lambda *_: 1e9)
    several, one = planned.contenders
    assert several.requests == one.requests + 2 * planned.splits["dev"]
    assert "2 options are tried on 9 dev samples, the best is kept" in several.notes


def cheap_options(folder: Path) -> None:
    write_data(folder)
    few = {"kind": "few-shot", "examples": [2, 3], "choose": "random", "backend": "echo"}
    cheap(folder, contenders=[{"name": "zero-shot", "kind": "prompting"}, {"name": "few-shot", **few}])


# Amid the first option's answers, between the options, at the choice, amid the test answers of the kept one.
@pytest.mark.parametrize("number", [28, 31, 34, 36, 38, 44])
def test_killed_while_options_are_tried_and_run_again(
    number: int, tmp_path: Path, tmp_path_factory: Any
) -> None:
    whole = tmp_path_factory.getbasetemp() / "options-uninterrupted"
    if not whole.exists():
        whole.mkdir()
        cheap_options(whole)
        assert workbench(whole, "run", "experiment.yaml", "--offline").returncode == 0
    cheap_options(tmp_path)
    killed = workbench(tmp_path, "run", "experiment.yaml", "--offline", prepare=partial(die_at_write, number))
    assert killed.returncode == -signal.SIGKILL
    done = workbench(tmp_path, "run", "experiment.yaml", "--offline")
    assert done.returncode == 0, done.stderr
    assert contents(only_run(tmp_path).folder) == contents(only_run(whole).folder)
