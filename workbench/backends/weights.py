"""The weights that a local backend holds: one model at a time, with an adapter put on while it is needed."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..adapters import is_whole_model, origin_of
from ..models import load_model
from . import BackendError


class Weights:
    """The base, the base in 4 bits, or a model that was trained whole; `model` is the one in memory."""

    def __init__(self, name: str, folder: Path, device: str, dtype: str) -> None:
        self._name, self._folder, self._device, self._dtype = name, folder, device, dtype
        self._held: tuple[Path, bool] | None = None
        self.model: Any = None

    def release(self) -> None:
        """Free them."""
        self.model = self._held = None
        gc.collect()

    @contextlib.contextmanager
    def lent(self, model: Any) -> Iterator[None]:
        """Take a model that is in memory already for the base."""
        self.model, self._held = model, (self._folder, False)
        try:
            yield
        finally:
            self.release()

    @contextlib.contextmanager
    def trained(self, folder: Path | None) -> Iterator[Any]:
        """The model that lies in a folder of what was trained: the base with that adapter, or a whole one.

        None is the base itself. An adapter that was trained on a base of 4 bits is put on one of 4 bits. Raises
        BackendError, AssetError, AdapterError.
        """
        if folder is None or is_whole_model(folder):
            yield self._load(folder or self._folder)
            return
        import peft

        base = self._load(self._folder, four_bits=bool(origin_of(folder).get("four_bits")))
        try:
            adapted = peft.PeftModel.from_pretrained(base, folder).eval()
        except (RuntimeError, ValueError, TypeError, KeyError, OSError) as error:
            # Layers may already be wrapped: the next one to ask loads a clean base.
            self.release()
            raise BackendError(
                f"the adapter {folder} cannot be put on {self._name}: {' '.join(str(error).split())[:300]}. "
                "Is it an adapter of this very model?"
            ) from error
        try:
            yield adapted
        finally:
            self.model = adapted.unload()

    def _load(self, folder: Path, *, four_bits: bool = False) -> Any:
        if self._held != (folder, four_bits):
            # Two models at once would double the memory.
            self.release()
            self.model = load_model(folder, self._device, self._dtype, four_bits=four_bits)
            self._held = (folder, four_bits)
        return self.model
