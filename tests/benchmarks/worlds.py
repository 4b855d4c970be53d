"""The decision's self-test: worlds of known truth on disk, decided by the shipped `decide`, in numbers.

python -m tests.benchmarks.worlds [DRAWS]        (2,000 draws a world by default: about 15 minutes on two cores)

At the margin: how often `tune / quality` is called though the gain is no larger than the margin, and how often the
95 % interval holds the truth. At the margin and the smallest detectable effect (simulated under this very rule):
how often it is called. `dont-tune` there is an error as well, and is shown.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from metrics import smallest_gain_under_rule
from tests.worlds import NULLS, SKEWED, Side, World, Worlds
from workbench.records import Verdict

BASE = 0.60
CHUNK = 250


def main() -> None:
    """Print both tables."""
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print(f"{draws:,} draws a world; ± is two standard errors\n")
    head = f"{'truth at the margin':<30}{'tune/quality':>16}{'dont-tune':>11}{'cant-tell':>11}{'covers':>14}"
    print(head)
    for name, world in NULLS.items():
        found = drawn(world, draws)
        wrong = sum(v.reason == "quality" for v in found) / draws
        print(
            f"{name:<30}{share(wrong, draws):>16}{headlines(found)}{share(coverage(found, world), draws):>14}"
        )
    print(
        f"\n{'margin + detectable effect':<30}{'gain':>7}{'tune/quality':>16}{'dont-tune':>11}{'cant-tell':>11}"
    )
    for name, world in at_the_detectable_effect():
        found = drawn(world, draws)
        called = sum(v.reason == "quality" for v in found) / draws
        print(f"{name:<30}{world.truth:>7.3f}{share(called, draws):>16}{headlines(found)}")


def at_the_detectable_effect() -> Iterator[tuple[str, World]]:
    """Worlds whose gain is the one that four of five tests should call."""
    plain = World({"base": Side(BASE), "lora": Side(BASE, tuned=True)})
    several = World(
        {"base": Side(BASE), "shots": Side(BASE), "rag": Side(BASE), "lora": Side(BASE, tuned=True)}
    )
    for name, world in {
        "plain, n = 200": plain,
        "plain, n = 500": replace(plain, n=500),
        "three equal alternatives": several,
        "groups, n = 400": replace(plain, n=400, groups=SKEWED),
    }.items():
        gain = 0.15
        for _ in range(4):  # how many samples differ depends on the gain
            discordant, icc = spread(world, gain)
            found = smallest_gain_under_rule(
                world.n,
                alternatives=len(world.sides) - 1,
                margin=world.worth_it,
                discordant=discordant,
                groups=sizes(world),
                icc=icc,
                worlds=4000,
            )
            assert found is not None
            gain = found
        sides = {**world.sides, "lora": Side(BASE + gain, tuned=True)}
        yield name, replace(world, sides=sides)


def sizes(world: World) -> list[int] | None:
    """The sizes of the world's groups, cut at n."""
    found: list[int] = []
    while world.groups and sum(found) < world.n:
        found.append(min(world.groups[len(found) % len(world.groups)], world.n - sum(found)))
    return found or None


def spread(world: World, gain: float, pairs: int = 400_000) -> tuple[float, float]:
    """Share of samples on which tuned and base differ, and how differences in one group correlate."""
    from statistics import NormalDist

    rng = np.random.default_rng(0)
    customer = world.customer if world.groups else 0.0
    bars = [NormalDist().inv_cdf(BASE), NormalDist().inv_cdf(BASE + gain)]
    groups = [rng.standard_normal(pairs) * np.sqrt(customer) for _ in bars]
    differences = []
    for _ in range(2):  # two samples of every group
        shared = rng.standard_normal(pairs) * np.sqrt(world.together)
        own = [rng.standard_normal(pairs) * np.sqrt(1 - world.together - customer) for _ in bars]
        right = [shared + g + o < bar for g, o, bar in zip(groups, own, bars, strict=True)]
        differences.append(right[1].astype(float) - right[0])
    icc = float(np.corrcoef(differences)[0, 1]) if customer else 0.0
    return float((differences[0] != 0).mean()), max(0.0, icc)


def drawn(world: World, draws: int) -> list[Verdict]:
    """So many verdicts, on two processes."""
    starts = range(0, draws, CHUNK)
    with ProcessPoolExecutor(2) as pool:
        parts = pool.map(_chunk, [world] * len(starts), starts, [min(CHUNK, draws - s) for s in starts])
        return [verdict for part in parts for verdict in part]


def _chunk(world: World, start: int, count: int) -> list[Verdict]:
    with tempfile.TemporaryDirectory() as folder:
        worlds = Worlds(world, Path(folder) / "run")
        return [worlds.draw(seed) for seed in range(start, start + count)]


def coverage(found: list[Verdict], world: World) -> float:
    """How often the interval of the hardest alternative's difference holds its truth."""
    best = max((s.accuracy, name) for name, s in world.sides.items() if not s.tuned)[1]
    intervals = [next(d.interval for d in v.differences if d.against == best) for v in found]
    return float(np.mean([i is not None and i[0] <= world.truth <= i[1] for i in intervals]))


def headlines(found: list[Verdict]) -> str:
    """Shares of the other two headlines; every draw has exactly one."""
    count = Counter(v.headline for v in found)
    assert count.total() == len(found) and set(count) <= {"tune", "dont-tune", "cant-tell"}
    return "".join(f"{count[h] / len(found):>11.3f}" for h in ("dont-tune", "cant-tell"))


def share(value: float, draws: int) -> str:
    """A share with two standard errors."""
    return f"{value:.4f} ±{2 * (value * (1 - value) / draws) ** 0.5:.4f}"


if __name__ == "__main__":
    main()
