"""What one training works on: encoded rows, and where an earlier start left off. Written once, read by every process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ..runs import Run
from .settings import TrainingSettings


@dataclass(frozen=True, slots=True)
class Job:
    """A training with its data: rows as {"input_ids", "labels"}, and beside each training row its sample and line.

    `last` is the checkpoint that it goes on from, `spent` the seconds that earlier starts took.
    """

    settings: TrainingSettings
    run: Run
    rows: list[dict[str, list[int]]]
    dev_rows: list[dict[str, list[int]]]
    sources: list[tuple[str, int]]
    last: Path | None = None
    spent: float = 0.0

    def write(self, path: Path) -> None:
        """Write the job as one file."""
        path.write_bytes(msgspec.msgpack.encode(self, enc_hook=str))

    @classmethod
    def read(cls, path: Path) -> Job:
        """Read what `write` wrote."""
        return msgspec.msgpack.decode(path.read_bytes(), type=cls, dec_hook=_as_path)


def _as_path(kind: type, value: Any) -> Any:
    return Path(value) if kind is Path else kind(value)
