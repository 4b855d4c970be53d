"""How fast the linter is against a script with the seven checks of the OpenAI cookbook's notebook.

Run: python tests/benchmarks/lint_speed.py [--megabytes 100] [--rounds 5] [--words 60] [--jobs 2]

Writes a file of clean chats, runs each way in turn within each round, and prints the medians of MB a second
of processor time and of the ratios to the script, which is run in the same round. Peak memory is that of a
process of its own, for a file and for one ten times smaller. Workers are compared by the clock.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

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


def seven_checks(path: Path) -> Counter[str]:
    """The checks a notebook makes, on a file that is read whole."""
    with path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    faults: Counter[str] = Counter()
    for row in rows:
        if not isinstance(row, dict):
            faults["row is no object"] += 1
            continue
        messages = row.get("messages")
        if not messages:
            faults["no messages"] += 1
            continue
        for message in messages:
            if "role" not in message or "content" not in message:
                faults["key missing"] += 1
            if any(key not in ("role", "content", "name", "function_call", "weight") for key in message):
                faults["unknown key"] += 1
            if message.get("role") not in ("system", "user", "assistant", "function"):
                faults["unknown role"] += 1
            content, call = message.get("content"), message.get("function_call")
            if (not content and not call) or not isinstance(content, str):
                faults["no content"] += 1
        if not any(message.get("role") == "assistant" for message in messages):
            faults["no assistant"] += 1
    return faults


def spent(work: Callable[[], Any]) -> float:
    """Processor seconds of one piece of work in this process."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def compare(path: Path, rounds: int) -> None:
    """Print speeds and ratios of interleaved runs."""
    from validators import lint

    ways: dict[str, Callable[[], Any]] = {
        "seven checks": lambda: seven_checks(path),
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


def workers(path: Path, jobs: int, rounds: int) -> None:
    """Print how much sooner several processes are done."""
    from validators import lint

    ratios = []
    for _ in range(rounds):
        taken = []
        for count in (1, jobs):
            begin = time.perf_counter()
            lint(path, jobs=count, keep=1000)
            taken.append(time.perf_counter() - begin)
        ratios.append(taken[0] / taken[1])
    print(f"{jobs} workers: {statistics.median(ratios):.2f} times as fast by the clock")


# What `resource` tells of a child begins at its parent's peak; this does not. Linux only.
PEAK = (
    "import re, sys; from pathlib import Path; from validators import lint; "
    "lint(sys.argv[1], keep=1000, hashes=False); "
    "print(int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) // 1024)"
)


def peak(path: Path) -> int:
    """Peak memory in MB of a process that lints the file with all default rules."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, path], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def main() -> None:
    """Write the data and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--words", type=int, default=60, help="words of a reply, about")
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, small = Path(folder) / "chats.jsonl", Path(folder) / "small.jsonl"
        write_chats(path, asked.megabytes, asked.words)
        write_chats(small, asked.megabytes / 10, asked.words)
        with path.open("rb") as file:
            rows = sum(1 for _ in file)
        size = path.stat().st_size
        print(f"{size / 1e6:.0f} MB in {rows:,} rows of {size // rows:,} bytes, {asked.rounds} rounds")
        compare(path, asked.rounds)
        print(
            f"peak memory: {peak(small)} MB for {asked.megabytes / 10:g} MB, {peak(path)} MB for {asked.megabytes:g}"
        )
        if asked.jobs > 1:
            workers(path, asked.jobs, min(3, asked.rounds))


if __name__ == "__main__":
    main()
