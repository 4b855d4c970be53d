"""A run over a server that fails in three calls of ten, killed again and again: what is lost, asked twice, billed.

Two contenders ask two servers (`tests.faulty_server`: 429 with and without Retry-After, 500s, truncated JSON,
empty choices, cut connections, hangs, slow drips). The run is killed with SIGKILL at random points and started
again. Every promise is asserted, and the figures are printed.

python -m tests.benchmarks.survival --samples 200 --kills 2 --seed 1
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.commands import ENVIRONMENT
from tests.faulty_server import FaultyServer, Plan, spread
from tests.judged_run import chat, jsonl, label, question
from workbench.runs import Run
from workbench.spending import bill_of

KEY = "sk-canary-5f0e1d2c3b4a"
PRICE = (1.5, 6.0)
CONTENDERS: dict[str, dict[str, Any]] = {
    "zero-shot": {"kind": "prompting"},
    "few-shot": {"kind": "few-shot", "examples": 2, "choose": "random"},
}
# Longer than any good answer takes, shorter than a hang.
TIMEOUT_SECONDS, HANG_SECONDS = 1.0, 3.0
LIMIT_SECONDS = 600.0

Servers = Mapping[str, FaultyServer]
# Runs the experiment in a folder: to its end, or until it is killed about so many rows on.
Start = Callable[[Path, int | None, random.Random], subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Trial:
    """What one trial came to. `again` counts answers that a server gave twice: those under way at a kill."""

    samples: int
    kills: tuple[int, ...]
    """Rows on disk at each kill."""
    calls: int
    faults: int
    again: int
    usd: float
    seconds: float


def trial(
    folder: Path,
    start: Start,
    *,
    samples: int,
    kills: int,
    seed: int,
    share: float = 0.3,
    concurrency: int = 8,
    answer_seconds: float = 0.02,
) -> Trial:
    """Run, kill, run again until it is done. Raises AssertionError where a promise is broken."""
    begun, chance = time.monotonic(), random.Random(seed)
    with ExitStack() as stack:
        servers = {}
        for number, name in enumerate(CONTENDERS):
            faults = spread(share)
            plan = Plan(faults, seed + number, seconds=answer_seconds, hang_seconds=HANG_SECONDS)
            servers[name] = stack.enter_context(FaultyServer(plan, key=KEY))
        write(folder, servers, samples, concurrency)
        at = []
        for number in range(kills):
            # Each kill in its own part of the run, so that every start gets somewhere.
            before, counts, left = set(rows(folder)), asked(servers), kills - number
            room = (len(CONTENDERS) * samples - len(before)) / left
            done = start(folder, max(1, round(chance.uniform(0.2, 0.9) * room)), chance)
            log(folder, done)
            assert done.returncode == -signal.SIGKILL, f"it ended before it was killed: {done.stderr}"
            time.sleep(0.3)  # what was on its way arrives at the servers
            asked_once(before, counts, asked(servers))
            at.append(len(rows(folder)))
        finished, counts = set(rows(folder)), asked(servers)
        done = start(folder, None, chance)
        log(folder, done)
        assert done.returncode in (0, 1), done.stderr
        asked_once(finished, counts, asked(servers))
        answered = sum(count.answered for server in servers.values() for count in server.counts.values())
        summaries = [server.summary for server in servers.values()]
        served = (
            sum(PRICE[0] * s["prompt_tokens"] + PRICE[1] * s["completion_tokens"] for s in summaries) / 1e6
        )
        usd = whole_and_right(folder, samples, served)
        secret(folder)
    return Trial(
        samples=samples,
        kills=tuple(at),
        calls=sum(s["calls"] for s in summaries),
        faults=sum(sum(s["faults"].values()) for s in summaries),
        again=answered - len(CONTENDERS) * samples,
        usd=usd,
        seconds=time.monotonic() - begun,
    )


def process_killed(folder: Path, row: int | None, chance: random.Random) -> subprocess.CompletedProcess[str]:
    """The run in a process of its own, killed from outside once `row` more rows are on disk."""
    before, end = len(rows(folder)), time.monotonic() + LIMIT_SECONDS
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        # The key stands in the environment alone.
        command = [sys.executable, "-m", "workbench", "run", "experiment.yaml"]
        running = subprocess.Popen(
            command, cwd=folder, env={**ENVIRONMENT, "CANARY": KEY}, stdout=out, stderr=err
        )
        while running.poll() is None and time.monotonic() < end:
            if row is not None and len(rows(folder)) >= before + row:
                time.sleep(chance.uniform(0, 0.05))
                break
            time.sleep(0.005)
        if row is not None:
            running.kill()
        code = running.wait(60)
    texts = [(folder / name).read_text(encoding="utf-8") for name in ("out", "err")]
    return subprocess.CompletedProcess(command, code, *texts)


def write(folder: Path, servers: Servers, samples: int, concurrency: int) -> None:
    """The data set and the experiment."""
    jsonl(folder / "data.jsonl", [chat(question(i), label(i)) for i in range(2 * samples)])
    backend = {"kind": "openai", "model": "m", "api_key_env": "CANARY"}
    limits = {"concurrency": concurrency, "timeout_seconds": TIMEOUT_SECONDS}
    tree = {
        "name": "survival",
        "task": "classification",
        "data": {"path": "data.jsonl", "split": {"dev": 0.0, "test": 0.5, "stratify": False}},
        "backends": {
            name: {**backend, **limits, "base_url": server.url, "price": list(PRICE)}
            for name, server in servers.items()
        },
        "contenders": [{"name": name, "backend": name, **settings} for name, settings in CONTENDERS.items()],
        "metrics": {"primary": "exact_match", "also": []},
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")


def rows(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Finished answers on disk, by contender and question; a torn last line is none."""
    found = {}
    for run in Run.all(folder / "runs"):
        questions = {sample.id: sample.question for sample in run.samples()}
        for name in CONTENDERS:
            path = run.contender_folder(name) / "predictions.jsonl"
            for line in path.read_bytes().splitlines(keepends=True) if path.exists() else []:
                if line.endswith(b"\n") and "error" not in (row := json.loads(line)):
                    found[name, questions[row["id"]]] = row
    return found


