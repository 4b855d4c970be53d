"""Predictions: answers made elsewhere, brought in a file and judged like all others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from validators.reading import DataError, read_rows

from ..backends import Identity, Request
from ..records import Prediction, Prompt, Sample
from ..settings import Brought
from . import ContenderError, Fitted, Setting, plain_prompt

_NUMBERS: dict[str, tuple[type[int] | type[float], ...]] = {
    "prompt_tokens": (int,),
    "completion_tokens": (int,),
    "seconds": (int, float),
    "usd": (int, float),
}


def fit_predictions(settings: Brought, setting: Setting) -> Fitted:
    """Read the file; its rows are matched by `id` (as in samples.jsonl) or by `input` (the question's text)."""
    backend = PredictionsFile(settings, setting.experiment.resolve(settings.paths[0]))

    def prompts(samples: Sequence[Sample]) -> list[Prompt]:
        backend.check_complete(samples)
        return [plain_prompt(s) for s in samples]

    return Fitted(prompts, backend)


class PredictionsFile:
    """A file of answers behind the face of a backend."""

    def __init__(self, settings: Brought, path: Path) -> None:
        self._settings = settings
        self._path = path
        self._rows: dict[tuple[str, str], dict[str, Any]] = {}
        try:
            rows = list(read_rows(path))
        except DataError as error:
            raise ContenderError(f"contender {settings.name!r}: {error}") from None
        for row in rows:
            key = next(
                ((k, str(row.value[k])) for k in ("id", "input") if row.value.get(k) is not None), None
            )
            if key is None or not ("prediction" in row.value or row.value.get("error")):
                raise ContenderError(
                    f"contender {settings.name!r}: {path}:{row.line}: a row needs `prediction`, and `id` or `input` "
                    f"to match it with a test sample; it has: {', '.join(row.value)}"
                )
            for field, kinds in _NUMBERS.items():
                value = row.value.get(field)
                if value is not None and (
                    isinstance(value, bool) or not isinstance(value, kinds) or value < 0
                ):
                    raise ContenderError(
                        f"contender {settings.name!r}: {path}:{row.line}: {field} is {value!r}, not a number from 0 up"
                    )
            if key in self._rows:
                raise ContenderError(
                    f"contender {settings.name!r}: {path}:{row.line}: {key[0]} {key[1]!r} stands twice"
                )
            self._rows[key] = row.value

    def check_complete(self, samples: Sequence[Sample]) -> None:
        """Raise ContenderError naming the samples that have no answer in the file."""
        missing = [s.id for s in samples if self._find(s.id, s.question) is None]
        if missing:
            raise ContenderError(
                f"contender {self._settings.name!r}: {self._path} answers {len(samples) - len(missing)} of "
                f"{len(samples)} test samples; missing ids: {', '.join(missing[:10])}{' …' if len(missing) > 10 else ''}. "
                "The run folder's samples.jsonl lists every id with its question."
            )

    def identity(self) -> Identity:
        """The file's content stands for the model."""
        return Identity(model=self._path.name, sha256=hashlib.sha256(self._path.read_bytes()).hexdigest())

    def answer(
        self, requests: Sequence[Request], *, done: frozenset[str] = frozenset(), adapter: Path | None = None
    ) -> Iterator[Prediction]:
        """Yield the brought answer of each request."""
        for request in requests:
            prompt = request.prompt
            if prompt.id in done:
                continue
            asked = next((m.text for m in reversed(prompt.messages) if m.role == "user"), "")
            row = self._find(prompt.id, asked) or {}
            per_1000 = self._settings.usd_per_1000
            error = row.get("error") or ("the file gives null" if row.get("prediction") is None else None)
            yield Prediction(
                id=prompt.id,
                references=request.references,
                group=request.group,
                prediction=None if error else _text(row["prediction"]),
                prompt_tokens=row.get("prompt_tokens"),
                completion_tokens=row.get("completion_tokens"),
                seconds=row.get("seconds"),
                usd=row.get("usd", None if per_1000 is None else per_1000 / 1000),
                finish_reason=_text(row["finish_reason"]) if row.get("finish_reason") else None,
                error=_text(error) if error else None,
            )

    def release(self) -> None:
        """Nothing to free."""

    def close(self) -> None:
        """Nothing to free."""

    def _find(self, sample_id: str, asked: str) -> dict[str, Any] | None:
        return self._rows.get(("id", sample_id)) or self._rows.get(("input", asked))


def _text(value: Any) -> str:
    """Text as it is, any other value as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
