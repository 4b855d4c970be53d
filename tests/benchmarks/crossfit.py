"""Cross-fitting against one test split, 400 examples: what each detects, and which truth its interval holds.

python -m tests.benchmarks.crossfit [--worlds 1000]

Two truths: the mean true gain of the models at hand (one a fold), and the gain to expect of the procedure,
that is of another training on other data of that size. Drawn models differ by a given spread; learnt ones
are ridge classifiers, fitted to the folds' overlapping training sets, against a fixed rule.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field

import numpy as np

from metrics import compare_paired
from metrics.comparison import Finding, find
from metrics.spread import fold_spread, widened
from metrics.types import Interval, row_mean

N = 400
WIDTH = 10  # features of the learnt classifiers
SIGNAL = 0.28


@dataclass
class Tally:
    """Shares of worlds, summed."""

    worlds: int = 0
    sums: dict[str, float] = field(default_factory=dict)

    def add(self, interval: Interval, models: float, procedure: float) -> None:
        """Count one interval."""
        low, high = interval
        self.worlds += 1
        for name, value in {
            "models": low <= models <= high,
            "procedure": low <= procedure <= high,
            "detected": low > 0,
            "width": high - low,
        }.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def __str__(self) -> str:
        share = {name: value / self.worlds for name, value in self.sums.items()}
        return (
            f"holds models at hand {share['models']:6.1%}, procedure {share['procedure']:6.1%}"
            f"   detects {share['detected']:6.1%}   width {share['width']:.3f}"
        )


def both(a: np.ndarray, b: np.ndarray, folds: np.ndarray) -> tuple[Interval, Interval]:
    """The plain interval and that widened by the folds' spread, as `compare_paired` makes them."""
    rows = a.astype(float)[:, None], b.astype(float)[:, None]
    difference, found = find(*rows, None, None, 0)
    assert isinstance(found, Finding)
    spans = widened(difference, found.spans, fold_spread(*rows, None, folds.tolist(), row_mean))
    plain, wide = found.spans(0.05), spans(0.05)
    assert plain is not None and wide is not None
    return plain, wide


def answers(skill: np.ndarray, rng: np.random.Generator, difficulty: np.ndarray) -> np.ndarray:
    """Right or wrong: harder samples are harder for all."""
    from scipy.special import ndtri

    return np.asarray(difficulty + 0.6 * rng.standard_normal(len(difficulty)) < ndtri(skill))


def drawn(folds: int, spread: float, worlds: int, gain: float = 0.08, base: float = 0.7) -> dict[str, Tally]:
    """Models whose true skill is drawn for each fold."""
    tallies = {"plain": Tally(), "folds=": Tally(), "one split of 80": Tally()}
    for world in range(worlds):
        rng = np.random.default_rng([world, folds, int(1000 * spread)])
        difficulty, fold = 0.8 * rng.standard_normal(N), np.arange(N) % folds
        gains = gain + spread * rng.standard_normal(folds)
        a = answers(np.full(N, base), rng, difficulty)
        b = answers(np.clip(base + gains[fold], 0.02, 0.98), rng, difficulty)
        for name, interval in zip(("plain", "folds="), both(a, b, fold), strict=True):
            tallies[name].add(interval, float(gains.mean()), gain)
        first = fold < folds // 5  # a fifth of the folds, of which only the first model is asked
        b = answers(np.full(N, np.clip(base + gains[0], 0.02, 0.98)), rng, difficulty)
        found = compare_paired(a[first], b[first]).interval
        tallies["one split of 80"].add(found or (-1.0, 1.0), float(gains[0]), gain)
    return tallies


def learnt(folds: int, worlds: int) -> dict[str, Tally]:
    """Ridge classifiers, fitted to all but one fold, against a fixed rule; truths from 20,000 new samples."""
    rng = np.random.default_rng(folds)
    weights = SIGNAL * rng.standard_normal(WIDTH) / np.sqrt(WIDTH) * 3
    rule = weights + 0.9 * np.linalg.norm(weights) * rng.standard_normal(WIDTH) / np.sqrt(WIDTH)
    fresh = rng.standard_normal((20_000, WIDTH))
    truth = fresh @ weights + rng.standard_normal(len(fresh)) > 0
    baseline = float(((fresh @ rule > 0) == truth).mean())

    def fitted(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        solved: np.ndarray = np.linalg.solve(x.T @ x + np.eye(WIDTH), x.T @ (2.0 * y - 1))
        return solved

    def skill(model: np.ndarray) -> float:
        return float(((fresh @ model > 0) == truth).mean())

    seen = []
    for _ in range(worlds):
        x = rng.standard_normal((N, WIDTH))
        y, fold = x @ weights + rng.standard_normal(N) > 0, np.arange(N) % folds
        models = [fitted(x[fold != one], y[fold != one]) for one in range(folds)]
        b = np.array([x[row] @ models[fold[row]] > 0 for row in range(N)]) == y
        gains = [skill(model) - baseline for model in models]
        seen.append(((x @ rule > 0) == y, b, fold, gains))
    procedure = float(np.mean([gains for *_, gains in seen]))
    tallies = {"plain": Tally(), "folds=": Tally(), "one split of 80": Tally()}
    for a, b, fold, gains in seen:
        for name, interval in zip(("plain", "folds="), both(a, b, fold), strict=True):
            tallies[name].add(interval, float(np.mean(gains)), procedure)
        first = fold < folds // 5
        found = compare_paired(a[first], b[first]).interval
        tallies["one split of 80"].add(found or (-1.0, 1.0), float(np.mean(gains[: folds // 5])), procedure)
    return tallies


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=1000)
    worlds, start = parser.parse_args().worlds, time.time()
    for folds in (5, 10):
        for spread in (0.0, 0.01, 0.02, 0.04):
            for name, tally in drawn(folds, spread, worlds).items():
                print(f"drawn, {folds:2} folds, spread {spread:.2f}  {name:16} {tally}", flush=True)
        for name, tally in learnt(folds, worlds // 2).items():
            print(f"learnt, {folds:2} folds              {name:16} {tally}", flush=True)
    print(f"{worlds} worlds, {time.time() - start:.0f} s")


if __name__ == "__main__":
    main()
