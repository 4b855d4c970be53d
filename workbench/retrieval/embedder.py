"""Sentence embeddings by a small transformer with mean pooling; MiniLM-L6 is embedded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from validators.assets import require, resolve_model

from ..models import pick_device

DEFAULT_EMBEDDER = "minilm-l6-v2"
MAX_TOKENS = 256
BATCH = 32


class Embedder:
    """Texts to unit vectors. The model loads on first use."""

    def __init__(
        self, name: str = DEFAULT_EMBEDDER, *, base: Path | None = None, offline: bool = False
    ) -> None:
        self.name = name
        self._folder = resolve_model(name, base=base, offline=offline)
        self._loaded: tuple[Any, Any, str] | None = None

    def check(self) -> None:
        """Raise AssetError now rather than at the first text when the packages are missing."""
        require("torch", "dense retrieval and similar examples", "local")
        require("transformers", "dense retrieval and similar examples", "local")

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts: float32 [len(texts), size], rows of length 1, in the order given.

        Batches are sorted by length; in fp32 a text's vector does not depend on its neighbours beyond 1e-6.
        """
        torch = require("torch", "dense retrieval and similar examples", "local")
        if not texts:
            return np.zeros((0, 0), dtype=np.float32)
        tokenizer, model, device = self._load()
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        parts = []
        for begin in range(0, len(order), BATCH):
            chosen = [texts[i] for i in order[begin : begin + BATCH]]
            batch = tokenizer(
                chosen, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
            ).to(device)
            with torch.inference_mode():
                hidden = model(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None].to(hidden.dtype)
            mean = (hidden * mask).sum(1) / mask.sum(1)
            parts.append(torch.nn.functional.normalize(mean, dim=1).float().cpu().numpy())
        vectors = np.concatenate(parts)
        result = np.empty_like(vectors)
        result[order] = vectors
        return result

    def _load(self) -> tuple[Any, Any, str]:
        if self._loaded is None:
            transformers = require("transformers", "dense retrieval and similar examples", "local")
            transformers.utils.logging.disable_progress_bar()
            device = pick_device("auto")
            tokenizer = transformers.AutoTokenizer.from_pretrained(self._folder)
            model = transformers.AutoModel.from_pretrained(self._folder, use_safetensors=True)
            self._loaded = (tokenizer, model.to(device).eval(), device)
        return self._loaded
