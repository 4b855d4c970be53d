"""Answers of servers, kept across runs: a finished one is paid for once.

They lie in one SQLite file in the folder of run folders, so that they are found, shared and deleted with
the runs they belong to. Local models have no place here: in half precision their answers depend on the
shape of the batch, so those stay with the run that gave them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ..experiment import Experiment, asked_of
from ..files import row_text
from ..records import Prediction
from ..runs import Run
from ..settings import Backend as BackendSettings
from . import Backend, BackendError, Identity, Request, cost_usd, server_of

FILE = "answers.sqlite"
# A part of every key: answers of an older form are not found, so nothing has to be converted.
FORM = "workbench.answers/1"
# How a whole answer ends. One that was cut or filtered is as it is, yet nobody should have it for good.
WHOLE = ("stop", "tool_calls", "function_call")
# Another process holds the file for as long as one insert takes.
WAIT_SECONDS = 60.0
_MADE = (
    "CREATE TABLE IF NOT EXISTS answers "
    "(number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, answer BLOB NOT NULL)"
)


class Answers:
    """The file of kept answers; several processes may use it at once, and a kill leaves it whole."""

    def __init__(self, folder: Path, *, after: int = 0) -> None:
        """Open (or begin) the file in `folder`; answers up to number `after` are not read. Raises BackendError."""
        self.path, self.after = folder / FILE, after
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(self.path, timeout=WAIT_SECONDS, isolation_level=None)
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute("PRAGMA synchronous=NORMAL")
            self._file.execute(_MADE)
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from None

    @property
    def last(self) -> int:
        """The number of the newest answer; 0 where there is none. Numbers only grow."""
        return int(self._do("SELECT coalesce(max(number), 0) FROM answers")[0][0])

    def get(self, key: str) -> Prediction | None:
        """The answer to a request; None where it was never finished."""
        found = self._do("SELECT answer FROM answers WHERE key = ? AND number > ?", key, self.after)
        return msgspec.json.decode(found[0][0], type=Prediction) if found else None

    def put(self, key: str, answer: Prediction) -> None:
        """Keep an answer, in the place of an earlier one."""
        bare = msgspec.structs.replace(answer, id="", references=(), group=None)
        # A server may send half a surrogate pair; the run's own files replace it too.
        text = row_text(bare).encode("utf-8", "replace")
        self._do("INSERT OR REPLACE INTO answers (key, answer) VALUES (?, ?)", key, text)

    def start_over(self, run: Run) -> None:
        """Read none that lie here now, nor does a run that goes on with this one after a kill."""
        self.after = self.last
        run.write_meta(run.meta() | {"answers_after": self.after})

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _do(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._file.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def _unusable(self, error: Exception) -> BackendError:
        return BackendError(
            f"{self.path}: the kept answers cannot be used ({error}). Make room and check that the folder can be "
            "written; where the file is damaged, remove it: then servers are asked again, run folders lose nothing."
        )


@dataclass(frozen=True, slots=True)
class CachedBackend(Backend):
    """A server's backend that asks only what was never answered."""

    backend: Backend
    settings: BackendSettings
    answers: Answers

    def identity(self) -> Identity:
        """The server's."""
        return self.backend.identity()

    def answer(
        self, requests: Sequence[Request], *, done: frozenset[str] = frozenset(), adapter: Path | None = None
    ) -> Iterator[Prediction]:
        """Yield kept answers (marked `reused`), then ask the rest; requests that are the same are asked once.

        An answer is kept after it was handed on: a kill in between leaves it in the run's own file.
        """
        alike: dict[str, list[Request]] = {}
        about = self._about()
        for request in requests:
            if request.prompt.id not in done:
                alike.setdefault(_key(about, request), []).append(request)
        asked: dict[str, str] = {}
        for key, same in alike.items():
            if (known := self.answers.get(key)) is None:
                asked[same[0].prompt.id] = key
            else:
                yield from (self._again(known, request) for request in same)
        fresh = [alike[key][0] for key in asked.values()]
        for answer in self.backend.answer(fresh, adapter=adapter) if fresh else ():
            key = asked[answer.id]
            try:
                yield answer
            finally:
                if answer.error is None and answer.finish_reason in WHOLE:
                    self.answers.put(key, answer)
            yield from (self._again(answer, request) for request in alike[key][1:])

    def notes(self) -> dict[str, Any]:
        """The server's."""
        return self.backend.notes()

    def release(self) -> None:
        """Free what the server's backend holds."""
        self.backend.release()

    def close(self) -> None:
        """Close the connections; the kept answers stay open for other backends."""
        self.backend.close()

    def _about(self) -> list[object]:
        """What all answers of this backend depend on."""
        identity = self.backend.identity()
        model = (identity.revision, identity.sha256, identity.template)
        return [FORM, server_of(self.settings), asked_of(self.settings), model]

    def _again(self, known: Prediction, request: Request) -> Prediction:
        """A kept answer as this request's; it costs what the settings' prices say today."""
        return msgspec.structs.replace(
            known,
            id=request.prompt.id,
            references=request.references,
            group=request.group,
            usd=cost_usd(self.settings, known.prompt_tokens, known.completion_tokens, known.cached_tokens),
            reused=None if known.error is not None else True,
        )


def _key(about: list[object], request: Request) -> str:
    """A hash of all that an answer depends on; names, groups and references are no part of it."""
    asked = msgspec.to_builtins(request)
    asked["prompt"] = {k: v for k, v in asked["prompt"].items() if k not in ("id", "passages")}
    put = {k: v for k, v in asked.items() if k not in ("references", "group")}
    return hashlib.sha256(json.dumps([*about, put], sort_keys=True).encode()).hexdigest()


def kept(backend: Backend, settings: BackendSettings, answers: Answers | None) -> Backend:
    """The backend with its answers kept, where it is a server."""
    return (
        backend
        if answers is None or server_of(settings) is None
        else CachedBackend(backend, settings, answers)
    )


@contextlib.contextmanager
def open_answers(experiment: Experiment, run: Run) -> Iterator[Answers | None]:
    """The answers kept beside a run folder; None where the experiment has no server."""
    if not any(server_of(backend) for backend in experiment.backends.values()):
        yield None
        return
    begun = run.meta() if (run.folder / "run.json").exists() else {}
    answers = Answers(run.folder.parent, after=begun.get("answers_after", 0))
    with contextlib.closing(answers):
        yield answers
