"""Offer every metric to Hugging Face `evaluate` without the hub: `evaluate.load(hub_path("bleu"))`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from .catalogue import metric_named

# One text serves all metrics: evaluate imports it under the name of its file, which names the metric.
_MODULE = '''"""A metric of decide-before-you-tune as an evaluation module."""

import datasets
import evaluate

from metrics import METRICS, score

METRIC = METRICS[__name__.rpartition(".")[2]]
TEXT, NUMBER = datasets.Value("string"), datasets.Value("float64")
FEATURES = {
    "text": [
        datasets.Features({"predictions": TEXT, "references": datasets.Sequence(TEXT)}),
        datasets.Features({"predictions": TEXT, "references": TEXT}),
    ],
    "likelihood": datasets.Features({"predictions": datasets.Sequence(NUMBER)}),
    "ranking": datasets.Features({"predictions": datasets.Sequence(TEXT), "references": datasets.Sequence(TEXT)}),
    "rating": datasets.Features({"predictions": NUMBER}),
}


class Module(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(
            description=METRIC.summary,
            citation="",
            inputs_description=f"Scale {METRIC.scale}; {METRIC.needs} in.",
            features=FEATURES[METRIC.needs],
        )

    def _compute(self, predictions, references=None, **options):
        found = score(METRIC.name, predictions, references, **options)
        return {METRIC.name: found.value, **({"reason": found.reason} if found.reason else {})}
'''


def hub_path(name: str, directory: str | os.PathLike[str] | None = None) -> str:
    """Return a local folder that `evaluate.load` accepts offline for this metric, writing it if needed.

    It lies under `directory`, by default the user's cache. `compute(predictions=…, references=…)` returns
    `{name: value}`, with "reason" beside a value of None; options of the metric pass through. UnknownMetric
    for a wrong name.
    """
    metric = metric_named(name)
    folder = (Path(directory) if directory is not None else _cache()) / metric.name
    target = folder / f"{metric.name}.py"
    if not target.is_file() or target.read_text(encoding="utf-8") != _MODULE:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=folder, suffix=".tmp", delete=False, encoding="utf-8"
        ) as file:
            file.write(_MODULE)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(target)
    return str(folder)


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "decide-before-you-tune" / "evaluate"
