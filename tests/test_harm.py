"""Harm: slices that got worse, and what was forgotten."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import yaml

from metrics import measure
from tests.conftest import make_tiny_model
from tests.judged_run import NOW, TODAY, Answers, Silent, chat, jsonl, judged, label, marks, question
from tests.test_backends import local, make_adapter
from validators.examples import Message
from workbench.backends.hf import HfBackend
from workbench.card import card
from workbench.evidence import Evidence, gather
from workbench.experiment import Experiment
from workbench.forgetting import forgetting_of, general_text
from workbench.forgetting import measure as measure_forgetting
from workbench.harm import harm_of, slices_of
from workbench.records import ContenderSummary, Harm, Sample
from workbench.runner import Session
from workbench.runner import run as run_command
from workbench.runs import Run
from workbench.scoring import stored_rows
from workbench.verdict import decide

ROOT = Path(__file__).resolve().parent.parent


def sample(index: int, *, text: str = "Where?", answer: str = "till", **tags: str) -> Sample:
    return Sample(id=str(index), messages=(Message("user", text),), references=(answer,), tags=tags)


def experiment_of(run: Run) -> Experiment:
    return Experiment.parse(run.experiment_text() or "", path=run.folder / "experiment.yaml")


def tag(run: Run, **values: Sequence[str]) -> None:
    """Give the test samples tags, one value a sample."""
    samples = [
        msgspec.structs.replace(s, tags={key: column[i] for key, column in values.items()})
        for i, s in enumerate(run.samples())
    ]
    run.write_splits(run.splits() or {}, samples)


def harm(run: Run) -> Harm | None:
    experiment = experiment_of(run)
    base, lora = gather(run, experiment)
    return harm_of(run, experiment, lora, [base])


CLASSES = Experiment.parse(
    "name: x\ntask: classification\ndata: {path: x.jsonl}\ncontenders: [{name: a, kind: prompting}]",
    path=Path("x.yaml"),
)
FREE = CLASSES.model_copy(update={"task": "generation"})


# -- which slices there are --------------------------------------------------------------------------


def test_slices_are_tags_classes_and_thirds_of_length() -> None:
    samples = [
        sample(i, text="a" * (i + 1), answer=("till", "post")[i % 2], channel="phone" if i < 4 else "mail")
        for i in range(9)
    ]
    found = slices_of(samples, CLASSES.task)
    assert {name: np.flatnonzero(mask).tolist() for name, mask in found.items()} == {
        "channel=mail": [4, 5, 6, 7, 8],
        "channel=phone": [0, 1, 2, 3],
        "class=post": [1, 3, 5, 7],
        "class=till": [0, 2, 4, 6, 8],
        "length=short": [0, 1, 2],
        "length=middle": [3, 4, 5],
        "length=long": [6, 7, 8],
    }


@pytest.mark.parametrize(
    ("samples", "experiment", "names"),
    [
        ([sample(i, channel="phone") for i in range(9)], CLASSES, []),
        ([sample(i, answer=f"Free text {i}.") for i in range(9)], FREE, []),
        (
            [sample(i, text="aa" if i < 8 else "aaaa") for i in range(9)],
            FREE,
            ["length=short", "length=long"],
        ),
        ([sample(i, **({"vip": "yes"} if i < 3 else {})) for i in range(9)], FREE, ["vip=yes"]),
        ([], CLASSES, []),
    ],
    ids=["the same everywhere", "no classes", "few lengths", "some without the tag", "nothing"],
)
def test_what_holds_for_all_is_no_slice(
    samples: list[Sample], experiment: Experiment, names: list[str]
) -> None:
    assert list(slices_of(samples, experiment.task)) == names


def test_of_many_values_only_frequent_ones_are_looked_at() -> None:
    samples = [sample(i, user=f"u{i}" if i >= 20 else "regular") for i in range(500)]
    found = slices_of(samples, FREE.task)
    assert len(found) == 50 and found["user=regular"].sum() == 20


# -- what happened on them ---------------------------------------------------------------------------


def two_channels(folder: Path, *, phone: str, mail: str, base: str, **settings: Any) -> Run:
    """40 phone samples before 80 by mail; `base` says how the alternative did on all of them."""
    contenders = {"base": Answers(base), "lora": Answers(phone + mail, tuned=True)}
    run, _ = judged(folder, contenders, **settings)
    tag(run, channel=["phone"] * 40 + ["mail"] * 80)
    return run


def test_a_gain_on_the_whole_may_be_harm_on_a_slice(tmp_path: Path) -> None:
    """By phone 36 of 40 were right and 20 are; by mail 40 of 80 were and 76 are."""
    run = two_channels(tmp_path, phone=marks(20, 20), mail=marks(76, 4), base=marks(36, 4) + marks(40, 40))
    found = harm(run)
    assert found is not None and found.against == "base" and found.forgetting is None
    changes = {s.slice: s for s in found.slices}
    assert changes["channel=phone"].estimate == pytest.approx(-0.4) and changes["channel=phone"].n == 40
    assert changes["channel=mail"].estimate == pytest.approx(0.45)
    assert [s.slice for s in found.worse] == ["channel=phone"]
    verdict = decide(run, today=TODAY)
    assert verdict.harm == found
    told = dict(card(verdict))["harm"]
    low, high = changes["channel=phone"].interval or (0, 0)
    assert told.startswith(f"worse on channel=phone −0.400 [−{-low:.3f}, −{-high:.3f}]")
    run.write_verdict(verdict)
    assert run.verdict() == verdict


def test_where_lower_is_better_a_rise_is_harm(tmp_path: Path) -> None:
    run = two_channels(tmp_path, phone=marks(40), mail=marks(80), base=marks(120))
    for name, shift in (("base", 0.0), ("lora", 1.0)):
        answers = [
            msgspec.structs.replace(
                p,
                reference_nats=2.0 + (i % 5) / 10 + (shift if i < 40 else -shift),
                reference_tokens=4,
                reference_bytes=8,
            )
            for i, p in enumerate(run.predictions(name))
        ]
        rows = measure("perplexity", [(p.reference_nats, 4, 8) for p in answers], tokenizer="t")
        scores = run.scores(name) or {}
        scores["metrics"]["perplexity"] = scores["metrics"]["exact_match"] | {
            "value": 2.0,
            "higher_is_better": False,
            "signature": rows.signature,
            "columns": list(rows.columns),
            "rows": rows.stats.tolist(),
        }
        run.write_scores(name, scores)
    text = (run.experiment_text() or "").replace("primary: exact_match", "primary: perplexity")
    run.write_experiment_text(text)
    found = harm(run)
    assert found is not None
    changes = {s.slice: s for s in found.slices}
    # A corpus metric: exp(Σ nats ÷ Σ tokens) on the slice alone, and more is worse.
    before = np.exp(np.mean([2.0 + (i % 5) / 10 for i in range(40)]) / 4)
    after = np.exp(np.mean([3.0 + (i % 5) / 10 for i in range(40)]) / 4)
    assert changes["channel=phone"].estimate == pytest.approx(before - after)
    assert changes["channel=mail"].estimate > 0
    assert "channel=phone" in [s.slice for s in found.worse]


def test_small_slices_say_why_they_tell_nothing(tmp_path: Path) -> None:
    groups = [f"c{i % 3}" if i < 40 else f"d{i % 30}" for i in range(120)]
    run = two_channels(
        tmp_path,
        phone=marks(10, 30),
        mail=marks(71, 0, 9),
        base=marks(120),
        groups=groups,
        decision={"equivalent_within": 1},
    )
    tag(run, channel=["phone"] * 40 + ["mail"] * 71 + ["fax"] * 9)
    found = harm(run)
    assert found is not None
    changes = {s.slice: s for s in found.slices}
    assert changes["channel=phone"].interval is None
    assert changes["channel=phone"].reason == "3 groups, under 5"
    assert "channel=fax" not in changes, "every answer of the slice failed: there is nothing to compare"
    tag(run, channel=["phone"] * 40 + ["mail"] * 64 + ["fax"] * 16)
    changes = {s.slice: s for s in (harm(run) or Harm(against=None)).slices}
    assert changes["channel=fax"].n == 7, "failed answers are left out"
    assert changes["channel=fax"].reason == "7 samples, under 10"
    assert changes["channel=fax"].estimate == 0.0


def test_the_reference_is_the_best_alternative(tmp_path: Path) -> None:
    contenders = {
        "weak": Answers(marks(30, 90)),
        "strong": Answers(marks(90, 30)),
        "lora": Answers(marks(100, 20), tuned=True),
    }
    _, verdict = judged(tmp_path, contenders)
    assert verdict.harm is not None and verdict.harm.against == "strong"


def test_nothing_to_compare_is_no_harm_row(tmp_path: Path) -> None:
    run, verdict = judged(tmp_path, {"lora": Answers(marks(20), tuned=True)})
    assert verdict.harm is None and "harm" not in dict(card(verdict))
    experiment = experiment_of(run)
    assert harm_of(run, experiment, gather(run, experiment)[0], []) is None


# -- no false alarms -----------------------------------------------------------------------------------


def evidence(name: str, right: Any, *, tuned: bool = False) -> Evidence:
    rows = measure("exact_match", ["a" if r else "b" for r in right], ["a"] * len(right))
    scores = {
        "ids": [str(i) for i in range(len(right))],
        "groups": [None] * len(right),
        "metrics": {
            "exact_match": {
                "columns": list(rows.columns),
                "rows": rows.stats.tolist(),
                "signature": rows.signature,
                "reason": None,
            }
        },
    }
    summary = ContenderSummary(
        name=name,
        kind="predictions",
        tuned=tuned,
        score=float(np.mean(right)),
        interval=None,
        n=len(right),
        errors=0,
    )
    return Evidence(name, tuned, {}, scores, stored_rows(scores, "exact_match"), summary, [], None)


class Samples:
    """What `harm_of` reads of a run."""

    def __init__(self, samples: list[Sample]) -> None:
        self._samples = samples

    def samples(self) -> list[Sample]:
        return self._samples


def test_ten_slices_rarely_cry_wolf() -> None:
    """Null worlds: both contenders are right equally often everywhere; at most 5 % may name a slice."""
    worlds, cried, n = 60, 0, 150
    for world in range(worlds):
        rng = np.random.default_rng(world)
        hard = rng.beta(2, 1, n)
        base = rng.random(n) < hard
        lora = np.where(rng.random(n) < 0.5, base, rng.random(n) < hard)
        samples = [
            sample(
                i, channel="abcde"[rng.integers(5)], product="xyz"[rng.integers(3)], vip="jn"[rng.integers(2)]
            )
            for i in range(n)
        ]
        made = harm_of(
            Samples(samples), FREE_EXACT, evidence("lora", lora, tuned=True), [evidence("base", base)]
        )  # type: ignore[arg-type]
        assert made is not None and len(made.slices) == 10
        cried += bool(made.worse)
    assert cried <= 0.05 * worlds


FREE_EXACT = FREE.model_copy(update={"metrics": FREE.metrics.model_copy(update={"primary": "exact_match"})})


# -- forgetting ----------------------------------------------------------------------------------------


def test_the_general_text_is_general() -> None:
    passages = general_text()
    assert len({p.id for p in passages}) == len(passages) == len({p.text for p in passages}) >= 60
    assert {p.language for p in passages} >= {"en", "de", "fr", "es", "zh"}
    assert {p.kind for p in passages} >= {
        "news",
        "encyclopedic",
        "story",
        "dialogue",
        "instructions",
        "letter",
        "science",
        "code",
        "arithmetic",
    }
    assert all(
        40 <= len(p.text.split()) <= 120 for p in passages if p.kind not in ("code",) and p.language != "zh"
    )
    assert all(100 <= len(p.text) <= 800 for p in passages)


def test_the_wheel_holds_the_general_text_and_the_licences() -> None:
    import tomllib

    tables = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    for package, name in (("workbench", "general_text.jsonl"), ("validators", "licences.json")):
        shipped = {p for pattern in tables["package-data"][package] for p in (ROOT / package).glob(pattern)}
        assert ROOT / package / name in shipped


def rows(nats: Sequence[float]) -> list[list[float]]:
    return [[value, 10, 20] for value in nats]


def test_the_change_by_hand() -> None:
    """(4 × 11) ÷ (4 × 10) nats: + 10 %; 40 nats over 80 bytes are 40 ÷ ln 2 ÷ 80 bits per byte."""
    found = forgetting_of({"before": rows([8, 9, 11, 12]), "after": rows([8.8, 9.9, 12.1, 13.2])})
    assert found is not None and found.passages == 4
    assert found.change == pytest.approx(0.1)
    assert found.before == pytest.approx(40 / np.log(2) / 80) and found.after == pytest.approx(
        found.before * 1.1
    )
    assert forgetting_of(None) is None and forgetting_of({}) is None


def test_the_change_has_an_interval_that_covers() -> None:
    """Each passage changes by its own amount around + 5 %."""
    covered = 0
    for world in range(100):
        rng = np.random.default_rng(world)
        before = rng.gamma(20, 10, 61)
        after = before * (1 + rng.normal(0.05, 0.04, 61))
        found = forgetting_of({"before": rows(before), "after": rows(after)})
        assert found is not None and found.interval is not None
        covered += found.interval[0] <= 0.05 <= found.interval[1]
    assert covered >= 88


def test_likelihoods_of_plain_text_are_the_models_own(tiny_model: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    texts = ["the pump leaks", "route: bench/water", "till", "ä 茶 🌱", "the tank " * 400]
    backend = local(tiny_model)
    found = backend.plain_text_nats(texts)
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(tiny_model),
        AutoTokenizer.from_pretrained(tiny_model),
    )
    for text, (nats, tokens, size) in zip(texts, found, strict=True):
        whole = [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]
        ids = torch.tensor([whole[:512]])
        with torch.inference_mode():
            loss = model(input_ids=ids, labels=ids).loss.item()
        assert tokens == ids.shape[1] - 1 and nats == pytest.approx(loss * tokens, rel=1e-4)
        cut = tokenizer.decode(whole[1:512])
        assert size == len(cut.encode()) and (len(whole) <= 512) == (cut == text)
    adapter = make_adapter(tiny_model, tmp_path / "adapter")
    tuned = backend.plain_text_nats(texts, adapter=adapter)
    assert all(a[0] != b[0] and a[1:] == b[1:] for a, b in zip(found, tuned, strict=True))
    assert backend.plain_text_nats(texts) == found, "the adapter leaves no trace"


def test_without_a_begin_token_the_first_token_is_given(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "m")
    backend = local(folder)
    with_begin = backend.plain_text_nats(["the pump leaks"])[0]
    backend.tokenizer.tokenizer.bos_token = None
    without = backend.plain_text_nats(["the pump leaks"])[0]
    assert without[1] == with_begin[1] - 1 and without[2] == with_begin[2]


def test_a_run_measures_forgetting_once(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_adapter(tiny_model, tmp_path / "adapter")
    rows_ = [chat(question(i), label(i)) for i in range(12)]
    jsonl(tmp_path / "test.jsonl", rows_)
    tree = {
        "name": "forgets",
        "task": "classification",
        "data": {"test": "test.jsonl"},
        "backends": {"tiny": {"kind": "hf", "model": str(tiny_model), "device": "cpu", "max_new_tokens": 2}},
        "contenders": [
            {"name": "plain", "kind": "prompting"},
            {"name": "lora", "kind": "fine-tuned", "adapter": "adapter"},
        ],
        "metrics": {"primary": "bits_per_byte", "also": []},
    }
    path = tmp_path / "experiment.yaml"
    measured: list[list[str]] = []
    plain = HfBackend.plain_text_nats

    def counted(self: HfBackend, texts: Any, **more: Any) -> Any:
        measured.append(list(texts))
        return plain(self, texts, **more)

    monkeypatch.setattr(HfBackend, "plain_text_nats", counted)

    def go() -> Run:
        path.write_text(yaml.safe_dump(tree), encoding="utf-8")
        text = path.read_text(encoding="utf-8")
        return run_command(
            Session(
                experiment=Experiment.parse(text, path=path),
                path=path,
                text=text,
                runs=tmp_path / "runs",
                report=Silent(),
                now=lambda: NOW,
                today=TODAY,
                offline=True,
            )
        )[0]

    run = go()
    assert [len(texts) for texts in measured] == [len(general_text())] * 2
    stored = (run.contender("lora") or {})["forgetting"]
    assert len(stored["before"]) == len(stored["after"]) == len(general_text())
    assert stored["before"] != stored["after"] and json.dumps(stored)
    assert (run.contender("plain") or {})["forgetting"] is None
    found = forgetting_of(stored)
    verdict = run.verdict()
    assert found is not None and verdict is not None and verdict.harm is not None
    assert verdict.harm.forgetting is not None and verdict.harm.forgetting.change == pytest.approx(
        found.change
    )
    go()
    assert len(measured) == 2, "kept by resume"
    # Killed after the answers and before the end: what was measured is kept too.
    info = run.contender("lora") or {}
    run.write_contender("lora", info | {"status": "started"})
    assert (go().contender("lora") or {})["forgetting"] == stored and len(measured) == 2


def test_measuring_twice_gives_the_same(tiny_model: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tiny_model, tmp_path / "adapter")
    assert measure_forgetting(local(tiny_model), adapter) == measure_forgetting(local(tiny_model), adapter)
