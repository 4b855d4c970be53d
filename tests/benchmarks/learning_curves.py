"""How often the forecast of a learning curve holds its last point, withheld: simulated curves and real ones.

python -m tests.benchmarks.learning_curves [--worlds 200] [curve.json …]

A file of a real curve: {"name": …, "sizes": [10, 25, 50, 100], "higher_is_better": true,
"scores": [[[score of each test sample] of each seed] of each size], "groups": [… of each sample] or absent}.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metrics.learning_curve import Curve, fit_curve


@dataclass(frozen=True)
class Kind:
    """A true curve of accuracy over the share of the training data, and the spread between trainings."""

    name: str
    value: Callable[[float], float]
    spread: float


KINDS = (
    Kind("power law, b 0.3", lambda x: 0.95 - 0.20 * x**-0.3, 0.010),
    Kind("power law, b 0.5", lambda x: 0.92 - 0.12 * x**-0.5, 0.010),
    Kind("power law, b 1", lambda x: 0.88 - 0.04 * x**-1, 0.010),
    Kind("logarithm", lambda x: 0.75 + 0.08 * np.log(x), 0.010),
    Kind("exponential saturation", lambda x: 0.85 - 0.5 * np.exp(-x / 0.15), 0.010),
    Kind("sigmoid, early", lambda x: 0.40 + 0.45 / (1 + np.exp(-(np.log(x) + 1.6) * 2.5)), 0.010),
    Kind("sigmoid, late", lambda x: 0.40 + 0.45 / (1 + np.exp(-(np.log(x) + 0.7) * 2.5)), 0.010),
    Kind("plateau", lambda x: 0.80, 0.010),
    Kind("plateau, noisy trainings", lambda x: 0.80, 0.030),
    Kind("power law, noisy trainings", lambda x: 0.92 - 0.12 * x**-0.5, 0.030),
    Kind("dip in the middle", lambda x: 0.85 - 0.10 * x**-0.4 - 0.04 * np.exp(-(np.log(x / 0.3) ** 2) / 0.1), 0.010),
    Kind("near the ceiling", lambda x: 0.985 - 0.02 * x**-0.5, 0.005),
    Kind("no noise between trainings", lambda x: 0.9 - 0.15 * x**-0.4, 0.0),
)  # fmt: skip
DESIGNS = (  # shares of the data, seeds, samples, groups
    ((0.1, 0.25, 0.5, 1.0), 1, 200, None),
    ((0.1, 0.25, 0.5, 1.0), 3, 200, None),
    ((0.1, 0.25, 0.5, 1.0), 2, 120, 30),
    ((0.05, 0.1, 0.25, 0.5, 1.0), 1, 400, 60),
    ((0.05, 0.1, 0.25, 0.5, 1.0), 2, 200, None),
)  # fmt: skip


def drawn(
    kind: Kind, shares: tuple[float, ...], seeds: int, n: int, groups: int | None, rng: np.random.Generator
) -> tuple[list[list[np.ndarray]], list[int] | None]:
    """Draw correct answers `[size][seed][n]` of models that share the samples' difficulty."""
    from scipy.special import ndtri

    codes = None if groups is None else rng.integers(0, groups, n)
    difficulty = rng.standard_normal(n) * 0.8
    if codes is not None:
        difficulty = difficulty * 0.8 + 0.48 * rng.standard_normal(groups)[codes]
    runs = []
    for share in shares:
        row = []
        for _ in range(seeds):
            skill = np.clip(kind.value(share) + kind.spread * rng.standard_normal(), 0.01, 0.99)
            row.append((difficulty + 0.6 * rng.standard_normal(n) < ndtri(skill)).astype(float))
        runs.append(row)
    return runs, None if codes is None else codes.tolist()


def withheld(
    sizes: list[float], runs: list[list[Any]], groups: list[Any] | None, **options: Any
) -> tuple[Curve, Any]:
    """Fit all sizes but the last, and forecast that."""
    curve = fit_curve(sizes[:-1], runs[:-1], groups=groups, **options)
    return curve, curve.forecast(sizes[-1])


def simulated(worlds: int, seed: int = 0) -> Iterator[tuple[Kind, int, float, float, float]]:
    """For each kind and design: how often the interval holds the true value, the score seen, and its width."""
    for kind in KINDS:
        for place, (shares, seeds, n, groups) in enumerate(DESIGNS):
            rng = np.random.default_rng([seed, KINDS.index(kind), place])
            true, shown, width = 0, 0, 0.0
            for _ in range(worlds):
                runs, codes = drawn(kind, shares, seeds, n, groups, rng)
                _, found = withheld(list(shares), runs, codes)
                low, high = found.interval
                true += low <= kind.value(1.0) <= high
                shown += low <= float(runs[-1][0].mean()) <= high
                width += high - low
            yield kind, place, true / worlds, shown / worlds, width / worlds


def recorded(path: Path) -> str:
    """The line of a real curve."""
    text = json.loads(path.read_text(encoding="utf-8"))
    curve, found = withheld(
        text["sizes"],
        text["scores"],
        text.get("groups"),
        higher_is_better=text.get("higher_is_better", True),
    )
    last = [float(np.mean(run)) for run in text["scores"][-1]]
    held = sum(found.interval[0] <= value <= found.interval[1] for value in last)
    return (
        f"{text.get('name', path.stem):32} forecast {found.value:.3f} [{found.interval[0]:.3f}, {found.interval[1]:.3f}]"
        f"  seen {', '.join(f'{value:.3f}' for value in last)}  held {held} of {len(last)}"
        f"  {'identifiable' if curve.identifiable else 'not identifiable'}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=200)
    parser.add_argument("curves", nargs="*", type=Path)
    asked = parser.parse_args()
    for path in asked.curves:
        print(recorded(path))
    start, totals = time.time(), []
    print(
        f"{asked.worlds} worlds each; the interval (95 %) holds: the true value | the score seen | its width"
    )
    for number, (shares, seeds, n, groups) in enumerate(DESIGNS):
        print(f"  design {number}: sizes {shares}, {seeds} seeds, {n} samples, {groups or 'no'} groups")
    for kind, place, true, shown, width in simulated(asked.worlds):
        totals.append((true, shown))
        print(f"{kind.name:28} design {place}  {true:6.1%} {shown:6.1%} {width:6.3f}", flush=True)
    mean, least = np.mean(totals, axis=0), np.min(totals, axis=0)
    print(
        f"mean {mean[0]:.1%} {mean[1]:.1%}   least {least[0]:.1%} {least[1]:.1%}   {time.time() - start:.0f} s"
    )


if __name__ == "__main__":
    main()
