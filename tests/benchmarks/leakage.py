"""Near-duplicates between two sets of short documents: documents a second, recall and precision, memory.

python -m tests.benchmarks.leakage [--small 10000] [--big 100000] [--peer]        (the full size: 40000 and 1000000)

Documents of 12 to 40 words of a vocabulary as skewed as a language's; every fiftieth of the big side is one of the
small side with up to three words changed. Recall and precision are by the definition of `validators.leakage`,
against all pairs for a part of the documents. With --peer, datasketch's MinHash LSH (128 permutations, unverified) on
a part of the same documents, if it is installed. Ratios of CPU time, one process.
"""

from __future__ import annotations

import argparse
import itertools
import random
import resource
import time
from collections.abc import Iterator

from validators.leakage import FEWEST, THRESHOLD, Index, triples

CHANGED_EVERY = 50
CHECKED = 2_000  # documents of the big side that are at most held against all of the small side
COMPARISONS = 10_000_000


def vocabulary(rng: random.Random) -> tuple[list[str], list[float]]:
    """Words and their cumulative weights (Zipf)."""
    letters = "abcdefghijklmnop"
    words = ["".join(rng.choice(letters) for _ in range(rng.randint(2, 9))) for _ in range(20_000)]
    return words, list(itertools.accumulate(1 / (i + 1) for i in range(len(words))))


def documents(count: int, rng: random.Random, copied: list[str] | None = None) -> Iterator[str]:
    """Documents; with `copied`, every fiftieth is one of those with up to three words changed."""
    words, weights = vocabulary(random.Random(0))
    for i in range(count):
        if copied and i % CHANGED_EVERY == 0:
            text = rng.choice(copied).split()
            for _ in range(rng.randint(0, 3)):
                text[rng.randrange(len(text))] = rng.choice(words)
        else:
            text = rng.choices(words, cum_weights=weights, k=rng.randint(12, 40))
        yield " ".join(text)


def checked(index: Index, small: list[str], big: list[str]) -> tuple[float, float]:
    """Recall and precision on some documents, against all pairs."""
    held = [triples(text) - index.common for text in small]
    found, right, there = 0, 0, 0
    for text in big:
        one = triples(text) - index.common
        true = {
            key
            for key, other in enumerate(held)
            if min(len(one), len(other)) >= FEWEST and len(one & other) >= THRESHOLD * len(one | other)
        }
        got = {key for key, _ in index.matches(triples(text))}
        found, right, there = found + len(got), right + len(got & true), there + len(true)
    return right / max(there, 1), right / max(found, 1)


def peer(small: list[str], big: list[str]) -> float:
    """CPU seconds of datasketch for the same work."""
    from datasketch import MinHash, MinHashLSH

    def sketch(text: str) -> MinHash:
        words = text.split()
        made = MinHash(num_perm=128)
        made.update_batch([" ".join(run).encode() for run in zip(words, words[1:], words[2:], strict=False)])
        return made

    begun = time.process_time()
    index = MinHashLSH(threshold=THRESHOLD, num_perm=128)
    for i, text in enumerate(small):
        index.insert(i, sketch(text))
    for text in big:
        index.query(sketch(text))
    return time.process_time() - begun


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", type=int, default=10_000)
    parser.add_argument("--big", type=int, default=100_000)
    parser.add_argument("--peer", action="store_true")
    asked = parser.parse_args()
    rng = random.Random(7)
    small = list(documents(asked.small, rng))
    begun = time.process_time()
    index = Index((key, triples(text)) for key, text in enumerate(small))
    indexed = time.process_time() - begun
    streamed, pairs, part = 0.0, 0, []
    for text in documents(asked.big, rng, small):
        begun = time.process_time()
        pairs += sum(1 for _ in index.matches(triples(text)))
        streamed += time.process_time() - begun
        if len(part) < CHECKED:
            part.append(text)
    rate = (asked.small + asked.big) / (indexed + streamed)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{asked.big:,} × {asked.small:,} documents, {pairs:,} near pairs")
    print(
        f"index {indexed:.1f} s, stream {streamed:.1f} s: {rate:,.0f} documents/s (wanted 25,000), peak {peak:,.0f} MB"
    )
    part = part[: max(1, COMPARISONS // asked.small)]
    recall, precision = checked(index, small, part)
    print(f"recall {recall}, precision {precision} on {len(part):,} documents (all pairs)")
    if asked.peer:
        few, many = small[:2_000], part
        begun = time.process_time()
        own = Index((key, triples(text)) for key, text in enumerate(few))
        for text in many:
            list(own.matches(triples(text)))
        ours = time.process_time() - begun
        print(f"datasketch, {len(many):,} × {len(few):,}: {peer(few, many) / ours:.1f} × our time")


if __name__ == "__main__":
    main()
