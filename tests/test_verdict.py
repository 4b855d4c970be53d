"""From answers of known truth on disk to the verdict: every reason, every gate, the table's order, the money."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.judged_run import TODAY, Answers, judged, marks, run_it, write_experiment
from workbench.experiment import Experiment
from workbench.margins import row_of
from workbench.money import money
from workbench.records import Difference, Verdict
from workbench.runs import Run, RunError
from workbench.scoring import score_contender
from workbench.sections import Decision
from workbench.verdict import decide

HALF, GOOD = Answers(marks(50, 50)), Answers(marks(95, 5), tuned=True)
SAME = marks(80, 20)


def experiment_of(run: Run) -> Experiment:
    return Experiment.parse(run.experiment_text() or "", path=run.folder / "experiment.yaml")


def verdict_of(run: Run, **options: Any) -> Verdict:
    return decide(run, today=TODAY, **options)


# -- the decision table ----------------------------------------------------------------------------


def gain(low: float | None, high: float | None, name: str = "base") -> Difference:
    interval = None if low is None or high is None else (low, high)
    middle = 0.0 if interval is None else sum(interval) / 2
    return Difference(against=name, estimate=middle, interval=interval, p=None, method="by hand")


@pytest.mark.parametrize(
    ("intervals", "cheaper", "row"),
    [
        # worth it from 0.05, equivalent within 0.03
        ([(0.06, 0.20)], False, "quality"),
        ([(0.05, 0.20)], False, "need-more-eval-data"),  # lo > m, not ≥
        ([(0.06, 0.20), (0.01, 0.20)], False, "need-more-eval-data"),  # against every alternative
        ([(0.06, 0.20), (0.01, 0.04)], False, "alternative-suffices"),  # one is enough to suffice
        ([(-0.20, 0.05)], False, "need-more-eval-data"),  # hi < m, not ≤
        ([(-0.20, -0.10)], False, "alternative-suffices"),
        ([(-0.02, 0.04)], True, "cheaper"),  # before alternative-suffices
        ([(-0.02, 0.20)], True, "cheaper"),
        ([(-0.03, 0.20)], True, "need-more-eval-data"),  # lo > −e, not ≥
        ([(-0.02, 0.20), (-0.10, 0.20)], True, "need-more-eval-data"),
        ([(0.06, 0.20)], True, "quality"),  # before cheaper
        ([(None, None)], True, "need-more-eval-data"),  # no interval excludes nothing
        ([(0.06, 0.20), (None, None)], False, "need-more-eval-data"),
        ([(-0.2, 0.01), (None, None)], False, "alternative-suffices"),
    ],
)
def test_rows_of_the_table_apply_in_their_order(
    intervals: list[tuple[float | None, float | None]], cheaper: bool, row: str
) -> None:
    gains = [gain(low, high, f"k{i}") for i, (low, high) in enumerate(intervals)]
    assert row_of(gains, worth_it=0.05, equivalent_within=0.03, cheaper=cheaper) == row


# contenders, settings → headline, reason, choice, words of the sentence
CASES: dict[str, tuple[dict[str, Answers], dict[str, Any], tuple[str, str, str | None, str]]] = {
    "quality": ({"base": HALF, "lora": GOOD}, {}, ("tune", "quality", "lora", "more than 0.05")),
    "quality needs every alternative": (
        {"base": HALF, "shots": Answers(marks(93, 7)), "lora": GOOD},
        {},
        ("cant-tell", "need-more-eval-data", "shots", "test samples"),
    ),
    "a margin above the gain": (
        {"base": HALF, "lora": GOOD},
        {"decision": {"worth_it": 0.6}},
        ("dont-tune", "alternative-suffices", "base", "equivalent within 0.6"),
    ),
    "over the budget": (
        {"base": HALF, "lora": GOOD},
        {"decision": {"budget_usd": 200, "costs": {"labour_usd": 300}}},
        ("dont-tune", "over-budget", "base", "$300.00 of $200.00"),
    ),
    "over the budget, the best alternative is named": (
        {"base": Answers(marks(30, 70)), "shots": HALF, "lora": GOOD},
        {"decision": {"budget_usd": 0, "costs": {"data_usd": 1}}},
        ("dont-tune", "over-budget", "shots", "$1.00 of $0.00"),
    ),
    "the budget itself is not over it": (
        {"base": HALF, "lora": GOOD},
        {"decision": {"budget_usd": 300, "costs": {"labour_usd": 300}}},
        ("tune", "quality", "lora", ""),
    ),
    "cheaper": (
        {"base": Answers(SAME, usd_per_1000=5), "lora": Answers(SAME, tuned=True, usd_per_1000=1)},
        {},
        ("tune", "cheaper", "lora", "within 0.05"),
    ),
    "cheaper, but not within the horizon": (
        {"base": Answers(SAME, usd_per_1000=5), "lora": Answers(SAME, tuned=True, usd_per_1000=1)},
        {"decision": {"costs": {"labour_usd": 2401}}},
        ("dont-tune", "alternative-suffices", "base", "equivalent within 0.05"),
    ),
    "cheaper than one alternative only": (
        {
            "base": Answers(SAME, usd_per_1000=5),
            "shots": Answers(SAME, usd_per_1000=0.5),
            "lora": Answers(SAME, tuned=True, usd_per_1000=1),
        },
        {},
        ("dont-tune", "alternative-suffices", "shots", "equivalent"),
    ),
    "cheaper, but worse": (
        {
            "base": GOOD.__class__(marks(95, 5), usd_per_1000=5),
            "lora": Answers(marks(50, 50), tuned=True, usd_per_1000=1),
        },
        {},
        ("dont-tune", "alternative-suffices", "base", "is better than lora"),
    ),
    "free against free is not cheaper": (
        {"base": Answers(SAME, usd_per_1000=0), "lora": Answers(SAME, tuned=True, usd_per_1000=0)},
        {},
        ("dont-tune", "alternative-suffices", "base", "equivalent"),
    ),
    "the alternative is better": (
        {"base": Answers(marks(95, 5)), "lora": Answers(marks(50, 50), tuned=True)},
        {},
        ("dont-tune", "alternative-suffices", "base", "base is better than lora"),
    ),
    "equivalent": (
        {"base": Answers(SAME), "lora": Answers(SAME, tuned=True)},
        {},
        ("dont-tune", "alternative-suffices", "base", "equivalent within 0.05"),
    ),
    "a gain, but not enough": (
        {"base": Answers(marks(300, 100)), "lora": Answers(marks(308, 92), tuned=True)},
        {"decision": {"equivalent_within": 0.01}},
        ("dont-tune", "alternative-suffices", "base", "gains less over base than the 0.05"),
    ),
    "the cheapest of equals": (
        {
            "long": Answers(SAME, usd_per_1000=2),
            "short": Answers(SAME, usd_per_1000=1),
            "lora": Answers(SAME, tuned=True),
        },
        {},
        ("dont-tune", "alternative-suffices", "short", "short and lora are equivalent"),
    ),
    "a cheap one that is worse is no equal": (
        {
            "long": Answers(marks(90, 10), usd_per_1000=2),
            "short": Answers(HALF.marks, usd_per_1000=1),
            "lora": Answers(marks(90, 10), tuned=True),
        },
        {},
        ("dont-tune", "alternative-suffices", "long", "long and lora are equivalent"),
    ),
    "too few to tell": (
        {"base": Answers("+" * 15 + "-" * 15), "lora": Answers("-" * 3 + "+" * 19 + "-" * 8, tuned=True)},
        {},
        ("cant-tell", "need-more-eval-data", "base", "test samples would settle it"),
    ),
    "at the margin": (  # 10 gained, 5 lost of 100: exactly 0.05
        {"base": Answers(marks(50, 50)), "lora": Answers("-" * 5 + "+" * 55 + "-" * 40, tuned=True)},
        {},
        ("cant-tell", "need-more-eval-data", "base", "no test size will tell"),
    ),
    "failures that could change it": (
        {"base": Answers(marks(80, 15, 5)), "lora": Answers(marks(80, 15, 5), tuned=True)},
        {},
        ("cant-tell", "invalid-comparison", "base", "5 answers of lora or base failed"),
    ),
    "failures that could not": (
        {"base": HALF, "lora": Answers(marks(95, 4, 1), tuned=True)},
        {},
        ("tune", "quality", "lora", ""),
    ),
    "failures of an alternative that does not matter": (
        {
            "base": GOOD.__class__(marks(100)),
            "weak": Answers(marks(40, 55, 5)),
            "lora": Answers(marks(50, 50), tuned=True),
        },
        {},
        ("dont-tune", "alternative-suffices", "base", "base is better"),
    ),
    "failures that decide about cheaper": (
        {
            "base": Answers(marks(160, 40), usd_per_1000=9),
            "lora": Answers("!" * 10 + marks(150, 40), tuned=True, usd_per_1000=1),
        },
        {"decision": {"worth_it": 0.3, "equivalent_within": 0.05}},
        ("cant-tell", "invalid-comparison", "base", "10 answers"),
    ),
    "the only alternative failed throughout": (
        {"base": Answers(marks(0, 0, 40)), "lora": Answers(marks(40), tuned=True)},
        {},
        ("cant-tell", "invalid-comparison", None, "40 answers of lora or base failed"),
    ),
    "one of the alternatives failed throughout": (
        {"down": Answers(marks(0, 0, 100)), "base": HALF, "lora": GOOD},
        {},
        ("cant-tell", "invalid-comparison", "base", "down failed"),
    ),
    "the tuned one failed throughout": (
        {"base": Answers(marks(30, 10)), "lora": Answers(marks(0, 0, 40), tuned=True)},
        {},
        ("cant-tell", "invalid-comparison", "base", "failed"),
    ),
    "no two answers of one sample": (
        {"base": Answers("+" * 20 + "!" * 20), "lora": Answers("!" * 20 + "+" * 20, tuned=True)},
        {},
        ("cant-tell", "invalid-comparison", "base", "failed"),
    ),
    "everything failed": (
        {"base": Answers(marks(0, 0, 9)), "lora": Answers(marks(0, 0, 9), tuned=True)},
        {},
        ("cant-tell", "invalid-comparison", None, "failed"),
    ),
    "six of a hundred cut": (
        {"base": HALF, "lora": Answers("+" * 94 + "~" * 6, tuned=True)},
        {},
        ("cant-tell", "invalid-comparison", "base", "6 of 100 answers of lora were cut"),
    ),
    "five of a hundred cut": (
        {"base": HALF, "lora": Answers("+" * 95 + "~" * 5, tuned=True)},
        {},
        ("tune", "quality", "lora", ""),
    ),
    "nobody right": (
        {"base": Answers(marks(0, 40)), "lora": Answers("?" * 30 + "-" * 10, tuned=True)},
        {"metrics": {"primary": "exact_match", "also": ["token_f1"]}},
        (
            "cant-tell",
            "no-signal",
            "base",
            "exact_match is 0 for every contender; token_f1 does tell them apart",
        ),
    ),
    "everybody right": (
        {"base": Answers(marks(40)), "lora": Answers(marks(40), tuned=True)},
        {},
        ("cant-tell", "no-signal", "base", "exact_match is 1"),
    ),
    "a corpus metric at its floor": (
        {"base": Answers(marks(0, 40)), "lora": Answers("?" * 30 + "-" * 10, tuned=True)},
        {"metrics": {"primary": "macro_f1", "also": []}},
        ("cant-tell", "no-signal", "base", "macro_f1 is 0 for every contender"),
    ),
    "a metric nobody measured": (
        {"base": Answers(marks(20, 20)), "lora": Answers(marks(40), tuned=True)},
        {"metrics": {"primary": "perplexity", "also": []}, "decision": {"worth_it": 1.0}},
        ("cant-tell", "no-signal", None, "came without likelihoods"),
    ),
    "nothing untuned": ({"lora": GOOD}, {}, ("cant-tell", "no-alternative", None, "only tuned")),
    "nothing tuned": (
        {"base": HALF, "shots": Answers(marks(60, 40))},
        {},
        ("cant-tell", "no-tuned-contender", "shots", "best alternative is shots"),
    ),
    "two samples": (
        {"base": Answers("+-"), "lora": Answers("++", tuned=True)},
        {},
        ("cant-tell", "need-more-eval-data", "base", ""),
    ),
}


@pytest.mark.parametrize("case", CASES, ids=list(CASES))
def test_worked_cases(case: str, tmp_path: Path) -> None:
    contenders, options, (headline, reason, choice, words) = CASES[case]
    run, verdict = judged(tmp_path, contenders, **options)
    assert (verdict.headline, verdict.reason, verdict.choice) == (headline, reason, choice), verdict.sentence
    assert words in verdict.sentence
    assert run.verdict() == verdict
    assert not verdict.exploratory


def test_differences_are_tuned_minus_alternative(tmp_path: Path) -> None:
    _, verdict = judged(tmp_path, {"base": HALF, "shots": Answers(marks(70, 30)), "lora": GOOD})
    assert {d.against: round(d.estimate, 9) for d in verdict.differences} == {"base": 0.45, "shots": 0.25}
    assert [c.name for c in verdict.contenders] == ["lora", "shots", "base"]
    assert (
        verdict.difference is not None and verdict.difference.against == "shots"
    )  # the one that was hardest
    for d in verdict.differences:
        assert d.interval is not None and d.interval[0] < d.estimate < d.interval[1]
    assert verdict.against == "shots" and verdict.n == 100 and verdict.groups is None


def test_more_test_data_means_more_than_there_is(tmp_path: Path) -> None:
    base, lora = "+" * 15 + "-" * 15, "-" * 3 + "+" * 19 + "-" * 8
    _, verdict = judged(tmp_path, {"base": Answers(base), "lora": Answers(lora, tuned=True)})
    assert verdict.difference is not None and verdict.difference.interval is not None
    assert verdict.difference.estimate == pytest.approx(4 / 30)  # 7 gained, 3 lost
    half = verdict.difference.estimate - verdict.difference.interval[0]
    size = 30 * (half / (4 / 30 - 0.05)) ** 2
    assert f"about {-(-int(size + 1) // 10) * 10} test samples" in verdict.sentence
    assert size > 30


# -- groups, direction, several tuned --------------------------------------------------------------


def test_gains_of_one_customer_are_one_observation(tmp_path: Path) -> None:
    groups = ["big"] * 45 + [f"small {i % 11}" for i in range(55)]
    base, lora = "-" * 45 + "+" * 55, "+" * 100
    contenders = {"base": Answers(base), "lora": Answers(lora, tuned=True)}
    _, naive = judged(tmp_path / "naive", contenders)
    _, grouped = judged(tmp_path / "grouped", contenders, groups=groups)
    assert (naive.headline, naive.reason) == ("tune", "quality")
    assert (grouped.headline, grouped.reason) == ("cant-tell", "need-more-eval-data")
    assert naive.groups is None and grouped.groups == 12
    assert grouped.difference is not None and "12 groups" in grouped.difference.method
    assert grouped.difference.estimate == pytest.approx(0.45)


def test_one_group_gives_no_interval_and_says_so(tmp_path: Path) -> None:
    _, verdict = judged(tmp_path, {"base": HALF, "lora": GOOD}, groups=["only"] * 100)
    assert (verdict.headline, verdict.reason) == ("cant-tell", "need-more-eval-data")
    assert verdict.difference is not None and verdict.difference.interval is None
    assert "more independent samples" in verdict.sentence
    assert verdict.if_you_must == {}, "every resample of one group is that group"
    assert verdict.smallest_detectable_effect is None


def test_what_could_be_detected_counts_groups_not_samples(tmp_path: Path) -> None:
    """Every customer is wholly gained or wholly kept: 20 customers of 5 show no more than 20 samples."""
    base = "".join(mark * 5 for mark in "--++" * 5)
    contenders = {"base": Answers(base), "lora": Answers("+" * 100, tuned=True)}
    _, alone = judged(tmp_path / "alone", contenders)
    _, grouped = judged(tmp_path / "grouped", contenders, groups=[f"c{i // 5}" for i in range(100)])
    assert alone.smallest_detectable_effect is not None and grouped.smallest_detectable_effect is not None
    assert grouped.smallest_detectable_effect > 2 * alone.smallest_detectable_effect
    untuned = {"base": Answers(base), "rag": Answers("+" * 100)}
    _, alone = judged(tmp_path / "plain", untuned)
    _, grouped = judged(tmp_path / "planned", untuned, groups=[f"c{i // 5}" for i in range(100)])
    assert (grouped.smallest_detectable_effect or 0) > (alone.smallest_detectable_effect or 1)


def with_likelihoods(run: Run, nats: dict[str, float], metric: str, tokenizer: str = "same") -> None:
    """Give every answer a likelihood of its reference: 4 tokens, nats as named, a little apart."""
    for name, level in nats.items():
        answers = [
            msgspec.structs.replace(
                p,
                reference_nats=4 * level + 0.1 * (i % (3 if name == "lora" else 4)),
                reference_tokens=4,
                reference_bytes=5,
            )
            for i, p in enumerate(run.predictions(name))
        ]
        run.write_predictions(name, answers)
        run.write_scores(
            name, score_contender(name, answers, experiment_of(run), [metric], tokenizer=tokenizer)
        )


@pytest.mark.parametrize("metric", ["perplexity", "bits_per_byte"])
@pytest.mark.parametrize(
    ("base", "lora", "expected"),
    [(1.5, 0.5, ("tune", "quality", "lora")), (0.5, 1.5, ("dont-tune", "alternative-suffices", "base"))],
)
def test_lower_is_better(
    metric: str, base: float, lora: float, expected: tuple[str, str, str], tmp_path: Path
) -> None:
    contenders = {"base": Answers(marks(30, 30)), "lora": Answers(marks(30, 30), tuned=True)}
    options = {"metrics": {"primary": metric, "also": []}, "decision": {"worth_it": 0.2}}
    run, _ = judged(tmp_path, contenders, **options)
    with_likelihoods(run, {"base": base, "lora": lora}, metric)
    verdict = verdict_of(run)
    assert (verdict.headline, verdict.reason, verdict.choice) == expected
    assert verdict.difference is not None and not verdict.higher_is_better
    assert (verdict.difference.estimate > 0) == (lora < base)  # turned so that more is better
    assert verdict.contenders[0].name == ("lora" if lora < base else "base")
    assert verdict.if_you_must["lora"]["probability_best"] == (1.0 if lora < base else 0.0)
    assert min(o["expected_regret"] for o in verdict.if_you_must.values()) == 0.0


def test_perplexities_of_different_tokenizers_do_not_rank(tmp_path: Path) -> None:
    contenders = {"base": Answers(marks(30, 30)), "lora": Answers(marks(30, 30), tuned=True)}
    run, _ = judged(tmp_path, contenders, metrics={"primary": "perplexity", "also": []})
    with_likelihoods(run, {"base": 1.5}, "perplexity", "one")
    with_likelihoods(run, {"lora": 0.5}, "perplexity", "another")
    verdict = verdict_of(run)
    assert verdict.reason == "invalid-comparison" and "measured differently" in verdict.sentence
    assert verdict.if_you_must == {}


def test_a_value_over_all_samples_may_be_none_over_those_that_both_answered(tmp_path: Path) -> None:
    """Tokens are known for the answers alone that the other one failed on."""
    contenders = {"base": Answers(marks(30, 30)), "lora": Answers(marks(50, 0, 10), tuned=True)}
    run, _ = judged(tmp_path, contenders, metrics={"primary": "perplexity", "also": []})
    for name in contenders:
        answers = [
            msgspec.structs.replace(
                p,
                reference_nats=float(i >= 50 or name == "lora"),
                reference_tokens=int(i >= 50),
                reference_bytes=1,
            )
            for i, p in enumerate(run.predictions(name))
        ]
        run.write_predictions(name, answers)
        run.write_scores(
            name, score_contender(name, answers, experiment_of(run), ["perplexity"], tokenizer="same")
        )
    verdict = verdict_of(run)
    assert (verdict.headline, verdict.reason) == ("cant-tell", "invalid-comparison")


def test_a_likelihood_that_only_one_side_has_is_no_comparison(tmp_path: Path) -> None:
    contenders = {"base": Answers(marks(30, 30)), "lora": Answers(marks(30, 30), tuned=True)}
    run, verdict = judged(tmp_path, contenders, metrics={"primary": "bits_per_byte", "also": []})
    assert (verdict.reason, "bits_per_byte has no value" in verdict.sentence) == ("no-signal", True)
    with_likelihoods(run, {"lora": 0.5}, "bits_per_byte")
    verdict = verdict_of(run)
    assert verdict.reason == "invalid-comparison" and "base has no value" in verdict.sentence


def set_dev(run: Run, values: dict[str, float | None], metric: str = "exact_match") -> None:
    for name, value in values.items():
        run.write_contender(name, {**(run.contender(name) or {}), "dev": {"metric": metric, "value": value}})


def test_dev_says_which_tuned_contender_is_judged(tmp_path: Path) -> None:
    contenders = {"base": HALF, "lora-a": GOOD, "lora-b": Answers(marks(52, 48), tuned=True)}
    run, verdict = judged(tmp_path, contenders)
    assert verdict.tuned == "lora-a"
    assert "several tuned contenders and no dev score: the first was judged" in verdict.caveats
    set_dev(run, {"lora-a": 0.4, "lora-b": 0.9})  # never the test split
    verdict = verdict_of(run)
    assert verdict.tuned == "lora-b" and verdict.headline != "tune"
    assert not [c for c in verdict.caveats if "dev" in c]
    set_dev(run, {"lora-a": 0.4, "lora-b": None})
    assert verdict_of(run).tuned == "lora-a"
    set_dev(run, {"lora-a": 0.4})
    set_dev(run, {"lora-b": 0.9}, metric="rouge_l")  # of an earlier primary metric
    verdict = verdict_of(run)
    assert verdict.tuned == "lora-a"
    assert "no dev score, so not judged: lora-b" in verdict.caveats


# -- gates through edited folders ------------------------------------------------------------------


def edit(path: Path, change: Any) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def test_different_samples_are_no_comparison(tmp_path: Path) -> None:
    run, _ = judged(tmp_path, {"base": HALF, "lora": GOOD})
    edit(run.contender_folder("lora") / "scores.json", lambda s: s["ids"].reverse())
    run.write_predictions("lora", run.predictions("lora")[::-1])
    verdict = verdict_of(run)
    assert (verdict.headline, verdict.reason) == ("cant-tell", "invalid-comparison")
    assert "base and lora answered different samples" in verdict.sentence and verdict.if_you_must == {}


def test_a_contender_that_wholly_failed_was_not_measured_differently(tmp_path: Path) -> None:
    """BLEU without any answer says so in its signature; the failures are what is told."""
    contenders = {"base": HALF, "rag": Answers("!" * 100), "lora": GOOD}
    _, verdict = judged(tmp_path, contenders, metrics={"primary": "chrf", "also": []})
    assert verdict.reason == "invalid-comparison"
    assert "100 answers of lora or rag failed" in verdict.sentence


def test_a_run_of_before_keeps_its_contenders(tmp_path: Path) -> None:
    """Its contender.json lacks the settings that came later: they had their defaults."""
    run, verdict = judged(tmp_path, {"base": HALF, "lora": GOOD})

    def older(info: dict[str, Any]) -> None:
        del info["settings"]["usd_per_1000"], info["forgetting"]

    edit(run.contender_folder("lora") / "contender.json", older)
    scores = run.contender_folder("lora") / "scores.json"
    edit(scores, lambda s: [metric.pop("scale") for metric in s["metrics"].values()])
    assert verdict_of(run) == verdict and verdict.tuned == "lora"
    edit(run.contender_folder("lora") / "contender.json", lambda c: c["settings"].update(tuned=False))
    assert verdict_of(run).reason == "no-tuned-contender", "these are other settings"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "predictions.jsonl").unlink(), "does not hold the answers"),
        (lambda folder: edit(folder / "scores.json", lambda s: s.pop("operations")), "it lacks operations"),
        (lambda folder: edit(folder / "contender.json", lambda c: c.update(kind=None)), "it lacks kind"),
    ],
)
def test_a_damaged_contender_is_named(damage: Any, words: str, tmp_path: Path) -> None:
    run, _ = judged(tmp_path, {"base": HALF, "lora": GOOD})
    damage(run.contender_folder("lora"))
    with pytest.raises(RunError, match=words) as refused:
        verdict_of(run)
    assert "lora" in str(refused.value) and "un the experiment again" in str(refused.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["backend"].update(kind="hf", max_new_tokens=8), "answer lengths"),
        (lambda c: (c["backend"].update(kind="hf"), c["hardware"].update(dtype="bfloat16")), "dtypes"),
        (lambda c: c["backend"].update(kind="openai", max_new_tokens=8), "answer lengths"),
    ],
)
def test_other_conditions_are_no_comparison(change: Any, words: str, tmp_path: Path) -> None:
    run, _ = judged(tmp_path, {"base": HALF, "lora": GOOD})
    kind = {"kind": "openai" if "openai" in repr(change.__code__.co_consts) else "hf", "max_new_tokens": 64}
    for name in ("base", "lora"):
        path = run.contender_folder(name) / "contender.json"
        edit(path, lambda c: c.update(backend=dict(kind), hardware={"dtype": "float32"}))
    edit(run.contender_folder("lora") / "contender.json", change)
    verdict = verdict_of(run)
    assert verdict.reason == "invalid-comparison" and words in verdict.sentence


def test_a_contender_without_scores_is_a_caveat(tmp_path: Path) -> None:
    run, _ = judged(tmp_path, {"base": HALF, "shots": HALF, "lora": GOOD})
    (run.contender_folder("shots") / "scores.json").unlink()
    verdict = verdict_of(run)
    assert verdict.headline == "tune" and "not scored: shots" in verdict.caveats


def test_errors_in_the_data_come_before_everything(tmp_path: Path) -> None:
    path = write_experiment(tmp_path, {"base": HALF, "lora": GOOD})
    run, _ = run_it(path, tmp_path / "runs")
    for code, severity, reason in (
        ("MSG001", "error", "fix-data"),
        ("FMT001", "error", "fix-data"),
        ("TOOL001", "error", "fix-data"),
        ("MASK001", "error", "fix-data"),
        ("DUP003", "error", "fix-data"),
        ("DUP001", "error", "quality"),
        ("PII001", "error", "quality"),
        ("TEXT001", "error", "quality"),
        ("MSG001", "warning", "quality"),
    ):
        finding = {"code": code, "severity": severity, "path": "train.jsonl", "line": 3}
        (run.folder / "findings.jsonl").write_text(json.dumps(finding) + "\n")
        verdict = verdict_of(run)
        assert verdict.reason == reason, code
        told = any(code in c for c in verdict.caveats)
        assert told == (severity == "error" and reason == "quality"), code
        if reason == "fix-data":
            assert "train.jsonl:3" in verdict.sentence and verdict.next.startswith("workbench lint ")


RETIRED = {"backends": {"none": {"kind": "echo"}, "api": {"kind": "openai", "model": "gpt-3.5-turbo-0125"}}}


def test_a_retired_model_leaves_the_race(tmp_path: Path) -> None:
    last = "2026-10-23"
    hosted = Answers(GOOD.marks, tuned=True, backend="api")
    run, verdict = judged(tmp_path / "tuned", {"base": HALF, "ft": hosted}, extra=RETIRED)
    assert (verdict.headline, verdict.reason) == ("cant-tell", "retiring") and last in verdict.sentence
    before = verdict_of(run, decision=Decision(date=last))
    assert (before.headline, before.exploratory) == ("tune", True)

    old = Answers(marks(99, 1), backend="api")
    _, verdict = judged(tmp_path / "alternative", {"old": old, "base": HALF, "lora": GOOD}, extra=RETIRED)
    assert (verdict.headline, verdict.choice) == ("tune", "lora")
    assert "old left the race: its model is served no more" in verdict.caveats
    assert "old" not in verdict.if_you_must

    _, verdict = judged(tmp_path / "both", {"base": HALF, "ft": hosted, "lora": GOOD}, extra=RETIRED)
    assert (verdict.headline, verdict.choice) == ("tune", "lora")
    assert "ft left the race: its model is served or can be tuned no more" in verdict.caveats
    assert "ft" not in verdict.if_you_must

    _, verdict = judged(tmp_path / "all", {"old": old, "lora": GOOD}, extra=RETIRED)
    assert (verdict.headline, verdict.reason) == ("cant-tell", "retiring")


# -- money -----------------------------------------------------------------------------------------


def test_the_money_by_hand(tmp_path: Path) -> None:
    contenders = {"base": Answers(SAME, usd_per_1000=50), "lora": Answers(SAME, tuned=True, usd_per_1000=10)}
    costs = {"data_usd": 100, "labour_usd": 200, "gpu_usd_per_hour": 2, "hosting_usd_per_hour": 1.70}
    run, _ = judged(tmp_path, contenders, decision={"costs": costs, "requests_per_month": 50_000})
    info = run.contender("lora") or {}
    run.write_contender("lora", info | {"training": {"seconds": 5400}})
    verdict = verdict_of(run)
    # 1.70 × 720 = 1,224 hosting; 50,000 × 0.04 − 1,224 = 776 saved a month; 100 + 200 + 1.5 h × 2 + 100 answers × 0.01 = 304 to begin with
    assert verdict.costs["hosting_usd_per_month"] == pytest.approx(1224)
    assert verdict.costs["saving_usd_per_month"] == pytest.approx(776)
    assert verdict.costs["fixed_usd"] == pytest.approx(304)
    assert verdict.payback_months == pytest.approx(304 / 776)
    assert (verdict.headline, verdict.reason) == ("tune", "cheaper")
    assert verdict.seeds == 1 and "one training seed" in verdict.caveats
    assert [c.usd_per_1000 for c in sorted(verdict.contenders, key=lambda c: c.name)] == pytest.approx(
        [50, 10]
    )


def test_never_paying_back_is_no_number(tmp_path: Path) -> None:
    contenders = {"base": Answers(SAME, usd_per_1000=1), "lora": Answers(SAME, tuned=True, usd_per_1000=5)}
    _, verdict = judged(tmp_path, contenders, decision={"costs": {"labour_usd": 9}})
    assert verdict.payback_months is None and (verdict.costs["saving_usd_per_month"] or 0) < 0
    assert verdict.costs["cheaper_probability"] == 0.0 and verdict.flips == ()


def test_the_volume_that_would_flip_it_does(tmp_path: Path) -> None:
    contenders = {"base": Answers(SAME, usd_per_1000=5), "lora": Answers(SAME, tuned=True, usd_per_1000=1)}
    run, verdict = judged(tmp_path, contenders, decision={"costs": {"labour_usd": 4799.9}})
    # (4,799.90 + 100 test answers × 0.001) ÷ 12 months ÷ $0.004 = 100,000 requests a month
    assert verdict.reason == "alternative-suffices"
    assert verdict.flips == ("100,000 requests a month (tuning then pays back within the horizon)",)
    decision = Decision.model_validate({"costs": {"labour_usd": 4799.9}, "requests_per_month": 100_100})
    assert verdict_of(run, decision=decision).reason == "cheaper"


def test_a_worse_model_is_not_flipped_by_volume(tmp_path: Path) -> None:
    contenders = {"base": Answers(marks(90, 10), usd_per_1000=5), "lora": Answers(HALF.marks, True, 1)}
    _, verdict = judged(tmp_path, contenders, decision={"costs": {"labour_usd": 4800}})
    assert verdict.reason == "alternative-suffices" and verdict.flips == ()


def test_margins_and_budgets_that_would_flip_it_do(tmp_path: Path) -> None:
    run, verdict = judged(tmp_path / "a", {"base": HALF, "lora": GOOD})
    assert verdict.difference is not None and verdict.difference.interval is not None
    low = verdict.difference.interval[0]
    assert verdict.flips == (f"worth-it of {low:.3g} or more",)
    assert verdict_of(run, decision=Decision(worth_it=low - 0.001)).headline == "tune"
    flipped = verdict_of(run, decision=Decision(worth_it=low + 0.001))
    assert flipped.headline != "tune" and flipped.flips[0] == f"worth-it under {low:.3g}"
    high = verdict.difference.interval[1]
    assert flipped.flips[1] == f"worth-it over {high:.3g}: not worth tuning then"
    assert verdict_of(run, decision=Decision(worth_it=high + 0.001)).headline == "dont-tune"
    settings_ = {"budget_usd": 200, "costs": {"labour_usd": 300}}
    run, verdict = judged(tmp_path / "b", {"base": HALF, "lora": GOOD}, decision=settings_)
    assert verdict.flips == ("a budget of $300.00",)
    assert (
        verdict_of(run, decision=Decision.model_validate(settings_ | {"budget_usd": 300})).headline == "tune"
    )


def test_unknown_prices_give_no_money(tmp_path: Path) -> None:
    run, verdict = judged(
        tmp_path, {"base": Answers(SAME, usd_per_1000=5), "lora": Answers(SAME, tuned=True)}
    )
    assert verdict.costs["saving_usd_per_month"] is None and verdict.payback_months is None
    assert verdict.costs["fixed_usd"] == 0.0
    assert money.__doc__ and run.verdict() == verdict


# -- settings on record ----------------------------------------------------------------------------


def test_what_if_is_exploratory_and_writes_nothing(tmp_path: Path) -> None:
    run, first = judged(tmp_path, {"base": HALF, "lora": GOOD})
    before = {p: p.read_bytes() for p in run.folder.rglob("*") if p.is_file()}
    other = verdict_of(run, decision=Decision(worth_it=0.6))
    assert other.exploratory and other.margin == 0.6 and other.headline == "dont-tune"
    same = verdict_of(run, decision=Decision())
    assert same == first and not same.exploratory
    assert {p: p.read_bytes() for p in run.folder.rglob("*") if p.is_file()} == before


def test_deciding_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    groups = [f"g{i % 37}" for i in range(100)]
    run, _ = judged(tmp_path, {"base": HALF, "lora": GOOD}, groups=groups)
    first = (run.folder / "verdict.json").read_bytes()
    run.write_verdict(verdict_of(run))
    assert (run.folder / "verdict.json").read_bytes() == first


def test_a_margin_changed_after_the_answers_stays_on_record(tmp_path: Path) -> None:
    contenders = {"base": HALF, "lora": GOOD}
    path = write_experiment(tmp_path, contenders, decision={"worth_it": 0.4})
    run, verdict = run_it(path, tmp_path / "runs")
    assert verdict.headline == "cant-tell" and run.meta()["decision_history"] == []
    path.write_text(path.read_text().replace("worth_it: 0.4", "worth_it: 0.1"))
    again, verdict = run_it(path, tmp_path / "runs")
    assert again.folder == run.folder
    assert (verdict.headline, verdict.exploratory) == ("tune", True)
    (entry,) = run.meta()["decision_history"]
    assert entry["decision"]["worth_it"] == 0.4 and run.meta()["decision"]["worth_it"] == 0.1
    _, verdict = run_it(path, tmp_path / "runs", fresh=True)  # forgetting the answers does not unsee them
    assert verdict.exploratory and len(run.meta()["decision_history"]) == 1
    path.write_text(path.read_text().replace("worth_it: 0.1", "worth_it: 0.4"))
    _, verdict = run_it(path, tmp_path / "runs")
    assert not verdict.exploratory and len(run.meta()["decision_history"]) == 2


def test_a_margin_changed_before_any_answer_is_the_first(tmp_path: Path) -> None:
    path = write_experiment(tmp_path, {"base": HALF, "lora": GOOD}, decision={"worth_it": 0.4})
    lora = (tmp_path / "lora.jsonl").read_text()
    (tmp_path / "lora.jsonl").unlink()
    with pytest.raises(ValueError, match="no such file"):
        run_it(path, tmp_path / "runs")
    (tmp_path / "lora.jsonl").write_text(lora)
    path.write_text(path.read_text().replace("worth_it: 0.4", "worth_it: 0.1"))
    run, verdict = run_it(path, tmp_path / "runs")
    assert not verdict.exploratory and run.meta()["decision_history"] == []


def test_a_day_may_stand_unquoted(tmp_path: Path) -> None:
    path = write_experiment(tmp_path, {"base": HALF})
    text = path.read_text()
    for written in ("2026-11-20", "'2026-11-20'"):
        found = Experiment.parse(text.replace("decision: {}", f"decision: {{date: {written}}}"), path=path)
        assert found.decision.date == "2026-11-20"
    with pytest.raises(ValueError, match="YYYY-MM-DD"):
        Experiment.parse(text.replace("decision: {}", "decision: {date: tomorrow}"), path=path)


def test_no_experiment_no_verdict(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"experiment\.yaml"):
        verdict_of(Run(tmp_path))


# -- any folder ------------------------------------------------------------------------------------

MARKS = st.text(alphabet="+-?~!", min_size=6, max_size=6)
MONEY = st.one_of(st.none(), st.floats(0, 100))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    contenders=st.lists(st.tuples(MARKS, st.booleans(), MONEY), min_size=1, max_size=4),
    repeat=st.sampled_from([1, 5, 12]),
    grouped=st.sampled_from([None, 1, 2, 5]),
    metric=st.sampled_from(["exact_match", "macro_f1", "token_f1", "chrf", "perplexity", "bits_per_byte"]),
    worth_it=st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    within=st.sampled_from([None, 0.0, 0.2]),
    horizon=st.sampled_from([0.5, 12.0]),
    volume=st.sampled_from([0.0, 1e3, 1e9]),
    labour=st.sampled_from([0.0, 1e4]),
    budget=st.sampled_from([None, 0.0, 1e5]),
)
def test_any_folder_has_exactly_one_verdict(
    tmp_path_factory: pytest.TempPathFactory,
    contenders: list[tuple[str, bool, float | None]],
    repeat: int,
    grouped: int | None,
    metric: str,
    worth_it: float,
    within: float | None,
    horizon: float,
    volume: float,
    labour: float,
    budget: float | None,
) -> None:
    n = 6 * repeat
    named = {f"c{i}": Answers(m * repeat, tuned, usd) for i, (m, tuned, usd) in enumerate(contenders)}
    run, verdict = judged(
        tmp_path_factory.mktemp("any"),
        named,
        groups=[f"g{i % grouped}" for i in range(n)] if grouped else None,
        metrics={"primary": metric, "also": []},
        decision={
            "worth_it": worth_it,
            "equivalent_within": within,
            "horizon_months": horizon,
            "requests_per_month": volume,
            "costs": {"labour_usd": labour},
            "budget_usd": budget,
        },
    )
    assert verdict.headline in ("tune", "dont-tune", "cant-tell") and verdict.reason and verdict.next
    assert verdict.sentence and verdict.n == n
    if verdict.headline == "tune":
        assert named[verdict.choice or ""].tuned
    if verdict.headline == "dont-tune":
        assert not named[verdict.choice or ""].tuned
    for path in run.folder.rglob("*.json"):
        json.loads(path.read_text(), parse_constant=pytest.fail)
    assert run.verdict() == verdict == decide(run, today=date(2026, 11, 20))
