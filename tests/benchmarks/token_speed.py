"""Tokens: the lint with exact counts beside tiktoken's own, on one core, interleaved; and whether the counts agree.

python -m tests.benchmarks.token_speed [MEGABYTES]           speed (default 32)
python -m tests.benchmarks.token_speed --exact [MEGABYTES]   every text by both counters (default 50)
"""

from __future__ import annotations

import json
import os
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("RAYON_NUM_THREADS", "1")

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


def by_tiktoken(path: Path, encoding: Any) -> int:
    """The published way: json, the formula, one text after the other."""
    total = 0
    with path.open(encoding="utf-8") as file:
        for line in file:
            total += 3
            for message in json.loads(line)["messages"]:
                total += 3
                for key, value in message.items():
                    total += len(encoding.encode_ordinary(value)) + (key == "name")
    return total


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of some work, and what it gave."""
    begun = time.process_time()
    given = work()
    return time.process_time() - begun, given


def speed(megabytes: float, rounds: int = 3) -> None:
    """Print a row an encoding: a script with tiktoken, the lint with it, and with the fast counter from its start."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.jsonl"
        write(path, megabytes)
        size = path.stat().st_size
        print(
            f"{size / 1e6:.0f} MB, one core, load {os.getloadavg()[0]:.1f}; MB/s of the best of {rounds} rounds"
        )
        print(f"{'':<14}{'script':>10}{'lint':>10}{'lint, fast':>12}{'first time':>12}{'ratio':>8}")
        for name in ENCODINGS:
            plain = load_tokenizer(name, offline=True)
            assert isinstance(plain, OpenAITokenizer)
            fast, slow = for_input(plain, 10**12), load_tokenizer(name, offline=True)
            best: dict[str, float] = {}
            totals = set()

            def linted(tokenizer: Any, path: Path = path) -> int:
                report = lint(path, select=["FMT", "MSG"], tokenizer=tokenizer, jobs=1)
                return int(report.files[0].statistics["tokens"]["total"])

            for turn in range(rounds):
                for what, work in (
                    ("script", lambda encoding=plain.encoding: by_tiktoken(path, encoding)),
                    ("lint", lambda tokenizer=slow: linted(tokenizer)),
                    ("fast", lambda tokenizer=fast: linted(tokenizer)),
                ):
                    took, total = seconds(work)
                    totals.add(total)
                    if what == "fast" and turn == 0:
                        best["first"] = took
                    best[what] = min(took, best.get(what, took))
            assert len(totals) == 1, totals
            rates = [size / best[what] / 1e6 for what in ("script", "lint", "fast", "first")]
            print(
                f"{name:<14}{rates[0]:>10.1f}{rates[1]:>10.1f}{rates[2]:>12.1f}{rates[3]:>12.1f}{rates[2] / rates[0]:>7.1f}×"
            )


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
