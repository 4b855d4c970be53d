"""Where a dataset is going: limits, roles, keys and habits of one provider or trainer, as data.

Each target is one JSON file of facts; a fact has a value, its source, the day it was read and how
sure it is. A fact that is absent leaves the rules that need it silent.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, Literal

import msgspec

from ..findings import Severity
from ..suggest import did_you_mean

TARGETS = ("generic", "openai", "azure", "together", "fireworks", "mistral", "gemini", "trl")

Certainty = Literal["documented", "stored copy", "third party", "disputed", "inferred", "choice"]


class TargetError(ValueError):
    """There is no such target."""


class Fact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One fact about a target: what, from where, read when (ISO date), how sure."""

    value: Any
    source: str
    read: str
    certainty: Certainty


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A target's facts as the rules use them; `facts` keeps their sources.

    Sizes in bytes, counts in rows. `message_keys` and `columns` are None where any key is taken.
    `severity` overrides a rule's own severity for this target.
    """

    name: str
    title: str
    roles: frozenset[str]
    facts: dict[str, Fact]
    min_examples: int = 1
    max_examples: int | None = None
    max_bytes: int | None = None
    extension: str | None = None
    bom: Literal["required", "refused"] | None = None
    message_keys: frozenset[str] | None = None
    columns: dict[str, tuple[str, ...]] | None = None
    severity: dict[str, Severity] = {}


class _TargetFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    title: str
    facts: dict[str, Fact]


@cache
def load_target(name: str) -> Target:
    """Load a target's profile by name. Raises TargetError with a suggestion."""
    if name not in TARGETS:
        raise TargetError(
            f"unknown target '{name}': known are {', '.join(TARGETS)}.{did_you_mean(name, TARGETS)}"
        )
    source = (files(__package__) / f"{name}.json").read_bytes()
    file = msgspec.json.decode(source, type=_TargetFile)
    values = {key: fact.value for key, fact in file.facts.items()}
    return msgspec.convert({**values, "name": file.name, "title": file.title, "facts": file.facts}, Target)
