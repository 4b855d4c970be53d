"""The decision card: its words, its numbers, its shape on a terminal."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.card import (
    best_first,
    card,
    card_text,
    count,
    digits_for,
    gap,
    headline,
    interval,
    metric_label,
    months,
    number,
    p_value,
    percent,
    plain,
    seconds,
    usd,
)
from workbench.records import ContenderSummary, Difference, Forgetting, Harm, SliceChange, Verdict


def contender(name: str, score: float | None, *, tuned: bool = False, **more: object) -> ContenderSummary:
    fields = {"kind": "prompting", "interval": None, "n": 100, "errors": 0, **more}
    return ContenderSummary(name=name, tuned=tuned, score=score, **fields)


DIFFERENCE = Difference(against="few-shot", estimate=0.02, interval=(-0.03, 0.04), p=0.48, method="BCa")
VERDICT = Verdict(
    headline="dont-tune",
    reason="alternative-suffices",
    sentence="few-shot is close enough to lora.",
    experiment="triage",
    metric="exact_match",
    higher_is_better=True,
    margin=0.05,
    equivalent_within=0.05,
    tuned="lora",
    choice="few-shot",
    against="lora",
    difference=DIFFERENCE,
    differences=(DIFFERENCE,),
    contenders=(
        contender("zero-shot", 0.31),
        contender("few-shot", 0.89, interval=(0.82, 0.94), usd_per_1000=0.62),
        contender("rag", None, errors=3, reason="every request failed"),
        contender("lora", 0.91, tuned=True, interval=(0.84, 0.95), usd_per_1000=0.41),
    ),
    n=100,
    groups=38,
    seeds=1,
    smallest_detectable_effect=0.12,
    costs={"requests_per_month": 50_000.0},
    payback_months=31.0,
    if_you_must={
        "few-shot": {"probability_best": 0.27, "expected_regret": 0.02},
        "lora": {"probability_best": 0.73, "expected_regret": 0.01},
    },
    flips=("worth-it under 0.04", "130,000 requests a month"),
    caveats=("one training seed",),
    next="workbench predict runs/triage-1f2e9a07 --contender few-shot new.jsonl answers.jsonl",
)


def changed(**fields: object) -> Verdict:
    return msgspec.structs.replace(VERDICT, **fields)


CARD = """\
DON'T TUNE · few-shot is enough                           triage · 100 test samples · 38 groups
few-shot is close enough to lora.
exact match       lora 0.91 [0.84, 0.95] · few-shot 0.89 [0.82, 0.94] · zero-shot 0.31
                  rag: no score, every request failed (3 failed)
