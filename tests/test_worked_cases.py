"""Worked cases: answers of known truth on disk, the verdict a careful statistician would reach, and why.

Each case is a folder of plain files (data, one predictions file a contender, the experiment), made by
`judged` and run by the shipped runner.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest

from metrics import compare_paired
from tests.judged_run import Answers, chat, jsonl, judged, label, marks, question, run_it, write_experiment
from workbench.records import Verdict
from workbench.runs import Run
from workbench.sections import Decision
from workbench.verdict import decide

TODAY = date(2026, 11, 20)


def reached(verdict: Verdict) -> tuple[str, str, str | None]:
    return verdict.headline, verdict.reason, verdict.choice


def test_1_a_clear_gain_is_worth_it(tmp_path: Path) -> None:
    """95 against 50 of 100: far beyond five points, on every side of the interval."""
    _, verdict = judged(tmp_path, {"base": Answers(marks(50, 50)), "lora": Answers(marks(95, 5), tuned=True)})
    assert reached(verdict) == ("tune", "quality", "lora")


def test_2_a_gain_that_only_looks_worth_it(tmp_path: Path) -> None:
    """74 against 66 of 80 is "+10 points" and p = 0.02; but that the gain exceeds five points is not shown."""
    base, lora = "+" * 66 + "-" * 14, "-" * 2 + "+" * 64 + "+" * 10 + "-" * 4
    naive = compare_paired([m == "+" for m in base], [m == "+" for m in lora])
    assert naive.conclusion == "better" and naive.difference == pytest.approx(0.1) and (naive.p or 1) < 0.05
    _, verdict = judged(tmp_path, {"base": Answers(base), "lora": Answers(lora, tuned=True)})
    assert reached(verdict) == ("cant-tell", "need-more-eval-data", "base")


def test_3_customers_flip_it(tmp_path: Path) -> None:
    """All of the gain comes from two talkative customers out of forty: as 200 tickets it is worth it, as 40 customers not."""
    gained, n = 60, 200
    base, lora = Answers("-" * gained + "+" * (n - gained)), Answers("+" * n, tuned=True)
    groups = ["customer A"] * 30 + ["customer B"] * 30 + [f"customer {i % 38}" for i in range(n - gained)]
    _, alone = judged(tmp_path / "tickets", {"base": base, "lora": lora})
    _, grouped = judged(tmp_path / "customers", {"base": base, "lora": lora}, groups=groups)
    assert reached(alone) == ("tune", "quality", "lora")
    assert grouped.headline == "cant-tell" and grouped.groups == 40


def test_4_the_cheaper_of_two_equal_alternatives_wins(tmp_path: Path) -> None:
    """RAG is a hair better than few-shot, surely within the margin, and costs five times as much."""
    contenders = {
        "rag": Answers(marks(902, 98), usd_per_1000=5.0),
        "few-shot": Answers(marks(900, 100), usd_per_1000=1.0),
        "lora": Answers(marks(905, 95), tuned=True, usd_per_1000=2.0),
    }
    _, verdict = judged(tmp_path, contenders)
    assert reached(verdict) == ("dont-tune", "alternative-suffices", "few-shot")


def test_5_as_good_and_cheaper(tmp_path: Path) -> None:
    """A small tuned model equals a large prompted one at a tenth of the price, and pays back in a few months."""
    contenders = {
        "gpt": Answers(marks(900, 100), usd_per_1000=5.0),
        "lora": Answers(marks(903, 97), tuned=True, usd_per_1000=0.5),
    }
    _, verdict = judged(tmp_path, contenders, decision={"costs": {"labour_usd": 900}})
    assert reached(verdict) == ("tune", "cheaper", "lora")
    # 50,000 requests × $4.50 per 1,000 save $225 a month; 1,000 test answers took 50 cents more.
    assert verdict.payback_months == pytest.approx(900.5 / 225)


def test_6_failures_that_could_change_it(tmp_path: Path) -> None:
    """Nine points better would be worth it, six points not; and six of the tuned model's answers failed."""
    base, lora = marks(100, 100), "+" * 112 + "!" * 6 + "-" * 82
    _, clean = judged(tmp_path / "a", {"base": Answers(base), "lora": Answers(marks(118, 82), tuned=True)})
    assert reached(clean) == ("tune", "quality", "lora")
    _, verdict = judged(tmp_path / "b", {"base": Answers(base), "lora": Answers(lora, tuned=True)})
    assert (verdict.headline, verdict.reason) == ("cant-tell", "invalid-comparison")


def leaked(folder: Path, *, drop: bool = False) -> Path:
    """Ten of a hundred test questions stand among the training rows, and only those the tuned model gets right."""
    lora = Answers("+" * 10 + marks(45, 45), tuned=True)
    files = {"train": "train.jsonl", "dev": "dev.jsonl", "test": "test.jsonl", "split": {"drop_leaked": drop}}
    path = write_experiment(folder, {"base": Answers(marks(50, 50)), "lora": lora}, extra={"data": files})
    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    jsonl(folder / "train.jsonl", rows + [chat(question(i), label(i)) for i in range(10)])
    return path


