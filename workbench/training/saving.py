"""The folder of what was trained: weights, tokenizer and template, and what they were made from.

Whoever has this folder and the base that it names can answer just as it was scored.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from validators.licences import licence_of
from validators.tokens import load_hf_tokenizer

from ..adapters import write_origin
from ..experiment import settings_hash
from ..files import write_atomic
from ..models import revision_of, weights_hash
from ..runs import Run
from .checkpoints import DIVERGED, written
from .packing import Row
from .rows import TrainingError
from .settings import TrainingSettings

# Of a base model's folder: what turns text into its tokens, and under what it may be passed on.
_TOKENIZER = (
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "chat_template*", "vocab*"),
    *("merges.txt", "*.model", "*.tiktoken"),
)
_LEGAL = ("LICENSE*", "LICENCE*", "COPYING*", "NOTICE*", "USE_POLICY*")


def save_trained(model: Any, settings: TrainingSettings, folder: Path, run: Run, rows: Sequence[Row]) -> None:
    """Write the folder of an adapter, or of a whole model: beside its place first, then renamed."""
    if not all(p.isfinite().all() for p in model.parameters() if p.requires_grad):
        raise TrainingError(f"the weights that were trained are no longer numbers. {DIVERGED}")
    work = folder.with_name(f".{folder.name}")
    shutil.rmtree(work, ignore_errors=True)
    origin = _origin(settings, run, rows)
    with written("what was trained", folder, work):
        if settings.method == "full":
            _save_model(model, settings, work)
        else:
            _save_adapter(model, settings, work)
        copy_beside(settings.folder, work)
        write_origin(work, origin)
        shutil.rmtree(folder, ignore_errors=True)
        work.rename(folder)


def copy_beside(base: Path, folder: Path) -> None:
    """Copy a base model's tokenizer, chat template and licence to the weights in `folder`, byte for byte."""
    for pattern in (*_TOKENIZER, *_LEGAL):
        for path in (p for p in base.glob(pattern) if p.is_file()):
            shutil.copyfile(path, folder / path.name)


def _save_model(model: Any, settings: TrainingSettings, work: Path) -> None:
    import torch

    # The Trainer turned it off, and it would stay so for whoever loads the folder.
    model.config.use_cache = True
    # As it will be loaded and scored.
    model.to(getattr(torch, settings.dtype)).save_pretrained(work)


def _save_adapter(model: Any, settings: TrainingSettings, work: Path) -> None:
    # A reader can use the base's name, not this machine's folder; with the name, peft would look the
    # vocabulary up on the hub, which is the base's own anyway.
    model.peft_config["default"].base_model_name_or_path = settings.model
    model.peft_config["default"].revision = revision_of(settings.folder)
    model.save_pretrained(work, save_embedding_layers=False)
    # peft's README describes a hub model that does not exist.
    (work / "README.md").unlink(missing_ok=True)
    # peft keeps its modules in a set, whose order changes with every process.
    config = json.loads((work / "adapter_config.json").read_text(encoding="utf-8"))
    if isinstance(names := config["target_modules"], list):  # an adapter from elsewhere may have a pattern
        config["target_modules"] = sorted(names)
    write_atomic(work / "adapter_config.json", json.dumps(config, indent=2, sort_keys=True) + "\n")


def _origin(settings: TrainingSettings, run: Run, rows: Sequence[Row]) -> dict[str, Any]:
    licence = licence_of(settings.model, settings.folder)
    tokenizer = load_hf_tokenizer(settings.model, settings.folder).tokenizer
    return {
        "base": {
            "model": settings.model,
            "revision": revision_of(settings.folder),
            "sha256": weights_hash(settings.folder),
            "licence": licence.id if licence else None,
        },
        "method": settings.method,
        "dtype": settings.dtype,
        "four_bits": settings.method == "qlora",
        "template": settings_hash(tokenizer.chat_template),
        "data": {"files": _files(run), "rows": len(rows), "sha256": _rows_hash(rows)},
    }


def _files(run: Run) -> dict[str, str]:
    """sha256 of each data file by its name; none where training is no part of a run."""
    whole = Run(run.whole or run.folder)
    return dict(whole.meta()["dataset"]["files"]) if (whole.folder / "run.json").exists() else {}


def _rows_hash(rows: Sequence[Row]) -> str:
    """sha256 of the tokens and labels that were trained on, in their order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(msgspec.json.encode([list(row["input_ids"]), list(row["labels"])]))
    return digest.hexdigest()
