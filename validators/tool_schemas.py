"""JSON Schemas of tools: whether one is sound, and whether arguments keep it.

Schemas come from the data, so everything is bounded: sizes, steps, no reference leaves the schema, and
patterns run on an engine without backtracking. What is over a bound, or what that engine cannot run
(lookarounds, `patternProperties`), is not checked rather than guessed at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from .findings import kind_of, printable, quoted
from .json_scanner import join_path
from .suggest import did_you_mean

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

MAX_NODES = 2_000
MAX_STEPS = 20_000

TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
_SCHEMA = ("additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_SCHEMA_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_SCHEMA_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_NUMBERS = ("minimum", "maximum", "multipleOf")
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_TEXTS = ("$ref", "pattern", "format", "title", "description")

Parts = tuple[str | int, ...]


def schema_fault(schema: Any) -> tuple[str, str] | None:
    """The first fault of a schema as JSON path and message; None for a sound one, in any draft since 4."""
    waiting: list[tuple[Parts, Any]] = [((), schema)]
    for _ in range(MAX_NODES):
        if not waiting:
            return None
        path, node = waiting.pop()
        if isinstance(node, bool):
            continue
        if not isinstance(node, dict):
            return join_path(list(path)), f"a schema is an object, this is {kind_of(node)}"
        for key, value in node.items():
            if message := _keyword_fault(key, value):
                return join_path([*path, key]), message
            waiting += _inner((*path, key), key, value)
    return None


def parameters_fault(schema: Any) -> tuple[str, str] | None:
    """The first fault of a function's parameters: a sound schema, and of an object."""
    types = schema.get("type", "object") if isinstance(schema, dict) else "object"
    if types != "object" and not (isinstance(types, list) and "object" in types):
        return schema_fault({"type": types}) or ("type", "the parameters of a function are of type object")
    return schema_fault(schema)


def _keyword_fault(key: str, value: Any) -> str | None:
    if key == "type":
        return _type_fault(value)
    if key in _SCHEMA_MAPS and not isinstance(value, dict):
        return f"{key} is an object of schemas, this is {kind_of(value)}"
    if key in _SCHEMA_LISTS and not (isinstance(value, list) and value):
        return f"{key} is a list of schemas, this is {'empty' if value == [] else kind_of(value)}"
    if key == "required" and not _is_text_list(value):
        cure = "; it stands beside 'properties' and lists their names" if isinstance(value, bool) else ""
        return f"required is a list of names, this is {kind_of(value)}{cure}"
    if key == "enum" and not isinstance(value, list):
        return f"enum is a list, this is {kind_of(value)}"
    if key in _NUMBERS and not _is_number(value):
        return f"{key} is a number, this is {kind_of(value)}"
    if key in _COUNTS and not (_is_number(value) and value >= 0):
        return f"{key} is a number from 0 on, this is {kind_of(value)}"
    if key in _TEXTS and not isinstance(value, (str, type(None))):
        return f"{key} is text, this is {kind_of(value)}"
    return None


def _type_fault(value: Any) -> str | None:
    if isinstance(value, str):
        if value in TYPES:
            return None
        known = {"str": "string", "int": "integer", "float": "number", "double": "number", "bool": "boolean"}
        known |= {"dict": "object", "list": "array", "tuple": "array", "none": "null"}
        guess = known.get(value.casefold()) or (value.casefold() if value.casefold() in TYPES else None)
        hint = f" Did you mean '{guess}'?" if guess else did_you_mean(value, TYPES)
        return f"{quoted(value)} is no type of JSON Schema.{hint}"
    if not isinstance(value, list):
        return f"type is text or a list, this is {kind_of(value)}"
    faults = (_type_fault(item) if isinstance(item, str) else "type lists names" for item in value)
    return next((fault for fault in faults if fault), None)


def _inner(path: Parts, key: str, value: Any) -> list[tuple[Parts, Any]]:
    """The schemas under a keyword, with their paths."""
    if key in _SCHEMA_MAPS and isinstance(value, dict):
        return [((*path, name), item) for name, item in value.items()]
    if (key in _SCHEMA_LISTS or key == "items") and isinstance(value, list):
        return [((*path, i), item) for i, item in enumerate(value)]
    return [(path, value)] if key in _SCHEMA or key == "items" else []


def _is_text_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def violations(schema: dict[str, Any], arguments: Any, limit: int = 3) -> list[str]:
    """How arguments break a sound schema, at most `limit` ways, without their values.

    Empty also where the schema or the arguments are over the bounds.
    """
    if _is_large(arguments):
        return []
    try:
        validator = _compiled(msgspec.json.encode(schema))
        if validator is None:
            return []
        budgeted = validator.evolve(format_checker=_budget_class()(formats=()))
        return [_message(error) for error in islice(budgeted.iter_errors(arguments), limit)]
    except Exception:
        # Too many steps, a reference that leads nowhere or in circles, numbers no float holds: not checked.
        return []


