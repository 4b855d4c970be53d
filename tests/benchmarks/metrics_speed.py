"""Our metrics beside the reference implementations, interleaved in one run; before it every metric on 100,000 samples.

python -m tests.benchmarks.metrics_speed
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from metrics import METRICS, compare_paired, measure, score, score_rows
from metrics.bootstrap import pooled

PAIRS, RESAMPLES, MANY, LABELS = 20_000, 1000, 100_000, 77
LOOP = 5  # resamples of the peers' loops that are timed; the rest is proportional
VOCABULARY = [f"{a}{b}{c}" for a in "bcdfgklm" for b in "aeiou" for c in "nrst"]


def texts(n: int, rng: np.random.Generator, low: int = 8, high: int = 24) -> tuple[list[str], list[str]]:
    """References of random words, and answers that change a quarter of them."""
    references, answers = [], []
    for size in rng.integers(low, high, n):
        words = rng.choice(VOCABULARY, size)
        references.append(" ".join(words))
        answers.append(" ".join(np.where(rng.random(size) < 0.25, rng.choice(VOCABULARY, size), words)))
    return answers, references


def fastest(*works: Callable[[], Any], rounds: int = 4) -> list[float]:
    """Run the works in turns and return the least CPU seconds of each: a busy machine stretches the clock."""
    took = [float("inf")] * len(works)
    for _ in range(rounds):
        for place, work in enumerate(works):
            begun = time.process_time()
            work()
            took[place] = min(took[place], time.process_time() - begun)
    return took


def row(what: str, ours: float, theirs: float, wanted: float) -> None:
    """Print one comparison."""
    print(f"{what:<44} {ours:9.3f} s {theirs:9.3f} s {theirs / ours:8.1f} ×   wanted {wanted:g} ×")


def bleu(rng: np.random.Generator) -> None:
    """Resample corpus BLEU; both start from counted segments."""
    from sacrebleu.metrics import BLEU
    from sacrebleu.significance import _bootstrap_resample

    answers, references = texts(PAIRS, rng)
    rows = measure("bleu", answers, references)
    peer = BLEU()
    segments = peer._extract_corpus_statistics(answers, [references])
    units = pooled(rows.stats, None)
    ours, theirs = fastest(
        lambda: units.resampled(rows.reduce, seed=0, resamples=RESAMPLES),
        lambda: _bootstrap_resample(segments, peer, RESAMPLES),
    )
    row(f"BLEU, {RESAMPLES} resamples of {PAIRS} pairs", ours, theirs, 10)


def rouge(rng: np.random.Generator) -> None:
    """Measure ROUGE-1, -2 and -L of the same pairs."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    for low, high in ((20, 50), (8, 24)):
        answers, references = texts(PAIRS // 10, rng, low, high)
        ours, theirs = fastest(
            lambda: [measure(name, answers, references) for name in ("rouge1", "rouge2", "rouge_l")],  # noqa: B023
            lambda: [scorer.score(a, b) for a, b in zip(references, answers, strict=True)],  # noqa: B023
        )
        row(f"ROUGE-1, -2 and -L, texts of {low}–{high} words", ours, theirs, 7)


def macro_f1(rng: np.random.Generator) -> None:
    """Resample macro-F1 over many labels; the peer is a loop over scikit-learn."""
    from sklearn.metrics import f1_score

    names = np.array([f"label {place:02}" for place in range(LABELS)])
    true = rng.integers(0, LABELS, 10_000)
    said = [
        np.where(rng.random(10_000) < share, true, rng.integers(0, LABELS, 10_000)) for share in (0.8, 0.85)
    ]
    a, b = (measure("macro_f1", names[one].tolist(), names[true].tolist()) for one in said)
    units = pooled(a.stats, None)

    for kind, (y, z) in {"numbers": (true, said[0]), "texts": (names[true], names[said[0]])}.items():

        def loop() -> None:
            for _ in range(LOOP):
                drawn = rng.integers(0, len(true), len(true))
                f1_score(y[drawn], z[drawn], average="macro")  # noqa: B023

        ours, theirs = fastest(lambda: units.resampled(a.reduce, seed=0, resamples=RESAMPLES), loop)
        row(f"macro-F1, {LABELS} labels as {kind}, 10,000 rows", ours, theirs * RESAMPLES / LOOP, 100)
    took = fastest(
        lambda: score_rows("macro_f1", a), lambda: compare_paired(a.stats, b.stats, reduce=a.reduce)
    )
    print(f"{'  the same: score, compare_paired':<44} {took[0]:9.3f} s {took[1]:9.3f} s")


def every_metric(rng: np.random.Generator) -> None:
    """Score every metric with its interval."""
    answers, references = texts(MANY, rng)
    labels = rng.choice(VOCABULARY[:LABELS], MANY).tolist()
    said = np.where(rng.random(MANY) < 0.8, labels, rng.choice(VOCABULARY[:LABELS], MANY)).tolist()
    objects = [json.dumps({"name": text[:9], "place": {"city": label}, "n": row % 7})
               for row, (text, label) in enumerate(zip(references, said, strict=True))]  # fmt: skip
    calls = [json.dumps([{"name": label, "arguments": {"x": row % 9}}]) for row, label in enumerate(labels)]
    ranked = [list(map(str, found)) for found in rng.integers(0, 40, (MANY, 10))]
    likely = [tuple(map(float, found)) for found in rng.integers(1, 90, (MANY, 3))]
    inputs: dict[str, tuple[Any, Any, dict[str, Any]]] = {
        **dict.fromkeys(("accuracy", "macro_f1", "micro_f1"), (said, labels, {})),
        "cost_of_error": (said, labels, {"costs": {"*": {"*": 1.0}}}),
        "field_f1": (objects, objects[1:] + objects[:1], {}),
        "json_valid": (objects, None, {}),
        "schema_match": (objects, None, {"schema": {"type": "object", "required": ["n"]}}),
        "tool_call_match": (calls, calls[:-9] + calls[:9], {}),
        **dict.fromkeys(("recall_at_k", "mrr", "ndcg"), (ranked, [[found[3], "99"] for found in ranked], {})),
        **dict.fromkeys(("judge", "human"), (rng.random((MANY, 2)), None, {})),
        **dict.fromkeys(("perplexity", "bits_per_byte"), (likely, None, {})),
    }
    print(f"{'every metric with its interval':<24} {MANY} samples    peak memory so far")
    for name in METRICS:
        predictions, wanted, options = inputs.get(name, (answers, references, {}))
        begun = time.process_time()
        found = score(name, predictions, wanted, **options)
        took = time.process_time() - begun
        # Kilobytes on Linux, bytes on macOS.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
        print(f"{name:<24} {took:9.2f} s   {peak:9.0f} MB   {found}")


def main() -> None:
    """Print a table."""
    rng = np.random.default_rng(0)
    every_metric(rng)  # first: the peers' memory would be counted as ours
    print(f"\n{'CPU seconds, least of four in turns':<44} {'ours':>11} {'reference':>11} {'ratio':>10}")
    bleu(rng)
    rouge(rng)
    macro_f1(rng)


if __name__ == "__main__":
    main()
