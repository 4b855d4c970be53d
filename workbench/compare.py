"""Answers made anywhere, compared on the same samples: the difference, its interval, and a conclusion.

Two are compared as they are; of more, each against the first, with intervals that hold together and
Holm's p values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from metrics import METRICS, Comparison, Metric, Rows, Score, compare_paired, measure, score_rows
from metrics.multiple import Contrast, holm, simultaneous
from metrics.text import mean_reducer
from metrics.types import row_mean
from validators.findings import printable
from validators.suggest import did_you_mean

from .answers import Answers
from .pairing import Paired, listed, pair

GIVEN = "given:"


class CompareError(ValueError):
    """Answers that cannot be compared on this metric; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One contender (b) against the first (a), over the samples that both answered."""

    a_name: str
    b_name: str
    a: Score
    b: Score
    comparison: Comparison
    left_out: int

    def as_dict(self, metric: str, signature: str, *, names: bool) -> dict[str, Any]:
        """The comparison in the form of `compare --format json`; `names` adds who is a and who b."""
        found = self.comparison.as_dict()
        sides = [
            ({"name": name} if names else {})
            | {"score": score.value, "interval": None if score.interval is None else list(score.interval)}
            for name, score in ((self.a_name, self.a), (self.b_name, self.b))
        ]
        return {
            "schema": "workbench.comparison/1",
            "metric": metric,
            "signature": signature,
            "n": found["n"],
            "groups": found["groups"],
            "a": sides[0],
            "b": sides[1],
            "difference": {
                "estimate": found["difference"],
                "interval": found["interval"],
                "p": found["p"],
                "method": found["method"],
            },
            "conclusion": found["conclusion"],
        }


@dataclass(frozen=True, slots=True)
class Compared:
    """Every contender against the first, on one metric."""

    metric: str
    signature: str
    scale: str
    higher_is_better: bool
    margin: float
    alpha: float
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """One object for two files; for more, a list of them under `comparisons`."""
        if len(self.pairs) == 1:
            return self.pairs[0].as_dict(self.metric, self.signature, names=False)
        return {
            "schema": "workbench.comparisons/1",
            "metric": self.metric,
            "signature": self.signature,
            "comparisons": [p.as_dict(self.metric, self.signature, names=True) for p in self.pairs],
        }


def compare_answers(
    named: Mapping[str, Answers],
    metric: str,
    *,
    margin: float = 0.0,
    alpha: float = 0.05,
    seed: int = 0,
    lower_is_better: bool = False,
) -> Compared:
    """Compare each of `named` with the first one of them on `metric`.

    `metric` is one of METRICS, measured here from the answers, or a score that the files already hold
    (`given:NAME` where both exist). Raises CompareError, PairingError and ValueError.
    """
    if len(named) < 2:
        raise CompareError("a comparison needs at least two files of answers")
    measured = _is_measured(metric, named)
    paired = pair(named, references=measured and METRICS[metric].needs == "text")
    if measured:
        if lower_is_better:
            better = "higher" if METRICS[metric].higher_is_better else "lower"
            raise CompareError(
                f"{metric} is known: {better} is better. --lower-is-better is for scores of the files"
            )
        of = METRICS[metric]
        rows = {name: _measured(of, name, named[name], paired) for name in named}
    else:
        of, rows = _given(metric.removeprefix(GIVEN), named, paired, higher=not lower_is_better)
    _check_signatures(metric, rows)
    pairs = _pairs(of, rows, paired.groups, margin=margin, alpha=alpha, seed=seed)
    notes = [f"{name}: {note}" for name, answers in named.items() for note in answers.notes]
    notes += [
        f"{p.left_out} of {len(paired.keys)} samples left out of {p.b_name} against {p.a_name}: not both answered"
        for p in pairs
        if p.left_out
    ]
    signature = next(iter(rows.values())).signature
    return Compared(
        metric, signature, of.scale, of.higher_is_better, margin, alpha, tuple(pairs), tuple(notes)
    )


def _is_measured(metric: str, named: Mapping[str, Answers]) -> bool:
    """Whether the metric is measured here; else it is a score that the files hold. Raises CompareError."""
    name = metric.removeprefix(GIVEN)
    holding = [a for a in named.values() if name in a.scores]
    if metric.startswith(GIVEN) or metric not in METRICS:
        if len(holding) == len(named):
            return False
        if holding:
            lacking = [who for who, a in named.items() if name not in a.scores]
            raise CompareError(f"the score {printable(name)!r} is not in {listed(lacking)}. {_known(named)}")
        raise CompareError(
            f"unknown metric {printable(name)!r}.{did_you_mean(name, [*METRICS, *_all_scores(named)])} {_known(named)}"
        )
    if metric == "cost_of_error" and not all(name in a.scores for a in named.values()):
        raise CompareError(
            "cost_of_error needs its matrix: `workbench run`, with metrics.options in the experiment."
        )
    # A run has scored its answers under its experiment's own options: those rows are the comparison's.
    scored = all(a.format == "run" and name in a.scores for a in named.values())
    if METRICS[metric].needs in ("text", "likelihood") and not scored:
        return True
    if len(holding) == len(named):
        return False
    raise CompareError(
        f"{metric} is measured from {METRICS[metric].needs}s, which files of answers do not hold. {_known(named)}"
    )


def _all_scores(named: Mapping[str, Answers]) -> list[str]:
    return list(dict.fromkeys(metric for a in named.values() for metric in a.scores))


def _known(named: Mapping[str, Answers]) -> str:
    given = _all_scores(named)
    held = f" Scores in the files: {', '.join(map(printable, given))}." if given else ""
    return f"Measured here: {', '.join(m for m, of in METRICS.items() if of.needs in ('text', 'likelihood'))}.{held}"


def _measured(metric: Metric, name: str, answers: Answers, paired: Paired) -> Rows:
    rows = paired.rows[name]
    try:
        if metric.needs == "likelihood":
            triples = [
                None if r.error is not None or r.reference_nats is None
                else (r.reference_nats, r.reference_tokens or 0, r.reference_bytes or 0)
                for r in rows
            ]  # fmt: skip
            if not any(triples):
                raise CompareError(
                    f"{name}: these answers came without likelihoods of the references (`reference_nats`)"
                )
            options = {"tokenizer": answers.model or name} if metric.name == "perplexity" else {}
            return measure(metric, triples, **options)
        wordless = [
            k for k, r in zip(paired.keys, rows, strict=True) if r.error is None and r.prediction is None
        ]
        if wordless:
            raise CompareError(
                f"{name}: {len(wordless)} rows hold no text to measure {metric.name} on: {listed(wordless)}. "
                f"{_known({name: answers})}"
            )
        said = [
            None if r.error is not None
            else (list(r.tool_calls) or r.prediction) if metric.name == "tool_call_match" else r.prediction
            for r in rows
        ]  # fmt: skip
        return measure(metric, said, [list(r.references) for r in rows])
    except ValueError as error:
        raise error if isinstance(error, CompareError) else CompareError(f"{name}: {error}") from None


def _given(
    metric: str, named: Mapping[str, Answers], paired: Paired, *, higher: bool
) -> tuple[Metric, dict[str, Rows]]:
    """The scores that the files hold, as rows of a metric that is their mean."""
    columns = {name: paired.scores[name][metric] for name in named}
    values = [v for column in columns.values() for v in column if v is not None]
    scale = "0-1" if all(0 <= v <= 1 for v in values) else "free"
    of = Metric(metric, scale, higher, "rating", "A score the files hold.", measure, mean_reducer)
    rows = {}
    for name, column in columns.items():
        answers = named[name]
        rows[name] = Rows(
            stats=np.array([[v or 0.0] for v in column]),
            scored=np.array([v is not None for v in column], dtype=bool),
            reduce=row_mean,
            columns=("score",),
            signature=answers.signatures.get(metric, f"{metric}|by:{answers.format}"),
        )
    return of, rows


def _check_signatures(metric: str, rows: Mapping[str, Rows]) -> None:
    first_name, first = next(iter(rows.items()))
    for name, one in rows.items():
        if one.reason:
            raise CompareError(f"{name}: {one.reason}")
        if one.signature != first.signature:
            raise CompareError(
                f"{first_name} and {name} measured {metric} differently, so their values do not compare: "
                f"{first.signature} and {one.signature}"
            )
        if not one.scored.any():
            raise CompareError(
                f"{name}: all {len(one.scored)} rows failed or are unscored: nothing to compare"
            )


def _pairs(
    of: Metric,
    rows: Mapping[str, Rows],
    groups: Sequence[str | None],
    *,
    margin: float,
    alpha: float,
    seed: int,
) -> list[Pair]:
    (a_name, a), *others = rows.items()
    options: dict[str, Any] = {
        "margin": margin, "alpha": alpha, "seed": seed, "higher_is_better": of.higher_is_better
    }  # fmt: skip
    members = [a.scored & b.scored for _, b in others]
    for (b_name, _), both in zip(others, members, strict=True):
        if not both.any():
            raise CompareError(f"{a_name} and {b_name}: no sample was answered by both")
    alone = [
        compare_paired(a.stats[both], b.stats[both], groups=_chosen(groups, both), reduce=a.reduce, **options)
        for (_, b), both in zip(others, members, strict=True)
    ]
    found: Sequence[Comparison] = alone
    if len(others) > 1:
        found = _family(a, [b for _, b in others], [n for n, _ in others], members, groups, alone, options)
    made = []
    for (b_name, b), both, comparison in zip(others, members, found, strict=True):
        sides = [
            score_rows(of, _kept(r, both), groups=_chosen(groups, both), alpha=alpha, seed=seed)
            for r in (a, b)
        ]
        made.append(Pair(a_name, b_name, sides[0], sides[1], comparison, int((~both).sum())))
    return made


def _family(
    a: Rows,
    others: Sequence[Rows],
    names: Sequence[str],
    members: Sequence[Any],
    groups: Sequence[str | None],
    alone: Sequence[Comparison],
    options: Mapping[str, Any],
) -> list[Comparison]:
    """Intervals that hold together; each test's own p, corrected after Holm."""
    contrasts = [
        Contrast(name, a.stats, b.stats, members=both, reduce=a.reduce)
        for name, b, both in zip(names, others, members, strict=True)
    ]
    together = simultaneous(contrasts, groups=_chosen(groups, np.ones(len(a.stats), dtype=bool)), **options)
    corrected = holm([one.p for one in alone])
    return [
        replace(one, p=p, method=f"{single.method}; simultaneous over {len(names)}; p after Holm")
        for one, p, single in zip(together, corrected, alone, strict=True)
    ]


def _chosen(groups: Sequence[str | None], both: Any) -> list[str | None] | None:
    kept = [g for g, on in zip(groups, both, strict=True) if on]
    return kept if any(g is not None for g in kept) else None


def _kept(rows: Rows, both: Any) -> Rows:
    return Rows(rows.stats[both], rows.scored[both], rows.reduce, rows.columns, rows.signature)
