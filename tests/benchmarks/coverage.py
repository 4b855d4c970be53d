"""How often the intervals hold the truth, and how often they lie above it by chance: every kind of comparison.

python -m tests.benchmarks.coverage [--worlds 2000] [--only grouped]

Binary samples are summed up exactly over all outcomes; the rest is drawn. `above` is the one-sided error
of "better by more than the margin" where the true difference is the margin: 2.5 % is what it should be.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrics import Contrast, compare_seeds, reducer, simultaneous
from metrics.bootstrap import Units, difference_of
from metrics.intervals import grouped_score, paired_score, skewed_student, student, unchanged
from metrics.types import row_mean

ALPHA = 0.05


@dataclass(frozen=True)
class Cell:
    """One design: shares of worlds in which the interval held the truth, lay above it, lay below it."""

    kind: str
    design: str
    held: float
    above: float
    below: float
    exact: bool = False


def judged(kind: str, design: str, low: Any, high: Any, truth: float, weights: Any = None) -> Cell:
    """Count; `weights` are the probabilities of the outcomes where these were enumerated."""
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    share = np.full(len(low), 1 / len(low)) if weights is None else weights
    above, below = (float(share[out].sum()) for out in (low > truth + 1e-9, high < truth - 1e-9))
    return Cell(kind, design, 1 - above - below, above, below, weights is not None)


def binary(worlds: int) -> Iterator[Cell]:
    """Ungrouped 0/1 scores, exact: near the ceiling (2 and 5 % discordant) up to half discordant."""
    from scipy.special import gammaln, xlogy

    for n in (40, 100, 400):
        gained, lost = (
            part.ravel().astype(float) for part in np.meshgrid(np.arange(n + 1), np.arange(n + 1))
        )
        inside = gained + lost <= n
        gained, lost = gained[inside], lost[inside]
        parts = (gained, lost, n - gained - lost)
        arrangements = gammaln(n + 1) - sum(gammaln(part + 1) for part in parts)
        for discordant in (0.02, 0.05, 0.1, 0.2, 0.3, 0.5):
            for truth in (0.0, 0.02, 0.05, 0.1, 0.2):
                if truth > discordant:
                    continue
                shares = (discordant + truth) / 2, (discordant - truth) / 2, 1 - discordant
                logs = arrangements + sum(xlogy(k, p) for k, p in zip(parts, shares, strict=True))
                likely = logs > -25
                low, high = paired_score(gained[likely], lost[likely], n, ALPHA)
                weights = np.exp(logs[likely])
                yield judged(
                    "binary", f"n {n}, discordant {discordant:.0%}, d {truth}", low, high, truth, weights
                )


def sizes(worlds: int, groups: int, skew: float, rng: np.random.Generator) -> np.ndarray:
    """Sizes of groups, ten on average: lognormal, from rather equal (0.5) to very unequal (1.2)."""
    drawn = 10 * np.exp(skew * rng.standard_normal((worlds, groups)) - skew**2 / 2)
    return np.maximum(1.0, np.round(drawn))


def grouped_binary(worlds: int) -> Iterator[Cell]:
    """0/1 scores in groups; shares of gained and lost vary between groups as Dirichlet with this icc."""
    for groups in (12, 20, 38, 100):
        for skew in (0.5, 1.2):
            for icc in (0.02, 0.1, 0.3):
                for discordant, truth in ((0.1, 0.05), (0.2, 0.0), (0.2, 0.1), (0.5, 0.05)):
                    rng = np.random.default_rng(
                        [groups, int(10 * skew), int(100 * icc), int(100 * discordant)]
                    )
                    counts = sizes(worlds, groups, skew, rng)
                    means = np.array([discordant + truth, discordant - truth, 2 - 2 * discordant]) / 2
                    drawn = rng.gamma(means * (1 - icc) / icc, size=(worlds, groups, 3))
                    drawn /= drawn.sum(axis=-1, keepdims=True)
                    outcome = rng.multinomial(counts.astype(int), drawn)
                    low, high = grouped_score(
                        outcome[..., 0].astype(float), outcome[..., 1].astype(float), counts, ALPHA
                    )
                    design = (
                        f"{groups} groups, skew {skew}, icc {icc}, discordant {discordant:.0%}, d {truth}"
                    )
                    yield judged("grouped binary", design, low, high, truth)  # fmt: skip


def rare(rng: np.random.Generator, n: int, gained: float) -> np.ndarray:
    """Differences of two contenders that say the same on 97 % of the samples."""
    sign = np.where(rng.random(n) < gained, 1, -1)
    return np.where(rng.random(n) < 0.03, sign * rng.uniform(0.5, 1, n), 0.0)


SHAPES: dict[str, tuple[Callable[[np.random.Generator, int], np.ndarray], float]] = {
    "normal": (lambda rng, n: rng.standard_normal(n), 0.0),
    "exponential": (lambda rng, n: rng.exponential(1, n), 1.0),
    "lognormal": (lambda rng, n: rng.lognormal(0, 1, n), float(np.exp(0.5))),
    "85 % ties, skewed gains": (lambda rng, n: rng.exponential(0.5, n) * (rng.random(n) < 0.15), 0.075),
    "F1-like, 70 % ties": (
        lambda rng, n: np.where(rng.random(n) < 0.7, 0, np.where(rng.random(n) < 0.5, 1, rng.uniform(-0.6, 0.6, n))),
        0.15,
    ),
    "97 % ties, both ways": (lambda rng, n: rare(rng, n, 0.5), 0.0),
    "97 % ties, most gained": (lambda rng, n: rare(rng, n, 0.75), 0.03 * 0.75 * 0.5),
    "difference of ROUGEs": (lambda rng, n: rng.beta(2, 5, n) - rng.beta(2, 3, n), 2 / 7 - 0.4),
}  # fmt: skip


def continuous(worlds: int) -> Iterator[Cell]:
    """Ungrouped numbers."""
    for name, (draw, truth) in SHAPES.items():
        for n in (20, 40, 100, 400):
            rng = np.random.default_rng([n, list(SHAPES).index(name)])
            found = []
            for _ in range(worlds):
                gains = draw(rng, n)
                spans = skewed_student(Units(gains[:, None], np.ones(n)), row_mean, gains != 0)
                found.append(spans(ALPHA) or unchanged(0.0, n, ALPHA, low=-1.0))
            yield judged("numbers", f"{name}, n {n}", *zip(*found, strict=True), truth)


def grouped_continuous(worlds: int) -> Iterator[Cell]:
    """Numbers in groups with normal or exponential effects of group and sample."""
    for groups in (12, 20, 38, 100):
        for skew in (0.5, 1.2):
            for icc in (0.05, 0.3):
                for shape in ("normal", "exponential"):
                    rng = np.random.default_rng([groups, int(10 * skew), int(100 * icc), len(shape)])
                    found = []
                    for counts in sizes(worlds, groups, skew, rng):
                        if shape == "normal":
                            effect, noise = (
                                rng.standard_normal(groups),
                                np.sqrt(counts) * rng.standard_normal(groups),
                            )
                        else:
                            effect, noise = rng.exponential(1, groups) - 1, rng.gamma(counts) - counts
                        sums = np.sqrt(icc) * effect * counts + np.sqrt(1 - icc) * noise
                        found.append(student(Units(sums[:, None], counts), row_mean)(ALPHA))
                    design = f"{shape}, {groups} groups, skew {skew}, icc {icc}"
                    yield judged("grouped numbers", design, *zip(*found, strict=True), 0.0)  # fmt: skip


def bleu_rows(rng: np.random.Generator, skill: np.ndarray) -> np.ndarray:
    """Counts as BLEU's: hits and totals of one to four tokens, lengths of answer and reference."""
    length = rng.integers(6, 30, len(skill))
    totals = [np.maximum(length - order, 0) for order in range(4)]
    hits = [
        rng.binomial(total, np.clip(skill, 0.02, 0.98) ** (order + 1)) for order, total in enumerate(totals)
    ]
    segments, wanted = np.full(len(skill), len(skill)), length + rng.integers(-2, 3, len(skill))
    return np.column_stack([segments, length, wanted, *hits, *totals]).astype(float)


