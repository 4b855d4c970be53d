"""Several processes that train one model: the same steps as one, and an end of all when one ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.test_training import PAIRS, chat, model, other, settings_for, train
from validators.examples import Example
from workbench.experiment import Experiment, ExperimentError
from workbench.runs import Run
from workbench.training import TrainingError, check_launch
from workbench.training.batches import batches_of
from workbench.training.job import Job
from workbench.training.launch import _started
from workbench.training.rows import IGNORED

__all__ = ["model"]


# -- who trains on what ------------------------------------------------------------------------------


def rows_of(count: int) -> list[dict[str, list[int]]]:
    """Rows that are told apart by their first token, of uneven lengths."""
    return [{"input_ids": [100 + i] * (2 + i % 5), "labels": [7] * (2 + i % 5)} for i in range(count)]


def steps(
    count: int, processes: int, batch: int, accumulation: int, packing: str, epoch: int
) -> list[list[int]]:
    """The first tokens of the rows of each step, of all processes together; blanks left out."""
    settings = settings_for(Path(), processes=processes, batch_size=batch, gradient_accumulation=accumulation)
    made = batches_of(settings, rows_of(count), rows_of(3), 0, packed=packing == "on")
    made.order.set_epoch(epoch)
    order = list(made.order)
    size = made.train_size
    batches = [order[i : i + size] for i in range(0, len(order), size)]
    assert len(batches) % processes == 0 and len({len(b) for b in batches[:-1]}) <= 1
    # As accelerate deals them out: batch 0 to the first process, 1 to the second, and so on.
    a_step = processes * made.accumulation
    found = []
    for begin in range(0, len(batches), a_step):
        items = [made.train[i] for part in batches[begin : begin + a_step] for i in part]
        rows = [row for item in items for row in (item if isinstance(item, list) else [item])]
        found.append(sorted(r["input_ids"][0] for r in rows if set(r["labels"]) != {IGNORED}))
    assert len(found) == made.steps
    return found


@pytest.mark.parametrize("packing", ["on", "off"])
@pytest.mark.parametrize(
    ("processes", "batch", "accumulation"), [(2, 8, 1), (2, 4, 2), (2, 2, 3), (3, 6, 2), (4, 2, 2), (4, 4, 1)]
)
@pytest.mark.parametrize("count", [5, 24, 37])
def test_every_step_has_the_rows_that_one_process_would_take(
    count: int, processes: int, batch: int, accumulation: int, packing: str
) -> None:
    for epoch in (0, 1):
        alone = steps(count, 1, batch, accumulation, packing, epoch)
        assert steps(count, processes, batch, accumulation, packing, epoch) == alone
        assert sorted(row for step in alone for row in step) == list(range(100, 100 + count))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"batch_size": 3}, "cannot share steps of batch_size 3 × gradient_accumulation 1.*batch_size one of 2"),
    ({"processes": 3, "batch_size": 8}, "gradient_accumulation a multiple of 3 or batch_size one of 3"),
    (
        {"device": "cuda", "processes": 4, "batch_size": 4},
        r"4 processes, but this machine has 3 GPUs.*Set processes: 3",
    ),
    ({"device": "cuda:1"}, "one GPU each: set device: cuda instead of cuda:1"),
    ({"device": "mps"}, "not mps"),
    ({"stop_on": "primary"}, "stop_on: primary.*Use stop_on: dev_loss"),
]


@pytest.mark.parametrize(("asked", "told"), REFUSED, ids=[str(a) for a, _ in REFUSED])
def test_what_cannot_work_is_refused_by_name(
    asked: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    with pytest.raises(TrainingError, match=told):
        check_launch(settings_for(Path(), **({"processes": 2, "batch_size": 2} | asked)))
    check_launch(settings_for(Path(), **(asked | {"processes": 1})))


def test_a_launch_with_nothing_to_train_is_refused(tmp_path: Path) -> None:
    text = """
