"""Local models: which device and number format, loading from a folder, what the hardware is called.

Shared by generation and training, so that both see the same weights in the same format.
"""

from __future__ import annotations

import hashlib
import os
import platform
from functools import cache
from pathlib import Path
from typing import Any

from validators.assets import ASSETS, AssetError, cache_folder, require


def pick_device(wanted: str) -> str:
    """`auto` → cuda, mps or cpu, what is there first; anything else as it is. Raises AssetError."""
    torch = require("torch", "a local model", "local")
    if wanted != "auto":
        try:
            torch.empty(1, device=wanted)
        except (RuntimeError, AssertionError) as error:
            first = str(error).splitlines()[0]
            raise AssetError(
                f"device {wanted!r} cannot be used here ({first}). Use `device: auto`."
            ) from None
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def pick_dtype(wanted: str, device: str) -> str:
    """`auto` → bfloat16 where the hardware multiplies it natively, else float32."""
    torch = require("torch", "a local model", "local")
    if wanted != "auto":
        return wanted
    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    native = device == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported() and _cpu_has_bf16()
    return "bfloat16" if native else "float32"


def _cpu_has_bf16() -> bool:
    """Whether the CPU has bf16 products of its own: elsewhere they are emulated and slower than fp32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def hardware(device: str, dtype: str) -> dict[str, str]:
    """What the figures were measured on, in words."""
    torch = require("torch", "a local model", "local")
    if device.startswith("cuda"):
        name = torch.cuda.get_device_name(device)
    else:
        name = f"{_cpu_name()}, {os.cpu_count()} cores"
    return {"device": device, "dtype": dtype, "name": name}


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def load_model(folder: Path, device: str, dtype: str, *, four_bits: bool = False) -> Any:
    """Load a causal language model in eval mode; safetensors only, no code from the folder. Raises AssetError.

    With `four_bits` its linear layers are packed as NF4 with double quantisation, products are in `dtype`.
    """
    torch = require("torch", "a local model", "local")
    transformers = require("transformers", "a local model", "local")
    transformers.utils.logging.disable_progress_bar()
    packed = {"quantization_config": _nf4(dtype), "device_map": {"": device}} if four_bits else {}
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, dtype), use_safetensors=True, trust_remote_code=False, **packed
        )
    except (OSError, ValueError, KeyError) as error:
        raise AssetError(
            f"{folder} holds no causal language model that transformers can load: {error}"
        ) from error
    if four_bits:
        _keep_packed(model)
    else:
        model = model.to(device)
    return model.eval()


def _nf4(dtype: str) -> Any:
    require("bitsandbytes", "method: qlora", "qlora")
    torch = require("torch", "method: qlora", "local")
    transformers = require("transformers", "method: qlora", "local")
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )


def _keep_packed(model: Any) -> None:
    """Stop a forward pass without gradients from repacking weights for some CPUs: gradients would be gone."""
    bitsandbytes = require("bitsandbytes", "method: qlora", "qlora")
    layers = [m for m in model.modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]
    if not layers:
        raise AssetError(
            f"method: qlora packs linear layers into 4 bits, and {type(model).__name__} has none that can be. "
            "Use method: lora."
        )
    for layer in layers:
        layer.support_avx512bf16_for_cpu = False


def weights_hash(folder: Path) -> str:
    """sha256 over the weight files and config of a model folder (pinned ones, and unchanged ones, are not read again)."""
    for asset in ASSETS.values():
        if folder.parent == cache_folder() and folder.name.startswith(asset.name):
            return asset.files[0].sha256
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*config.json")])
    return _digest(tuple((path, (s := path.stat()).st_mtime_ns, s.st_size, s.st_ino) for path in files))


@cache
def _digest(files: tuple[tuple[Path, int, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, *_ in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def revision_of(folder: Path) -> str | None:
    """The commit of a model that came from the hub, by its place in the hub's cache; None for any other folder."""
    return folder.name if folder.parent.name == "snapshots" else None
