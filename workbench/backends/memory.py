"""How many prompts fit into memory side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# A batch's keys and values stand in memory twice while they are laid side by side.
_COPIES = 2
# What is left to everything else.
_USABLE = 0.8


def rows_that_fit(config: Any, width: int, columns: int, available: int | None, wanted: int) -> int:
    """At most `wanted` rows of `columns` tokens, `width` bytes a number, that `available` bytes hold; one at least."""
    if available is None:
        return wanted
    return max(1, min(wanted, int(_USABLE * available) // (_COPIES * columns * token_bytes(config, width))))


def token_bytes(config: Any, width: int) -> int:
    """Bytes of one token's keys and values in all layers of a transformers text config, `width` a number."""
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    keys = getattr(config, "num_key_value_heads", None) or heads
    return int(2 * config.num_hidden_layers * keys * size * width)


def available_bytes() -> int | None:
    """Bytes of memory that programs may still take, in this container; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found = next(line for line in lines if line.startswith("MemAvailable:"))
        free = int(found.split()[1]) * 1024
    except (OSError, StopIteration, ValueError, IndexError):
        return None
    left = _left_to_container(Path("/sys/fs/cgroup"))
    return free if left is None else min(free, left)


def _left_to_container(folder: Path) -> int | None:
    """Bytes under the limit of a control group (version 2), cached files not counted; None where there is no limit."""
    try:
        limit, used = (int((folder / f"memory.{name}").read_text()) for name in ("max", "current"))
        kept = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return max(0, limit - used + int(kept["inactive_file"]) + int(kept["active_file"]))
    except (OSError, ValueError, KeyError):
        return None


def free_bytes(device: str) -> int | None:
    """Bytes that are free on a device, in main memory for a CPU; None where that is not told."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    return available_bytes() if device == "cpu" else None


def is_out_of_memory(error: Exception) -> bool:
    """Whether it tells of too little memory: on a CPU torch has no class of its own for that."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    words = (
        "can't allocate memory",
        "cannot allocate memory",
        "not enough memory",
        "out of memory",
        "create a memory object",
    )
    return isinstance(error, RuntimeError) and any(w in str(error).lower() for w in words)
