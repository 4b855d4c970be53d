"""Is the answer well-formed: JSON, JSON of a schema, the right tool calls?"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

from .inputs import answers, fill, sized
from .strict_json import levels, parse, same, shallow
from .types import Rows, row_mean

_EASY = 20  # levels through which any schema that comes to an end can be followed


def json_valid(predictions: Iterable[str | None], references: object = None, *, fenced: bool = False) -> Rows:
    """Measure 1 where the answer is JSON (any value; no NaN, no key twice), else 0; references are ignored.

    `fenced` reads the first Markdown code fence of an answer that has one; without it a fence is no JSON.
    """

    def valid(text: str) -> bool:
        try:
            parse(text, fenced=fenced)
        except ValueError:
            return False
        return True

    return _shares(predictions, valid, "valid", f"json_valid|strict:yes|fenced:{_yes(fenced)}|v:1")


def schema_match(
    predictions: Iterable[str | None],
    references: object = None,
    *,
    schema: Mapping[str, Any] | None = None,
    fenced: bool = False,
) -> Rows:
    """Measure 1 where the answer is JSON that a JSON Schema accepts, else 0; references are ignored.

    `schema` is the schema as a dict; its `$schema` names the draft, else 2020-12. References to other
    documents are not followed. ValueError for a schema that is none or that refers to what it lacks. A
    `pattern` is searched as Python does: nested repetition like (a+)+ may take for ever on a hostile answer.
    """
    from referencing.exceptions import Unresolvable

    if not isinstance(schema, Mapping):
        raise ValueError(f"schema= is {type(schema).__name__}: schema_match takes a JSON Schema as a dict")
    written, validator, draft = _validator(schema)

    def accepted(text: str) -> bool:
        try:
            value = parse(text, fenced=fenced)
        except ValueError:
            return False
        try:
            return bool(validator.is_valid(value))
        except Unresolvable as error:
            raise ValueError(f"the schema refers to {error.ref!r}, which it does not define") from error
        except RecursionError:
            if levels(value) > _EASY:
                return False  # deeper than the schema can be followed
            raise ValueError(
                "the schema refers to itself without end: let each round go a level deeper"
            ) from None

    digest = hashlib.sha256(written.encode()).hexdigest()[:12]
    signature = f"schema_match|schema:{digest}|draft:{draft}|fenced:{_yes(fenced)}|v:1"
    return _shares(predictions, accepted, "valid", signature)


def _validator(schema: Mapping[str, Any]) -> tuple[str, Any, str]:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for
    from referencing import Registry

    try:
        written = json.dumps(dict(schema), sort_keys=True, ensure_ascii=False)
        read = parse(written)
        kind = validator_for(read, default=Draft202012Validator)
        kind.check_schema(read)
    except SchemaError as error:
        raise ValueError(f"schema= is no JSON Schema at {error.json_path}: {error.message:.120}") from error
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"schema= is no JSON Schema: {error}") from error
    # An empty registry: by default a reference to an address would open a socket.
    return written, kind(read, registry=Registry()), kind.__name__.removesuffix("Validator")


def tool_call_match(
    predictions: Iterable[Any],
    references: Iterable[Any],
    *,
    ordered: bool = False,
    arguments: bool = True,
) -> Rows:
    """Measure 1 where the answer makes exactly the calls of a reference, names and arguments, else 0.

    Shapes: n answers and n references, each a list of `{"name": …, "arguments": {…} or JSON text}` (or of
    `{"function": {…}}` around it), or JSON text of one; [] is "no call". A list of such lists or texts are
    several references. Prose calls nothing, in a reference too; an answer that begins as JSON and is broken is wrong.
    Calls come in any order unless `ordered`; `arguments=False` compares names alone. ValueError names a
    reference that cannot be read.
    """
    said, wanted = sized(predictions, references)
    alike: Callable[[list[Hashable]], Any] = tuple if ordered else Counter
    rows: list[tuple[float] | None] = []
    for row, (answer, reference) in enumerate(zip(said, wanted, strict=True)):
        accepted = [_wanted(row, one, arguments) for one in _several(reference)]
        if answer is None:
            rows.append(None)
            continue
        if not isinstance(answer, Iterable):
            raise ValueError(
                f"predictions[{row}] is a {type(answer).__name__}: give calls or JSON text, or None for a failed one"
            )
        try:
            made = alike(_calls(answer, arguments))
        except ValueError:
            rows.append((0.0,))
            continue
        rows.append((float(any(made == alike(one) for one in accepted)),))
    of = "name+arguments" if arguments else "name"
    signature = f"tool_call_match|of:{of}|order:{_yes(ordered)}|norm:nfc+strip|v:1"
    return fill(rows, row_mean, ("match",), signature)


def _several(reference: Any) -> list[Any]:
    if isinstance(reference, (str, Mapping)):
        return [reference]
    if not isinstance(reference, Iterable):
        return [None]
    inner = list(reference)
    calls = not inner or any(isinstance(one, Mapping) for one in inner)
    return [inner] if calls else inner


def _wanted(row: int, reference: Any, arguments: bool) -> list[Hashable]:
    try:
        return _calls(reference, arguments)
    except ValueError as error:
        raise ValueError(f"references[{row}] is no list of tool calls: {error}") from error


def _calls(answer: Any, arguments: bool) -> list[Hashable]:
    if isinstance(answer, str):
        if not answer.lstrip().startswith(("[", "{")):
            return []
        answer = parse(answer)
    if isinstance(shallow(answer), Mapping):
        answer = [answer]
    if not isinstance(answer, Iterable):
        raise ValueError(f"{answer!r:.40} is no list")
    return [_call(one, arguments) for one in answer]


def _call(call: Any, arguments: bool) -> Hashable:
    if isinstance(call, Mapping) and isinstance(call.get("function"), Mapping):
        call = call["function"]
    if not isinstance(call, Mapping) or not isinstance(call.get("name"), str):
        raise ValueError(f'{call!r:.60} is no {{"name": …, "arguments": …}}')
    if not arguments:
        return str(call["name"])
    given = call.get("arguments")
    if isinstance(given, str):
        given = parse(given) if given.strip() else None
    given = {} if given is None else given
    if not isinstance(given, dict):
        raise ValueError(f"the arguments of {call['name']} are {given!r:.40}, not an object")
    return call["name"], same(given)


def _shares(
    predictions: Iterable[str | None], right: Callable[[str], bool], column: str, signature: str
) -> Rows:
    judged: dict[str, tuple[float]] = {}
    rows: list[tuple[float] | None] = []
    for answer in answers(predictions):
        if answer is not None and answer not in judged:
            judged[answer] = (float(right(answer)),)
        rows.append(None if answer is None else judged[answer])
    return fill(rows, row_mean, (column,), signature)


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"
