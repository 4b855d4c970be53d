"""Mutated bytes through lint, fix, convert, show and split: no traceback, no hang, and what is promised of each.

python -m tests.benchmarks.fuzz [--cases 100000] [--seed 0] [--first 0]

Each case takes the rows of a rule's page, in one of the containers, changes a few bytes and runs one verb on them in
this process. Only the verbs' own errors may come out; a case of more than ten seconds has hung. What `--fix` leaves
has nothing left to fix and is not changed by another round; what `convert` wrote can be read again; `split` loses no
row. A case that fails is printed with its number (the same seed makes it again) and its file is kept.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

from tests.example_tokenizers import made
from validators import lint
from validators.conversion import CONVERSION_TARGETS, FORMS, convert_file
from validators.encoding import encode
from validators.examples import ExampleError, parse_example
from validators.lint_text import render_text
from validators.mending import mend_file, plan_mending
from validators.parts import Source
from validators.reading import DataError, read_rows, row_at
from validators.redaction import redact_files
from validators.rules import RULES
from validators.rules.page import page
from validators.targets import TARGETS
from validators.time_limit import TimeLimitError, time_limit
from validators.tokens import TokenizerError
from workbench.sections import Split
from workbench.splitting import split_file

SECONDS = 10.0
# What breaks grammars: half of something, a sign out of place, a number or an escape that is none.
ODD = (
    *(b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xc3", b"\x1f\x8b", b"\r", b"\n", b"\n\n", b" ", b"\x85"),
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"'", b"\\u", b"\\ud800", b"\\udc00\\ud800"),
    *(b"1e999", b"-0", b"NaN", b"9" * 400, b"null", b"true", b"{}", b"[]", b'""', b'"role"', b'"content"'),
    *(b'"tool_calls"', b'"weight": 0.0', b"{{x}}", b"<|im_end|>", "\u200b\u202e\ufffd".encode(), b"a@b.de"),
)
OURS = (DataError, ExampleError, TokenizerError)


@cache
def seeds() -> tuple[bytes, ...]:
    """The rows that rules' pages show, each page's by itself."""
    samples = [sample for rule in RULES for sample in (page(rule).bad, page(rule).good)]
    return tuple(content for sample in samples for content in sample.files.values() if len(content) < 20_000)


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The bytes with a few places changed."""
    changed = bytearray(data)
    for _ in range(chance.choice((0, 1, 1, 2, 3, 8))):
        at = chance.randrange(len(changed) + 1)
        what = chance.randrange(4)
        if what == 0:
            changed[at : at + chance.randrange(3)] = chance.choice(ODD)
        elif what == 1:
            del changed[at : at + chance.choice((1, 2, 5, 40))]
        elif what == 2:
            other = chance.choice(seeds())
            begin = chance.randrange(len(other) + 1)
            changed[at:at] = other[begin : begin + chance.choice((3, 20, 200))]
        elif changed:
            changed[min(at, len(changed) - 1)] = chance.randrange(256)
    return bytes(changed)


def contained(data: bytes, chance: random.Random) -> tuple[str, bytes]:
    """The rows in a container: its ending, and its bytes before they are changed again."""
    kind = chance.choice(("jsonl",) * 6 + ("json", "json", "jsonl.gz", "jsonl.zst", "csv", "tsv", "parquet"))
    lines = [line for line in data.split(b"\n") if line.strip()]
    if kind == "json":
        return kind, b"[" + b",\n".join(lines) + b"]"
    if kind == "jsonl.gz":
        return kind, gzip.compress(data, 1)
    if kind == "jsonl.zst":
        import zstandard

        return kind, zstandard.compress(data)
    if kind in ("csv", "tsv"):
        mark = b"," if kind == "csv" else b"\t"
        cells = [b'"' + line.replace(b'"', b'""') + b'"' for line in lines]
        return kind, b"\n".join(mark.join((cell, b"x")) for cell in (b"text", *cells))
    if kind == "parquet":
        import polars

        table = polars.DataFrame(
            {"text": [line.decode("utf-8", "replace") for line in lines], "n": range(len(lines))}
        )
        file = io.BytesIO()
        table.write_parquet(file)
        return kind, file.getvalue()
    return kind, data


def linted(path: Path, chance: random.Random) -> None:
    """Findings in JSON and as text."""
    tokenizer = made("./chatml") if chance.random() < 0.2 else None
    report = lint(
        path, target=chance.choice(tuple(TARGETS)), tokenizer=tokenizer, max_length=20 if tokenizer else None
    )
    json.dumps(report.as_dict(), allow_nan=False).encode()
    assert report.total == len(report.findings), "findings are counted as they are held"
    for text in render_text(report, statistics=True):
        text.plain.encode()


