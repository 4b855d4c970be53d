"""A rule's documentation page, read from its function's docstring."""

from __future__ import annotations

import inspect
import re

import msgspec

from . import Rule

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_EXAMPLE = re.compile(r"(Bad|Good)(?: \((.+)\))?:\Z")
_OTHER_FILE = "== "
_MANY = re.compile(r"(\d+) × (.*)")


class Sample(msgspec.Struct, frozen=True):
    """One example of a page: options of the lint, and files by name. The first file is the one linted first."""

    options: dict[str, str]
    files: dict[str, bytes]


class Page(msgspec.Struct, frozen=True):
    """What a rule finds, why that hurts, and an example that fires it and one that does not."""

    code: str
    name: str
    what: str
    why: str
    bad: Sample
    good: Sample


def page(rule: Rule) -> Page:
    """Parse a rule's page. Raises ValueError where the docstring lacks a part."""
    what, *lines = inspect.getdoc(rule.check).splitlines()  # type: ignore[union-attr]
    options: dict[str, str] = {}
    why: list[str] = []
    samples: dict[str, tuple[dict[str, str], list[str]]] = {}
    current: list[str] | None = None
    for line in lines:
        if match := _EXAMPLE.match(line):
            current = []
            samples[match[1]] = (options | _options(match[2] or ""), current)
        elif line.startswith("With: "):
            options |= _options(line.removeprefix("With: "))
        elif current is not None:
            current.append(line.removeprefix("    "))
        elif line:
            why.append(line.removeprefix("Why: "))
    if not why or samples.keys() != {"Bad", "Good"}:
        raise ValueError(f"the docstring of {rule.code} lacks Why, Bad or Good")
    return Page(
        rule.code, rule.name, what, " ".join(why), _sample(*samples["Bad"]), _sample(*samples["Good"])
    )


def _options(text: str) -> dict[str, str]:
    return dict(option.split("=", 1) for option in text.split("; ") if option)


def _sample(options: dict[str, str], lines: list[str]) -> Sample:
    name = options.pop("file", "train.jsonl")
    files: dict[str, list[str]] = {name: []}
    while lines and not lines[-1]:
        lines.pop()
    for line in lines:
        if line.startswith(_OTHER_FILE):
            name = line.removeprefix(_OTHER_FILE)
            files[name] = []
        elif many := _MANY.fullmatch(line):
            files[name] += [many[2].replace("<n>", str(n)) for n in range(1, int(many[1]) + 1)]
        else:
            files[name].append(line)
    return Sample(
        options, {name: _bytes("".join(f"{line}\n" for line in rows)) for name, rows in files.items()}
    )


def _bytes(text: str) -> bytes:
    """The example's bytes, `<0xFF>` standing for one byte."""
    pieces = _BYTE.split(text)
    return b"".join(bytes([int(p, 16)]) if i % 2 else p.encode() for i, p in enumerate(pieces))
