"""JSON arrays read as a stream: the items, their places and the faults are those of the array held whole."""

from __future__ import annotations

import io
import json
import random
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from validators import arrays, lint
from validators.arrays import ArrayError, ArrayReader
from validators.reading import DataError, read_rows

Items = list[tuple[int, int, bytes]]


def held_whole(body: bytes) -> Items | tuple[str, int, int]:
    """What a reader sees that holds the array: items with their places, or the fault with its."""
    try:
        items = msgspec.json.decode(body, type=list[msgspec.Raw])
    except ValueError as error:
        found = re.search(r" \(byte (\d+)\)", str(error))
        message = re.sub(r" \(byte \d+\)", "", str(error)).removeprefix("JSON is malformed: ")
        return (message, *_place(body, int(found[1]))) if found else (message, 1, 1)
    told, position = [], body.index(b"[") + 1
    for item in items:
        start = body.index(bytes(item), position)
        told.append((*_place(body, start), bytes(item)))
        position = start + len(bytes(item))
    return told


def _place(body: bytes, offset: int) -> tuple[int, int]:
    return body.count(b"\n", 0, offset) + 1, offset - body.rfind(b"\n", 0, offset)


def streamed(body: bytes, cap: int = 1 << 20) -> tuple[Items | tuple[str, int, int], int]:
    reader = ArrayReader(io.BytesIO(body), cap)
    try:
        return [(item.line, item.column, item.raw) for item in reader.items()], reader.lines
    except ArrayError as error:
        reader.drain()
        return (str(error), error.line, error.column), reader.lines


def made(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.randrange(8 if depth < 3 else 5)
    if kind == 0:
        return rng.choice([1, -2.5, 1e9, True, None])
    if kind < 5:
        return rng.choice(["", 'q"\\', '\\"[]{}"', "ü,]\n", "x" * rng.randrange(60), "\\\\"])
    if kind == 5:
        return [made(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice('ab"\\['): made(rng, depth + 1) for _ in range(rng.randrange(3))}


def test_generated_arrays_whole_and_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(7)
    signs = b'[]{}",:\\ 1\nx'
    for _ in range(3000):
        values = [made(rng) for _ in range(rng.randrange(5))]
        body = bytearray(json.dumps(values, indent=rng.choice([None, 1])).encode() + rng.choice([b"", b"\n"]))
        for _ in range(rng.randrange(3)):
            place = rng.randrange(1, len(body) + 1)
            body[place : place + rng.randrange(2)] = bytes([rng.choice(signs)])
        monkeypatch.setattr(arrays, "SIZE", rng.choice([20, 31, 1000]))
        found, lines = streamed(bytes(body))
        assert found == held_whole(bytes(body))
        assert lines == body.count(b"\n") + (not body.endswith(b"\n"))


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"\xef\xbb\xbf [1,\n 2]", [(1, 2 + 1, b"1"), (2, 2, b"2")]),
        (b"\n\n[7]\n", [(3, 2, b"7")]),
        (b"[]", []),
        (b"[" + b"[" * 50_000, ("nested deeper than 128 levels, which many readers refuse", 1, 1)),
        (b"[1] 2", ("trailing characters", 1, 6)),
        (b'[{"a": 1}', ("Input data was truncated", 1, 1)),
    ],
)
def test_arrays_by_hand(body: bytes, found: object) -> None:
    assert streamed(body)[0] == found


def test_an_item_over_the_cap_is_told_of_and_passed_over() -> None:
    body = b'[1, {"a": "' + b"x]," * 400_000 + b'"},\n 2]'
    items = list(ArrayReader(io.BytesIO(body), 1000).items())
    assert [(item.line, item.column, item.length) for item in items] == [
        (1, 2, None),
        (1, 5, 1_200_009),
        (2, 2, None),
    ]
    assert len(items[1].raw) == 64


def test_a_broken_array_has_one_fault_however_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("reading", "whole"):
        monkeypatch.setattr(f"validators.{module}.SCANNABLE", 5000)
    good = b'{"messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": "Hello!"}]}'
    path = tmp_path / "a.json"
    for rows, message in ((10, "',' or ']' is expected"), (100, "expected ',' or ']'")):
        path.write_bytes(b"[\n" + b",\n".join([good] * rows) + b'\n{"a": 1}]\n')
        report = lint(path, select=["FMT", "MSG"])
        told = [(f.code, f.line, f.column) for f in report.findings]
        assert told == [("FMT007", rows + 2, 1)] and message in report.findings[0].message
        assert report.files[0].lines == rows + 2 and report.files[0].examples == 0
        with pytest.raises(DataError, match=rf"a\.json:{rows + 2}:1: .*Write the file with"):
            list(read_rows(path))
