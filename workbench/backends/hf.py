"""Local generation with transformers: batched, sorted by length, greedy, the same for every contender.

Batches are a function of the whole request list, never of what is already done: bf16 output depends on
a batch's shape, so a resumed run must form the very batches of an uninterrupted one.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from validators.assets import resolve_model
from validators.encoding import encode
from validators.examples import Example, Message
from validators.licences import licence_of
from validators.tokens import HuggingFaceTokenizer, TokenizerError, load_hf_tokenizer

from ..experiment import settings_hash
from ..models import hardware, load_model, pick_device, pick_dtype, weights_hash
from ..records import Prediction
from ..settings import HfBackend as Settings
from . import BackendError, Identity, Request, cost_usd
from .likelihoods import reference_nats, row_nats


@dataclass(frozen=True, slots=True)
class _Job:
    """One request as token ids; `reference` is empty where its likelihood cannot be measured."""

    request: Request
    prompt: list[int]
    reference: list[int]


class HfBackend:
    """A causal language model on this machine."""

    def __init__(self, settings: Settings, base: Path, *, offline: bool = False) -> None:
        self._settings = settings
        self.folder = resolve_model(settings.model, base=base, offline=offline)
        self.device = pick_device(settings.device)
        self.dtype = pick_dtype(settings.dtype, self.device)
        self._model: Any = None
        self.tokenizer: HuggingFaceTokenizer = load_hf_tokenizer(settings.model, self.folder)

    def identity(self) -> Identity:
        """Model, weights, chat template and hardware."""
        return self._identity

    @cached_property
    def _identity(self) -> Identity:
        """Made once: the hash reads every weight file of the folder, and each contender asks for it."""
        licence = licence_of(self._settings.model, self.folder)
        return Identity(
            model=self._settings.model,
            sha256=weights_hash(self.folder),
            template=settings_hash(self.tokenizer.tokenizer.chat_template),
            licence=licence.id if licence else None,
            hardware=hardware(self.device, self.dtype),
        )

    def answer(
        self, requests: Sequence[Request], *, done: frozenset[str] = frozenset(), adapter: Path | None = None
    ) -> Iterator[Prediction]:
        """Yield greedy answers batch by batch, the longest prompts first (they show a lack of memory at once)."""
        jobs = []
        for request in requests:
            job = self._job(request)
            if isinstance(job, Prediction):
                if job.id not in done:
                    yield job
            else:
                jobs.append(job)
        jobs.sort(key=lambda j: (-len(j.prompt), j.request.prompt.id))
        size = self._settings.batch_size
        with self._adapted(adapter) as model:
            for begin in range(0, len(jobs), size):
                batch = jobs[begin : begin + size]
                if not all(j.request.prompt.id in done for j in batch):
                    yield from (p for p in self._answer_batch(model, batch) if p.id not in done)

    def plain_text_nats(
        self, texts: Sequence[str], *, adapter: Path | None = None
    ) -> list[tuple[float, int, int]]:
        """(nats, tokens, UTF-8 bytes) of each text as it is, without a chat template, under base or adapter.

        After the tokenizer's begin-of-text token where it has one, else the first token is given and not
        scored. A text longer than the model's context is cut, and its bytes with it. Control tokens in
        it are text.
        """
        begin = self.tokenizer.tokenizer.bos_token_id
        encoded = [self.tokenizer.plain_ids(text) for text in texts]
        rows = [([] if begin is None else [int(begin)]) + ids for ids in encoded]
        cut = [row[: self._context] for row in rows]
        sizes = [
            len(text.encode())
            if row == whole
            else len(self.tokenizer.tokenizer.decode(row, skip_special_tokens=True).encode())
            for text, row, whole in zip(texts, cut, rows, strict=True)
        ]
        with self._adapted(adapter) as model, self._within_memory():
            nats = row_nats(model, cut, self._pad_id(), self.device)
        return [(n, len(row) - 1, size) for n, row, size in zip(nats, cut, sizes, strict=True)]

    def release(self) -> None:
        """Free the weights."""
        self._model = None
        gc.collect()

    def close(self) -> None:
        """Free the weights."""
        self.release()

    @contextlib.contextmanager
    def _adapted(self, adapter: Path | None) -> Iterator[Any]:
        """The loaded base, with an adapter put on for as long as it is needed."""
        if self._model is None:
            self._model = load_model(self.folder, self.device, self.dtype)
        if adapter is None:
            yield self._model
            return
        import peft

        try:
            adapted = peft.PeftModel.from_pretrained(self._model, adapter).eval()
        except (RuntimeError, ValueError, TypeError, KeyError, OSError) as error:
            # Layers may already be wrapped: the next one to ask loads a clean base.
            self._model = None
            raise BackendError(
                f"the adapter {adapter} cannot be put on {self._settings.model}: {' '.join(str(error).split())[:300]}. "
                "Is it an adapter of this very model?"
            ) from error
        try:
            yield adapted
        finally:
            self._model = adapted.unload()

    def _job(self, request: Request) -> _Job | Prediction:
        """Tokenise a request; what cannot be put to the model becomes an error row."""
        prompt = request.prompt
        failed: dict[str, Any] = {"id": prompt.id, "references": request.references, "group": request.group}
        try:
            ids = self.tokenizer.prompt_ids(prompt.messages, tools=prompt.tools)
        except TokenizerError as error:
            return Prediction(**failed, error=str(error))
        room = self._context - self._settings.max_new_tokens
        if len(ids) > room:
            return Prediction(
                **failed,
                prompt_tokens=len(ids),
                error=f"the prompt has {len(ids)} tokens, the model takes {room}",
            )
        return _Job(request, ids, self._reference_ids(request, ids))

    def _reference_ids(self, request: Request, prompt_ids: list[int]) -> list[int]:
        """Tokens of the first reference as training would see them, its end-of-turn included; none for none."""
        if not request.references[0]:
            return []
        before = tuple(
            msgspec.structs.replace(m, weight=0) if m.role == "assistant" else m
            for m in request.prompt.messages
        )
        reply = Message("assistant", request.references[0])
        try:
            encoded = encode(Example((*before, reply), request.prompt.tools), self.tokenizer)
        except TokenizerError:
            return []
        if list(encoded.ids[: len(prompt_ids)]) != prompt_ids or len(encoded.ids) > self._context:
            return []
        return [i for i, trained in zip(encoded.ids, encoded.loss_mask, strict=True) if trained]

    @cached_property
    def _context(self) -> int:
        """The longest input the model takes, in tokens."""
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(self.folder).get_text_config()
        return int(getattr(config, "max_position_embeddings", 0) or 10**9)

    def _answer_batch(self, model: Any, batch: list[_Job]) -> list[Prediction]:
        with self._within_memory():
            return self._answered(model, batch)

    @contextlib.contextmanager
    def _within_memory(self) -> Iterator[None]:
        """Run the model without gradients; a lack of memory is told with its cure."""
        import torch

        try:
            with torch.inference_mode():
                yield
        except torch.OutOfMemoryError as error:
            raise BackendError(
                f"answering does not fit the memory of {self.device}. Lower batch_size of this backend (now "
                f"{self._settings.batch_size}); finished answers are kept."
            ) from error

    def _answered(self, model: Any, batch: list[_Job]) -> list[Prediction]:
        begun = _clock(self.device)
        prompt = _left_padded([j.prompt for j in batch], self._pad_id(), self.device)
        out = model(**prompt, use_cache=True, logits_to_keep=1)
        first, cache = out.logits[:, -1].float(), out.past_key_values
        prefill = _clock(self.device) - begun
        nats: list[float | None] = [None] * len(batch)
        if any(j.reference for j in batch):
            nats = reference_nats(model, first, copy.deepcopy(cache), prompt, [j.reference for j in batch])
        begun = _clock(self.device)
        answers = _greedy(model, first, cache, prompt, self._settings.max_new_tokens, self._stop_ids())
        seconds = (prefill + _clock(self.device) - begun) / len(batch)
        return [self._prediction(*row, seconds) for row in zip(batch, answers, nats, strict=True)]

    def _prediction(self, job: _Job, answer: list[int], nats: float | None, seconds: float) -> Prediction:
        stopped = bool(answer) and answer[-1] in self._stop_ids()
        reference = job.request.references[0]
        return Prediction(
            id=job.request.prompt.id,
            prediction=self.tokenizer.tokenizer.decode(answer, skip_special_tokens=True),
            references=job.request.references,
            group=job.request.group,
            prompt_tokens=len(job.prompt),
            completion_tokens=len(answer),
            seconds=seconds,
            usd=cost_usd(self._settings, len(job.prompt), len(answer)),
            finish_reason="stop" if stopped else "length",
            reference_nats=nats,
            reference_tokens=len(job.reference) if nats is not None else None,
            reference_bytes=len(reference.encode()) if nats is not None else None,
        )

    def _stop_ids(self) -> set[int]:
        configured = self._model.generation_config.eos_token_id
        ids = configured if isinstance(configured, list) else [configured]
        own = self.tokenizer.tokenizer.eos_token_id
        return {i for i in (*ids, own, self._turn_end) if i is not None}

    @cached_property
    def _turn_end(self) -> int | None:
        """The token that ends a turn in training: a tuned model stops there, whatever its settings say."""
        try:
            turn = encode(Example((Message("user", "a"), Message("assistant", "b"))), self.tokenizer)
        except TokenizerError:
            return None
        return max(zip(turn.loss_mask, range(len(turn.ids)), turn.ids, strict=True))[2]

    def _pad_id(self) -> int:
        pad = self.tokenizer.tokenizer.pad_token_id
        return int(pad if pad is not None else min(self._stop_ids(), default=0))


def _clock(device: str) -> float:
    """The time once all work given to the device is done: an accelerator only queues it."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()
    return time.monotonic()


