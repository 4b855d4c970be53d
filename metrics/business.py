"""What wrong answers cost: classification counted in money."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .inputs import fill
from .labels import labelled
from .text import plain
from .types import Rows, row_mean

ANY, UNMAPPED = "*", "unmapped"
Costs = dict[str, dict[str, float]]


def cost_of_error(
    predictions: Iterable[str | None],
    references: Iterable[str | Sequence[str]],
    *,
    costs: Mapping[str, Mapping[str, float]] | None = None,
    labels: Iterable[str] | None = None,
    mapping: str = "equal",
) -> Rows:
    """Measure what each answer costs: the value is USD a request.

    `costs[true label][answered label]` is in USD; "*" stands for any label in either place, "unmapped" for
    an answer that is no label. The most specific entry counts, the true label's before the answered one's.
    A right answer costs 0 unless its own entry says otherwise. Labels and `mapping` as in `accuracy`.
    ValueError for a label that is not known and for an error whose cost is not given.
    """
    found = labelled(predictions, references, labels, mapping)
    table = _table(costs, found.labels)
    rows: list[tuple[float] | None] = []
    for row, pair in enumerate(found.pairs):
        rows.append(
            None if pair is None else (_cost(table, pair[1], UNMAPPED if pair[0] is None else pair[0], row),)
        )
    digest = hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()[:12]
    return fill(rows, row_mean, ("usd",), found.signature("cost_of_error", f"costs:{digest}"))


def _cost(table: Costs, true: str, said: str, row: int) -> float:
    if said == true:
        return table.get(true, {}).get(true, 0.0)
    for of, answered in ((true, said), (true, ANY), (ANY, said), (ANY, ANY)):
        if answered in table.get(of, {}):
            return table[of][answered]
    raise ValueError(
        f"predictions[{row}] answers {said!r} where {true!r} is right, which costs= gives no price: "
        f'add costs["{true}"]["{said}"], or "*" for any label'
    )


def _table(costs: Any, labels: Sequence[str]) -> Costs:
    """Check the costs; labels are compared as everywhere, after NFC and strip."""
    if not isinstance(costs, Mapping) or not all(isinstance(row, Mapping) for row in costs.values()):
        raise ValueError(f"costs= is {costs!r:.40}: give {{true label: {{answered label: USD}}}}")
    taken = {ANY, UNMAPPED} & set(labels)
    if taken:
        raise ValueError(f"the label {taken.pop()!r} means something else in costs=: rename it in the data")
    table: Costs = {}
    for true, row in costs.items():
        own = table.setdefault(_known(true, [*labels, ANY]), {})
        for said, usd in row.items():
            number = usd if isinstance(usd, (int, float)) and not isinstance(usd, bool) else math.nan
            if not (math.isfinite(number) and number >= 0):
                raise ValueError(f'costs["{true}"]["{said}"] is {usd!r}: USD are finite and not negative')
            own[_known(said, [*labels, ANY, UNMAPPED])] = float(number)
    return table


def _known(label: Any, known: Sequence[str]) -> str:
    clean = plain(str(label))
    if clean in known:
        return clean
    near = difflib.get_close_matches(clean, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(
        f"costs= names {clean!r}, which is no label here: {hint}Known are {', '.join(known[:20])}; "
        "labels= names those that no reference has"
    )
