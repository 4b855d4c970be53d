"""A provider's files and fine-tuning jobs, through the openai client: OpenAI, its protocol elsewhere, Azure OpenAI.

Questions are asked again through outages; what starts a job is sent once, and after a failure whose outcome
nobody knows the jobs are looked through before it is sent again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..backends.api_key import ApiKey
from ..settings import OpenAIBackend
from .errors import HostedError
from .upload import Upload

if TYPE_CHECKING:
    from openai.types import FileObject
    from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent

T = TypeVar("T")

TIMEOUT_SECONDS = 120.0
UPLOAD_SECONDS = 1800.0
# Between two attempts, doubled up to the second; given up after so long without an answer.
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0
PATIENCE_SECONDS = 1800.0
LISTED = 100


class Unanswered(Exception):
    """No usable answer came: whether the request was carried out is not known. `after` is the wait asked for."""

    def __init__(self, why: str, after: float = 0.0) -> None:
        super().__init__(why)
        self.after = after


class Service:
    """One account at one provider; `target` names its rules for files."""

    def __init__(self, settings: OpenAIBackend, base: Path) -> None:
        """`base` is the folder that a key's file is named from. Raises BackendError without a key."""
        import openai

        self._settings = settings
        self._key = ApiKey(settings, base)
        self.target = "openai" if settings.api_version is None else "azure"
        # Only what this class repeats is repeated: the client would send a job's creation twice.
        options: dict[str, Any] = {
            "api_key": self._key.read,
            "timeout": TIMEOUT_SECONDS,
            "max_retries": 0,
        }
        self._client: openai.OpenAI
        if settings.api_version is None:
            self._client = openai.OpenAI(base_url=settings.base_url, **options)
        else:
            self._client = openai.AzureOpenAI(
                azure_endpoint=settings.base_url or "", api_version=settings.api_version, **options
            )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    # -- files -------------------------------------------------------------------------------------

    def put(self, upload: Upload) -> str:
        """The id of the file at the provider: sent unless the same bytes lie there already, and ready to train on."""
        file = self._patiently(lambda: self._found(upload) or self._sent(upload))
        pause = FIRST_PAUSE
        file_id = file.id
        while file.status not in self._ready:
            if file.status == "error":
                why = self.plain(file.status_details or "no reason given")
                raise HostedError(f"the provider cannot use the {upload.split} file ({file_id}): {why}")
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            file = self._patiently(lambda: self._checked(self._client.files.retrieve(file_id)))
        return file_id

    @property
    def _ready(self) -> tuple[str, ...]:
        # OpenAI no longer tells when a file is processed; Azure refuses jobs until it is.
        return ("processed",) if self.target == "azure" else ("processed", "uploaded")

    def _found(self, upload: Upload) -> FileObject | None:
        files = _items(partial(self._client.files.list, purpose="fine-tune"))
        same = (f for f in files if f.filename == upload.name and f.bytes in (None, len(upload.content)))
        return next((f for f in same if f.status != "error"), None)

    def _sent(self, upload: Upload) -> FileObject:
        client = self._client.with_options(timeout=UPLOAD_SECONDS)
        return self._checked(client.files.create(file=(upload.name, upload.content), purpose="fine-tune"))

    # -- jobs --------------------------------------------------------------------------------------

    def jobs_of(self, file_id: str) -> list[FineTuningJob]:
        """Every job of the account that trains on a file, the newest first."""

        def look() -> list[FineTuningJob]:
            jobs = _items(partial(self._client.fine_tuning.jobs.list, limit=LISTED))
            return [job for job in jobs if job.training_file == file_id]

        return self._patiently(look)

    def create(self, wanted: Mapping[str, Any], adopt: Callable[[], FineTuningJob | None]) -> FineTuningJob:
        """Start one job. `adopt` looks for the one that an unanswered request has started after all."""

        def attempt() -> FineTuningJob:
            return adopt() or self._checked(self._client.fine_tuning.jobs.create(**wanted))

        return self._patiently(attempt)

    def job(self, job_id: str) -> FineTuningJob:
        """The job as it stands."""
        return self._patiently(lambda: self._checked(self._client.fine_tuning.jobs.retrieve(job_id)))

    def events(self, job_id: str, known: frozenset[str]) -> list[FineTuningJobEvent]:
        """Events that are not `known` yet, the oldest first; the provider lists the newest first."""

        def look() -> list[FineTuningJobEvent]:
            return list(self._until_known(job_id, known))

        return self._patiently(look)[::-1]

    def _until_known(self, job_id: str, known: frozenset[str]) -> Iterator[FineTuningJobEvent]:
        for event in _items(partial(self._client.fine_tuning.jobs.list_events, job_id, limit=LISTED)):
            if event.id in known:
                return
            yield event

    def answers(self, model: str) -> bool:
        """Whether a model (on Azure, a deployment) answers; one token is asked for."""
        import openai

        def ask() -> bool:
            try:
                self._client.chat.completions.create(
                    model=model, messages=[{"role": "user", "content": "ok"}], max_completion_tokens=1
                )
            except openai.NotFoundError:
                return False
            except openai.BadRequestError:
                return True  # it is there, and did not like so short an answer
            return True

        return self._patiently(ask)

    # -- failures ----------------------------------------------------------------------------------

    def _patiently(self, call: Callable[[], T]) -> T:
        """The call's answer, through outages. Raises HostedError for a refusal, or when patience ends."""
        begun, pause = time.monotonic(), FIRST_PAUSE
        while True:
            try:
                return self._answer(call)
            except Unanswered as failure:
                if time.monotonic() - begun > PATIENCE_SECONDS:
                    where = self._settings.base_url or "the OpenAI API"
                    raise HostedError(
                        f"{where} gave no usable answer for {PATIENCE_SECONDS / 60:.0f} minutes ({failure}). What is on "
                        "record is kept, and a job goes on by itself: run the same command again."
                    ) from None
                time.sleep(max(pause, failure.after))
            pause = min(2 * pause, LONGEST_PAUSE)

    def _answer(self, call: Callable[[], T]) -> T:
        """One attempt. Raises Unanswered for what may pass, HostedError for what will not."""
        import openai

        try:
            return call()
        except openai.RateLimitError as error:
            if error.code == "insufficient_quota":
                raise self._refused(error, "Add credit to the account") from None
            raise Unanswered(self.plain(error), _asked_wait(error.response.headers)) from None
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            cure = f"Check the key ({self._key.cure}), and that its account may fine-tune this model"
            raise self._refused(error, cure) from None
        except openai.NotFoundError as error:
            raise self._refused(error, "Check base_url, api_version and the model's name") from None
        except openai.APIStatusError as error:
            if error.status_code in (408, 409) or error.status_code >= 500:
                raise Unanswered(self.plain(error)) from None
            cure = "Mend what it names (the file, the suffix, the hyperparameters or the model)"
            raise self._refused(error, cure) from None
        except (openai.APIConnectionError, ValueError) as error:  # half an answer is no JSON
            raise Unanswered(self.plain(error)) from None

    def _refused(self, error: Exception, cure: str) -> HostedError:
        return HostedError(f"the provider refused: {self.plain(error)}. {cure}, then run again.")

    def _checked(self, answer: T) -> T:
        """The answer, where it is one. Raises Unanswered."""
        if not isinstance(getattr(answer, "id", None), str) or not isinstance(
            getattr(answer, "status", None), str
        ):
            raise Unanswered("the answer is no file and no job")
        return answer

    def plain(self, error: object) -> str:
        """A message in one line, without the key, which some servers repeat."""
        text = " ".join(str(getattr(error, "message", None) or error).split())[:500]
        return self._key.hide(text)


def _items(fetch: Callable[[], Any]) -> Iterator[Any]:
    """Everything that is listed, page by page. Raises Unanswered for what is no page: it must not pass for an empty one."""
    while True:
        try:
            page = fetch()
        except AttributeError:  # the client stumbles over a proxy's page
            page = None
        items = getattr(page, "data", None)
        if page is None or not isinstance(items, list):
            raise Unanswered("the answer is no list")
        yield from items
        if not items or not page.has_next_page():
            return
        fetch = page.get_next_page


def _asked_wait(headers: Mapping[str, str]) -> float:
    """Seconds of a Retry-After header, at most the longest pause; 0 where it gives none."""
    try:
        return min(float(headers.get("retry-after", "")), LONGEST_PAUSE)
    except ValueError:
        return 0.0
