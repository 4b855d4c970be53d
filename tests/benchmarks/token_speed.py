"""Tokens: the lint with exact counts beside a notebook's checks and counts, on one core, interleaved; do they agree?

python -m tests.benchmarks.token_speed [MEGABYTES]           speed (default 32)
python -m tests.benchmarks.token_speed --exact [MEGABYTES]   every text by both counters (default 50)
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("RAYON_NUM_THREADS", "1")

from tests.benchmarks import notebook
from tests.benchmarks.lint_speed import write_chats
from validators import lint
from validators.tokens import OpenAITokenizer, for_input, load_tokenizer

ENCODINGS = ("o200k_base", "cl100k_base")
SYSTEM = "You are a careful assistant. Answer in the language of the question, briefly, and say what you do not know."
# Besides code and English prose: every script in which the fuzz of the tests found something to say.
SCRIPTS = (
    "Le réservoir fuit depuis hier, et la pompe s'est arrêtée. Que dois-je vérifier d'abord ?",
    "Der Tank ist undicht, die Pumpe läuft nicht mehr. Was prüfe ich zuerst?",
    "Насос молчит, а бак протекает. Что проверить сначала?",
    "水泵没有声音，水箱在漏水。首先应该检查什么？",
    "ポンプが静かで、タンクが漏れています。まず何を確認すべきですか。",
    "المضخة صامتة والخزان يسرب. ماذا أفحص أولا؟",
    "पंप चुप है और टंकी रिस रही है। पहले क्या जाँचूँ?",
    "ปั๊มเงียบและถังรั่ว ควรตรวจสอบอะไรก่อน",
    "펌프가 조용하고 탱크가 샙니다. 무엇을 먼저 확인할까요?",
    "👍🏽 ok – “naïve” café, 3½ l … £12.50 (≈ €14)",
)


def passages(megabytes: float) -> Iterator[str]:
    """Text of the Python on this machine, cut into pieces, with sentences of many scripts strewn in."""
    left, number = int(megabytes * 1e6), 0
    roots = [Path(sysconfig.get_paths()[key]) for key in ("stdlib", "purelib")]
    for root in roots:
        for file in sorted(root.rglob("*.py")) + sorted(root.rglob("*.md")) + sorted(root.rglob("*.txt")):
            text = file.read_text(encoding="utf-8", errors="replace")
            for begin in range(0, len(text), 700):
                piece = f"{text[begin : begin + 700]}\n{number} {SCRIPTS[number % len(SCRIPTS)]}"
                number += 1
                left -= len(piece.encode("utf-8", "surrogatepass"))
                yield piece
                if left <= 0:
                    return


def write(path: Path, megabytes: float) -> None:
    """Chat rows: a system prompt that repeats, a passage to ask about, a passage to answer with."""
    pieces = passages(megabytes)
    with path.open("w", encoding="utf-8") as file:
        for question, answer in zip(pieces, pieces, strict=False):
            messages = [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": question},
                {"role": "assistant", "content": answer},
            ]
            file.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of some work, and what it gave."""
    begun = time.process_time()
    given = work()
    return time.process_time() - begun, given


def script(path: Path, encoding: Any) -> int:
    """What a notebook does: seven checks, and the tokens."""
    rows = notebook.read(path)
    notebook.seven_checks(rows)
    return notebook.tokens(rows, encoding)


def linted(path: Path, tokenizer: Any, select: tuple[str, ...]) -> int:
    """Tokens by a lint in this process."""
    report = lint(path, select=select, tokenizer=tokenizer, keep=1000, hashes=False)
    return int(report.files[0].statistics["tokens"]["total"])


