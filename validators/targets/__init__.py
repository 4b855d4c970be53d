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

    Tools: `call_needs` are the fields a call must have beside its function's name (`arguments` as text),
    `tool_id_length` the letters and digits of an id; `tools` is False where none are taken. Images:
    `image_types` by their bytes, `image_references` of data, http, gs, path; `data_uri_types` as a data URI
    spells them. Pairs: `pair_form` is the one form taken, `max_pair_messages` those of a side. None of
    these is set where nothing is known or anything is taken.
    """

    name: str
    title: str
    roles: frozenset[str]
    facts: dict[str, Fact]
    min_examples: int = 1
    max_examples: int | None = None
    max_bytes: int | None = None
    max_row_bytes: int = 64 * 1024 * 1024
    extension: str | None = None
    bom: Literal["required", "refused"] | None = None
    message_keys: frozenset[str] | None = None
    columns: dict[str, tuple[str, ...]] | None = None
    severity: dict[str, Severity] = {}
    call_needs: frozenset[Literal["id", "type", "arguments"]] = frozenset()
    tool_id_length: int | None = None
    tools: bool | None = None
    max_tools: int | None = None
    part_types: frozenset[str] | None = None
    image_roles: frozenset[str] | None = None
    image_types: frozenset[str] | None = None
    image_references: frozenset[Literal["data", "http", "gs", "path"]] | None = None
    data_uri_types: frozenset[str] | None = None
    max_images: int | None = None
    max_image_bytes: int | None = None
    pair_form: Literal["openai"] | None = None
    max_pair_messages: int | None = None
    pair_input_ends_with_user: bool = False


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
