"""Local generation with transformers: batched, greedy, the same for every contender.

Batches are a function of the whole request list, never of what is already done: bf16 output depends on
a batch's shape, so a resumed run must form the very batches of an uninterrupted one.
"""

from __future__ import annotations

import contextlib
import gc
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from validators.assets import resolve_model
from validators.encoding import encode
from validators.examples import Example, Message, ToolCall
from validators.licences import licence_of
from validators.tokens import HuggingFaceTokenizer, TokenizerError, load_hf_tokenizer

from ..experiment import settings_hash
from ..models import hardware, pick_device, pick_dtype, revision_of, weights_hash
from ..records import Prediction
from ..settings import HfBackend as Settings
from . import Backend, BackendError, Identity, Request, cost_usd
from .batches import arrange
from .generation import Reader, Row, clock, greedy, likeliest, reply_nats, worth
from .likelihoods import row_nats
from .memory import available_bytes, is_out_of_memory, rows_that_fit
from .tool_calls import read_calls
from .weights import Weights

log = logging.getLogger("workbench.local")


@dataclass(frozen=True, slots=True)
class _Job:
    """One request as token ids; `reference` is empty where its likelihood cannot be measured."""

    request: Request
    row: Row
    reference: list[int]
    choices: list[list[int]]


class _OutOfMemoryError(BackendError):
    """The memory of the device does not hold a batch."""


