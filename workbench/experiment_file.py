"""The text of an experiment file: read it, parse its YAML with line numbers, put faults into words.

What the keys mean is `experiment.py`'s business; this file knows only text, places and pydantic's faults.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Place = tuple[str | int, ...]

# pydantic's fault → our words; every other fault keeps pydantic's own, less its "Input should be".
WORDS = {
    "missing": "is missing",
    "string_type": "text is needed; write it in quotes",
    "int_type": "a whole number is needed",
    "int_parsing": "a whole number is needed",
    "int_from_float": "a whole number is needed",
    "float_type": "a number is needed",
    "float_parsing": "a number is needed",
    "bool_type": "true or false is needed",
    "bool_parsing": "true or false is needed",
    "model_type": "a mapping (key: value) is needed",
    "model_attributes_type": "a mapping (key: value) is needed",
    "dict_type": "a mapping (key: value) is needed",
    "tuple_type": "a list is needed",
    "too_short": "at least one is needed",
    "invalid_key": "a key must be text",
    "string_pattern_mismatch": "a name has letters a-z, digits and . _ + - only, starts with a letter or digit, "
    "and has at most 64 characters",
}


class ExperimentError(ValueError):
    """The experiment file cannot be used; the message lists every fault with its line."""


class _Loader(yaml.SafeLoader):
    """Safe YAML without aliases, and without dates: `date: 2026-12-01` is the text it looks like."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            problem = "aliases (*name) are not allowed here; write the value out"
            raise yaml.composer.ComposerError(None, None, problem, mark)
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:timestamp"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_text(path: Path) -> str:
    """Read an experiment file as UTF-8. Raises ExperimentError for what is no such file."""
    if path.is_dir():
        inside = path / "experiment.yaml"
        hint = f" Did you mean {inside}?" if inside.exists() else ""
        raise ExperimentError(f"{path}: this is a folder, not an experiment file.{hint}")
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.y*ml")], n=1)
        hint = (
            f" Did you mean {path.parent / near[0]}?" if near else " Make one: workbench init DIR --data FILE"
        )
        raise ExperimentError(f"{path}: no such file.{hint}") from None
    except UnicodeDecodeError as error:
        raise ExperimentError(
            f"{path}: not a text file (byte {error.start} is not UTF-8). An experiment is YAML."
        ) from None
    except OSError as error:
        raise ExperimentError(f"{path}: cannot be read: {error.strerror}") from None


def parse_yaml(text: str, path: Path) -> tuple[dict[Any, Any], dict[Place, int]]:
    """YAML → plain values and the line of every node. Aliases and duplicate keys are refused."""
    lines: dict[Place, int] = {}
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        tree = None
        if node is not None:
            _walk(node, (), lines, path)
            tree = loader.construct_document(node)
    except ExperimentError:
        raise
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ExperimentError(f"{place}: cannot be read as YAML: {what}") from None
    except RecursionError:
        raise ExperimentError(f"{path}: cannot be read as YAML: nested too deeply") from None
    except Exception as error:  # values such as `!!int x` or a 5,000-digit number raise what Python raises
        raise ExperimentError(
            f"{path}: cannot be read as YAML: a value does not fit its type: {error}"
        ) from None
    if not isinstance(tree, dict):
        found = "empty" if tree is None else "a list" if isinstance(tree, list) else "a single value"
        raise ExperimentError(
            f"{path}: an experiment is a mapping with name, data and contenders; this file is {found}."
        )
    return tree, lines


def _walk(node: yaml.Node, place: Place, lines: dict[Place, int], path: Path) -> None:
    lines[place] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*place, str(key.value))
            if inner in lines:
                raise ExperimentError(
                    f"{path}:{key.start_mark.line + 1}: the key {key.value!r} stands twice (first in line {lines[inner]})"
                )
            _walk(value, inner, lines, path)
            lines[inner] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(value, (*place, index), lines, path)