lora − few-shot   +0.02 [−0.03, +0.04] · worth it from +0.05 · p 0.48
cost per 1,000    few-shot $0.62 · lora $0.41 · pays back in 31 months at 50,000 a month
odds of best      lora 0.73 · few-shot 0.27 (expected regret of few-shot 0.02)
caveats           one training seed
would flip it     worth-it under 0.04 · 130,000 requests a month
next              workbench predict runs/triage-1f2e9a07 --contender few-shot new.jsonl answers.jsonl
"""


def test_the_card_as_a_whole() -> None:
    assert card_text(VERDICT, width=95) == CARD


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"headline": "tune", "reason": "quality", "choice": "lora"}, "TUNE · lora is worth it"),
        ({"headline": "tune", "reason": "cheaper", "choice": "lora"}, "TUNE · lora is as good and cheaper"),
        ({"reason": "over-budget"}, "DON'T TUNE · lora is better, but over the budget"),
        (
            {"headline": "cant-tell", "reason": "no-signal"},
            "CAN'T TELL · exact match cannot tell the contenders apart",
        ),
        ({"headline": "cant-tell", "reason": "a-new-code"}, "CAN'T TELL · a new code"),
    ],
)
def test_headlines(fields: dict[str, object], words: str) -> None:
    assert headline(changed(**fields)) == words


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (number(0.912, "exact_match"), "0.91"),
        (number(0.9125, "exact_match", 3), "0.912"),
        (number(34.25, "bleu"), "34.2"),
        (number(1234.5, "perplexity"), "1,234"),
        (number(12.34, "perplexity"), "12.3"),
        (number(-0.001, "exact_match"), "0.00"),
        (gap(-0.03, "exact_match"), "−0.03"),
        (gap(0.0, "exact_match"), "0.00"),
        (gap(2.5, "chrf"), "+2.5"),
        (interval((-0.03, 0.04), "exact_match", signed=True), "[−0.03, +0.04]"),
        (interval(None, "exact_match"), ""),
        (usd(None), "unknown"),
        (usd(0.0), "$0"),
        (usd(0.0041), "$0.0041"),
        (usd(0.00000041), "under $0.0001"),
        (usd(-12.5), "−$12.50"),
        (usd(1422.0), "$1,422"),
        (seconds(0.068), "68 ms"),
        (seconds(68.0), "68.0 s"),
        (seconds(3600.0), "60 min"),
        (seconds(None), "unknown"),
        (percent(0.0042), "+0.4 %"),
        (percent(-0.0131), "−1.3 %"),
        (percent(0.0001), "0.0 %"),
        (percent(12.5, 0), "+1,250 %"),
        (months(0.4), "under a month"),
        (months(1.2), "1 month"),
        (months(31.0), "31 months"),
        (count(1, "sample"), "1 sample"),
        (p_value(0.0004), "p < 0.001"),
        (p_value(0.0049), "p 0.005"),
        (p_value(0.48), "p 0.48"),
        (p_value(None), ""),
        (metric_label("rouge_l"), "ROUGE-L"),
        (metric_label("perplexity", False), "perplexity (lower is better)"),
    ],
)
def test_numbers(made: str, text: str) -> None:
    assert made == text


def test_lower_is_better_turns_the_subtraction_and_the_order_round() -> None:
    rows = dict(card(changed(metric="perplexity", higher_is_better=False)))
    assert "few-shot − lora" in rows
    assert rows["perplexity (lower is better)"].startswith("zero-shot")
    assert [c.name for c in best_first(VERDICT.contenders)] == ["lora", "few-shot", "zero-shot", "rag"]


def test_a_third_digit_where_two_would_hide_the_side_of_the_margin() -> None:
    close = Difference(against="few-shot", estimate=0.08, interval=(0.0504, 0.11), p=0.01, method="BCa")
    verdict = changed(difference=close, differences=(close,))
    assert digits_for(VERDICT) == 2
    assert "[+0.050, +0.110] · worth it from +0.050" in dict(card(verdict))["lora − few-shot"]


def test_unknown_costs_are_said_and_never_zero() -> None:
    free = tuple(msgspec.structs.replace(c, usd_per_1000=None) for c in VERDICT.contenders)
    timed = tuple(msgspec.structs.replace(c, seconds_per_request=0.5) for c in free)
    assert dict(card(changed(contenders=free)))["cost per 1,000"] == "no prices known"
    assert "lora 8 min on this machine" in dict(card(changed(contenders=timed)))["cost per 1,000"]
    assert dict(card(changed(payback_months=None)))["cost per 1,000"].endswith(
        "never pays back at 50,000 a month"
    )


def test_rows_without_anything_to_say_are_left_out() -> None:
    bare = changed(difference=None, differences=(), if_you_must={}, flips=(), caveats=())
    assert [label for label, _ in card(bare)] == ["exact match", "cost per 1,000", "next"]
    assert "could detect" in dict(card(changed(headline="cant-tell", reason="need-more-eval-data")))


def test_an_exploratory_verdict_says_so_first() -> None:
    assert dict(card(changed(exploratory=True)))["caveats"].startswith("exploratory: ")


@given(st.text())
def test_no_control_character_reaches_the_terminal(text: str) -> None:
    shown = card_text(changed(sentence=text, caveats=(text,), experiment=text, next=text))
    assert not any((ord(c) < 32 and c != "\n") or 0x7F <= ord(c) <= 0x9F for c in shown)
    assert "\u202e" not in shown
    shown.encode("utf-8")


def test_escape_sequences_become_visible() -> None:
    assert plain("\x1b[31mred\x1b[0m\nnext") == "\ufffd[31mred\ufffd[0m next"
    assert plain("a\nb", lines=True) == "a\nb"
    assert plain("a\u202eb") == "a\ufffdb"


# -- harm and money ----------------------------------------------------------------------------------

PHONE = SliceChange(slice="channel=phone", n=40, estimate=-0.21, interval=(-0.35, -0.07))
MAIL = SliceChange(slice="channel=mail", n=60, estimate=0.1, interval=(-0.02, 0.2))
FAX = SliceChange(slice="channel=fax", n=3, estimate=-1.0, interval=None, reason="3 samples, under 10")
LITTLE = Forgetting(before=1.0, after=1.004, change=0.004, interval=(0.001, 0.007), passages=61)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (
            Harm(against="few-shot", slices=(MAIL,), forgetting=LITTLE),
            "no slice worse · forgetting +0.4 % bits per byte",
        ),
        (Harm(against="few-shot", slices=(MAIL, PHONE)), "worse on channel=phone −0.21 [−0.35, −0.07]"),
        (Harm(against="few-shot", slices=(MAIL, FAX)), "no slice worse · 1 of 2 slices too small to tell"),
        (Harm(against="few-shot", slices=(FAX,)), "no slice is large enough to tell"),
        (Harm(against=None, forgetting=LITTLE), "forgetting +0.4 % bits per byte"),
        (
            Harm(
                against="few-shot",
                slices=tuple(
                    msgspec.structs.replace(PHONE, slice=f"s={i}", estimate=-i / 10) for i in range(1, 6)
                ),
            ),
            "worse on s=5 −0.50 [−0.35, −0.07], s=4 −0.40 [−0.35, −0.07], s=3 −0.30 [−0.35, −0.07]"
            " · and 2 more slices",
        ),
        (
            Harm(
                against="a", slices=(msgspec.structs.replace(PHONE, slice="class=" + "very long name " * 9),)
            ),
            "worse on class=very long name very long name… −0.21 [−0.35, −0.07]",
        ),
    ],
)
def test_the_harm_row(harm: Harm, told: str) -> None:
    rows = card(changed(harm=harm))
    assert dict(rows)["harm"] == told
    labels = [label for label, _ in rows]
    assert labels.index("harm") == labels.index("cost per 1,000") + 1


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {"payback_months": 4.0},
            "pays back in 4 months at 50,000 a month (within 12 months: probability 0.93)",
        ),
        ({"payback_months": None}, "never pays back at 50,000 a month (within 12 months: probability 0.93)"),
        (
            {"payback_months": None, "usd_per_point": 20.0},
            "never pays back at 50,000 a month (within 12 months: probability 0.93) · each point costs $20.00 a month",
        ),
    ],
)
def test_the_payback_with_its_probability(fields: dict[str, object], told: str) -> None:
    costs = {"requests_per_month": 50_000.0, "payback_probability": 0.934, "horizon_months": 12.0}
    assert dict(card(changed(costs=costs, **fields)))["cost per 1,000"].endswith(told)
