"""A copy of a file with placeholders for secrets and personal data; the same value, the same placeholder."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from .findings import printable
from .images import is_embedded
from .mending import why_not
from .parts import Source
from .personal import Kind, Personal, find_personal
from .reading import BOM, DataError
from .rewriting import rewrite
from .strict_json import decode
from .writing import compression_named, open_lines, replacing

NAMES: dict[Kind, str] = {
    "secret": "SECRET",
    "email": "EMAIL",
    "card": "CARD",
    "phone": "PHONE",
    "iban": "IBAN",
    "ssn": "SSN",
}
_PRESENT = re.compile(
    rb"(?:<|\\u003[cC])(" + "|".join(NAMES.values()).encode() + rb")_([0-9]{1,9})(?:>|\\u003[eE])"
)
# What belongs to a private key behind its first line.
_KEY_REST = re.compile(r"(?:[A-Za-z0-9+/=\s]|\\[nr])*(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----)?")
# A value gone, its neighbours may read as another; so often is looked again.
_LOOKS = 8
_SHOWN = 20


class Redacted(msgspec.Struct, frozen=True):
    """What was replaced: places by kind of placeholder."""

    replaced: dict[str, int]


class Placeholders:
    """Which value has which placeholder. Numbers go on behind those that the files hold already."""

    def __init__(self, present: Iterable[bytes] = ()) -> None:
        self.replaced: Counter[str] = Counter()
        self._numbers: Counter[str] = Counter()
        self._known: dict[tuple[Kind, str], str] = {}
        self.leave_free(present)

    def leave_free(self, present: Iterable[bytes]) -> None:
        """Number what comes behind the placeholders that stand in these lines."""
        for line in present:
            for name, number in _PRESENT.findall(line):
                self._numbers[name.decode()] = max(self._numbers[name.decode()], int(number))

    @property
    def distinct(self) -> Counter[str]:
        """How many values have a placeholder, by its name."""
        return Counter(NAMES[kind] for kind, _ in self._known)

    def redact(self, text: str) -> str:
        """The text with a placeholder for each value."""
        for _ in range(_LOOKS):
            found = [(each, *_span(each, text)) for each in find_personal(text)]
            if not found:
                break
            pieces, done = [], 0
            for each, start, end in found:
                if start >= done:
                    pieces += [text[done:start], self._of(each.kind, text[start:end])]
                    done = end
            text = "".join([*pieces, text[done:]])
        return text

    def _of(self, kind: Kind, value: str) -> str:
        key = (kind, _normal(kind, value))
        name = NAMES[kind]
        self.replaced[name] += 1
        if key not in self._known:
            self._numbers[name] += 1
            self._known[key] = f"<{name}_{self._numbers[name]}>"
        return self._known[key]


def redact_files(pairs: Sequence[tuple[Source, Path]]) -> Redacted:
    """Write a redacted copy of each file; a value has one placeholder in all of them.

    Every other byte is kept. A row that is no strict JSON could hide what it holds: such files are refused,
    as are tables and JSON arrays. Nothing is said of which value was replaced. Raises DataError.
    """
    for source, out in pairs:
        if source.label != "-" and (reason := why_not(source)):
            raise DataError(f"{printable(source.label)}: {reason}")
        if out.exists() and out.samefile(source.path):
            raise DataError(f"{printable(str(out))}: this is the input. Name another file for the copy.")
        if not out.parent.is_dir():
            raise DataError(f"{printable(str(out.parent))}: there is no such folder. Make it first.")
    placeholders = Placeholders(line for source, _ in pairs for line in _lines(source))
    for source, out in pairs:
        faults: list[str] = []
        broken = 0
        with replacing(out, compression_named(out)) as copy:
            for number, raw in enumerate(_lines(source), 1):
                try:
                    copy.write(redact_line(raw, placeholders))
                except ValueError as error:
                    broken += 1
                    if broken <= _SHOWN:
                        faults.append(f"{printable(source.label)}:{number}: {error}")
            if faults:
                more = [f"… and {broken - _SHOWN:,} more"] if broken > _SHOWN else []
                cure = "No copy was written: mend or drop these rows first."
                raise DataError("\n".join([*faults, *more, cure]))
            copy.keep()
    return Redacted(dict(sorted(placeholders.replaced.items())))


def redact_line(raw: bytes, placeholders: Placeholders) -> bytes:
    """One line, newline and all, with placeholders. Raises ValueError where it is no strict JSON."""
    mark = BOM if raw.startswith(BOM) else b""
    body = raw.removeprefix(mark).removesuffix(b"\n").removesuffix(b"\r")
    ending = raw[len(mark) + len(body) :]
    if not body.strip(b" \t\r"):
        return raw
    decoded = decode(body)
    if decoded.faults:
        raise ValueError(f"{decoded.faults[0].message}, so what the row holds is not sure")
    return mark + rewrite(body, decoded.value, _redacted(decoded.value, placeholders)) + ending


def redact_row(value: dict[str, Any], placeholders: Placeholders) -> dict[str, Any]:
    """A decoded row with placeholders. Raises ValueError where two of its keys would become one."""
    redacted: dict[str, Any] = _redacted(value, placeholders)
    return redacted


def _redacted(value: Any, placeholders: Placeholders, numbers: bool = False) -> Any:
    """The value with placeholders; the very object where nothing is replaced. Embedded files are no text."""
    if isinstance(value, str):
        return value if is_embedded(value) else _text(value, placeholders)
    if isinstance(value, list):
        items = [_redacted(item, placeholders, numbers) for item in value]
        return value if all(a is b for a, b in zip(items, value, strict=True)) else items
    if isinstance(value, dict):
        members = {placeholders.redact(k): _redacted(v, placeholders, numbers) for k, v in value.items()}
        if len(members) < len(value):
            raise ValueError("two keys of an object are the same when redacted; rename one")
        same = list(members) == list(value) and all(members[key] is value[key] for key in value)
        return value if same else members
    if numbers and isinstance(value, int) and (text := placeholders.redact(str(value))) != str(value):
        return text
    return value


def _text(text: str, placeholders: Placeholders) -> str:
    """A text with placeholders; JSON in it (a tool's arguments) stays JSON, also where a number goes."""
    if not find_personal(text):
        return text
    if text.lstrip().startswith(("{", "[")):
        raw = text.encode("utf-8", "surrogatepass")
        inner = decode(raw)
        if not inner.faults:
            text = rewrite(raw, inner.value, _redacted(inner.value, placeholders, numbers=True)).decode()
    return placeholders.redact(text)


def _span(found: Personal, text: str) -> tuple[int, int]:
    if found.title == "a private key" and (rest := _KEY_REST.match(text, found.end)):
        return found.start, rest.end()
    return found.start, found.end


def _normal(kind: Kind, value: str) -> str:
    if kind == "email":
        return value.casefold()
    return value if kind == "secret" else "".join(c for c in value if c.isalnum()).upper()


def _lines(source: Source) -> Iterator[bytes]:
    with open_lines(source.path) as lines:
        yield from lines