def asked(servers: Servers) -> dict[tuple[str, str], int]:
    """How often each question was asked, by the servers' own counts."""
    return {(n, q): count.asked for n, server in servers.items() for q, count in server.counts.items()}


# -- the promises --------------------------------------------------------------------------------------


def asked_once(finished: set[tuple[str, str]], before: Mapping[Any, int], after: Mapping[Any, int]) -> None:
    """Nothing that was on disk when the process began was asked by it."""
    again = [key for key in finished if after[key] > before[key]]
    assert not again, f"finished, and asked again: {again}"


def whole_and_right(folder: Path, samples: int, served: float) -> float:
    """Every sample answered once, none by an error; on the bill is what they took, and no more than was `served` (USD)."""
    (run,) = Run.all(folder / "runs")
    took = 0.0
    for name in CONTENDERS:
        answers = run.predictions(name)
        assert [p.id for p in answers] == [s.id for s in run.samples()] and len(answers) == samples
        assert not [p.error for p in answers if p.error is not None]
        for prompt, answer in zip(run.prompts(name), answers, strict=True):
            # The servers' tokens are words, and they answer with the question.
            assert answer.prediction == prompt.messages[-1].text
            sent = sum(len(message.text.split()) for message in prompt.messages)
            assert (answer.prompt_tokens, answer.completion_tokens) == (sent, len(answer.prediction.split()))
            took += (PRICE[0] * sent + PRICE[1] * len(answer.prediction.split())) / 1e6
    told = bill_of(run)
    assert told.kept == 0 and told.requests >= len(CONTENDERS) * samples
    # Answers under way at a kill were served, yet nobody here heard of them; faulty ones hold no answer.
    sure = sum(p.usd or 0.0 for p in run.payments() if not p.lost and p.completion_tokens)
    assert took - 1e-9 < sure < served + 1e-9, (took, sure, served)
    assert told.usd is not None and told.usd >= sure and run.meta()["bill"]["usd"] == told.usd, told
    return told.usd


def log(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    """Keep what a process printed among the files that must not hold the key."""
    with (folder / "printed.log").open("a", encoding="utf-8") as file:
        file.write(f"{done.stdout}\n{done.stderr}\n")


def secret(folder: Path) -> None:
    """The key stands in no file: run folder, kept answers, what was printed."""
    guilty = [str(path) for path in folder.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert not guilty, f"the key stands in {guilty}"


def main() -> None:
    """Print what it came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trials", type=int, default=1)
    given = parser.parse_args()
    for seed in range(given.seed, given.seed + given.trials):
        with tempfile.TemporaryDirectory() as folder:
            t = trial(Path(folder), process_killed, samples=given.samples, kills=given.kills, seed=seed)
        kills = ", ".join(f"{n:,}" for n in t.kills)
        print(
            f"seed {seed}: {len(CONTENDERS)} × {t.samples:,} answers · killed at {kills} rows · {t.seconds:.0f} s"
        )
        print(f"  calls {t.calls:,}, of which failed by plan {t.faults:,} ({t.faults / t.calls:.0%})")
        print(f"  every sample answered once, no error row; bill ${t.usd:.6f}, as the answers' tokens say")
        print(
            f"  nothing on disk asked again; {t.again} answers given twice (under way at a kill); the key nowhere"
        )


if __name__ == "__main__":
    main()