def faults(error: ValidationError, model: type[BaseModel], lines: Mapping[Place, int], path: Path) -> str:
    """One line a fault: place, key, what is wrong, and the nearest right word."""
    told: dict[tuple[Place, str], None] = {}
    branches: dict[tuple[Place, str], list[str]] = {}
    for fault in error.errors():
        if fault["type"] == "misfit":  # found between parts that are right by themselves
            told |= dict.fromkeys(fault["ctx"]["faults"])
        elif fault["type"] != "too_short" or not fault["input"]:  # else the items' own faults say it
            place, found = _place(fault, lines), _found(fault)
            if found:  # a union (`last`, `all` or a number) has a fault for each branch of one value
                branches.setdefault((place, found), []).append(_words(fault, model))
            else:
                told[place, _words(fault, model)] = None
    told |= {(p, " or ".join(dict.fromkeys(words)) + found): None for (p, found), words in branches.items()}
    return "\n".join(f"{path}:{line}: {message}" for line, message in sorted(_placed(told, lines)))


def _placed(told: Iterable[tuple[Place, str]], lines: Mapping[Place, int]) -> Iterator[tuple[int, str]]:
    for place, message in told:
        line = next((lines[place[:k]] for k in range(len(place), -1, -1) if place[:k] in lines), 1)
        where = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in place).lstrip(".")
        yield line, f"{where + ': ' if where else ''}{message}"


def _place(fault: ErrorDetails, lines: Mapping[Place, int]) -> Place:
    """Where in the file; pydantic's location also names union branches, which the file does not have."""
    place: Place = ()
    for part in fault["loc"]:
        if (*place, part) in lines:
            place = (*place, part)
    if fault["type"] in ("missing", "extra_forbidden") and place[-1:] != fault["loc"][-1:]:
        place = (*place, fault["loc"][-1])
    return (*place, "kind") if fault["type"].startswith("union_tag_") else place


def _words(fault: ErrorDetails, model: type[BaseModel]) -> str:
    kind, context = fault["type"], fault.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key{guess(str(fault['loc'][-1]), _keys_at(model, fault['loc'][:-1]))}"
    if kind == "union_tag_not_found":
        kinds = [k for part in _models_in(_at(model, fault["loc"])) for k in _kinds(part)]
        return f"is missing; one of: {', '.join(kinds)}"
    if kind == "union_tag_invalid":
        known = [word.strip("' ") for word in context["expected_tags"].split(",")]
        return (
            f"unknown kind {context['tag']!r}{guess(str(context['tag']), known)}. Known: {', '.join(known)}"
        )
    if kind == "literal_error":
        known = [word.strip("' ") for word in context["expected"].replace(" or ", ",").split(",")]
        return f"must be {context['expected']}{guess(str(fault['input']), known)}"
    return WORDS.get(kind) or fault["msg"].removeprefix("Value error, ").replace("Input should be", "must be")


def _found(fault: ErrorDetails) -> str:
    plain = not isinstance(fault["input"], dict | list | tuple)
    named = fault["type"] in ("missing", "extra_forbidden", "union_tag_invalid", "union_tag_not_found")
    return f" (found {fault['input']!r:.80})" if plain and not named else ""


def _keys_at(model: type[BaseModel], location: Place) -> list[str]:
    """The keys the schema allows at a pydantic location, for did-you-mean."""
    parts = _models_in(_at(model, location))
    return sorted({field.alias or key for part in parts for key, field in part.model_fields.items()})


def _at(model: type[BaseModel], location: Place) -> Any:
    """The annotation at a pydantic location; a union's tag picks its branch."""
    found: Any = model
    for part in location:
        if isinstance(found, type) and issubclass(found, BaseModel) and part in found.model_fields:
            found = found.model_fields[str(part)].annotation
        else:
            found = next((m for m in _models_in(found) if part in _kinds(m)), found)
    return found


def _kinds(model: type[BaseModel]) -> tuple[str, ...]:
    return get_args(getattr(model.model_fields.get("kind"), "annotation", None))


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]


def guess(word: str, known: Iterable[str]) -> str:
    """ " (did you mean 'x'?)" for the nearest known word, or ""."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""
