"""Retrieval on the handbook: recall@5, MRR and nDCG of BM25, dense and hybrid search, with intervals.

python -m tests.benchmarks.retrieval [--words 120] [--overlap 0] [--embedder minilm-l6-v2]

Every question of the sample that a page of the handbook answers is asked, whatever its split: nothing is
fitted here. A page counts once, at the place of its best passage.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from metrics import compare_paired, measure, score
from workbench.data import prepare, read_files
from workbench.experiment import Experiment
from workbench.retrieval import chunk, load_corpus, open_embedder, open_index
from workbench.sections import Retrieval

ROOT = Path(__file__).resolve().parents[2]
FETCHED = 30  # passages, which come from fewer pages


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--words", type=int, default=120)
    parser.add_argument("--overlap", type=int, default=0)
    parser.add_argument("--embedder", default="minilm-l6-v2")
    asked = parser.parse_args()
    experiment = Experiment.load(ROOT / "sample_data" / "handbook" / "experiment.yaml")
    dataset = prepare(experiment, *read_files(experiment))
    samples = [s for s in (*dataset.train, *dataset.dev, *dataset.test) if s.sources]
    documents = load_corpus(experiment.resolve(experiment.data.corpus or ""))
    chunks = [c for d in documents for c in chunk(d, asked.words, asked.overlap)]
    with tempfile.TemporaryDirectory() as folder:
        how = Retrieval(embedder=asked.embedder)
        begun = time.perf_counter()
        index = open_index(chunks, open_embedder(how, Path(folder), base=ROOT), Path(folder))
        print(
            f"{len(documents)} pages, {len(chunks)} passages of at most {asked.words} words, {asked.embedder}"
        )
        print(f"{len(samples)} questions with a page; indexed in {time.perf_counter() - begun:.1f} s\n")
        relevant = [list(s.sources) for s in samples]
        recalled = {}
        for retriever in ("bm25", "dense", "hybrid"):
            begun = time.perf_counter()
            found = index.search([s.question for s in samples], FETCHED, retriever)  # type: ignore[arg-type]
            seconds = time.perf_counter() - begun
            ranked = [list(dict.fromkeys(p.document for p in passages)) for passages in found]
            shown = []
            for metric, options in (("recall_at_k", {"k": 5}), ("mrr", {}), ("ndcg", {"k": 5})):
                result = score(metric, ranked, relevant, **options)
                assert result.value is not None and result.interval is not None
                low, high = result.interval
                shown.append(f"{metric} {result.value:.3f} [{low:.3f}, {high:.3f}]")
            recalled[retriever] = measure("recall_at_k", ranked, relevant, k=5)
            print(f"{retriever:7} {'  '.join(shown)}  {1000 * seconds / len(samples):.1f} ms a question")
    print()
    for retriever in ("bm25", "dense"):
        a, b = (recalled[name] for name in (retriever, "hybrid"))
        difference = compare_paired(a.stats, b.stats, reduce=a.reduce)
        low, high = difference.interval
        print(f"recall@5, hybrid − {retriever}: {difference.difference:+.3f} [{low:+.3f}, {high:+.3f}]")


if __name__ == "__main__":
    main()
