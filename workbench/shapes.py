"""The shape of a causal language model, from its config.json and the headers of its weights: none are loaded."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

# What families call the same number, beside the usual name.
_NAMES = {
    "hidden_size": ("n_embd", "d_model"),
    "num_hidden_layers": ("n_layer", "num_layers"),
    "num_attention_heads": ("n_head", "num_heads"),
    "intermediate_size": ("n_inner", "ffn_dim"),
    "max_position_embeddings": ("n_positions",),
}
# Where config.json is silent: head and embeddings are one matrix.
_TIED = ("gpt2", "gemma", "gemma2", "gemma3", "gemma3_text")
# Two matrices in the inner layer, where others have a gate as third.
_PLAIN = ("gpt2", "gpt_neox", "phi", "opt", "gptj", "gpt_bigcode", "starcoder2")
# Learned positions.
_PLACES = ("gpt2", "opt", "gpt_bigcode")
# Norms of queries and keys.
_NORMED = ("qwen3", "gemma3", "gemma3_text", "olmo2")
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")


@dataclass(frozen=True, slots=True)
class ModelSize:
    """What time and memory depend on; counts of numbers, but for `file_bytes`.

    `linear` is Σ (inputs + outputs) of the layers an adapter is put on, `multiplied` their weights.
    `attention` and `key_values` are the widths of a layer's queries and keys. `experts`: not every token
    meets every weight.
    """

    parameters: int
    linear: int
    layers: int
    hidden: int
    intermediate: int
    key_values: int
    vocabulary: int
    multiplied: int = 0
    attention: int = 0
    heads: int = 1
    family: str = ""
    gated: bool = True
    normed: bool = False
    tied: bool = False
    attention_dropout: bool = False
    experts: bool = False
    file_bytes: int = 0


def model_size(folder: Path) -> ModelSize | None:
    """The size of a transformers folder by its config and safetensors headers; None where they do not tell."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        files = sorted(folder.glob("*.safetensors"))
        shapes = {k: v for path in files for k, v in tensor_shapes(path).items()}
        size = size_of(config)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
        return None
    if not shapes:
        return None
    linear = [
        s
        for name, s in shapes.items()
        if len(s) == 2 and not any(w in name for w in ("embed", "lm_head", "wte", "wpe"))
    ]
    return replace(
        size,
        parameters=sum(math.prod(s) for s in shapes.values()),
        linear=sum(map(sum, linear)),
        multiplied=sum(map(math.prod, linear)),
        tied=not any("lm_head" in name or "embed_out" in name for name in shapes),
        file_bytes=sum(path.stat().st_size for path in files),
    )


def size_of(config: Mapping[str, Any]) -> ModelSize:
    """The size that a config.json describes, exact but for biases and norms. Raises KeyError, TypeError, ValueError."""
    config = config.get("text_config", config)

    def number(name: str, otherwise: int | None = None) -> int:
        names = (name, *_NAMES.get(name, ()))
        found = next((config[n] for n in names if config.get(n) is not None), otherwise)
        if found is None:
            raise KeyError(name)
        return int(found)

    family = str(config.get("model_type", ""))
    hidden, layers, heads = (
        number(name) for name in ("hidden_size", "num_hidden_layers", "num_attention_heads")
    )
    head = number("head_dim", hidden // heads)
    inner, vocabulary = number("intermediate_size", 4 * hidden), number("vocab_size")
    attention, keys = heads * head, number("num_key_value_heads", heads) * head
    gated, tied = family not in _PLAIN, bool(config.get("tie_word_embeddings", family in _TIED))
    multiplied = layers * (2 * hidden * (attention + keys) + (3 if gated else 2) * hidden * inner)
    # Queries, keys and values are one matrix in some families, and so are gate and inner layer in one.
    whole, joined = family in ("gpt2", "gpt_neox", "phi3"), family == "phi3"
    sides = (1 if whole else 3) * hidden + attention + 2 * keys + (attention + hidden)
    sides += (3 if gated else 2) * (hidden + inner) - (hidden if joined else 0)
    places = number("max_position_embeddings") if family in _PLACES else 0
    small = layers * hidden * (2 if gated else 13)  # norms; of the others biases too
    dropout = config.get("attention_dropout", config.get("attn_pdrop", 0.1 if family == "gpt2" else 0.0))
    return ModelSize(
        parameters=multiplied + small + hidden * (vocabulary * (1 if tied else 2) + places),
        linear=layers * sides,
        layers=layers,
        hidden=hidden,
        intermediate=inner,
        key_values=keys,
        vocabulary=vocabulary,
        multiplied=multiplied,
        attention=attention,
        heads=heads,
        family=family,
        gated=gated,
        normed=family in _NORMED,
        tied=tied,
        attention_dropout=bool(dropout),
        experts=any(int(config.get(name) or 0) > 1 for name in _EXPERTS),
    )


def tensor_shapes(path: Path) -> dict[str, list[int]]:
    """Name → shape of every tensor in a safetensors file: 8 bytes of length, then a JSON header."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > path.stat().st_size:
            raise ValueError(f"{path}: not a safetensors file")
        header: dict[str, Any] = json.loads(file.read(length))
    return {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