def fixed(path: Path, chance: random.Random) -> None:
    """Mended once, nothing is left to mend."""
    target, unsafe = chance.choice(tuple(TARGETS)), chance.random() < 0.3
    plan, source = plan_mending(target=target, unsafe=unsafe), Source(path, str(path))
    if mend_file(source, plan).refused:
        return
    once = path.read_bytes()
    again = mend_file(source, plan)
    assert not again.fixed and path.read_bytes() == once, f"a second round mended {again.fixed}"
    left = [finding.code for finding in lint(path, target=target).findings if finding.fixable]
    assert not left, f"{left} can still be fixed for {target}"


def redacted(path: Path, chance: random.Random) -> None:
    """A copy in which nothing personal is found."""
    out = path.with_name("redacted" + "".join(path.suffixes))
    redact_files([(Source(path, str(path)), out)])
    left = [f.code for f in lint(out, select=["PII"]).findings]
    assert not left, f"{left} in a redacted copy"


def converted(path: Path, chance: random.Random) -> None:
    """What was written can be read, and converts again."""
    to = chance.choice((*FORMS, *CONVERSION_TARGETS))
    out = path.with_name("converted.jsonl")
    done = convert_file(path, out, to, lossy=True)
    assert sum(1 for _ in read_rows(out)) == done.rows


def shown(path: Path, chance: random.Random) -> None:
    """A row as tokens with a mask."""
    row = row_at(path, chance.choice((1, 1, 2, 3)))
    if row is not None:
        example = parse_example(row.value, row.line)
        encode(example, made(chance.choice(("./chatml", "./begins", "./thinking"))), chance.choice((None, 5)))


def parted(path: Path, chance: random.Random) -> None:
    """Every row stands in one part."""
    out = path.with_name("parts")
    done = split_file(path, out, Split(dev=0, test=0.4, folds=None))
    assert sum(n for parts in done.parts.values() for n in parts.values()) == sum(1 for _ in read_rows(path))


VERBS: tuple[tuple[Callable[[Path, random.Random], None], int], ...] = (
    *((linted, 6), (fixed, 4), (converted, 5), (shown, 3), (parted, 2), (redacted, 2)),
)


def case(number: int, seed: int, folder: Path) -> tuple[str, str | None]:
    """One case: its verb, and what went wrong."""
    chance = random.Random(f"{seed}/{number}")
    rows = chance.choice(seeds())
    if chance.random() < 0.3:
        rows = rows.rstrip(b"\n") + b"\n" + chance.choice(seeds())
    ending, data = contained(mutated(rows, chance), chance)
    path = folder / f"a.{ending}"
    path.write_bytes(
        mutated(data, chance) if ending not in ("jsonl", "json") and chance.random() < 0.5 else data
    )
    (verb,) = chance.choices([verb for verb, _ in VERBS], [weight for _, weight in VERBS])
    kept = path.read_bytes()
    try:
        with time_limit(SECONDS):
            verb(path, chance)
    except OURS:
        return verb.__name__, None
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        path.write_bytes(kept)
        said = (
            f"no end after {SECONDS:g} seconds"
            if isinstance(error, TimeLimitError)
            else traceback.format_exc(limit=-4)
        )
        return verb.__name__, said
    return verb.__name__, None


def main() -> None:
    """Run the cases and say which failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    given = parser.parse_args()
    counts: Counter[str] = Counter()
    failed, slowest, began = 0, (0.0, 0), time.perf_counter()
    with tempfile.TemporaryDirectory() as root:
        for number in range(given.first, given.first + given.cases):
            folder = Path(root) / "case"
            folder.mkdir()
            start = time.perf_counter()
            verb, fault = case(number, given.seed, folder)
            slowest = max(slowest, (time.perf_counter() - start, number))
            counts[verb] += 1
            if fault is not None:
                failed += 1
                place = Path(tempfile.gettempdir()) / f"fuzz-{given.seed}-{number}"
                shutil.copytree(folder, place, dirs_exist_ok=True)
                print(f"case {number} ({verb}), kept in {place}:\n{fault}", flush=True)
            shutil.rmtree(folder)
    took = time.perf_counter() - began
    told = ", ".join(f"{verb} {count:,}" for verb, count in sorted(counts.items()))
    print(f"{given.cases:,} cases in {took:,.0f} s ({told}); slowest {slowest[0]:.1f} s (case {slowest[1]})")
    print(f"{failed:,} failed" if failed else "none failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
