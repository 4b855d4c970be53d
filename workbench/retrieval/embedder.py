"""Sentence embeddings by a local transformer: MiniLM-L6 is embedded, any sentence-transformers model works.

A model's own folder says how it wants to be used: pooling, normalisation, prompts, longest input. What
cannot be honoured here (dense layers, images) is refused, never left out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from validators.assets import AssetError, require, resolve_model

from ..models import pick_device, weights_hash

DEFAULT_EMBEDDER = "minilm-l6-v2"
MAX_TOKENS = 256
BATCH = 32
# A model that says it takes more is still read in windows of this: attention over more is slow and blurs.
MOST_TOKENS = 2048
FEATURE = "dense retrieval and similar examples"

Vectors = NDArray[np.float32]
Role = Literal["query", "document"]
Progress = Callable[[int, int, str], None]
Pooling = Literal["mean", "cls", "lasttoken"]


class RetrievalError(RuntimeError):
    """Something that retrieval needs cannot be used; the message says which, why, and what to do."""


class Embedder(Protocol):
    """Texts to vectors whose dot product is their likeness."""

    @property
    def key(self) -> str:
        """A hash of all that the vectors depend on beside the text: weights, pooling, prompts."""
        ...

    def check(self) -> None:
        """Raise now rather than at the first text where something is missing."""
        ...

    def embed(self, texts: Sequence[str], role: Role = "query", progress: Progress | None = None) -> Vectors:
        """Embed texts: float32 [len(texts), size], in the order given; queries and documents may differ."""
        ...

    def __hash__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model folder wants its vectors made."""

    pooling: Pooling = "mean"
    normalize: bool = True
    max_tokens: int = MAX_TOKENS
    lower_case: bool = False
    query: str = ""
    document: str = ""


