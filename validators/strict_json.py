"""Strict JSON (RFC 8259): a fast decoder, and every fault of what it refuses.

msgspec decodes; the scanner runs only where msgspec refuses a line or where it would be too lax
(repeated keys) or too deep.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from .json_scanner import MAX_DEPTH, MOST_FAULTS, TOO_DEEP, FaultKind, ScanFault, repeated, scan

# A longer line is not taken apart in Python, which takes a second for so many bytes: its faults are coarser.
SCANNABLE = 4 * 1024 * 1024

# After these the rest of the line has no meaning; the others leave a value that can be looked at.
FATAL: tuple[FaultKind, ...] = ("not-utf8", "invalid")

_KEY_END = re.compile(rb'"[ \t\r\n]*+:')
_PLACE = re.compile(r" \(byte (\d+)\)")


class Decoded(msgspec.Struct, frozen=True):
    """A decoded line: `value` means nothing when `broken`."""

    value: Any
    faults: tuple[ScanFault, ...] = ()

    @property
    def broken(self) -> bool:
        """Whether no value could be read at all."""
        return any(fault.kind in FATAL for fault in self.faults)


def decode(raw: bytes) -> Decoded:
    """Decode one JSON value strictly and report every breach; never raises on any bytes."""
    try:
        value = msgspec.json.decode(raw)
    except (ValueError, RecursionError) as error:
        return _decode_broken(raw, error)
    keys = _count_keys(value, MAX_DEPTH)
    if keys == len(_KEY_END.findall(raw)):
        return Decoded(value)
    # More quote-colon pairs than keys: a repeated key, or a string that holds such a pair; or too deep.
    if len(raw) > SCANNABLE:
        return Decoded(value, _coarse(raw, keys is None))
    return Decoded(value, scan(raw))


def _decode_broken(raw: bytes, error: Exception) -> Decoded:
    if len(raw) > SCANNABLE:
        return Decoded(None, (_coarse_fault(raw, error),))
    faults = scan(raw)
    if not faults:
        message = "the line is not valid JSON" if isinstance(error, RecursionError) else str(error)
        return Decoded(None, (ScanFault("invalid", 0, None, message),))
    if any(fault.kind in FATAL for fault in faults):
        return Decoded(None, faults)
    # Only numbers, surrogates and keys are wrong: read on, so that the row's other faults show too.
    try:
        return Decoded(json.loads(raw, parse_int=_lax_int), faults)
    except ValueError:  # behind the faults that are told there is a fatal one
        return Decoded(None, (*faults, ScanFault("invalid", 0, None, "the line is not valid JSON")))


def _lax_int(text: str) -> int | float:
    return int(text) if len(text) < 400 else float(text)


def _coarse_fault(raw: bytes, error: Exception) -> ScanFault:
    """What the decoder itself says of a line that is too long to be scanned."""
    if isinstance(error, UnicodeDecodeError):
        # The decoder counts from the string that it was reading.
        try:
            raw.decode()
        except UnicodeDecodeError as fault:
            return ScanFault("not-utf8", fault.start, None, f"byte 0x{raw[fault.start]:02X} is not UTF-8")
    place = _PLACE.search(str(error))
    message = _PLACE.sub("", str(error)).removeprefix("JSON is malformed: ")
    if isinstance(error, RecursionError):
        message = TOO_DEEP
    return ScanFault("invalid", int(place[1]) if place else 0, None, message)


def _coarse(raw: bytes, deep: bool) -> tuple[ScanFault, ...]:
    """The faults of a long line that can be decoded: too deep, or a repeated key."""
    if deep:
        return (ScanFault("invalid", 0, None, TOO_DEEP),)
    keys: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in items if len(keys) < MOST_FAULTS else ():
            if key in seen:
                keys.append(key)
            seen.add(key)

    json.loads(raw, object_pairs_hook=pairs, parse_int=_lax_int)
    return tuple(ScanFault("duplicate-key", 0, None, repeated(key)) for key in keys[:MOST_FAULTS])


def _count_keys(value: Any, depth: int) -> int | None:
    """How many keys a value has at all levels; None where it has more levels than `depth`."""
    total, inner = 0, value
    if value.__class__ is dict:
        total, inner = len(value), value.values()
    elif value.__class__ is not list:
        return 0
    if not depth:
        return None
    for item in inner:
        if item.__class__ is dict or item.__class__ is list:
            below = _count_keys(item, depth - 1)
            if below is None:
                return None
            total += below
    return total
