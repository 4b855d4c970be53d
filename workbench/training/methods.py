"""What is trained: a LoRA adapter (on a base of 16 or 4 bits), an earlier adapter further, or all weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from validators.assets import require
from validators.suggest import did_you_mean

from ..adapters import AdapterError, check_adapter
from ..models import load_model
from .rows import TrainingError
from .settings import TrainingSettings


def load_base(settings: TrainingSettings) -> Any:
    """The model to train or to put an adapter on. Raises AssetError, TrainingError."""
    # All weights are trained in float32: a step of 1e-5 vanishes in bf16. Products are in `dtype` all the same.
    dtype = "float32" if settings.method == "full" else settings.dtype
    return load_model(settings.folder, settings.device, dtype, four_bits=settings.method == "qlora")


def with_method(model: Any, settings: TrainingSettings) -> Any:
    """The model with what is to be trained in it, everything else frozen. Raises TrainingError."""
    if settings.method == "full":
        return model
    require("peft", "training", "local")
    from .one_piece import in_one_piece

    adapted = _adapted(model, settings) if settings.continue_from is None else _continued(model, settings)
    in_one_piece(adapted)
    return adapted


def _adapted(model: Any, settings: TrainingSettings) -> Any:
    """The model with a new adapter on it."""
    import peft

    wanted = _chosen(model, settings.target_modules, "target_modules", linear_names(model))
    saved = _chosen(model, settings.modules_to_save, "modules_to_save", module_names(model))
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        use_dora=settings.dora,
        use_rslora=settings.rslora,
        target_modules=wanted or "all-linear",
        modules_to_save=saved or None,
        fan_in_fan_out=_is_transposed(model),
        task_type="CAUSAL_LM",
    )
    # The adapter's own weights stay fp32 (peft's default for bf16 bases): updates of 1e-4 vanish in bf16.
    return peft.get_peft_model(model, config)


def linear_names(model: Any) -> list[str]:
    """The different last names of a model's linear layers, the head left out: what `target_modules` may be."""
    head = model.get_output_embeddings()
    linear = (m for m in model.named_modules() if _is_linear(m[1]) and m[1] is not head)
    return sorted({name.rsplit(".", 1)[-1] for name, _ in linear})


def module_names(model: Any) -> list[str]:
    """The different last names of modules that own weights: what `modules_to_save` may be."""
    owners = (
        name
        for name, m in model.named_modules()
        if name and next(m.parameters(recurse=False), None) is not None
    )
    return sorted({name.rsplit(".", 1)[-1] for name in owners})


def _chosen(model: Any, wanted: Sequence[str], setting: str, choices: Sequence[str]) -> list[str]:
    """The names asked for, all of which the model has. Raises TrainingError with the names to choose from."""
    for name in wanted:
        if name not in choices:
            raise TrainingError(
                f"{setting}: {type(model).__name__} has no {name!r}.{did_you_mean(name, choices)} "
                f"Choose from {', '.join(choices)}."
            )
    return list(wanted)


def _is_linear(module: Any) -> bool:
    import torch
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, torch.nn.Linear | Conv1D)


def _is_transposed(model: Any) -> bool:
    """Whether the layers keep their weights as [in, out], as GPT-2's Conv1D does."""
    from transformers.pytorch_utils import Conv1D

    return any(isinstance(module, Conv1D) for module in model.modules())


def check_continued(settings: TrainingSettings) -> None:
    """Raise TrainingError unless the adapter to be trained further is one of this base."""
    assert settings.continue_from is not None
    try:
        check_adapter(settings.continue_from, settings.model, settings.folder)
    except AdapterError as error:
        raise TrainingError(f"continue_from: {error}") from None


def _continued(model: Any, settings: TrainingSettings) -> Any:
    """The model with an earlier adapter put on, to be trained further: its rank, alpha and modules stand."""
    import peft

    check_continued(settings)
    folder = settings.continue_from
    assert folder is not None
    try:
        adapted = peft.PeftModel.from_pretrained(model, folder, is_trainable=True)
    except (RuntimeError, ValueError, TypeError, KeyError, OSError) as error:
        raise TrainingError(
            f"continue_from: the adapter {folder} cannot be put on {settings.model}: "
            f"{' '.join(str(error).split())[:300]}"
        ) from error
    # As peft does for a new adapter: at each checkpoint it would look the base up on the hub by its name.
    adapted.peft_config["default"].base_model_name_or_path = str(settings.folder)
    return adapted
