"""What can be told of training rows before the first step, for the doctor (`checkup.py`) to judge by."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from validators.tokens import HuggingFaceTokenizer

from .rows import IGNORED
from .settings import TrainingSettings

Row = Mapping[str, Sequence[int]]
# Answers that come back so often, on average, are labels: who guesses can know how frequent each is.
_REPEATED = 3


def row_facts(
    rows: Sequence[Row], dev_rows: Sequence[Row], tokenizer: HuggingFaceTokenizer
) -> dict[str, Any]:
    """Facts of encoded rows.

    `prompts`, `answers`: how many are different. `begin_trained`, `end_trained`: shares of rows that train their
    first token, and an end of turn last. `guess_loss`: nats a trained token for naming each answer as often as
    it occurs in training, measured on dev (without one, on the training rows); None for answers that are no labels.
    """
    ends = set(tokenizer.tokenizer.added_tokens_decoder)
    answers = [_answer(row) for row in rows]
    begun = sum(row["labels"][0] != IGNORED for row in rows)
    ended = sum(bool(ids) and ids[-1] in ends for ids in answers)
    return {
        "prompts": len({_prompt(row) for row in rows}),
        "answers": len(set(answers)),
        "begin_trained": begun / len(rows),
        "end_trained": ended / len(rows),
        "guess_loss": _guess_loss(answers, [_answer(row) for row in dev_rows] or answers),
    }


def padding(rows: Sequence[Row], settings: TrainingSettings) -> float:
    """The share of padding in what the model computes in the first epoch, where rows are not packed."""
    from .order import Order

    lengths, size = [len(row["input_ids"]) for row in rows], settings.batch_size
    picked = [lengths[i] for i in Order(len(rows), settings.seed, lengths, size)]
    batches = [picked[begin : begin + size] for begin in range(0, len(picked), size)]
    return 1 - sum(lengths) / sum(len(batch) * max(batch) for batch in batches)


def _prompt(row: Row) -> tuple[int, ...]:
    """What stands before the first trained token."""
    first = next((i for i, label in enumerate(row["labels"]) if label != IGNORED), len(row["labels"]))
    return tuple(row["input_ids"][:first])


def _answer(row: Row) -> tuple[int, ...]:
    return tuple(label for label in row["labels"] if label != IGNORED)


def _guess_loss(answers: Sequence[tuple[int, ...]], judged: Sequence[tuple[int, ...]]) -> float | None:
    seen = Counter(answers)
    if not 2 <= len(seen) <= len(answers) / _REPEATED:
        return None
    # Half a row for each answer, and for all unseen ones together, so that none is impossible.
    total = len(answers) + (len(seen) + 1) / 2
    nats = -sum(math.log((seen[answer] + 0.5) / total) for answer in judged)
    return nats / sum(map(len, judged))
