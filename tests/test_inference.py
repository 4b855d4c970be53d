"""What answering takes by the requests that a run sent: tokens as they were, prices with their source or none."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from statistics import fmean

import pytest

from tests.example_run import make_run
from workbench.experiment import Experiment
from workbench.inference import inference

BACKENDS = {
    "hf": "local: {kind: hf, model: smollm2-135m-instruct}",
    "own price": "api: {kind: openai, model: gpt-4o-mini, price: [1.0, 2.0]}",
    "registry": "api: {kind: openai, model: gpt-4o-mini}",
    "nobody's": "api: {kind: openai, model: some-model}",
}
CONTENDERS = """\
name: triage
data: {path: tickets.jsonl, corpus: desks}
backends: {%s}
contenders:
  - {name: zero-shot, kind: prompting}
  - {name: few-shot, kind: few-shot, examples: 3}
"""


@pytest.mark.parametrize("kind", BACKENDS)
def test_tokens_are_those_of_the_requests(kind: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs")
    (tmp_path / "experiment.yaml").write_text(CONTENDERS % BACKENDS[kind])
    experiment = Experiment.load(tmp_path / "experiment.yaml")
    rows = inference(run, experiment, date(2026, 11, 21))
    assert [row["contender"] for row in rows] == ["zero-shot", "few-shot"]
    for row in rows:
        answered = [p for p in run.predictions(row["contender"]) if p.error is None]
        prompt = fmean(p.prompt_tokens or 0 for p in answered)
        completion = fmean(p.completion_tokens or 0 for p in answered)
        assert (row["answers"], row["prompt_tokens"]) == (len(answered), pytest.approx(prompt))
        if kind == "own price":
            assert row["usd_per_1000"] == pytest.approx((prompt + 2 * completion) / 1000)
        elif kind == "registry":
            assert row["usd_per_1000"] is None or row["sources"]
        else:
            said = "comparison.json" if kind == "hf" else "no price is known for some-model"
            assert row["usd_per_1000"] is None and said in row["reason"]
    few = rows[1]["prompt_tokens"]
    assert few is not None and few > rows[0]["prompt_tokens"]
