"""Answers of several contenders brought into one order: the same samples, the same references, the same groups.

Nothing is paired on a guess: whatever does not fit is an error that names the samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from validators.findings import printable

from .answers import Answer, Answers

SHOWN = 10


class PairingError(ValueError):
    """Answers that do not belong to the same samples; the message names the samples."""


@dataclass(frozen=True, slots=True)
class Paired:
    """n samples answered by every contender: `rows[name][i]` and `scores[name][metric][i]` are of sample i."""

    keys: tuple[str, ...]
    rows: Mapping[str, tuple[Answer, ...]]
    scores: Mapping[str, Mapping[str, tuple[float | None, ...]]]
    groups: tuple[str | None, ...]


def pair(named: Mapping[str, Answers], *, references: bool = True) -> Paired:
    """Pair answers by id, or by the question's text where ids are missing or those of different tools.

    With `references`, every row must have some, and the same for one sample. Raises PairingError.
    """
    field = _key_field(named)
    tables = {name: _by_key(name, answers, field) for name, answers in named.items()}
    first_name, first = next(iter(tables.items()))
    for name, table in tables.items():
        _same_keys(first_name, first, name, table, field)
    keys = tuple(first)
    at = {name: [table[key] for key in keys] for name, table in tables.items()}
    rows = {name: tuple(named[name].rows[i] for i in places) for name, places in at.items()}
    for name, answers in named.items():
        # Each tool hashes in its own way, and rows that are paired by the question ask the same one.
        if field == "id" and answers.format == named[first_name].format:
            _same_questions(keys, first_name, rows[first_name], name, rows[name])
    if references:
        _check_references(keys, rows)
    return Paired(
        keys=keys,
        rows=rows,
        scores={
            name: {metric: tuple(column[i] for i in at[name]) for metric, column in answers.scores.items()}
            for name, answers in named.items()
        },
        groups=_groups(keys, rows),
    )


def listed(keys: Iterable[str]) -> str:
    """The first ten ids of many, and how many more there are."""
    names = list(keys)
    more = f" … and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(printable(name[:80]) for name in names[:SHOWN]) + more


def _key_field(named: Mapping[str, Answers]) -> str:
    """`id` where every row has one, `input` where they do not, or where the ids are of different tools."""

    def keys(answers: Answers, field: str) -> list[str | None]:
        return [getattr(row, field) for row in answers.rows]

    def alike(field: str) -> bool:
        sets = [set(keys(answers, field)) for answers in named.values()]
        return all(None not in one and one == sets[0] for one in sets)

    whole = [f for f in ("id", "input") if all(None not in keys(a, f) for a in named.values())]
    if not whole:
        lacking = next(
            (name, row)
            for name, a in named.items()
            for row in a.rows
            if row.id is None and (row.input is None or len(named) > 1)
        )
        raise PairingError(
            f"{lacking[0]}{_place(lacking[1])}: rows are paired by id, or by input, and not all files have either for "
            "every row. Give every row an id."
        )
    distinct = all(len(set(keys(a, "input"))) == len(a.rows) for a in named.values())
    if whole == ["id", "input"] and not alike("id") and alike("input") and distinct:
        return "input"
    return whole[0]


def _place(row: Answer) -> str:
    return "" if row.line is None else f":{row.line}"


def _by_key(name: str, answers: Answers, field: str) -> dict[str, int]:
    table: dict[str, int] = {}
    twice: dict[str, None] = {}
    for index, row in enumerate(answers.rows):
        key = str(getattr(row, field))
        if key in table:
            twice[key] = None
        table.setdefault(key, index)
    if twice:
        raise PairingError(
            f"{name}: {len(twice)} {field}{'s stand' if len(twice) > 1 else ' stands'} more than once: {listed(twice)}. "
            "Keep one answer a sample."
        )
    return table


def _same_keys(a_name: str, a: Mapping[str, int], b_name: str, b: Mapping[str, int], field: str) -> None:
    told = [
        f"{len(only)} {field}{'s' * (len(only) > 1)} only in {name}: {listed(only)}"
        for name, only in ((a_name, [k for k in a if k not in b]), (b_name, [k for k in b if k not in a]))
        if only
    ]
    if told:
        raise PairingError(
            f"{a_name} ({len(a)} rows) and {b_name} ({len(b)} rows) do not answer the same samples.\n"
            + "\n".join(told)
            + "\nOnly answers to the same samples compare: answer what is missing, or leave it out of both."
        )


def _same_questions(
    keys: Sequence[str], a_name: str, a: Sequence[Answer], b_name: str, b: Sequence[Answer]
) -> None:
    """Where both tools hash the question, one id must mean one question."""
    odd = [
        key
        for key, left, right in zip(keys, a, b, strict=True)
        if left.content and right.content and left.content != right.content
    ]
    if odd:
        raise PairingError(
            f"{a_name} and {b_name} mean different questions by {len(odd)} ids: {listed(odd)}. "
            "They were made on different data."
        )


def _check_references(keys: Sequence[str], rows: Mapping[str, Sequence[Answer]]) -> None:
    first_name, first = next(iter(rows.items()))
    for name, answers in rows.items():
        missing = [key for key, row in zip(keys, answers, strict=True) if not row.references]
        if missing:
            raise PairingError(
                f"{name}: {len(missing)} of {len(keys)} rows have no reference: {listed(missing)}. "
                "Add `reference` (or `references`, a list), or name a score that the file holds with --metric."
            )
    for name, answers in rows.items():
        odd = [
            key
            for key, a, b in zip(keys, first, answers, strict=True)
            if set(a.references) != set(b.references)
        ]
        if odd:
            raise PairingError(
                f"{first_name} and {name} have different references for {len(odd)} of {len(keys)} ids: {listed(odd)}. "
                "They were not scored against the same answers."
            )


def _groups(keys: Sequence[str], rows: Mapping[str, Sequence[Answer]]) -> tuple[str | None, ...]:
    groups: list[str | None] = [None] * len(keys)
    for name, answers in rows.items():
        odd = [
            key
            for key, row, known in zip(keys, answers, groups, strict=True)
            if row.group is not None and known is not None and row.group != known
        ]
        if odd:
            raise PairingError(f"{name} puts {len(odd)} samples into another group: {listed(odd)}.")
        groups = [
            known if known is not None else row.group for row, known in zip(answers, groups, strict=True)
        ]
    return tuple(groups)
