"""The Training page: doctor, curves laid over each other, the first batch as text, the learning curve."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("streamlit", reason="the app needs streamlit")

from streamlit.testing.v1 import AppTest

from tests.example_data import MARKUP, PAYLOAD, training_log
from tests.example_run import make_run
from tests.test_app import PIECES, opened, words
from tests.test_curve import curve_run


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKBENCH_RUNS", str(tmp_path))
    return tmp_path


def piece(text: str, trained: bool) -> dict[str, Any]:
    return {"text": text, "trained": trained}


def batch(*rows: list[dict[str, Any]]) -> dict[str, Any]:
    made = [
        {"id": f"s{i}", "line": 7 + i, "tokens": 12, "trained": 3, "pieces": pieces}
        for i, pieces in enumerate(rows)
    ]
    return {"tokenizer": "tiny", "batching": "packed", "sequences": [{"rows": made}]}


def charts(at: AppTest) -> list[str]:
    """The drawn charts, as their specifications."""
    return [e.proto.spec for e in at.get("vega_lite_chart")]


def test_the_doctor_speaks_on_the_page(root: Path) -> None:
    make_run(root)
    page = words(opened("training", run="triage-1f2e9a07"))
    assert "Overfitting" in page and "the dev loss rose from 0.323 at step 30 to 0.413 at step 40" in page
    assert "patience: 1" in page


def test_a_healthy_training_is_said_to_be_one(root: Path) -> None:
    run = make_run(root)
    run.write_training("lora", [row for row in training_log() if row["step"] <= 30])
    assert "found nothing" in words(opened("training"))


def test_a_training_that_broke_off_says_why(root: Path) -> None:
    run = make_run(root, until="split")
    info = {"name": "lora", "kind": "fine-tuned", "tuned": True, "status": "started", "backend": {}}
    run.write_contender("lora", {**info, "settings": {"learning_rate": 3.0, "method": "lora"}})
    run.write_training("lora", [{"step": 1, "loss": 2.0}, {"step": 2, "seconds": 1.0, "broke": "loss"}])
    page = words(opened("training"))
    assert "Divergence" in page and "no number any more at step 2" in page and "0.0002 is usual" in page
    assert "found nothing" not in page


def test_every_measure_can_be_drawn(root: Path) -> None:
    make_run(root)
    at = opened("training")
    beside = next(box for box in at.selectbox if box.label == "Beside the loss")
    assert beside.options == ["learning rate", "tokens per second", "peak memory, GiB"]
    for measure in beside.options:
        at = beside.set_value(measure).run()
        assert not at.exception
        assert len(charts(at)) == 2 and measure in charts(at)[1]
        beside = next(box for box in at.selectbox if box.label == "Beside the loss")


def test_other_trainings_are_laid_over(root: Path) -> None:
    run = make_run(root)
    make_run(root, name="triage-elsewhere", seed=8)
    seed = run.part("seeds", "8")
    info = run.contender("lora") or {}
    seed.write_contender("lora", info)
    seed.write_training("lora", training_log())
    at = opened("training", run="triage-1f2e9a07")
    over = at.multiselect[0]
    assert over.options == ["lora · seed 8", "lora · triage-elsewhere"]
    at = over.set_value(list(over.options)).run()
    assert not at.exception
    domain = json.loads(charts(at)[1])["encoding"]["color"]["scale"]["domain"]
    assert domain == ["lora", "lora · seed 8", "lora · triage-elsewhere"]


def test_the_first_batch_is_text_with_its_trained_part_marked(root: Path) -> None:
    run = make_run(root)
    asked = [piece(f"<|im_start|>user\n{MARKUP} {PAYLOAD}\n", False), piece("bench/water<|im_end|>", True)]
    run.write_first_batch("lora", batch(asked, [piece("x\n\n# y ", False), piece("**z**", True)]))
    at = opened("training")
    shown = [str(m.value) for m in at.markdown]
    first = next(text for text in shown if "im\\_start" in text)
    assert "green-background[**bench\\/water" in first
    assert not [p for p in PIECES for text in shown if re.search(r"(?<!\\)" + re.escape(p), text)]
    assert "line 7 · 12 tokens, 3 of them trained" in words(at)
    assert any("2 rows, 6 of 24 tokens trained" in e.label for e in at.expander)


def test_a_damaged_neighbour_keeps_nothing_out_of_reach(root: Path) -> None:
    make_run(root)
    other = make_run(root, name="triage-broken")
    (other.contender_folder("lora") / "contender.json").write_text("{")
    at = opened("training", run="triage-1f2e9a07")
    assert "step 30 kept" in words(at) and not at.multiselect


def test_the_learning_curve_has_its_band(root: Path) -> None:
    run, experiment = curve_run(root / "x-1", {0.25: [90, 100], 0.5: [120, 126], 1.0: [140, 146]}, 80)
    run.write_meta(
        {
            "status": "success",
            "experiment": "x",
            "task": "generation",
            "contenders": ["lora", "plain"],
            "files": {},
        }
    )
    run.write_experiment_text(
        yaml.safe_dump(experiment.model_dump(mode="json", exclude_none=True), sort_keys=False)
    )
    run.write_training("lora", [{"step": 1, "loss": 1.0}])
    at = opened("training", run="x-1")
    assert "What more data would bring" in words(at)
    assert "training rows" in charts(at)[-1] and "all rows" in charts(at)[-1]
