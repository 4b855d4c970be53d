"""Strict JSON: the scanner against the standard library's parser made strict, and the places it names."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from validators.json_scanner import MAX_DEPTH, join_path, place_of, scan
from validators.strict_json import decode


def strictly(raw: bytes) -> Any:
    """json.loads with the laxness taken out; raises ValueError."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(items)) != len(items):
            raise ValueError("repeated key")
        return dict(items)

    def number(text: str) -> float:
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise ValueError("overflow")
        return value

    def constant(text: str) -> Any:
        raise ValueError(text)

    text = raw.decode()
    if text.startswith("\ufeff"):
        raise ValueError("byte-order mark")
    value = json.loads(text, object_pairs_hook=pairs, parse_constant=constant, parse_float=number)
    json.dumps(value, ensure_ascii=False).encode()
    return value


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**25), 10**25) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
edits = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from([*b'{}[]",:\\ud8cNIn01eE.+- \n\x00\x80']), st.booleans()),
    max_size=3,
)


@settings(max_examples=600)
@given(values, edits)
def test_the_decoder_agrees_with_a_strict_parser(value: Any, changes: list[tuple[float, int, bool]]) -> None:
    raw = bytearray(json.dumps(value).encode())
    for place, byte, insert in changes:
        at = int(place * max(0, len(raw) - 1))
        raw[at : at + (not insert)] = bytes([byte])
    decoded = decode(bytes(raw))
    try:
        expected = strictly(bytes(raw))
    except ValueError:
        assert decoded.faults and decoded.faults == scan(bytes(raw))
    else:
        assert not decoded.faults and decoded.value == expected


@pytest.mark.parametrize(
    ("raw", "kind", "offset", "where", "words"),
    [
        (b'{"a": 1,}', "invalid", 7, "a", "comma before"),
        (b"{'a': 1}", "invalid", 1, None, "double quotes"),
        (b'{"a": None}', "invalid", 6, "a", "null in JSON"),
        (b'{"a": [1, 2}', "invalid", 11, "a[1]", "',' or ']'"),
        (b'{"a": 1} {"b": 2}', "invalid", 9, None, "more after"),
        (b'{"a": "x', "invalid", 6, "a", "not closed"),
        (b'{"a": "x\ty"}', "invalid", 8, "a", "control character 0x09"),
        (b'{"a": "\\x41"}', "invalid", 7, "a", "unknown escape"),
        (b'{"a": 01}', "invalid", 6, "a", "not a JSON number"),
        (b'{"a"', "invalid", 4, "a", "the line ends"),
        (b"", "invalid", 0, None, "the line ends"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "duplicate-key", 23, "b.c", "there already"),
        (b'{"a": 1, "\\u0061": 2}', "duplicate-key", 9, "a", "there already"),
        (b'{"a b": -Infinity}', "not-finite", 8, '["a b"]', "-Infinity"),
        (b'[1, {"a": 1e999}]', "not-finite", 10, "[1].a", "too large"),
        (b'{"a": "\\ud83c\\u0041"}', "lone-surrogate", 7, "a", "half"),
        (b'{"a": "\\udf31"}', "lone-surrogate", 7, "a", "half"),
        (b'{"a": "\xff"}', "not-utf8", 7, None, "0xFF"),
        (b"[" * 5000, "invalid", MAX_DEPTH, "[0]" * 8, "nested deeper"),
    ],
)
def test_places_of_faults(raw: bytes, kind: str, offset: int, where: str | None, words: str) -> None:
    fault = decode(raw).faults[0]
    assert (fault.kind, fault.offset, fault.where) == (kind, offset, where)
    assert words in fault.message


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a": "\\\\ud83c"}',
        b'{"a": "\\ud83c\\udf31"}',
        b'{"a": "b\\": 1, \\"a\\": 2"}',
        b'{"\\"": 1, "a\\\\": 2}',
        b" [1e5] ",
    ],
)
def test_what_only_looks_like_a_fault(raw: bytes) -> None:
    assert decode(raw).faults == ()


def test_softer_faults_leave_a_value_and_are_all_told() -> None:
    decoded = decode(b'{"a": NaN, "a": 1, "b": "\\ud800", "c": %s}' % (b"9" * 5000))
    assert [fault.kind for fault in decoded.faults] == [
        "not-finite",
        "duplicate-key",
        "lone-surrogate",
        "not-finite",
    ]
    assert not decoded.broken and decoded.value["a"] == 1


@given(values)
def test_every_path_is_located(value: Any) -> None:
    raw = json.dumps(value).encode()
    if decode(raw).faults:
        return

    def visit(node: Any, parts: list[str | int]) -> None:
        offset, _ = place_of(raw, join_path(parts))
        assert offset is not None
        assert json.JSONDecoder().raw_decode(raw.decode(), offset)[0] == node
        children = (
            node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        )
        for part, child in children:
            visit(child, [*parts, part])

    visit(value, [])