def f1_rows(rng: np.random.Generator, skill: np.ndarray) -> np.ndarray:
    """Hits, false alarms and misses of three labels, the rarest a tenth."""
    true = rng.choice(3, len(skill), p=[0.6, 0.3, 0.1])
    said = np.where(rng.random(len(skill)) < skill, true, (true + rng.integers(1, 3, len(skill))) % 3)
    right = (said == true)[:, None]
    one = np.eye(3)
    return np.hstack([one[true] * right, one[said] * ~right, one[true] * ~right])


def corpora(worlds: int) -> Iterator[Cell]:
    """BLEU and macro-F1 from synthetic rows, samples alone and in groups."""
    labels = ("x", "y", "z")
    f1 = reducer("macro_f1", [f"{part}:{label}" for part in ("tp", "fp", "fn") for label in labels])
    bleu_columns = _bleu_columns()
    for name, draw, reduce, levels in (
        ("bleu", bleu_rows, reducer("bleu", bleu_columns), (0.70, 0.74)),
        ("macro_f1", f1_rows, f1, (0.70, 0.78)),
    ):
        for groups, each in ((40, 1), (100, 1), (400, 1), (12, 10), (38, 10)):
            rng = np.random.default_rng([groups, each, len(name)])

            def pair(count: int, groups: int = groups, each: int = each, draw: Any = draw, levels: Any = levels,
                     rng: np.random.Generator = rng) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
                counts = sizes(1, groups, 1.0, rng)[0] if each > 1 else np.ones(groups)
                codes = np.repeat(np.arange(groups), counts.astype(int))
                common = 0.08 * rng.standard_normal(count * groups).reshape(count, groups)[:, codes]
                rows = [
                    np.hstack([draw(rng, np.clip(level + one, 0.02, 0.98)) for level in levels])
                    for one in common
                ]
                sums = np.zeros((count, groups, rows[0].shape[1]))
                for world, table in enumerate(rows):
                    np.add.at(sums[world], codes, table)
                return sums, counts

            def difference(means: np.ndarray, reduce: Any = reduce) -> Any:
                return difference_of(reduce, means.shape[-1] // 2)(means)

            # Sizes are the same in all worlds of a cell, so that the truth is one number.
            rng = np.random.default_rng([groups, each, len(name)])
            sums, counts = pair(worlds + 3 * max(worlds, 40_000 // groups), rng=rng)
            truth = float(difference(sums.sum(axis=(0, 1)) / (len(sums) * counts.sum())))
            spans = skewed_student if each == 1 else student
            columns = sums.shape[-1] // 2
            found = [
                spans(Units(one, counts), difference, (one[:, :columns] != one[:, columns:]).any(axis=1))(
                    ALPHA
                )
                or (np.nan, np.nan)
                for one in sums[:worlds]
            ]
            design = f"{name}, {groups} {'samples' if each == 1 else 'groups, skew 1.0'}"
            yield judged("corpora", design, *zip(*found, strict=True), truth)


def _bleu_columns() -> tuple[str, ...]:
    from metrics import measure

    return measure("bleu", ["a"], ["a"]).columns


def families(worlds: int) -> Iterator[Cell]:
    """Simultaneous intervals: a world counts as held when all of its family are."""
    worlds = max(50, worlds // 5)
    for name, groups, slices in (
        ("4 contenders, 200 samples", None, 0),
        ("4 contenders, 38 unequal groups", 38, 0),
        ("10 slices, 38 unequal groups", 38, 10),
    ):
        rng = np.random.default_rng(len(name))
        held = above = 0
        for world in range(worlds):
            counts = np.ones(200) if groups is None else sizes(1, groups, 0.8, rng)[0]
            codes = np.repeat(np.arange(len(counts)), counts.astype(int))
            tilt = 0.0 if groups is None else 0.4 * rng.standard_normal(groups)[codes]
            a = rng.standard_normal(len(codes))
            others = [a + tilt + rng.standard_normal(len(codes)) for _ in range(1 if slices else 4)]
            where = rng.integers(0, max(slices, 1), len(codes))
            family = [
                Contrast(f"{place} {part}", a, b, where == part)
                for place, b in enumerate(others)
                for part in sorted(set(where.tolist()))
            ]
            found = simultaneous(family, groups=None if groups is None else codes.tolist(), seed=world)
            spans = [one.interval for one in found if one.interval is not None]
            held += all(low <= 0 <= high for low, high in spans)
            above += any(low > 0 for low, _ in spans)
        yield Cell("families", name, held / worlds, above / worlds, 1 - (held + above) / worlds)


def seeds(worlds: int) -> Iterator[Cell]:
    """Several trainings: the expected difference, with a spread of seeds from 0 to 4 sampling errors."""
    worlds, n = max(50, worlds // 4), 150
    for runs in (3, 5):
        for spread in (0.0, 1.0, 4.0):
            rng = np.random.default_rng([runs, int(spread)])
            spans = []
            for world in range(worlds):
                a = rng.standard_normal(n)
                gain = 0.5 * rng.standard_normal(n)
                b = [
                    a + gain + spread * 0.7 / n**0.5 * rng.standard_normal() + 0.5 * rng.standard_normal(n)
                    for _ in range(runs)
                ]
                spans.append(compare_seeds([a], b, seed=world).interval or (0.0, 0.0))
            yield judged("seeds", f"{runs} seeds, spread {spread:g}", *zip(*spans, strict=True), 0.0)


KINDS: dict[str, Callable[[int], Iterator[Cell]]] = {
    "binary": binary,
    "grouped": grouped_binary,
    "numbers": continuous,
    "grouped-numbers": grouped_continuous,
    "corpora": corpora,
    "families": families,
    "seeds": seeds,
}


def main() -> None:
    """Print the table and, for each kind, what is outside 93–97.5 %."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=2000)
    parser.add_argument("--only", choices=tuple(KINDS))
    asked = parser.parse_args()
    summaries = []
    for name in [asked.only] if asked.only else KINDS:
        start, cells = time.time(), []
        for cell in KINDS[name](asked.worlds):
            cells.append(cell)
            mark = " " if 0.93 <= cell.held <= 0.975 and cell.above <= 0.035 else "*"
            print(
                f"{mark} {cell.kind:15} {cell.design:58} held {cell.held:6.1%}"
                f"  above {cell.above:5.1%}  below {cell.below:5.1%}",
                flush=True,
            )
        held, above = np.array([c.held for c in cells]), np.array([c.above for c in cells])
        summaries.append(
            f"{name:15} {len(cells):3} cells: held {held.min():.1%} to {held.max():.1%}, mean {held.mean():.1%}, "
            f"{int(((held >= 0.93) & (held <= 0.975)).sum())} in 93–97.5 %; above at most {above.max():.1%}, "
            f"mean {above.mean():.1%}; {time.time() - start:.0f} s"
        )
    print("\n".join(summaries))


if __name__ == "__main__":
    main()