def steady(path: Path, what: str, name: str, rounds: int) -> None:
    """Print a row: the script, and the lint with the fast counter when that is started; best of the rounds."""
    plain = load_tokenizer(name, offline=True)
    assert isinstance(plain, OpenAITokenizer)
    fast = for_input(plain, 10**12)
    ways: dict[str, Callable[[], int]] = {
        "script": lambda: script(path, plain.encoding),
        "lint": lambda: linted(path, fast, ("FMT", "MSG")),
        "all": lambda: linted(path, fast, ()),
    }
    best = dict.fromkeys(ways, 1e9)
    totals = {ways["lint"]()}
    for _ in range(rounds):
        for way, work in ways.items():
            took, total = seconds(work)
            best[way] = min(took, best[way])
            totals.add(total)
    assert len(totals) == 1, totals
    rates = {way: path.stat().st_size / took / 1e6 for way, took in best.items()}
    ratios = [rates[way] / rates["script"] for way in ("lint", "all")]
    print(
        f"{what:<8}{name:<14}{rates['script']:>8.1f}{rates['lint']:>11.1f}{rates['all']:>14.1f}"
        f"{ratios[0]:>10.1f}×{ratios[1]:>9.1f}×"
    )


def processes(path: Path, name: str, rounds: int) -> None:
    """Print a row: CPU seconds of the script and of the command as whole processes; best of the rounds."""
    command = [
        sys.executable,
        "-m",
        "workbench",
        "lint",
        str(path),
        "--tokenizer",
        name,
        "--jobs",
        "1",
        "--exit-zero",
    ]
    ways = {
        "script": [sys.executable, str(Path(notebook.__file__)), str(path), name],
        "lint": [*command, "--select", "FMT,MSG"],
        "all": command,
    }
    best = dict.fromkeys(ways, 1e9)
    for _ in range(rounds):
        for way, words in ways.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(words, check=True, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            best[way] = min(took, best[way])
    print(
        f"{path.stat().st_size / 1e6:>5.0f} MB {name:<14}{best['script']:>8.2f}{best['lint']:>11.2f}{best['all']:>14.2f}"
        f"{best['script'] / best['lint']:>10.1f}×{best['script'] / best['all']:>9.1f}×"
    )


def speed(megabytes: float, rounds: int = 3) -> None:
    """Print both tables."""
    heads = f"{'script':>8}{'FMT + MSG':>11}{'all defaults':>14}{'ratios':>11}"
    with tempfile.TemporaryDirectory() as folder:
        code, prose, small = (Path(folder) / f"{name}.jsonl" for name in ("code", "prose", "small"))
        write(code, megabytes)
        write_chats(prose, megabytes, 60)
        size = f"{code.stat().st_size / 1e6:.0f} and {prose.stat().st_size / 1e6:.0f} MB"
        print(f"{size}, one core, load {os.getloadavg()[0]:.1f}; MB/s of the best of {rounds} rounds, steady")
        print(f"{'':<22}{heads}")
        for name in ENCODINGS:
            steady(code, "code", name, rounds)
            steady(prose, "prose", name, rounds)
        print("whole processes, CPU seconds")
        print(f"{'':<22}{heads}")
        write(code, 50)
        write(small, 0.83)
        for path in (code, small):
            for name in ENCODINGS:
                processes(path, name, rounds)


def exact(megabytes: float) -> None:
    """Count every passage by both counters; print how many differ."""
    for name in ENCODINGS:
        plain = load_tokenizer(name, offline=True)
        fast = for_input(plain, 10**12)
        assert isinstance(fast, OpenAITokenizer) and fast.fast is not None
        texts, seen, differ = [], 0, 0
        for piece in passages(megabytes):
            texts.append(piece)
            if len(texts) == 2000:
                differ += sum(
                    a != plain.count_text(t) for a, t in zip(fast.fast.count(texts), texts, strict=True)
                )
                seen, texts = seen + len(texts), []
        print(
            f"{name}: {seen:,} passages, {megabytes:g} MB, {differ} counted otherwise; trusted: {fast.fast.trusted}"
        )


if __name__ == "__main__":
    given = [argument for argument in sys.argv[1:] if argument != "--exact"]
    if "--exact" in sys.argv:
        exact(float(given[0]) if given else 50)
    else:
        speed(float(given[0]) if given else 32)
