"""Fine-tuned: the base model with an adapter, trained on the training split or brought along."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ..backends.hf import HfBackend
from ..records import Prompt, Sample
from ..settings import FineTuned
from ..training import TrainingSettings, encode_rows, remove_checkpoints, train_lora
from . import ContenderError, Fitted, Setting, needed_backend, plain_prompt


def fit_fine_tuned(settings: FineTuned, setting: Setting) -> Fitted:
    """Train the adapter, or take the one that is there (brought, or whole from an earlier start)."""
    backend = needed_backend(setting)
    if not isinstance(backend, HfBackend):
        raise ContenderError(f"contender {settings.name!r} needs a local backend (kind: hf)")
    if settings.adapter is not None:
        folder = setting.experiment.resolve(settings.adapter)
        _check_adapter(folder, settings.name)
        return Fitted(_prompts, backend, adapter=folder)
    folder = setting.run.adapter_folder(settings.name)
    training = (setting.run.contender(settings.name) or {}).get("training")
    if (folder / "adapter_config.json").exists() and training is not None:
        remove_checkpoints(setting.run.checkpoint_folder(settings.name))
    else:
        # Training loads its own copy of the base; two copies at once would double the memory.
        backend.release()
        training = train_lora(
            _training_settings(settings, backend),
            {k: setting.conversations[k] for k in _ids(setting.train) if k in setting.conversations},
            {k: setting.conversations[k] for k in _ids(setting.dev) if k in setting.conversations},
            backend.tokenizer,
            setting.run,
            setting.progress,
        ).as_dict()
    return Fitted(_prompts, backend, adapter=folder, training=training)


def check_rows(settings: FineTuned, setting: Setting) -> None:
    """Raise TrainingError now for rows that could not be trained on, before anything is spent on others."""
    backend = needed_backend(setting)
    if isinstance(backend, HfBackend):
        encode_rows(setting.conversations, backend.tokenizer, settings.max_length)


def _prompts(samples: Sequence[Sample]) -> list[Prompt]:
    return [plain_prompt(s) for s in samples]


def _training_settings(settings: FineTuned, backend: HfBackend) -> TrainingSettings:
    return TrainingSettings(
        name=settings.name,
        model=backend.identity().model,
        folder=backend.folder,
        device=backend.device,
        dtype=backend.dtype,
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        rank=settings.rank,
        alpha=settings.alpha,
        batch_size=settings.batch_size,
        max_length=settings.max_length,
        seed=settings.seed,
    )


def _check_adapter(folder: Path, name: str) -> None:
    """An adapter folder as peft writes it: config and safetensors weights."""
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except OSError:
        raise ContenderError(
            f"contender {name!r}: {folder} holds no adapter_config.json, so it is no adapter folder of peft."
        ) from None
    except ValueError as error:
        raise ContenderError(
            f"contender {name!r}: {folder / 'adapter_config.json'} is damaged ({error})."
        ) from None
    if not (folder / "adapter_model.safetensors").exists():
        raise ContenderError(
            f"contender {name!r}: {folder} holds no adapter_model.safetensors; other weight formats are not read."
        )
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind != "LORA":
        raise ContenderError(f"contender {name!r}: {folder} is an adapter of kind {kind}, LORA is supported.")


def _ids(samples: Sequence[Sample]) -> list[str]:
    return [s.id for s in samples]
