"""Which versions of the packages that a run's figures depend on are here."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping

VERSIONED = (
    "torch",
    "transformers",
    "peft",
    "qdrant-edge-py",
    "tiktoken",
    "sacrebleu",
    "rouge-score",
    "numpy",
)


def versions() -> Mapping[str, str]:
    """Package → version, of those that are installed."""
    found = {"decide-before-you-tune": importlib.metadata.version("decide-before-you-tune")}
    for package in VERSIONED:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
