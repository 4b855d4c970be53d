"""Predictions: answers made elsewhere, brought in a file and judged like all others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from validators.reading import DataError

from ..answers import Answer, Answers, AnswersError, fingerprint, read_answers
from ..backends import Backend, Identity, Request
from ..records import Prediction, Prompt, Sample
from ..runs import RunError
from ..settings import Brought
from . import ContenderError, Fitted, Setting, plain_prompt


def fit_predictions(settings: Brought, setting: Setting) -> Fitted:
    """Read the file; its rows are matched by `id` (as in samples.jsonl) or by `input` (the question's text)."""
    backend = PredictionsFile(settings, setting.experiment.resolve(settings.paths[0]))

    def prompts(samples: Sequence[Sample]) -> list[Prompt]:
        backend.check_complete(samples)
        return [plain_prompt(s) for s in samples]

    return Fitted(prompts, backend)


class PredictionsFile(Backend):
    """A file of answers (any format of `workbench.answers`) behind the face of a backend."""

    def __init__(self, settings: Brought, path: Path) -> None:
        self._settings = settings
        self._path = path
        try:
            answers = read_answers(path)
        except (DataError, AnswersError, RunError) as error:
            raise self._refused(str(error)) from None
        self._by_key = self._index(answers)
        self._by_alias = _aliases(answers)

    def check_complete(self, samples: Sequence[Sample]) -> None:
        """Raise ContenderError naming the samples that have no answer in the file."""
        missing = [s.id for s in samples if self._find(s.id, s.question) is None]
        if missing:
            raise self._refused(
                f"{self._path} answers {len(samples) - len(missing)} of "
                f"{len(samples)} test samples; missing ids: {', '.join(missing[:10])}{' …' if len(missing) > 10 else ''}. "
                "The run folder's samples.jsonl lists every id with its question."
            )

    def identity(self) -> Identity:
        """The file's content stands for the model."""
        return Identity(model=self._path.name, sha256=fingerprint(self._path))

    def answer(
        self, requests: Sequence[Request], *, done: frozenset[str] = frozenset(), adapter: Path | None = None
    ) -> Iterator[Prediction]:
        """Yield the brought answer of each request."""
        for request in requests:
            prompt = request.prompt
            if prompt.id in done:
                continue
            asked = next((m.text for m in reversed(prompt.messages) if m.role == "user"), "")
            found = self._find(prompt.id, asked)
            assert found is not None, "check_complete comes first"
            yield self._prediction(found, request)

    def _prediction(self, found: Answer, request: Request) -> Prediction:
        per_1000 = self._settings.usd_per_1000
        usd = found.usd if found.usd is not None or per_1000 is None else per_1000 / 1000
        # A likelihood belongs to the reference it was measured on.
        same = not found.references or found.references[:1] == tuple(request.references[:1])
        return Prediction(
            id=request.prompt.id,
            references=request.references,
            group=request.group,
            prediction=found.prediction,
            tool_calls=found.tool_calls,
            prompt_tokens=found.prompt_tokens,
            completion_tokens=found.completion_tokens,
            cached_tokens=found.cached_tokens,
            seconds=found.seconds,
            usd=usd,
            finish_reason=found.finish_reason,
            reference_nats=found.reference_nats if same else None,
            reference_tokens=found.reference_tokens if same else None,
            reference_bytes=found.reference_bytes if same else None,
            error=found.error,
        )

    def _index(self, answers: Answers) -> dict[tuple[str, str], Answer]:
        # Only in our own rows is a row without an id matched by its input, and must that be there once.
        by_key: dict[tuple[str, str], Answer] = {}
        for row in answers.rows:
            if row.prediction is None and row.error is None:
                raise self._refused(
                    f"{self._place(row)}: a row needs `prediction`: the answers of {answers.name} hold no text, "
                    "only scores or likelihoods"
                )
            key = ("id", row.id) if row.id is not None else ("input", row.input or "")
            if key in by_key:
                cure = "keep one" if key[0] == "id" else "keep one, or give each the `id` of its test sample"
                raise self._refused(f"{self._place(row)}: {key[0]} {key[1]!r} stands twice: {cure}")
            by_key[key] = row
        return by_key

    def _find(self, sample_id: str, asked: str) -> Answer | None:
        return (
            self._by_key.get(("id", sample_id))
            or self._by_key.get(("input", asked))
            or self._by_alias.get(asked)
        )

    def _place(self, row: Answer) -> str:
        return str(self._path) if row.line is None else f"{self._path}:{row.line}"

    def _refused(self, why: str) -> ContenderError:
        return ContenderError(f"contender {self._settings.name!r}: {why}")


def _aliases(answers: Answers) -> dict[str, Answer]:
    """The texts by which a foreign row's question may be known; those that stand for several rows do not count."""
    found: dict[str, Answer | None] = {}
    for row in answers.rows:
        for text in {row.input, *row.aliases} - {None, ""}:
            found[str(text)] = row if str(text) not in found else None
    return {text: row for text, row in found.items() if row is not None}
