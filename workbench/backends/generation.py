"""Greedy answers, likeliest labels and likelihoods of replies for a batch of prompts.

All tokens of a prompt but the last go into a key-value cache, shared beginnings once; the last token then
begins the answer. References are scored on a fork of the cache: answers stay the same to the bit whatever
they are compared with.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from .batches import Shared

# Tokens of prompts computed in one pass: a CPU is fastest while a pass fits its caches, an accelerator has
# to be kept busy. And those that a pass of its own must save: a pass takes as long as about so many.
_PASS, _PASS_CPU = 1 << 14, 1 << 10
_WORTH, _WORTH_CPU = 1 << 11, 1 << 7
# Logits in memory at once: 256 MB as floats.
LOGITS = 1 << 26


def worth(device: str) -> int:
    """The tokens that computing a beginning once has to save on this device."""
    return _WORTH_CPU if device == "cpu" else _WORTH


def clock(device: str) -> float:
    """The time once all work given to the device is done: an accelerator only queues it."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()
    return time.monotonic()


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt as token ids, two or more, and the beginnings that it shares with others."""

    prompt: list[int]
    path: tuple[Shared, ...] = ()

    @property
    def shared(self) -> int:
        """How many of its tokens are computed once for several prompts."""
        return self.path[-1].length if self.path else 0


@dataclass(frozen=True, slots=True)
class Batch:
    """Prompts in a cache but for their last tokens.

    `mask` [rows, columns] is 1 where a column holds a token of the row, `last` [rows, 1] the tokens that
    are not in the cache yet, `position` [rows, 1] theirs. `seconds` is each row's part of the work so far.
    """

    cache: Any
    mask: Any
    last: Any
    position: Any
    seconds: tuple[float, ...]


class Reader:
    """Puts prompts into caches for one model; keeps the shared beginnings that are in use."""

    def __init__(self, model: Any, device: str, pad: int) -> None:
        from .key_values import empty, portable, window

        self.model, self._device, self._pad = model, device, pad
        self.shares = portable(model)
        self._window = window(empty(model)) if self.shares else None
        # Tokens, cache and one row's part of the seconds of each beginning, each longer than the last.
        self._stack: list[tuple[list[int], Any, float]] = []

    def read(self, rows: Sequence[Row]) -> Batch:
        """Compute the prompts of a batch: rows that share a beginning stand side by side, the longest first."""
        import torch

        width = max(len(r.prompt) for r in rows) - 1
        given = [len(r.prompt) - 1 for r in rows]
        mask = torch.tensor([[0] * (width - n) + [1] * n for n in given], device=self._device)
        cache, seconds = self._in_pieces(rows) if self.shares else self._padded(rows, mask)
        return Batch(
            cache=cache,
            mask=mask,
            last=torch.tensor([r.prompt[-1:] for r in rows], device=self._device),
            position=torch.tensor([[n] for n in given], device=self._device),
            seconds=seconds,
        )

    def forget(self) -> None:
        """Let the shared beginnings go; they are computed again when they are needed."""
        self._stack.clear()

    def _padded(self, rows: Sequence[Row], mask: Any) -> tuple[Any, tuple[float, ...]]:
        """All prompts in one pass, padded on the left: for caches that cannot be taken apart."""
        import torch

        begun, width = clock(self._device), mask.shape[1]
        padded = [[self._pad] * (width + 1 - len(r.prompt)) + r.prompt[:-1] for r in rows]
        cache = self.model(
            input_ids=torch.tensor(padded, device=self._device),
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            use_cache=True,
            logits_to_keep=1,
        ).past_key_values
        return cache, ((clock(self._device) - begun) / len(rows),) * len(rows)

    def _in_pieces(self, rows: Sequence[Row]) -> tuple[Any, tuple[float, ...]]:
        """Each piece after its beginning, without padding where that pays; laid side by side at the end."""
        from .key_values import Piece, merged

        begun, once = clock(self._device), 0.0
        pieces, seconds = [], []
        for piece in self._cut(rows):
            started = clock(self._device)
            cache, earlier = self._beginning(piece[0])
            once += clock(self._device) - started
            # Padded on the right: causal attention never sees it, so no mask is needed.
            longest = len(piece[0].prompt) - 1
            ids = [r.prompt[r.shared : -1] + [self._pad] * (longest - len(r.prompt) + 1) for r in piece]
            pieces.append(Piece(self._pass(cache, ids), tuple(len(r.prompt) - 1 for r in piece)))
            seconds += [earlier] * len(piece)
        cache = merged(pieces)
        own = (clock(self._device) - begun - once) / len(rows)
        return cache, tuple(own + earlier for earlier in seconds)

    def _cut(self, rows: Sequence[Row]) -> Iterator[list[Row]]:
        """Runs of rows that one pass takes."""
        most = _PASS_CPU if self._device == "cpu" else _PASS
        for _, group in groupby(rows, key=lambda r: r.prompt[: r.shared]):
            piece: list[Row] = []
            for row in group:
                longest = len(piece[0].prompt) if piece else 0
                # A sliding window forgets columns: there padding on the right would push out real ones.
                slides = self._window is not None and longest - 1 > self._window
                full = (len(piece) + 1) * (longest - 1 - row.shared) > most
                if piece and (full or (slides and len(row.prompt) != longest)):
                    yield piece
                    piece = []
                piece.append(row)
            yield piece

    def _beginning(self, row: Row) -> tuple[Any, float]:
        """The cache of the row's shared beginning (None: it has none) and the row's part of its seconds."""
        lengths = {shared.length for shared in row.path}
        stack = self._stack
        while stack and (len(stack[-1][0]) not in lengths or stack[-1][0] != row.prompt[: len(stack[-1][0])]):
            stack.pop()
        for shared in row.path[len(stack) :]:
            before, cache, seconds = stack[-1] if stack else ([], None, 0.0)
            begun = clock(self._device)
            cache = self._pass(cache, [row.prompt[len(before) : shared.length]])
            seconds += (clock(self._device) - begun) / shared.rows
            stack.append((row.prompt[: shared.length], cache, seconds))
        return stack[-1][1:] if stack else (None, 0.0)

    def _pass(self, cache: Any, ids: list[list[int]]) -> Any:
        """The cache, its only row once for each row of ids [rows, columns], with these behind it."""
        import torch

        from .key_values import empty, forked

        cache = forked(cache, len(ids)) if cache is not None else empty(self.model)
        begin = cache.get_seq_length()
        positions = torch.arange(begin, begin + len(ids[0]), device=self._device)[None]
        self.model(
            input_ids=torch.tensor(ids, device=self._device),
            position_ids=positions.expand(len(ids), -1),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return cache


def greedy(reader: Reader, batch: Batch, limit: int, stops: Collection[int]) -> list[list[int]]:
    """Likeliest tokens of each row, up to and including its stop token; finished rows leave the batch.

    A cache that cannot be forked is used up: the batch answers nothing after it.
    """
    import torch

    from .key_values import forked, keep_rows

    cache = forked(batch.cache) if reader.shares else batch.cache
    mask, token, position = batch.mask, batch.last, batch.position
    answers: list[list[int]] = [[] for _ in range(len(mask))]
    active = list(range(len(answers)))
    for step in range(limit):
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
        logits = _next(reader.model, cache, token, mask, position, 1)
        token, position = logits.argmax(-1), position + 1
        for row, chosen in zip(active, token[:, 0].tolist(), strict=True):
            if not (answers[row] and answers[row][-1] in stops):
                answers[row].append(chosen)
        going = [k for k, row in enumerate(active) if answers[row][-1] not in stops]
        if not going or step + 1 == limit:
            break
        if reader.shares and len(going) < len(active):
            kept = torch.tensor(going, device=mask.device)
            keep_rows(cache, kept)
            mask, token, position = mask[kept], token[kept], position[kept]
            active = [active[k] for k in going]
    return answers


def likeliest(reader: Reader, batch: Batch, choices: Sequence[Sequence[list[int]]]) -> list[int]:
    """The index of each row's likeliest choice, its end of turn included; of equals the first.

    A row's choices are whole answers as token ids. Each is scored in full: a search token by token can
    lose the likeliest one at its first token.
    """
    best = [(float("inf"), 0)] * len(choices)
    for number in range(max(map(len, choices))):
        nats = reply_nats(reader, batch, [own[number] if number < len(own) else [] for own in choices])
        best = [
            min(known, (found, number)) if found is not None else known
            for known, found in zip(best, nats, strict=True)
        ]
    return [number for _, number in best]


def reply_nats(reader: Reader, batch: Batch, replies: Sequence[list[int]]) -> list[float | None]:
    """Negative log-likelihood of each row's reply after its prompt, in nats; None for an empty one."""
    import torch

    from .key_values import forked

    width = max(map(len, replies))
    if width == 0:
        return [None] * len(replies)
    device, mask = batch.mask.device, batch.mask
    cache = forked(batch.cache) if reader.shares else copy.deepcopy(batch.cache)
    wanted = torch.tensor([r + [0] * (width - len(r)) for r in replies], device=device)
    real = torch.tensor([[1] * len(r) + [0] * (width - len(r)) for r in replies], device=device)
    # A reply's first token follows from the prompt's last: that column is real for an empty reply too.
    given, seen = torch.cat([batch.last, wanted[:, :-1]], 1), real.clone()
    seen[:, 0] = 1
    totals = torch.zeros(len(replies), dtype=torch.float64, device=device)
    columns = max(1, LOGITS // (len(replies) * reader.model.config.get_text_config().vocab_size))
    for begin in range(0, width, columns):
        part = slice(begin, begin + columns)
        mask = torch.cat([mask, seen[:, part]], 1)
        steps = torch.arange(begin, begin + given[:, part].shape[1], device=device)
        logits = _next(reader.model, cache, given[:, part], mask, batch.position + steps, 0).float()
        chosen = logits.gather(2, wanted[:, part, None])[..., 0] - logits.logsumexp(2)
        totals -= (chosen * real[:, part]).double().sum(1)
    return [float(t) if r else None for t, r in zip(totals, replies, strict=True)]


def _next(model: Any, cache: Any, ids: Any, mask: Any, position: Any, keep: int) -> Any:
    """Logits [rows, columns, vocabulary] of tokens that go into the cache; of the last `keep` columns, 0: of all."""
    return model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=position,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=keep,
    ).logits