class LocalEmbedder:
    """A transformer on this machine. The model loads on first use."""

    def __init__(
        self, name: str = DEFAULT_EMBEDDER, *, base: Path | None = None, offline: bool = False
    ) -> None:
        self._name = name
        self._folder = resolve_model(name, base=base, offline=offline)
        self.recipe = read_recipe(self._folder)
        self._loaded: tuple[Any, Any, str] | None = None

    @property
    def key(self) -> str:
        """A hash of the weights, the tokenizer and the recipe; the name is no part of it."""
        digest = hashlib.sha256(json.dumps(asdict(self.recipe), sort_keys=True).encode())
        digest.update(weights_hash(self._folder).encode())
        for name in ("tokenizer.json", "vocab.txt", "tokenizer.model"):
            if (self._folder / name).exists():
                digest.update((self._folder / name).read_bytes())
        return digest.hexdigest()[:16]

    def check(self) -> None:
        """Raise AssetError where a package is missing."""
        require("torch", FEATURE, "local")
        require("transformers", FEATURE, "local")

    def embed(self, texts: Sequence[str], role: Role = "query", progress: Progress | None = None) -> Vectors:
        """Embed texts: float32 [len(texts), size], in the order given, of length 1 where the model says so.

        A text longer than the model takes is read in windows, whose vectors are averaged by their tokens:
        no part of it is left out. Batches are sorted by length; in fp32 a text's vector does not depend on
        its neighbours beyond 1e-6. Raises AssetError.
        """
        torch = require("torch", FEATURE, "local")
        if not texts:
            return np.zeros((0, 0), dtype=np.float32)
        tokenizer, model, device = self._load()
        windows, owner = self._windows(tokenizer, texts, role)
        order = sorted(range(len(windows)), key=lambda i: len(windows[i]))
        sums: Vectors | None = None
        for begin in range(0, len(order), BATCH):
            chosen = order[begin : begin + BATCH]
            batch = tokenizer.pad({"input_ids": [windows[i] for i in chosen]}, return_tensors="pt").to(device)
            with torch.inference_mode():
                hidden = model(**batch).last_hidden_state
            pooled = _pool(self.recipe.pooling, hidden, batch["attention_mask"])
            if self.recipe.normalize:
                pooled = torch.nn.functional.normalize(pooled, dim=1)
            rows = pooled.float().cpu().numpy()
            sums = np.zeros((len(texts), rows.shape[1]), np.float32) if sums is None else sums
            weights = np.array([len(windows[i]) for i in chosen], np.float32)
            np.add.at(sums, owner[chosen], rows * weights[:, None])
            if progress:
                progress(min(begin + BATCH, len(order)), len(order), "embedding")
        assert sums is not None
        tokens = np.bincount(owner, weights=[len(w) for w in windows], minlength=len(texts))
        return self._finished((sums / tokens[:, None]).astype(np.float32))

    def _finished(self, vectors: Vectors) -> Vectors:
        """Vectors of length 1 where the model wants them. Raises AssetError where it gave no numbers."""
        if not np.isfinite(vectors).all():
            raise AssetError(f"the embedder {self._name!r} gives no finite numbers: its weights are damaged")
        return unit(vectors) if self.recipe.normalize else vectors

    def _windows(
        self, tokenizer: Any, texts: Sequence[str], role: Role
    ) -> tuple[list[list[int]], NDArray[np.int64]]:
        """Token ids of every window, and the text it belongs to."""
        prompt = self.recipe.query if role == "query" else self.recipe.document
        # Nothing to read gives some models no token at all.
        read = [prompt + (text if text.strip() else ".") for text in texts]
        if self.recipe.lower_case:
            read = [text.lower() for text in read]
        encoded = tokenizer(
            read,
            truncation=True,
            max_length=self.recipe.max_tokens,
            return_overflowing_tokens=True,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        return encoded["input_ids"], np.array(encoded["overflow_to_sample_mapping"], np.int64)

    def _load(self) -> tuple[Any, Any, str]:
        if self._loaded is None:
            torch = require("torch", FEATURE, "local")
            transformers = require("transformers", FEATURE, "local")
            transformers.utils.logging.disable_progress_bar()
            device = pick_device("auto")
            try:
                tokenizer = transformers.AutoTokenizer.from_pretrained(self._folder, use_fast=True)
                model = transformers.AutoModel.from_pretrained(
                    self._folder, use_safetensors=True, dtype=torch.float32, trust_remote_code=False
                )
            except (OSError, ValueError, KeyError) as error:
                raise AssetError(
                    f"{self._folder} holds no embedder that transformers can load from safetensors: {error}"
                ) from error
            if not tokenizer.is_fast:
                raise AssetError(
                    f"{self._folder} has no fast tokenizer (tokenizer.json): long texts need one"
                )
            tokenizer.padding_side = "right"
            if tokenizer.pad_token is None:
                tokenizer.pad_token = tokenizer.eos_token
            self._loaded = (tokenizer, model.to(device).eval(), device)
        return self._loaded


def unit(vectors: Vectors) -> Vectors:
    """Rows scaled to length 1; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths == 0, 1, lengths)).astype(np.float32)


def _pool(pooling: Pooling, hidden: Any, mask: Any) -> Any:
    """[batch, tokens, size] → [batch, size]; padding stands on the right."""
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "lasttoken":
        last = mask.sum(1) - 1
        return hidden[range(len(hidden)), last]
    weights = mask[..., None].to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)


# -- what a model folder says --------------------------------------------------------------------------


def read_recipe(folder: Path) -> Recipe:
    """Read the sentence-transformers files of a model folder; without them, mean pooling. Raises AssetError."""
    modules = _json(folder / "modules.json") or []
    kinds = [str(module.get("type", "")).rsplit(".", 1)[-1] for module in modules]
    odd = [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]
    if odd:
        raise AssetError(
            f"{folder}: the embedder has a part {odd[0]!r}, which is not read here (Transformer, Pooling and "
            "Normalize are). Serve it behind an embeddings endpoint and name that: "
            "retrieval: {embedder: {base_url: …, model: …}}"
        )
    places = {kind: folder / str(module.get("path", "")) for kind, module in zip(kinds, modules, strict=True)}
    about = _json(folder / "sentence_bert_config.json") or {}
    if "message" in (about.get("modality_config") or {}):
        raise AssetError(
            f"{folder}: the embedder reads chats through its chat template, which is not done here. "
            "Serve it behind an embeddings endpoint and name that."
        )
    prompts = (_json(folder / "config_sentence_transformers.json") or {}).get("prompts") or {}
    pooling = _json(places["Pooling"] / "config.json") if "Pooling" in places else {}
    if prompts and (pooling or {}).get("include_prompt") is False:
        raise AssetError(f"{folder}: the embedder leaves its prompt out of the mean, which is not done here.")
    return Recipe(
        pooling=_pooling(folder, pooling or {}),
        normalize=not modules or "Normalize" in places or not _wants_dot(folder),
        max_tokens=int(about.get("max_seq_length") or _longest(folder)),
        lower_case=bool(about.get("do_lower_case", False)),
        query=str(prompts.get("query", "")),
        document=str(prompts.get("document", prompts.get("passage", ""))),
    )


def _pooling(folder: Path, config: dict[str, Any]) -> Pooling:
    """The one way of pooling that the config turns on; older files hold a flag a way, newer ones its name."""
    known: dict[str, Pooling] = {
        "mean_tokens": "mean",
        "mean": "mean",
        "cls_token": "cls",
        "cls": "cls",
        "lasttoken": "lasttoken",
    }
    prefix = "pooling_mode_"
    asked = [key.removeprefix(prefix) for key, on in config.items() if key.startswith(prefix) and on is True]
    named = config.get("pooling_mode")
    asked = asked or ([str(named)] if named else ["mean"])
    if len(asked) > 1 or asked[0] not in known:
        raise AssetError(
            f"{folder}: the embedder pools by {' and '.join(asked)}; mean, cls and last token are read here. "
            "Serve it behind an embeddings endpoint and name that."
        )
    return known[asked[0]]


def _wants_dot(folder: Path) -> bool:
    """Whether the model was trained for dot products of vectors as they are; all others compare by cosine."""
    about = _json(folder / "config_sentence_transformers.json") or {}
    return about.get("similarity_fn_name") in ("dot", "dot_score")


def _longest(folder: Path) -> int:
    """The longest input by the tokenizer's and the model's own word; the embedded MiniLM was trained on 256."""
    said = [
        (_json(folder / "tokenizer_config.json") or {}).get("model_max_length"),
        (_json(folder / "config.json") or {}).get("max_position_embeddings"),
    ]
    fit = [n for n in said if isinstance(n, int) and n > 0]
    return min([*fit, MAX_TOKENS if not (folder / "modules.json").exists() else MOST_TOKENS])


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise AssetError(f"{path}: damaged ({error}). Fetch the model again.") from None


def by_length(texts: Sequence[str]) -> Iterator[int]:
    """The places of texts, the shortest first: neighbours of like length share a batch."""
    return iter(sorted(range(len(texts)), key=lambda i: (len(texts[i]), i)))