def _left_padded(rows: list[list[int]], pad: int, device: str) -> dict[str, Any]:
    """Prompts as one tensor [rows, longest], padded on the left so that all end where answers begin."""
    import torch

    width = max(map(len, rows))
    ids = torch.tensor([[pad] * (width - len(r)) + r for r in rows], device=device)
    mask = torch.tensor([[0] * (width - len(r)) + [1] * len(r) for r in rows], device=device)
    return {"input_ids": ids, "attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}


def _greedy(
    model: Any, first: Any, cache: Any, prompt: dict[str, Any], max_new_tokens: int, stop: set[int]
) -> list[list[int]]:
    """Greedy tokens of each row up to and including its stop token."""
    import torch

    stops = torch.tensor(sorted(stop), device=first.device)
    token = first.argmax(-1)
    mask, position = prompt["attention_mask"], prompt["position_ids"][:, -1]
    finished = torch.zeros_like(token, dtype=torch.bool)
    steps = []
    for step in range(max_new_tokens):
        steps.append(torch.where(finished, -1, token))
        finished |= torch.isin(token, stops)
        if step + 1 == max_new_tokens or bool(finished.all()):
            break
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
        position = position + 1
        out = model(
            input_ids=token[:, None],
            attention_mask=mask,
            position_ids=position[:, None],
            past_key_values=cache,
            use_cache=True,
        )
        cache, token = out.past_key_values, out.logits[:, -1].argmax(-1)
    return [[t for t in row if t >= 0] for row in torch.stack(steps, 1).tolist()]
