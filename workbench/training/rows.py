"""Training rows: encoded examples with labels by position, and their batches.

Labels come from the loss mask alone. A collator that masks every pad token would mask the end of turn
too wherever pad and end-of-turn are the same token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from validators.encoding import Encoding, encode
from validators.examples import Example
from validators.tokens import HuggingFaceTokenizer, TokenizerError

IGNORED = -100


class TrainingError(RuntimeError):
    """Training cannot start or go on; the message names the rows or the setting, and the cure."""


def encode_rows(
    examples: Mapping[str, Example], tokenizer: HuggingFaceTokenizer, max_length: int
) -> list[dict[str, list[int]]]:
    """Encode examples as {"input_ids", "labels"}; labels are -100 where nothing trains.

    Raises TrainingError naming every row that would train nothing, or whose prompt is no prefix.
    """
    rows, silent = [], []
    faults: dict[str, list[int]] = {}
    for example in examples.values():
        try:
            encoding = encode(example, tokenizer, max_length)
        except TokenizerError as error:
            faults.setdefault(str(error), []).append(example.line)
            continue
        if encoding.trained == 0:
            silent.append(example.line)
        rows.append(as_row(encoding))
    if faults:
        told = (f"{_lines(lines)}: {fault}" for fault, lines in faults.items())
        raise TrainingError("\n".join(islice(told, 10)))
    if silent:
        raise TrainingError(
            f"nothing would train in {len(silent)} of {len(rows)} rows at max_length {max_length}: the answers are cut "
            f"off, or all their weights are 0 ({_lines(silent)}). "
            "Raise max_length, or take these rows out."
        )
    return rows


def _lines(lines: Sequence[int]) -> str:
    """`line 3`, or the first ten of several."""
    return f"line{'s' * (len(lines) > 1)} {', '.join(map(str, sorted(lines)[:10]))}{' …' * (len(lines) > 10)}"


def as_row(encoding: Encoding) -> dict[str, list[int]]:
    """An encoding as {"input_ids", "labels"}."""
    labels = [i if m else IGNORED for i, m in zip(encoding.ids, encoding.loss_mask, strict=True)]
    return {"input_ids": list(encoding.ids), "labels": labels}


def collate(rows: Sequence[Mapping[str, list[int]]], pad_id: int) -> dict[str, Any]:
    """Pad rows on the right: input_ids, attention_mask, labels, each [rows, longest]."""
    import torch

    width = max(len(r["input_ids"]) for r in rows)

    def padded(key: str, fill: int) -> Any:
        return torch.tensor([r[key] + [fill] * (width - len(r[key])) for r in rows])

    mask = torch.tensor([[1] * len(r["input_ids"]) + [0] * (width - len(r["input_ids"])) for r in rows])
    return {
        "input_ids": padded("input_ids", pad_id),
        "attention_mask": mask,
        "labels": padded("labels", IGNORED),
    }
