"""Trackers: each really run beside a training, and read back; none may cost a training or leave this machine."""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.test_training import other, train
from validators.assets import AssetError
from workbench.experiment import Experiment, ExperimentError
from workbench.runs import Run
from workbench.training import check_trackers, trackers
from workbench.training.trackers import curves, wandb_mode

HEAD = "name: x\ndata: {path: rows.jsonl}\ncontenders: [{name: lora, kind: fine-tuned}]\n"


def logged(run: Path, key: str) -> list[tuple[int, float]]:
    return [(row["step"], row[key]) for row in Run(run).training("lora") if key in row]


def test_tensorboard_holds_what_train_jsonl_holds(tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    train(tiny_model, run, dev=other(), track=("tensorboard",))
    events = EventAccumulator(str(Run(run).tracker_folder("lora", "tensorboard")))
    events.Reload()
    for key, tag in (("loss", "train/loss"), ("dev_loss", "dev/loss"), ("memory_mb", "machine/memory_mb")):
        told = [(event.step, event.value) for event in events.Scalars(tag)]
        assert [step for step, _ in told] == [step for step, _ in logged(run, key)]
        assert [value for _, value in told] == pytest.approx([v for _, v in logged(run, key)], rel=1e-6)
    assert not [name for name in Run(run).file_index() if "tensorboard" in name]


def records(blob: bytes) -> Iterator[bytes]:
    """The records of a W&B log: LevelDB's format (blocks of 32 KiB; checksum, length, type) behind seven bytes."""
    at, parts = 7, b""
    while at + 7 <= len(blob):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack("<HB", blob[at + 4 : at + 7])
        parts += blob[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def test_wandb_is_offline_and_holds_what_train_jsonl_holds(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.delenv("WANDB_MODE", raising=False)
    run = tmp_path / "run"
    train(tiny_model, run, dev=other(), track=("wandb",))
    folder = Run(run).tracker_folder("lora", "wandb")
    (file,) = folder.glob("offline-run-*/run-*.wandb")
    losses = []
    for data in records(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        for item in record.history.item:
            if (item.key or "/".join(item.nested_key)) == "train/loss":
                losses.append(float(item.value_json))
    assert losses == pytest.approx([loss for _, loss in logged(run, "loss")])
    held = [path for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in held if str(tmp_path).encode() in path.read_bytes()], (
        "folders of this machine"
    )


@pytest.mark.parametrize(
    ("offline", "environment", "mode"),
    [
        (False, {}, "offline"),
        (False, {"WANDB_MODE": "online"}, "online"),
        (True, {"WANDB_MODE": "online"}, "offline"),
        (True, {"WANDB_MODE": "disabled"}, "disabled"),
    ],
)
def test_nothing_leaves_unless_it_is_asked_to(offline: bool, environment: dict[str, str], mode: str) -> None:
    assert wandb_mode(offline, environment) == mode


def test_curves_have_the_names_of_their_kind() -> None:
    row = {"step": 3, "seconds": 1.0, "loss": 2.0, "dev_loss": 1.0, "gpu_percent": 7, "broke": "dev loss"}
    assert curves(row) == {"train/loss": 2.0, "dev/loss": 1.0, "machine/gpu_percent": 7}


class _Failing:
    def __init__(self, *_: Any) -> None:
        self.rows = 0

    def write(self, row: Any) -> None:
        self.rows += 1
        if self.rows > 2:
            raise OSError("No space left on device")

    def close(self) -> None:
        raise AssertionError("left behind already")


def test_a_tracker_that_breaks_costs_no_training(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(trackers.TRACKERS, "wandb", _Failing)
    with caplog.at_level(logging.WARNING):
        train(tiny_model, tmp_path / "run", track=("wandb",))
    assert len(logged(tmp_path / "run", "loss")) == 8
    assert "wandb is told no more of this training (No space left on device)" in caplog.text


def test_unknown_trackers_are_refused_by_name() -> None:
    with pytest.raises(
        ExperimentError,
        match=r"track\[0\]: must be 'tensorboard' or 'wandb' \(did you mean 'tensorboard'\?\)",
    ):
        Experiment.parse(HEAD + "track: [tensorbord]\n", path=Path("e.yaml"))
    assert Experiment.parse(HEAD + "track: [wandb]\n", path=Path("e.yaml")).track == ("wandb",)


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(
        AssetError, match=r"track: \[wandb\] needs the package wandb.*decide-before-you-tune\[track\]"
    ):
        check_trackers(("wandb",))