def test_7_a_leaked_test_split(tmp_path: Path) -> None:
    run, verdict = run_it(leaked(tmp_path / "a"), tmp_path / "runs")
    assert (verdict.headline, verdict.reason) == ("cant-tell", "fix-data") and "DUP003" in verdict.sentence
    assert verdict.next == "workbench lint train.jsonl dev.jsonl test.jsonl", "one alone shows no leak"
    assert not run.contenders()  # nothing was spent


def test_7_leaked_rows_can_be_dropped_and_are_counted(tmp_path: Path) -> None:
    run, verdict = run_it(leaked(tmp_path / "a", drop=True), tmp_path / "runs")
    assert verdict.reason != "fix-data" and verdict.n == 90
    assert any(c.startswith("10 leaked test rows") for c in verdict.caveats)
    assert len(run.predictions("lora")) == 90


def test_8_a_model_that_can_no_longer_be_tuned(tmp_path: Path) -> None:
    """The hosted model wins clearly, but at the day of the decision nobody can start a tuning job any more."""
    api = {
        "backends": {"none": {"kind": "echo"}, "api": {"kind": "openai", "model": "gpt-4o-mini-2024-07-18"}}
    }
    contenders = {
        "base": Answers(marks(50, 50)),
        "hosted": Answers(marks(95, 5), tuned=True, backend="api"),
    }
    run, now = judged(tmp_path, contenders, extra=api)
    assert reached(now) == ("tune", "quality", "hosted")
    later = decide(run, decision=Decision(date="2027-01-10"), today=TODAY)
    assert (later.headline, later.reason) == ("cant-tell", "retiring") and "2027-01-06" in later.sentence


def test_9_better_but_it_never_pays_back(tmp_path: Path) -> None:
    """Twenty points better and dearer by the request: worth it by the margin, and the card says what a point costs."""
    contenders = {
        "base": Answers(marks(700, 300), usd_per_1000=1.0),
        "lora": Answers(marks(900, 100), tuned=True, usd_per_1000=3.0),
    }
    decision = {"costs": {"labour_usd": 1200}, "requests_per_month": 50_000, "horizon_months": 12}
    _, verdict = judged(tmp_path, contenders, decision=decision)
    assert reached(verdict) == ("tune", "quality", "lora") and verdict.payback_months is None
    # $1,200 (and $3 of test answers) over 12 months, 50 × $2 dearer requests, for 20 points: $10 a point and month.
    assert verdict.usd_per_point == pytest.approx((1203 / 12 + 100) / 20)


def test_10_exact_match_on_free_text_tells_nothing(tmp_path: Path) -> None:
    """Every answer says the right desk in other words: nothing is equal to a reference, and token F1 could tell."""
    contenders = {"base": Answers("-" * 60), "lora": Answers("?" * 60, tuned=True)}
    metrics = {"primary": "exact_match", "also": ["token_f1"]}
    _, verdict = judged(tmp_path, contenders, metrics=metrics)
    assert (verdict.headline, verdict.reason) == ("cant-tell", "no-signal")
    assert "token_f1" in verdict.sentence


def test_11_tuning_made_it_worse(tmp_path: Path) -> None:
    """Tuned on too little, the model unlearned what the prompt could do."""
    contenders = {"few-shot": Answers(marks(80, 20)), "lora": Answers(marks(50, 50), tuned=True)}
    _, verdict = judged(tmp_path, contenders)
    assert reached(verdict) == ("dont-tune", "alternative-suffices", "few-shot")
    assert "better than lora" in verdict.sentence


def test_12_better_but_over_the_budget(tmp_path: Path) -> None:
    contenders = {"base": Answers(marks(50, 50)), "lora": Answers(marks(95, 5), tuned=True)}
    decision = {"budget_usd": 500, "costs": {"labour_usd": 800}}
    _, verdict = judged(tmp_path, contenders, decision=decision)
    assert reached(verdict) == ("dont-tune", "over-budget", "base")
    assert "a budget of $800.00" in verdict.flips


def test_12_the_budget_that_would_flip_it_is_enough_to_the_cent(tmp_path: Path) -> None:
    contenders = {"base": Answers(marks(60, 40)), "lora": Answers(marks(90, 10), tuned=True)}
    decision = {"budget_usd": 10.0, "costs": {"labour_usd": 10.004}}
    run, verdict = judged(tmp_path, contenders, decision=decision)
    assert (verdict.reason, verdict.flips) == ("over-budget", ("a budget of $10.01",))
    again = decide(run, decision=Decision(**{**decision, "budget_usd": 10.01}), today=TODAY)
    assert (again.headline, again.reason) == ("tune", "quality")


