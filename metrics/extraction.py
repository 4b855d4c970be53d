"""F1 over what was extracted into JSON: its fields, or its entities.

A field is a path and a value: `{"to": {"city": "Oslo"}, "n": [1]}` has the fields to.city = Oslo and
n[0] = 1; an empty object or array is a value. Fields are counted over the whole corpus (micro), so that
an answer with many fields weighs more than one with few.
"""

from __future__ import annotations

import reprlib
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from .classification import PARTS, micro_reducer
from .inputs import fill, sized
from .strict_json import name, parse, same, shallow
from .types import Rows

Items: TypeAlias = "Counter[Hashable]"


def field_f1(
    predictions: Iterable[str | None],
    references: Iterable[Any],
    *,
    entities: bool | str = False,
    fenced: bool = False,
) -> Rows:
    """Measure fields found, invented and missed: 2·tp ÷ (2·tp + fp + fn) over the corpus.

    Shapes: n answers of JSON text (None = failed); n references, each JSON text, a dict, or a list of
    texts of which the best counts. An answer that is no JSON object or array misses every field.
    With `entities` the elements of an array are counted instead, each right only as a whole and in any
    order: True for an array at the top, a name for the array under that key. `fenced` reads answers from
    a Markdown code fence. ValueError names a reference that cannot be read.
    """
    answers, wanted = sized(predictions, references)
    rows: list[tuple[float, float, float] | None] = []
    for row, (answer, reference) in enumerate(zip(answers, wanted, strict=True)):
        accepted = [_wanted(row, one, entities) for one in _several(reference)]
        if not accepted:
            raise ValueError(
                f"references[{row}] is {reference!r:.40}: give JSON text, a dict or a list of texts"
            )
        if answer is None:
            rows.append(None)
            continue
        if not isinstance(answer, (str, dict)):
            raise ValueError(f"predictions[{row}] is a {type(answer).__name__}: give JSON text, or None")
        rows.append(max((_counted(_said(answer, entities, fenced), one) for one in accepted), key=_f1))
    seen = [row for row in rows if row is not None]
    reason = "no reference and no answer has a field" if seen and not any(map(any, seen)) else None
    what = "fields" if not entities else "entities" if entities is True else f"entities of {entities}"
    signature = f"field_f1|of:{what}|norm:nfc+strip|fenced:{'yes' if fenced else 'no'}|v:1"
    return fill(rows, micro_reducer(PARTS), PARTS, signature, reason)


def _several(reference: Any) -> list[Any]:
    if isinstance(reference, (str, dict)):
        return [reference]
    return list(reference) if isinstance(reference, Iterable) else []


def _wanted(row: int, reference: Any, entities: bool | str) -> Items:
    try:
        return _items(parse(reference) if isinstance(reference, str) else shallow(reference), entities)
    except ValueError as error:
        raise ValueError(
            f"references[{row}] cannot be read: {error}; it is {reprlib.repr(reference)}"
        ) from error


def _said(answer: str | dict[str, Any], entities: bool | str, fenced: bool) -> Items:
    try:
        value = parse(answer, fenced=fenced) if isinstance(answer, str) else shallow(answer)
        return _items(value, entities)
    except ValueError:
        return Counter()


def _items(value: Any, entities: bool | str) -> Items:
    if isinstance(entities, str):
        if not isinstance(value, dict) or entities not in value:
            raise ValueError(f"it is no object with the key {entities!r}")
        value = value[entities]
    if entities:
        if not isinstance(value, list):
            raise ValueError("there is no array of entities")
        return Counter(same(one) for one in value)
    if not isinstance(value, (dict, list)):
        raise ValueError("it is no object or array")
    return Counter(_fields(value, ())) if value else Counter()


def _fields(value: Any, path: tuple[str | int, ...]) -> Iterator[Hashable]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _fields(inner, (*path, name(key)))
    elif isinstance(value, list) and value:
        for place, inner in enumerate(value):
            yield from _fields(inner, (*path, place))
    else:
        yield path, same(value)


def _counted(said: Items, wanted: Items) -> tuple[float, float, float]:
    found = float((said & wanted).total())
    return found, said.total() - found, wanted.total() - found


def _f1(counts: Sequence[float]) -> float:
    found, invented, missed = counts
    return 2 * found / (2 * found + invented + missed) if any(counts) else 1.0
