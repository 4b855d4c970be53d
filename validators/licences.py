"""Under which licence a base model stands: what the model says itself, else a dated table of families.

Nobody is guessed for: a model that neither says nor is in the table has an unknown licence.
"""

from __future__ import annotations

import re
from datetime import date
from functools import cache
from importlib.resources import files
from pathlib import Path

import msgspec

from .assets import ASSETS

_LICENCE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING")
# How the text of a licence file begins; most of them name themselves in their first lines.
_BEGINNINGS = (
    (r"apache license\s+version 2\.0", "apache-2.0"),
    (r"\bmit license\b|permission is hereby granted, free of charge", "mit"),
    (r"llama (\d(?:\.\d)?) community license", "llama{}"),
    (r"gemma terms of use", "gemma"),
    (r"qwen research license", "qwen-research"),
    (r"qwen license", "qwen"),
    (r"tongyi qianwen license", "tongyi-qianwen"),
    (r"mistral ai non-production license", "mnpl"),
    (r"mistral ai research license", "mrl"),
)
_READ_CHARACTERS = 4000


class Licence(msgspec.Struct, frozen=True):
    """A licence by its id; `check` says what stands in the way of shipping or is to be looked at, None for nothing."""

    id: str
    title: str
    check: str | None
    source: str


class _Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    title: str
    check: str
    source: str


class _Family(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pattern: str
    licence: str
    source: str


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    read: date
    permissive: dict[str, str]
    conditions: tuple[_Condition, ...]
    families: tuple[_Family, ...]


def licence_of(model: str, folder: Path | None = None) -> Licence | None:
    """The licence of an embedded model, a model folder, or a hub id; None where it is not known.

    `folder` is where the model lies: its model card and licence file come before the table of families.
    """
    if model in ASSETS:
        return licence_named(ASSETS[model].licence, ASSETS[model].package)
    said = _said_by(folder) if folder is not None else None
    if said is not None:
        return said
    name = model.rstrip("/").rsplit("/", 1)[-1].casefold()
    for family in load_table().families:
        if re.fullmatch(family.pattern, name):
            return licence_named(family.licence, family.source)
    return None


def licence_named(name: str, source: str) -> Licence:
    """A licence by its id; one that is not in the table is to be read by the user."""
    key, table = name.strip().casefold(), load_table()
    if key in table.permissive:
        return Licence(key, table.permissive[key], None, source)
    for known in table.conditions:
        if known.id == key:
            return Licence(key, known.title, known.check, source)
    return Licence(key, f"licence {name.strip()}", "check whether it allows your use", source)


@cache
def load_table() -> _Table:
    """The table of licences and families, with the day its sources were read."""
    return msgspec.json.decode((files(__package__) / "licences.json").read_bytes(), type=_Table)


def _said_by(folder: Path) -> Licence | None:
    """What a model folder says of itself: the model card's front matter, else the licence file."""
    card = _head(folder / "README.md")
    front = re.match(r"\s*---\s*\n(.*?)\n---", card, re.DOTALL)
    if front:
        named = {
            key: value.strip("'\" ")
            for key, value in re.findall(r"^(license(?:_name)?):[ \t]*(?:\n\s*-\s*)?(\S.*)$", front[1], re.M)
        }
        name = named.get("license", "")
        name = named.get("license_name", name) if name.casefold() == "other" else name
        if name and name.casefold() not in ("other", "unknown"):
            return licence_named(name, "README.md of the model")
    for file in _LICENCE_FILES:
        text = " ".join(_head(folder / file).casefold().split())
        for pattern, name in _BEGINNINGS:
            if found := re.search(pattern, text):
                return licence_named(name.format(*found.groups()), f"{file} of the model")
    return None


def _head(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_READ_CHARACTERS)
    except OSError:
        return ""