name: e
data: {path: d.jsonl}
backends: {api: {kind: openai, model: gpt-4o-mini}}
launch: {processes: 2}
contenders: [{name: theirs, kind: hosted}]
"""
    with pytest.raises(ExperimentError, match="nothing is trained here; theirs is tuned by a provider"):
        Experiment.parse(text, path=tmp_path / "e.yaml")
    with pytest.raises(ExperimentError, match="processes"):
        Experiment.parse(text.replace("processes: 2", "processes: 0"), path=tmp_path / "e.yaml")


# -- whole trainings -----------------------------------------------------------------------------------

ASKED: dict[str, Any] = {"epochs": 2, "batch_size": 2, "gradient_accumulation": 3, "learning_rate": 1e-2}


def uneven() -> Mapping[str, Example]:
    """15 rows, so that the last step of an epoch is a small one and one process has less to do."""
    pairs = [*PAIRS, *PAIRS][:15]
    return {f"s{i}": chat(q, " ".join([a] * (1 + i % 4)), i + 1) for i, (q, a) in enumerate(pairs)}


def weights(run: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(Run(run).adapter_folder("lora") / "adapter_model.safetensors")


def test_two_processes_train_as_one_also_after_one_of_them_was_killed(model: Path, tmp_path: Path) -> None:
    dev = dict(list(other().items())[:3])
    alone = train(model, tmp_path / "one", uneven(), dev, **ASKED)
    workers: list[psutil.Process] = []

    def kill_one(step: int, total: int, told: str) -> None:
        if step == 4 and not workers:
            (agent,) = (c for c in psutil.Process().children() if "workbench.training.worker" in c.cmdline())
            workers.extend(sorted(agent.children(), key=lambda p: p.pid))
            workers[-1].kill()

    two = tmp_path / "two"
    with pytest.raises(
        TrainingError, match=r"process 1 of 2 was killed \(SIGKILL.*goes on from the last checkpoint"
    ):
        train(model, two, uneven(), dev, progress=kill_one, processes=2, **ASKED)
    assert len(workers) == 2 and not any(alive(worker.pid) for worker in workers)
    folder = Run(two).checkpoint_folder("lora")
    assert [sorted(p.name for p in c.iterdir() if "state" in p.name) for c in folder.iterdir()] == [
        ["rng_state_0.pth", "rng_state_1.pth", "trainer_state.json"]
    ]
    assert not folder.with_name(".launch").exists()

    seen: list[int] = []
    summary = train(
        model, two, uneven(), dev, progress=lambda step, *_: seen.append(step), processes=2, **ASKED
    )
    assert min(seen) == 4 and summary.processes == 2  # the first epoch, of 3 steps, was not trained again
    assert (summary.steps, summary.tokens, summary.best_step) == (alone.steps, alone.tokens, alone.best_step)
    assert summary.dev_loss == pytest.approx(alone.dev_loss, abs=1e-6)
    one, shared = weights(tmp_path / "one"), weights(two)
    assert max(w.abs().max() for name, w in one.items() if "lora_B" in name) > 1e-2
    assert max((one[name] - shared[name]).abs().max() for name in one) < 1e-6
    losses = [[row.get("loss") for row in Run(run).training("lora")] for run in (tmp_path / "one", two)]
    assert losses[0] == pytest.approx(losses[1], abs=2e-6)


def alive(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def test_an_interrupt_leaves_no_process(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), _started(tmp_path, settings_for(tmp_path, processes=2)) as agent:
        raise KeyboardInterrupt
    assert agent.returncode is not None and not alive(agent.pid)


STARTER = """
import os, signal, sys
from pathlib import Path
from workbench.training.job import Job
from workbench.training.launch import _started
folder = Path(sys.argv[1])
with _started(folder, Job.read(folder / "job").settings) as agent:
    print(agent.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_processes_end_with_a_starter_that_was_killed(tmp_path: Path) -> None:
    Job(settings_for(tmp_path, processes=2), Run(tmp_path), [], [], []).write(tmp_path / "job")
    done = subprocess.run(
        [sys.executable, "-c", STARTER, str(tmp_path)],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid = int(done.stdout)
    for _ in range(600):
        if not alive(pid):
            break
        time.sleep(0.1)
    else:
        os.killpg(pid, signal.SIGKILL)
        pytest.fail("the launcher lives on")
