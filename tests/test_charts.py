"""The charts: what they show, what they leave out, when there is none."""

from __future__ import annotations

import pytest

from workbench.charts import differences_chart, loss_chart, scores_chart, svg
from workbench.charts_money import cost_quality_chart
from workbench.records import ContenderSummary, Difference

pytest.importorskip("altair")
pytest.importorskip("vl_convert")


def contender(name: str, score: float | None, **more: object) -> ContenderSummary:
    fields = {"kind": "prompting", "tuned": False, "interval": None, "n": 10, "errors": 0, **more}
    return ContenderSummary(name=name, score=score, **fields)


LORA = contender("lora", 0.91, tuned=True, interval=(0.84, 0.95), usd_per_1000=0.41, seconds_per_request=0.07)
FEW = contender("few-shot", 0.89, usd_per_1000=0.62, seconds_per_request=0.09)
FAILED = contender("rag", None, reason="every request failed")


def test_scores_leave_out_who_has_none_and_mark_the_direction() -> None:
    drawn = svg(scores_chart([FEW, FAILED, LORA], "perplexity", higher_is_better=False))
    assert "few-shot" in drawn
    assert "rag" not in drawn
    assert "perplexity (lower is better)" in drawn
    assert "<script" not in drawn


def test_a_missing_interval_draws_no_bar() -> None:
    def bars(*shown: ContenderSummary) -> int:
        # The marks of the first layer; the axes have lines of their own.
        marks = svg(scores_chart(shown, "exact_match")).split("layer_0_marks")[1].split("layer_1_marks")[0]
        return marks.count("<line")

    assert (bars(LORA), bars(FEW), bars(LORA, FEW)) == (1, 0, 1)


def test_differences_show_zero_and_the_margin() -> None:
    found = [Difference(against="few-shot", estimate=0.02, interval=None, p=None, method="none")]
    assert "worth it from +0.05" in svg(differences_chart(found, "exact_match", tuned="lora", margin=0.05))
    assert "worth it" not in svg(differences_chart(found, "exact_match", tuned="lora", margin=0.0))


@pytest.mark.parametrize(
    ("contenders", "axis"),
    [
        ([LORA, FEW, FAILED], "USD per 1,000 requests"),
        ([LORA, contender("zero-shot", 0.3, seconds_per_request=0.05)], "seconds per 1,000 requests"),
        ([LORA, contender("ours-today", 0.5)], None),
        ([FAILED], None),
        ([contender("echo", 0.0, usd_per_1000=0.0)], "USD per 1,000 requests"),
    ],
)
def test_cost_is_money_then_time_then_nothing(contenders: list[ContenderSummary], axis: str | None) -> None:
    chart = cost_quality_chart(contenders, "exact_match")
    assert (axis is None) if chart is None else (axis in svg(chart))


def test_the_step_that_was_kept_is_marked() -> None:
    rows = [
        {"step": i, "loss": 2.0 / i, **({"dev_loss": abs(i - 4) + 1.0} if i % 2 == 0 else {})}
        for i in range(1, 9)
    ]
    assert "kept: step 4" in svg(loss_chart(rows))
    assert "kept: step 6" in svg(loss_chart(rows, best_step=6))
    assert "kept" not in svg(loss_chart([{"step": 1, "loss": 2.0}]))
