"""Who is trained on and who is tested: splits, folds for cross-fitting, nested parts for a learning curve.

Whole clusters move: samples of one group, one conversation or one question text are never parted.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from validators.fingerprints import fold

from .records import Sample
from .sections import Split

SPLITS = ("train", "dev", "test")


def split_samples(samples: Sequence[Sample], split: Split) -> dict[str, list[Sample]]:
    """Divide samples by group, stratified by class where the references form classes.

    Same samples and seed, same split, whatever the order of rows in the file.
    """
    shares = {"train": 1 - split.dev - split.test, "dev": split.dev, "test": split.test}
    dealt = _deal(samples, shares, _strata(samples, split.stratify), split.seed)
    return {name: dealt.get(name, []) for name in SPLITS}


def fold_samples(samples: Sequence[Sample], split: Split, folds: int) -> list[dict[str, list[Sample]]]:
    """Divide samples `folds` times, so that each is in `test` exactly once; `split.test` is not used.

    dev is `split.dev` of what is not tested, train the rest. Folds hold whole clusters and are stratified
    as a split is.
    """
    strata = _strata(samples, split.stratify)
    tests = _deal(samples, {str(i): 1 / folds for i in range(folds)}, strata, split.seed)
    divided = []
    for test in tests.values():
        tested = {s.id for s in test}
        rest = [s for s in samples if s.id not in tested]
        fitted = _deal(rest, {"train": 1 - split.dev, "dev": split.dev}, strata, split.seed)
        divided.append({"train": fitted["train"], "dev": fitted.get("dev", []), "test": test})
    return divided


def part_of(samples: Sequence[Sample], fraction: float, *, seed: int, stratify: bool) -> list[Sample]:
    """About `fraction` of the samples: parts of one seed are nested, the smaller inside the larger.

    All clusters stand in one order, made so that any beginning of it has the shares of classes that the
    whole has; a part is a beginning, one cluster at least.
    """
    strata = _strata(samples, stratify)
    sizes = Counter(strata.values())
    clusters = _clusters(samples)
    chance = random.Random(seed)
    order = _shuffled(clusters, chance)
    # Where a class begins is left to chance: from a fixed place, small parts would always lack rare classes.
    reached = {stratum: chance.random() for stratum in sorted(sizes)}
    place: dict[str, float] = {}
    for key in order:
        total = 0.0
        for sample in clusters[key]:
            total += reached[strata[sample.id]] / sizes[strata[sample.id]]
            reached[strata[sample.id]] += 1
        place[key] = total / len(clusters[key])
    kept: set[str] = set()
    wanted = fraction * len(samples)
    for key in sorted(order, key=lambda k: place[k]):
        # The beginning whose size is nearest to what is wanted.
        if kept and len(kept) + len(clusters[key]) / 2 > wanted:
            break
        kept.update(s.id for s in clusters[key])
    return [s for s in samples if s.id in kept]


def classes_of(samples: Iterable[Sample]) -> list[str] | None:
    """The classes that references form: at most 50, at most a tenth of the rows, at most 5 words each."""
    answers = [s.references[0].strip() for s in samples]
    distinct = sorted(set(answers))
    few = 1 < len(distinct) <= min(50, max(2, len(answers) // 10))
    return distinct if few and all(len(a.split()) <= 5 for a in distinct) else None


def _strata(samples: Sequence[Sample], stratify: bool) -> dict[str, str]:
    """The stratum of each sample id: its class, or one for all."""
    strata = classes_of(samples) if stratify else None
    return {s.id: (s.references[0].strip() if strata else "") for s in samples}


def _deal(
    samples: Sequence[Sample], shares: Mapping[str, float], strata: Mapping[str, str], seed: int
) -> dict[str, list[Sample]]:
    """Deal clusters in seeded order, each to the part that has least of what it should get of its classes."""
    shares = {name: share for name, share in shares.items() if share > 0}
    clusters = _clusters(samples)
    wanted = Counter(strata[s.id] for s in samples)
    filled: dict[str, Counter[str]] = {name: Counter() for name in shares}
    chosen: dict[str, list[Sample]] = {name: [] for name in shares}
    for key in _shuffled(clusters, random.Random(seed)):
        members = clusters[key]
        counts = dict(sorted(Counter(strata[s.id] for s in members).items()))
        # Fraction of its due that each part has, averaged over the cluster's classes; the total breaks ties.
        best = min(
            shares,
            key=lambda name: (
                sum(n * filled[name][c] / (shares[name] * wanted[c]) for c, n in counts.items())
                / len(members),
                filled[name].total() / shares[name],
            ),
        )
        filled[best].update(counts)
        chosen[best].extend(members)
    position = {s.id: i for i, s in enumerate(samples)}
    return {name: sorted(part, key=lambda s: position[s.id]) for name, part in chosen.items()}


def _shuffled(clusters: Mapping[str, Sequence[Sample]], chance: random.Random) -> list[str]:
    """The clusters' keys in seeded order, whatever the order of rows."""
    order = sorted(clusters, key=lambda key: min(s.id for s in clusters[key]))
    chance.shuffle(order)
    return order


def _clusters(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    """Samples joined by a shared group or a shared question text."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for sample in samples:
        asked = [m.text for m in sample.messages if m.role != "system"]
        # Some data put the question into the system message; a prompt of pictures alone has no text.
        text = fold(" ".join(asked)) or fold(" ".join(m.text for m in sample.messages))
        keys = ["text " + text] if text else []
        if sample.group is not None:
            keys.append("group " + sample.group)
        for key in keys:
            parent[root(key)] = root("sample " + sample.id)
    clusters = defaultdict(list)
    for sample in samples:
        clusters[root("sample " + sample.id)].append(sample)
    return dict(clusters)