class HfBackend(Backend):
    """A causal language model on this machine."""

    def __init__(self, settings: Settings, base: Path, *, offline: bool = False) -> None:
        self._settings = settings
        self.folder = resolve_model(settings.model, base=base, offline=offline)
        self.device = pick_device(settings.device)
        self.dtype = pick_dtype(settings.dtype, self.device)
        self.batch_size = settings.batch_size
        """The most rows at once in the last answers: less than asked for where memory held no more."""
        self._weights = Weights(settings.model, self.folder, self.device, self.dtype)
        self._choices: dict[tuple[str, ...], list[list[int]]] = {}
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
            revision=revision_of(self.folder),
            sha256=weights_hash(self.folder),
            template=settings_hash(self.tokenizer.tokenizer.chat_template),
            licence=licence.id if licence else None,
            hardware=hardware(self.device, self.dtype),
        )

    def answer(
        self, requests: Sequence[Request], *, done: frozenset[str] = frozenset(), adapter: Path | None = None
    ) -> Iterator[Prediction]:
        """Yield the likeliest answers batch by batch; those whose prompts begin alike stand together."""
        jobs = []
        for request in sorted(requests, key=lambda r: r.prompt.id):
            job = self._job(request)
            if isinstance(job, Prediction):
                if job.id not in done:
                    yield job
            else:
                jobs.append(job)
        if not jobs:
            return
        self.batch_size = self._settings.batch_size
        with self._weights.trained(adapter) as model:
            self._fit_batches(model, max(len(j.row.prompt) for j in jobs))
            reader = Reader(model, self.device, self._pad_id())
            for batch in self._batches(jobs):
                if not all(j.request.prompt.id in done for j in batch):
                    yield from (p for p in self._answer_batch(reader, batch) if p.id not in done)

    def _batches(self, jobs: Sequence[_Job]) -> list[list[_Job]]:
        """Prompts that begin alike together; constrained ones apart, for they are answered in another way."""
        size = self.batch_size
        batches: list[list[_Job]] = []
        for constrained in (False, True):
            own = [j for j in jobs if bool(j.choices) == constrained]
            places = arrange([j.row.prompt for j in own], worth(self.device))
            own = [replace(own[p.index], row=replace(own[p.index].row, path=p.path)) for p in places]
            batches += [own[begin : begin + size] for begin in range(0, len(own), size)]
        return batches

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
        with self._weights.trained(adapter) as model, self._within_memory():
            nats = row_nats(model, cut, self._pad_id(), self.device)
        return [(n, len(row) - 1, size) for n, row, size in zip(nats, cut, sizes, strict=True)]

    def reference_logits(
        self, requests: Sequence[Request], *, adapter: Path | None = None, most: int = 32
    ) -> list[Any]:
        """Logits [tokens, vocabulary] of each request's reference after its prompt, at most `most` tokens.

        On the CPU, in the model's number format; None where a request has no reference that can be measured.
        """
        import torch

        jobs = [self._job(request) for request in requests]
        found: list[Any] = []
        with self._weights.trained(adapter) as model, self._within_memory():
            for job in jobs:
                if isinstance(job, Prediction) or not job.reference:
                    found.append(None)
                    continue
                reply = job.reference[:most]
                ids = torch.tensor([job.row.prompt + reply[:-1]], device=self.device)
                logits = model(input_ids=ids, use_cache=False, logits_to_keep=len(reply)).logits
                found.append(logits[0].cpu())
        return found

    def notes(self) -> dict[str, str]:
        """What a reader of the last answers should know: whether memory made their batches smaller."""
        used, asked = self.batch_size, self._settings.batch_size
        return {"batch size": f"{used} instead of {asked}: memory held no more"} if used < asked else {}

    def release(self) -> None:
        """Free the weights."""
        self._weights.release()

    def close(self) -> None:
        """Free the weights."""
        self.release()

    def lent(self, model: Any) -> contextlib.AbstractContextManager[None]:
        """Answer with a model that is in memory already: one in training, in eval mode."""
        return self._weights.lent(model)

    def _job(self, request: Request) -> _Job | Prediction:
        """Tokenise a request; what cannot be put to the model becomes an error row."""
        prompt = request.prompt
        failed: dict[str, Any] = {"id": prompt.id, "references": request.references, "group": request.group}
        try:
            ids = self.tokenizer.prompt_ids(prompt.messages, tools=prompt.tools)
            choices = self._choice_ids(request.choices)
        except TokenizerError as error:
            return Prediction(**failed, error=str(error))
        room = self._context - max([self._settings.max_new_tokens] if not choices else map(len, choices))
        if not 1 < len(ids) <= room:
            says = f"the model takes {room}" if len(ids) > room else "an answer can only begin after two"
            return Prediction(
                **failed, prompt_tokens=len(ids), error=f"the prompt has {len(ids)} tokens, {says}"
            )
        return _Job(request, Row(ids), self._reference_ids(request, ids), choices)

    def _choice_ids(self, choices: tuple[str, ...]) -> list[list[int]]:
        """Tokens of each choice as training would see it as an answer, its end of turn included."""
        if choices not in self._choices:
            self._choices[choices] = [self._reply_ids(choice) for choice in choices]
        return self._choices[choices]

    def _reply_ids(self, text: str) -> list[int]:
        turn = encode(Example((Message("user", "a"), Message("assistant", text))), self.tokenizer)
        return [i for i, trained in zip(turn.ids, turn.loss_mask, strict=True) if trained]

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

    def _fit_batches(self, model: Any, longest: int) -> None:
        """Lower the batch size to what the memory holds: a CPU's system ends a program that takes too much."""
        config, columns = model.config.get_text_config(), longest + self._settings.max_new_tokens
        free = available_bytes() if self.device == "cpu" else None
        fits = rows_that_fit(config, model.dtype.itemsize, columns, free, self.batch_size)
        if fits < self.batch_size:
            log.warning(
                "batch size %d instead of %d: the memory of %s holds no more prompts of %d tokens.",
                *(fits, self.batch_size, self.device, longest),
            )
            self.batch_size = fits

    def _answer_batch(self, reader: Reader, batch: list[_Job]) -> list[Prediction]:
        """Answer in parts of at most the batch size; it is halved where memory does not hold a part."""
        answers: list[Prediction] = []
        while part := batch[len(answers) :][: self.batch_size]:
            found = self._answered_if_fits(reader, part)
            if found is not None:
                answers += found
                continue
            reader.forget()
            gc.collect()
            self.batch_size = (len(part) + 1) // 2
            log.warning(
                "batch size %d from here on: %d rows do not fit the memory of %s.",
                *(self.batch_size, len(part), self.device),
            )
        return answers

    def _answered_if_fits(self, reader: Reader, batch: list[_Job]) -> list[Prediction] | None:
        """None where memory holds no such batch, but may hold a smaller one: the next try begins with it freed."""
        try:
            with self._within_memory():
                return self._answered(reader, batch)
        except _OutOfMemoryError:
            if len(batch) == 1:
                raise
            return None

    @contextlib.contextmanager
    def _within_memory(self) -> Iterator[None]:
        """Run the model without gradients; a lack of memory is told with its cure."""
        import torch

        try:
            with torch.inference_mode():
                yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise _OutOfMemoryError(
                f"answering does not fit the memory of {self.device}, even one row at a time. Use a smaller model, "
                "a shorter prompt (fewer examples or passages) or `dtype: bfloat16`; finished answers are kept."
            ) from error

    def _answered(self, reader: Reader, batch: list[_Job]) -> list[Prediction]:
        read = reader.read([j.row for j in batch])
        nats = reply_nats(reader, read, [j.reference for j in batch])
        begun = clock(self.device)
        if batch[0].choices:
            best = likeliest(reader, read, [j.choices for j in batch])
            answers = [j.choices[k] for j, k in zip(batch, best, strict=True)]
            texts = [j.request.choices[k] for j, k in zip(batch, best, strict=True)]
        else:
            answers = greedy(reader, read, self._settings.max_new_tokens, self._stop_ids())
            texts = [self.tokenizer.tokenizer.decode(a, skip_special_tokens=True) for a in answers]
        own = (clock(self.device) - begun) / len(batch)
        return [
            self._prediction(job, answer, text, likely, seconds + own)
            for job, answer, text, likely, seconds in zip(
                batch, answers, texts, nats, read.seconds, strict=True
            )
        ]

    def _prediction(
        self, job: _Job, answer: list[int], text: str, nats: float | None, seconds: float
    ) -> Prediction:
        stopped = bool(answer) and answer[-1] in self._stop_ids()
        calls: tuple[ToolCall, ...] = ()
        if tools := job.request.prompt.tools:
            # Control tokens mark calls in some templates.
            written = self.tokenizer.tokenizer.decode(answer[:-1] if stopped else answer)
            text, calls = read_calls(written, tools) or (text, ())
        reference = job.request.references[0]
        return Prediction(
            id=job.request.prompt.id,
            prediction=text,
            references=job.request.references,
            group=job.request.group,
            tool_calls=tuple(call.as_dict() for call in calls),
            prompt_tokens=len(job.row.prompt),
            completion_tokens=len(answer),
            seconds=seconds,
            usd=cost_usd(self._settings, len(job.row.prompt), len(answer)),
            finish_reason="stop" if stopped or job.choices else "length",
            reference_nats=nats,
            reference_tokens=len(job.reference) if nats is not None else None,
            reference_bytes=len(reference.encode()) if nats is not None else None,
        )

    def _stop_ids(self) -> set[int]:
        configured = self._weights.model.generation_config.eos_token_id
        ids = configured if isinstance(configured, list) else [configured]
        own = self.tokenizer.tokenizer.eos_token_id
        return {i for i in (*ids, own, self._turn_end) if i is not None}

    @cached_property
    def _turn_end(self) -> int | None:
        """The token that ends a turn in training: a tuned model stops there, whatever its settings say."""
        try:
            return self._reply_ids("b")[-1]
        except TokenizerError:
            return None

    def _pad_id(self) -> int:
        pad = self.tokenizer.tokenizer.pad_token_id
        return int(pad if pad is not None else min(self._stop_ids(), default=0))