@lru_cache(maxsize=256)
def _compiled(raw: bytes) -> Validator | None:
    from referencing import Registry

    schema = msgspec.json.decode(raw)
    if b'"patternProperties"' in raw or _is_large(schema) or parameters_fault(schema):
        return None
    validator: Validator = _validator_class()(schema, registry=Registry())
    return validator


@lru_cache(maxsize=1)
def _validator_class() -> Any:
    """JSON Schema 2020-12, lenient towards older drafts, each keyword taking one step of the budget."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    own = dict(Draft202012Validator.VALIDATORS)
    own["pattern"] = _pattern
    own["items"] = _items(own["items"])
    own["type"] = _nullable(own["type"])
    own["enum"] = _nullable(own["enum"])
    own["exclusiveMinimum"] = _numeric(own["exclusiveMinimum"])
    own["exclusiveMaximum"] = _numeric(own["exclusiveMaximum"])
    steps = {name: _stepping(check) for name, check in own.items()}
    return extend(Draft202012Validator, steps)  # type: ignore[no-untyped-call]


Keyword = Callable[[Any, Any, Any, Any], Iterator[Any] | None]


def _stepping(check: Keyword) -> Keyword:
    def step(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        validator.format_checker.step()
        yield from check(validator, value, instance, schema) or ()

    return step


def _items(check: Keyword) -> Keyword:
    def items(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        if not isinstance(value, list):
            yield from check(validator, value, instance, schema) or ()
        elif isinstance(instance, list):  # drafts up to 2019-09 wrote a schema for each place
            for i, (item, own) in enumerate(zip(instance, value, strict=False)):
                yield from validator.descend(item, own, path=i, schema_path=i)

    return items


def _nullable(check: Keyword) -> Keyword:
    def nullable(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        if not (instance is None and schema.get("nullable") is True):  # OpenAPI's spelling
            yield from check(validator, value, instance, schema) or ()

    return nullable


def _numeric(check: Keyword) -> Keyword:
    def numeric(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        if _is_number(value):  # draft 4 wrote true or false here
            yield from check(validator, value, instance, schema) or ()

    return numeric


def _pattern(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    compiled = _linear_pattern(value) if isinstance(instance, str) else None
    if compiled is not None and not compiled.isinstance_python(instance):
        yield ValidationError("pattern")


@lru_cache(maxsize=256)
def _linear_pattern(pattern: str) -> Any:
    """A pattern on an engine that never backtracks, or None where it cannot run the pattern."""
    from pydantic_core import SchemaError, SchemaValidator, core_schema

    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))
    except SchemaError:
        return None


@lru_cache(maxsize=1)
def _budget_class() -> Any:
    """What counts the steps of one validation; it travels with the validator in the format checker's place."""
    from jsonschema import FormatChecker

    class Budget(FormatChecker):
        steps = 0

        def step(self) -> None:
            self.steps += 1
            if self.steps > MAX_STEPS:
                raise RuntimeError("too many steps")

    return Budget


def _message(error: Any) -> str:
    """A violation in words: names of keys and what the schema wants, never the data's values."""
    keyword, wanted = error.validator, error.validator_value
    place = quoted(join_path(list(error.absolute_path)), 80) if error.absolute_path else "the top level"
    if keyword == "required":
        missing = [name for name in wanted if isinstance(error.instance, dict) and name not in error.instance]
        return f"{place}: {', '.join(quoted(name) for name in missing[:3])} is missing"
    if keyword == "type":
        types = wanted if isinstance(wanted, str) else " or ".join(str(name) for name in wanted)
        return f"{place} is {kind_of(error.instance)}, not of type {printable(types[:60])}"
    if keyword == "enum":
        return f"{place} is none of {', '.join(quoted(value, 20) for value in wanted[:6])}"
    if keyword == "additionalProperties":
        known = error.schema.get("properties", {})
        more = [key for key in error.instance if key not in known] if isinstance(error.instance, dict) else []
        hint = did_you_mean(more[0], known) if more else ""
        return (
            f"{place} has {', '.join(quoted(key) for key in more[:3])}, which the schema does not know.{hint}"
        )
    return f"{place} breaks '{printable(str(keyword))}'"


def _is_large(value: Any) -> bool:
    waiting = [value]
    for _ in range(MAX_NODES):
        if not waiting:
            return False
        node = waiting.pop()
        if isinstance(node, (dict, list)):
            waiting += node.values() if isinstance(node, dict) else node
    return True
