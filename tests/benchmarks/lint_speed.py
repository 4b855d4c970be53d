"""How fast the linter is against a script with the seven checks of the OpenAI cookbook's notebook.

Run: python -m tests.benchmarks.lint_speed [--megabytes 100] [--rounds 5] [--words 60] [--jobs 2] [--gigabytes 0.1 1]

Writes a file of clean chats, runs each way in turn within each round, and prints the medians of MB a second
of processor time and of the ratios to the script, which is run in the same round. Peak memory is that of
processes of their own. Workers are compared by the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks import notebook

ROOT = Path(__file__).resolve().parents[2]

WORDS = [
    "water",
    "the",
    "basil",
    "every",
    "second",
    "day",
    "and",
    "keep",
    "its",
    "roots",
    "cool",
    "while",
    "lamp",
    "hours",
    "stay",
    "below",
    "sixteen",
    "don't",
    "forget",
    "to",
    "rinse",
    "pump",
    "filters",
    "(weekly)",
    "check",
    "nutrient",
    "level",
    '"trim"',
    "leaves",
    "gently",
    "then",
    "wait",
    "for",
    "new",
    "growth",
    "seedlings",
    "need",
    "warmth",
    "more",
    "light",
    "fewer",
    "pests",
    "a",
    "little",
    "patience",
]


def write_chats(path: Path, megabytes: float, words: int, seed: int = 7) -> None:
    """Clean chats of log-normal lengths; one in fifty has a character that is not ASCII."""
    chance = random.Random(seed)

    def text(mean: float) -> str:
        body = " ".join(chance.choices(WORDS, k=max(3, int(mean * chance.lognormvariate(0, 0.7)))))
        return body + (" – 22 °C\n" if chance.random() < 0.02 else ".\n")

    written = 0
    with path.open("w", encoding="utf-8") as file:
        while written < megabytes * 1e6:
            messages = [{"role": "system", "content": "You advise on gardens. Be brief and kind."}]
            for _ in range(chance.choice((1, 1, 2))):
                messages.append({"role": "user", "content": text(words / 2)})
                messages.append({"role": "assistant", "content": text(words)})
            line = json.dumps({"messages": messages}, ensure_ascii=False) + "\n"
            written += len(line.encode())
            file.write(line)


def spent(work: Callable[[], Any]) -> float:
    """Processor seconds of one piece of work in this process."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def compare(path: Path, rounds: int) -> None:
    """Print speeds and ratios of interleaved runs."""
    from validators import lint

    ways: dict[str, Callable[[], Any]] = {
        "seven checks": lambda: notebook.seven_checks(notebook.read(path)),
        "FMT + MSG": lambda: lint(path, select=["FMT", "MSG"], ignore=["MSG020"], keep=1000, hashes=False),
        "+ DUP": lambda: lint(
            path, select=["FMT", "MSG", "DUP"], ignore=["MSG020", "DUP002", "DUP004"], keep=1000
        ),
        "all defaults": lambda: lint(path, keep=1000, hashes=False),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, work in ways.items():
            times[name].append(spent(work))
    size = path.stat().st_size / 1e6
    base = times["seven checks"]
    print(f"{'':16}{'MB/s':>8}{'ratio':>8}")
    for name, taken in times.items():
        ratio = statistics.median(b / t for b, t in zip(base, taken, strict=True))
        print(f"{name:16}{size / statistics.median(taken):8.0f}{ratio:8.2f}")


# As a user's process is: alone, with nothing loaded that has threads.
CLOCK = """
import resource, sys, time
import validators.linter
from validators import lint
if __name__ == "__main__":
    begin, own = time.perf_counter(), time.process_time()
    lint(sys.argv[1], jobs=int(sys.argv[2]), keep=1000, hashes=False)
    there = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(time.perf_counter() - begin, time.process_time() - own, there.ru_utime + there.ru_stime)
"""


def workers(path: Path, jobs: int, rounds: int) -> None:
    """Print how much sooner several processes are done, in the best of the rounds: others use the machine too.

    Processor seconds say how much sooner they would be with the processors to themselves.
    """
    best: dict[int, list[float]] = {}
    for _ in range(rounds):
        for count in (1, jobs):
            told = list(map(float, alone(CLOCK, path, str(count)).split()))
            best[count] = list(map(min, told, best.get(count, told)))
    (clock, own, _), (clocks, parent, theirs) = best[1], best[jobs]
    print(
        f"{jobs} workers: {clock / clocks:.2f} times as fast by the clock, load {os.getloadavg()[0]:.1f}; "
        f"processor seconds {own:.2f} alone, {parent:.2f} in the parent, {theirs:.2f} in all workers: "
        f"{own / (parent + theirs / jobs):.2f} times"
    )


def alone(program: str, path: Path, *words: str) -> str:
    """What a program prints that is run in a process of its own, about a file."""
    script = path.with_name("program.py")
    script.write_text(program, encoding="utf-8")
    there = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script), str(path), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=there).stdout


# What `resource` tells of children begins at what this had when it began them, which is less than they have.
PEAK = """
import re, resource, sys
from pathlib import Path
from validators import lint
if __name__ == "__main__":
    lint(sys.argv[1], select=sys.argv[3].split(",") if sys.argv[3] else (), jobs=int(sys.argv[2]), keep=1000, hashes=False)
    print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
"""


def peak(path: Path, jobs: int = 1, select: str = "") -> tuple[int, int]:
    """Peak memory in MB of a process that lints the file, and of the largest of its workers. Linux only."""
    own, worker = alone(PEAK, path, str(jobs), select).split()
    return int(own), int(worker)


def memory(folder: Path, gigabytes: list[float], words: int) -> None:
    """Print the peak memory for files of several sizes, in one process and in two."""
    part, path = folder / "part.jsonl", folder / "large.jsonl"
    write_chats(part, 20, words)
    data = part.read_bytes()
    print(f"{'peak memory':16}{'FMT + MSG':>12}{'all defaults':>14}{'parent of 2':>13}{'worker of 2':>13}")
    for size in gigabytes:
        with path.open("wb") as file:
            for copy in range(int(size * 50)):
                # Each row differs from all others.
                file.write(data.replace(b'"user", "content": "', b'"user", "content": "%d ' % copy))
        parent, worker = peak(path, 2)
        shapes, whole = peak(path, 1, "FMT,MSG")[0], peak(path)[0]
        print(f"{size:>13g} GB{shapes:>9} MB{whole:>11} MB{parent:>10} MB{worker:>10} MB")
        path.unlink()


def main() -> None:
    """Write the data and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--words", type=int, default=60, help="words of a reply, about")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--gigabytes", type=float, nargs="*", default=[], help="sizes to show the memory for")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chats.jsonl"
        write_chats(path, asked.megabytes, asked.words)
        with path.open("rb") as file:
            rows = sum(1 for _ in file)
        size = path.stat().st_size
        print(f"{size / 1e6:.0f} MB in {rows:,} rows of {size // rows:,} bytes, {asked.rounds} rounds")
        compare(path, asked.rounds)
        if asked.jobs > 1:
            workers(path, asked.jobs, asked.rounds)
        if asked.gigabytes:
            memory(Path(folder), asked.gigabytes, asked.words)


if __name__ == "__main__":
    main()
