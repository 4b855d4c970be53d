"""The folder of a trained model: what it was made from, how it has to be loaded, and whether it fits a base.

Beside the weights lies `origin.json`: an adapter that was trained on a base of 4 bits is another model on one
of 16, and nothing in peft's own files says so.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from validators.assets import require

from .files import RunError, read_json, write_json
from .models import weights_hash

ORIGIN = "origin.json"
SCHEMA = "workbench.origin/1"
_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"


class AdapterError(ValueError):
    """An adapter folder cannot be used on a base; the message says why and what to do."""


def write_origin(folder: Path, origin: dict[str, Any]) -> None:
    """Write origin.json: `base` {model, revision, sha256, licence}, `method`, `dtype`, `four_bits`, `template`, `data`."""
    write_json(folder / ORIGIN, SCHEMA, origin)


def origin_of(folder: Path) -> dict[str, Any]:
    """What origin.json says; empty where there is none, as in a folder that was made elsewhere. Raises AdapterError."""
    try:
        return read_json(folder / ORIGIN, SCHEMA, ("base", "four_bits")) or {}
    except RunError as error:
        raise AdapterError(str(error)) from None


def is_whole_model(folder: Path) -> bool:
    """Whether the folder holds a model of its own (`method: full`) and no adapter."""
    return (folder / "config.json").exists()


def check_adapter(folder: Path, model: str, base: Path, *, template: str | None = None) -> None:
    """Raise AdapterError unless the LoRA adapter in `folder` is one of this base.

    `model` is the base's name and `base` its folder; `template` the hash of the chat template it is asked with.
    An adapter that says by hash which weights it is of is held to that, any other to the base's name. Its
    matrices must have the very shapes that peft would give them there.
    """
    config, known = _config(folder), origin_of(folder)
    made_on = known.get("base") or {}
    if (said := made_on.get("sha256")) is not None:
        if said != weights_hash(base):
            raise AdapterError(
                f"{folder} is an adapter of {made_on.get('model')} with the weights {said[:8]}, and the base here is "
                f"{model} with other weights ({weights_hash(base)[:8]}). Take that base."
            )
    elif (named := config.get("base_model_name_or_path")) is not None and not _same_name(named, model):
        raise AdapterError(
            f"{folder} is an adapter of {named}, and the base here is {model}. Take that base. If both are the same "
            f"weights, write the base's name into base_model_name_or_path of its {_CONFIG}."
        )
    if template is not None and known.get("template") not in (None, template):
        raise AdapterError(
            f"{folder} was trained with another chat template than {model} has now, so it would be asked in a way it "
            "never saw. Take the base as it was, or copy the template that lies beside the adapter into the base's folder."
        )
    _check_shapes(folder, model, base)


def _config(folder: Path) -> dict[str, Any]:
    """adapter_config.json of a LoRA adapter whose weights are there as safetensors."""
    try:
        config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    except OSError:
        what = (
            f"holds no {_CONFIG}, so it is no adapter folder of peft" if folder.exists() else "does not exist"
        )
        raise AdapterError(f"{folder} {what}.") from None
    except ValueError as error:
        raise AdapterError(f"{folder / _CONFIG} is damaged ({error}).") from None
    if not (folder / _WEIGHTS).exists():
        raise AdapterError(f"{folder} holds no {_WEIGHTS}; other weight formats are not read.")
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind != "LORA":
        raise AdapterError(f"{folder} is an adapter of kind {kind}, LORA is supported.")
    return dict(config)


def _same_name(one: str, other: str) -> bool:
    return Path(one).name.casefold() == Path(other).name.casefold()


def _check_shapes(folder: Path, model: str, base: Path) -> None:
    """By shapes alone: the same matrices have had other names in other versions of peft and transformers."""
    safetensors = require("safetensors", "an adapter", "local")
    try:
        with safetensors.safe_open(folder / _WEIGHTS, "numpy") as file:
            held = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise AdapterError(f"{folder / _WEIGHTS} is damaged ({error}).") from None
    held = {key: shape for key, shape in held.items() if "lora_" in key and "magnitude" not in key}
    takes = Counter(_shapes_on(folder, base).values())
    if beyond := Counter(held.values()) - takes:
        key, shape = next((key, shape) for key, shape in held.items() if shape in beyond)
        raise AdapterError(
            f"{folder} does not fit {model}: {beyond.total()} of its {len(held)} LoRA matrices have no place there, as "
            f"{key} of {' × '.join(map(str, shape))}. It is an adapter of another base: take that one."
        )
    if missing := (takes - Counter(held.values())).total():
        raise AdapterError(
            f"{folder} does not fit {model}: {missing} of the {takes.total()} LoRA matrices that its config asks for "
            "are not in it. It is an adapter of another base, or was not written whole."
        )


def _shapes_on(folder: Path, base: Path) -> dict[str, tuple[int, ...]]:
    """Shape of each LoRA matrix that peft would put on the base; no weights are loaded. Raises AdapterError."""
    torch = require("torch", "an adapter", "local")
    transformers = require("transformers", "an adapter", "local")
    peft = require("peft", "an adapter", "local")
    try:
        config = peft.LoraConfig.from_pretrained(folder)
        # Some ways to begin a training look at the base's weights, and here there are none.
        config.init_lora_weights = False
        # Which base it is of has been seen to: peft would warn of the folder here.
        config.base_model_name_or_path = None
        with torch.device("meta"):
            bare = transformers.AutoModelForCausalLM.from_config(
                transformers.AutoConfig.from_pretrained(base)
            )
            adapted = peft.get_peft_model(bare, config)
    except (ValueError, TypeError, KeyError, RuntimeError, AttributeError) as error:
        raise AdapterError(
            f"{folder} cannot be put on the model in {base}: {' '.join(str(error).split())[:300]}"
        ) from error
    state = peft.get_peft_model_state_dict(adapted, save_embedding_layers=False)
    return {k: tuple(v.shape) for k, v in state.items() if "lora_" in k and "magnitude" not in k}
