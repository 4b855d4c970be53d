"""What is trained: a LoRA adapter (on a base of 16 or 4 bits), an earlier adapter further, or all weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from validators.assets import require
from validators.suggest import did_you_mean

from ..models import load_model
from .rows import TrainingError
from .settings import TrainingSettings


def load_base(settings: TrainingSettings) -> Any:
    """The model to train or to put an adapter on. Raises AssetError, TrainingError."""
    if settings.method == "qlora":
        model = _load_in_4_bits(settings)
    else:
        # All weights are trained in float32: a step of 1e-5 vanishes in bf16. Products are in `dtype` all the same.
        dtype = "float32" if settings.method == "full" else settings.dtype
        model = load_model(settings.folder, settings.device, dtype)
    model.config.use_cache = False
    return model


def with_method(model: Any, settings: TrainingSettings) -> Any:
    """The model with what is to be trained in it, everything else frozen. Raises TrainingError."""
    if settings.method == "full":
        return model
    peft = require("peft", "training", "local")
    if settings.continue_from is not None:
        return _continued(model, settings)
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


def _load_in_4_bits(settings: TrainingSettings) -> Any:
    torch = require("torch", "training", "local")
    bitsandbytes = require("bitsandbytes", "method: qlora", "local")
    transformers = require("transformers", "training", "local")
    config = transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, settings.dtype),
    )
    model = transformers.AutoModelForCausalLM.from_pretrained(
        settings.folder,
        dtype=getattr(torch, settings.dtype),
        quantization_config=config,
        device_map={"": settings.device},
        use_safetensors=True,
        trust_remote_code=False,
    ).eval()
    layers = [m for m in model.modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]
    if not layers:
        raise TrainingError(
            f"method: qlora packs linear layers into 4 bits, and {type(model).__name__} has none that can be. "
            "Use method: lora."
        )
    for layer in layers:
        # A forward pass without gradients would repack the weights for such CPUs, and gradients would be gone.
        layer.support_avx512bf16_for_cpu = False
    return model


def _continued(model: Any, settings: TrainingSettings) -> Any:
    """The model with an earlier adapter put on, to be trained further: its rank, alpha and modules stand."""
    import peft

    folder = settings.continue_from
    assert folder is not None
    base = adapter_base(folder)
    if Path(base).name.lower() != Path(settings.model).name.lower():
        raise TrainingError(
            f"continue_from: {folder} is an adapter of {base}, and the base here is {settings.model}. Take that "
            "base, or leave out continue_from. If both are the same weights, write the base's name into "
            "base_model_name_or_path of its adapter_config.json."
        )
    try:
        return peft.PeftModel.from_pretrained(model, folder, is_trainable=True)
    except (RuntimeError, ValueError, TypeError, KeyError, OSError) as error:
        raise TrainingError(
            f"continue_from: the adapter {folder} cannot be put on {settings.model}: "
            f"{' '.join(str(error).split())[:300]}"
        ) from error


def adapter_base(folder: Path) -> str:
    """The base model that an adapter folder names. Raises TrainingError."""
    path = folder / "adapter_config.json"
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["base_model_name_or_path"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"continue_from: {path} cannot be read as an adapter's config ({type(error).__name__}: {error}). "
            "Give the folder of an adapter that peft wrote."
        ) from None
