"""JSON as the standard has it: no NaN, no number too large, no key twice; and when two values are the same."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Hashable
from typing import Any, NoReturn

from .text import plain

# White space stands in one place at a time: side by side twice, a long run of it would take quadratic time.
_FENCE = re.compile(r"```[^\S\n]*(?:[\w+-]+[^\S\n]*)?\n(.*?)```", re.DOTALL)
DEEPEST = 100


def parse(text: str, *, fenced: bool = False) -> Any:
    """Return the JSON value of a text; ValueError says what is wrong.

    `fenced` reads the first Markdown code fence instead of the whole text, where there is one. More than 100
    levels are refused, as RFC 8259 lets a reader do: what follows values into their depth stays safe.
    """
    inside = _FENCE.search(text) if fenced else None
    try:
        value = json.loads(
            inside[1] if inside else text,
            object_pairs_hook=_object,
            parse_constant=_refused,
            parse_float=_float,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return shallow(value)


def shallow(value: Any) -> Any:
    """Return the value; ValueError where its arrays and objects are nested in more than 100 levels."""
    if levels(value) > DEEPEST:
        raise ValueError("nested too deeply")
    return value


def levels(value: Any) -> int:
    """Return how deeply arrays and objects are nested, at most 101: a circle has no end."""
    inside = [value]
    for depth in range(DEEPEST + 1):
        nested = {id(one): one for one in inside if isinstance(one, (dict, list, tuple))}
        if not nested:
            return depth
        inside = [
            part for one in nested.values() for part in (one.values() if isinstance(one, dict) else one)
        ]
    return DEEPEST + 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


def _refused(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text} is too large")
    return number


def same(value: Any) -> Hashable:
    """Return what is equal for two JSON values that say the same, and only then.

    1 and 1.0 are the same, 1 and true are not; strings after NFC and outer white-space strip; the order
    of keys does not count, that of arrays does. ValueError for what JSON cannot hold.
    """
    if isinstance(value, str):
        return plain(value)
    if value is None or isinstance(value, bool):
        return ("constant", value)
    # A whole number may be too large for a float, and is finite.
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return ("number", value)
    if isinstance(value, dict):
        return ("object", frozenset((name(key), same(inner)) for key, inner in value.items()))
    if isinstance(value, (list, tuple)):
        return ("array", tuple(same(inner) for inner in value))
    raise ValueError(f"{value!r:.40} is no JSON value")


def name(key: Any) -> str:
    """Return a key of an object in NFC; ValueError where it is not text."""
    if not isinstance(key, str):
        raise ValueError(f"the key {key!r:.40} is not text")
    return unicodedata.normalize("NFC", key)