def test_13_nothing_untuned_was_scored(tmp_path: Path) -> None:
    _, verdict = judged(tmp_path, {"lora": Answers(marks(95, 5), tuned=True)})
    assert (verdict.headline, verdict.reason, verdict.tuned) == ("cant-tell", "no-alternative", "lora")


def test_14_nothing_tuned_was_scored_yet(tmp_path: Path) -> None:
    """The plan: the best alternative, and the gain that this test split could show."""
    contenders = {"base": Answers(marks(50, 50)), "few-shot": Answers(marks(70, 30))}
    _, verdict = judged(tmp_path, contenders)
    assert reached(verdict) == ("cant-tell", "no-tuned-contender", "few-shot")
    # Known value: 100 samples, 20 % discordant, alpha 0.05, power 0.8.
    assert verdict.smallest_detectable_effect == pytest.approx(0.121, abs=0.001)
    assert "few-shot" in verdict.sentence and "+0.12 or more" in verdict.sentence


@pytest.mark.parametrize("case", ["quality", "cheaper", "suffices", "cant-tell"])
def test_every_flip_that_is_named_flips(case: str, tmp_path: Path) -> None:
    """What the card says would change the answer does change it, and a little less of it does not."""
    contenders: dict[str, dict[str, Answers]] = {
        "quality": {"base": Answers(marks(50, 50)), "lora": Answers(marks(95, 5), tuned=True)},
        "cheaper": {
            "base": Answers(marks(900, 100), usd_per_1000=5),
            "lora": Answers(marks(900, 100), tuned=True, usd_per_1000=1),
        },
        "suffices": {"base": Answers(marks(900, 100)), "lora": Answers(marks(930, 70), tuned=True)},
        "cant-tell": {"base": Answers(marks(50, 50)), "lora": Answers("-" * 10 + marks(65, 25), tuned=True)},
    }
    decision = {"worth_it": 0.05, "costs": {"labour_usd": 600}}
    run, verdict = judged(tmp_path, contenders[case], decision=decision)
    assert verdict.flips, verdict.sentence
    for flip in verdict.flips:
        under, over = changes(flip, decision)
        assert decide(run, decision=over, today=TODAY).headline != verdict.headline, flip
        assert (
            decide(run, decision=under, today=TODAY).headline
            != decide(run, decision=over, today=TODAY).headline
        )


def changes(flip: str, decision: dict[str, Any]) -> tuple[Decision, Decision]:
    """Settings just short of a flip in words, and just beyond it; the equivalence stays as it was."""
    number = float(
        "".join(c for c in flip.partition(":")[0].partition("(")[0] if c in "0123456789.e-").strip("-.e")
    )
    key = "requests_per_month" if "requests" in flip else "worth_it"
    down = "under" in flip or "fewer" in flip
    beyond, short = (0.97, 1.1) if down else (1.06, 0.9)
    made: Callable[[float], Decision] = lambda factor: Decision.model_validate(  # noqa: E731
        {**decision, "equivalent_within": 0.05, key: number * factor}
    )
    return made(short), made(beyond)


def test_the_verdict_of_a_case_is_plain_data(tmp_path: Path) -> None:
    run, verdict = judged(
        tmp_path, {"base": Answers(marks(50, 50)), "lora": Answers(marks(95, 5), tuned=True)}
    )
    stored = json.loads((run.folder / "verdict.json").read_text())
    assert msgspec.convert(stored, Verdict) == verdict == Run(run.folder).verdict()


def test_what_is_next_where_a_file_can_say_it(tmp_path: Path) -> None:
    """Answers were brought: one of them may be a tuned model's. People's ratings decide: somebody has to give them."""
    contenders = {"base": Answers(marks(50, 50)), "few-shot": Answers(marks(70, 30))}
    _, verdict = judged(tmp_path / "a", contenders)
    assert verdict.next.startswith("write tuned: true beside the tuned one, or add a contender")
    assert any("usd_per_1000" in caveat for caveat in verdict.caveats)
    contenders["lora"] = Answers(marks(90, 10), tuned=True, usd_per_1000=1)
    _, verdict = judged(tmp_path / "c", contenders)
    assert any(
        caveat.startswith("lora was tuned elsewhere: what that took counts as $0")
        for caveat in verdict.caveats
    )
    _, verdict = judged(tmp_path / "d", contenders, decision={"costs": {"labour_usd": 1}})
    assert not any("elsewhere" in caveat for caveat in verdict.caveats)
    _, verdict = judged(tmp_path / "b", contenders, metrics={"primary": "human", "also": ["exact_match"]})
    assert verdict.reason == "no-signal" and verdict.next.startswith(
        "rate the answers (page Rate of workbench app, or ratings: people.csv)"
    )
