"""The run folder: the only file that knows its file names; one process at a time holds its lock."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import msgspec

from .files import (
    Appender,
    StoredRows,
    append_shared,
    locked,
    open_appender,
    read_json,
    read_rows,
    write_atomic,
    write_json,
    write_rows,
)
from .files import RunError as RunError
from .records import (
    NEEDED,
    SCHEMAS,
    Judgement,
    Payment,
    Prediction,
    Prompt,
    Rating,
    RowLength,
    Sample,
    Verdict,
)

T = TypeVar("T")

# Cross-fitting's folds, by number; further training seeds, by seed; a learning curve's points, by fraction and seed.
PartKind = Literal["folds", "seeds", "curve"]


@dataclass(frozen=True, slots=True)
class Run:
    """One run folder, or a part of one. Reading gives None for what is not there (yet)."""

    folder: Path
    whole: Path | None = None
    """The run folder that this is a part of; None for a whole one."""

    # -- finding ---------------------------------------------------------------------------------

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """Open an existing run folder. Raises RunError where it is none."""
        folder = Path(folder)
        if not (folder / "run.json").exists():
            hint = "A run folder holds run.json; `workbench runs` lists them."
            raise RunError(f"{folder}: {'not a run folder' if folder.exists() else 'no such folder'}. {hint}")
        run = cls(folder)
        run.meta()
        return run

    @classmethod
    def all(cls, root: str | Path) -> list[Run]:
        """Every run folder directly under `root`, the newest first."""
        folders = [p.parent for p in Path(root).glob("*/run.json")]
        newest_first = sorted(folders, key=lambda f: (-(f / "run.json").stat().st_mtime_ns, f.name))
        return [cls(folder) for folder in newest_first]

    def part(self, kind: PartKind, name: str) -> Run:
        """A run within this run: contenders of the same names, fitted on other rows or from another seed."""
        return type(self)(self.folder / kind / name, self.whole or self.folder)

    def parts(self) -> Iterator[Run]:
        """Every part that has begun, parts of parts too."""
        for kind in get_args(PartKind):
            for path in sorted(p for p in (self.folder / kind).glob("*") if p.is_dir()):
                part = self.part(kind, path.name)
                yield part
                yield from part.parts()

    @property
    def name(self) -> str:
        """The folder's name, `<experiment>-<hash8>`."""
        return self.folder.name

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder against a second process. The lock dies with its owner. Raises RunError."""
        with locked(self.folder):
            yield

    @property
    def ledger(self) -> Path:
        """Where a backend writes what every request to a server cost; one for all parts of a run."""
        return (self.whole or self.folder) / "spending.jsonl"

    def payments(self) -> Iterator[Payment]:
        """What the ledger holds, the oldest first."""
        return read_rows(self.ledger, Payment)

    # -- the whole run ---------------------------------------------------------------------------

    def meta(self) -> dict[str, Any]:
        """run.json: status, created, versions, dataset hash, seed, decision settings and their history."""
        meta = self._read_json("run.json", "run")
        if meta is None:
            raise RunError(f"{self.folder / 'run.json'} is missing: this is not a run folder.")
        return meta

    def write_meta(self, meta: dict[str, Any]) -> None:
        """Replace run.json."""
        self._write_json("run.json", "run", meta)

    def experiment_text(self) -> str | None:
        """The experiment file as it was run last."""
        path = self.folder / "experiment.yaml"
        return path.read_text(encoding="utf-8") if path.exists() else None

    def write_experiment_text(self, text: str) -> None:
        """Keep an exact copy of the experiment file."""
        write_atomic(self.folder / "experiment.yaml", text)

    def origin(self) -> Path | None:
        """Where the experiment file lay, relative to the runs folder; None where it has gone."""
        stored = self.meta().get("origin")
        path = (self.folder.parent / stored) if stored else None
        return path if path is not None and path.exists() else None

    def findings(self) -> list[dict[str, Any]]:
        """The lint findings of the data set, one dict each as `lint --format json` prints them."""
        return list(self._read_rows("findings.jsonl", dict[str, Any]))

    def lint(self) -> dict[str, Any] | None:
        """Lint statistics and summary."""
        return self._read_json("lint.json", "lint")

    def write_lint(self, report: dict[str, Any]) -> None:
        """Write the lint report: findings to their own file, the rest beside them."""
        self._write_rows("findings.jsonl", report["findings"])
        self._write_json("lint.json", "lint", {k: v for k, v in report.items() if k != "findings"})

    def cost(self) -> dict[str, Any] | None:
        """Tokens and costs of the training data."""
        return self._read_json("cost.json", "cost")

    def write_cost(self, cost: dict[str, Any]) -> None:
        """Write cost.json."""
        self._write_json("cost.json", "cost", cost)

    def lengths(self) -> list[RowLength]:
        """Training rows as the model counts them: all, or evenly spaced ones of many."""
        return list(self._read_rows("lengths.jsonl", RowLength))

    def write_lengths(self, rows: Iterable[RowLength]) -> None:
        """Write lengths.jsonl."""
        self._write_rows("lengths.jsonl", rows)

    def splits(self) -> dict[str, list[str]] | None:
        """Sample ids by split: train, dev, test."""
        stored = self._read_json("splits.json", "splits")
        return stored and {name: stored.get(name, []) for name in ("train", "dev", "test")}

    def samples(self) -> list[Sample]:
        """The test samples, in order."""
        return list(self._read_rows("samples.jsonl", Sample))

    def stored_samples(self) -> StoredRows[Sample]:
        """The test samples by number, each read when it is asked for."""
        return self._stored("samples.jsonl", Sample)

    def folds(self) -> list[list[str]]:
        """Sample ids of each fold, in order; none where one split was tested."""
        return list((self._read_json("splits.json", "splits") or {}).get("folds", []))

    def write_splits(
        self, splits: dict[str, list[str]], test: Iterable[Sample], folds: Sequence[Sequence[str]] = ()
    ) -> None:
        """Write the split as ids, and the test samples themselves; with folds, each one's ids."""
        self._write_rows("samples.jsonl", test)
        self._write_json("splits.json", "splits", splits | ({"folds": list(folds)} if folds else {}))

    # -- contenders ------------------------------------------------------------------------------

    def contenders(self) -> list[str]:
        """Names of the contenders that have begun, in the order of the experiment file where known."""
        root = self.folder / "contenders"
        found = sorted(p.parent.name for p in root.glob("*/contender.json")) if root.exists() else []
        order = self.meta().get("contenders", []) if (self.folder / "run.json").exists() else []
        return sorted(found, key=lambda n: (order.index(n) if n in order else len(order), n))

    def contender_folder(self, name: str) -> Path:
        """Where a contender keeps its files (adapter and checkpoints too)."""
        if not _PLAIN_NAME.fullmatch(name):
            raise RunError(f"{name!r} is no contender name: letters a-z, digits and . _ + - only, at most 64")
        return self.folder / "contenders" / name

    def adapter_folder(self, name: str) -> Path:
        """Where a tuned contender's adapter lies."""
        return self.contender_folder(name) / "adapter"

    def checkpoint_folder(self, name: str) -> Path:
        """Where training keeps its checkpoints until it is done."""
        return self.contender_folder(name) / "checkpoints"

    def tracker_folder(self, name: str, tracker: str) -> Path:
        """Where a tracker (tensorboard, wandb) writes the training of a contender."""
        return self.contender_folder(name) / tracker

    def index_folder(self) -> Path:
        """Where retrieval keeps vectors: beside the run folders, so that every run finds them."""
        return (self.whole or self.folder).parent / ".retrieval"

    def contender(self, name: str) -> dict[str, Any] | None:
        """contender.json: resolved config and hash, backend, model, hardware, status."""
        return self._read_json(self._of(name, "contender.json"), "contender")

    def write_contender(self, name: str, contender: dict[str, Any]) -> None:
        """Write contender.json."""
        self._write_json(self._of(name, "contender.json"), "contender", contender)

    def job(self, name: str) -> dict[str, Any] | None:
        """job.json: the provider's files and training job of a hosted contender, from the intention on."""
        return self._read_json(self._of(name, _JOB), "job")

    def write_job(self, name: str, job: dict[str, Any]) -> None:
        """Write job.json."""
        self._write_json(self._of(name, _JOB), "job", job)

    def remove_contender(self, name: str, *, but_paid: bool = False) -> None:
        """Forget everything of one contender; judgements and a provider's training, which were paid for, may stay."""
        folder = self.contender_folder(name)
        kept = set(_JUDGEMENTS.values()) if but_paid else set()
        if but_paid and (folder / _JOB).exists():
            kept |= {_JOB, "train.jsonl"}
        for path in [p for p in folder.iterdir() if p.name not in kept] if folder.exists() else []:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        with contextlib.suppress(OSError):
            folder.rmdir()

    def remove_answers(self, name: str) -> None:
        """Forget what a contender was asked and answered; what was trained, and judgements, stay."""
        folder = self.contender_folder(name)
        for file in ("prompts.jsonl", "scores.json", *_PREDICTIONS.values()):
            (folder / file).unlink(missing_ok=True)
        shutil.rmtree(folder / "options", ignore_errors=True)

    def prompts(self, name: str) -> list[Prompt]:
        """What the contender sent for each test sample."""
        return list(self._read_rows(self._of(name, "prompts.jsonl"), Prompt))

    def stored_prompts(self, name: str) -> StoredRows[Prompt]:
        """What the contender sent, by number, each read when it is asked for."""
        return self._stored(self._of(name, "prompts.jsonl"), Prompt)

    def write_prompts(self, name: str, prompts: Iterable[Prompt]) -> None:
        """Write the prompts before any is sent."""
        self._write_rows(self._of(name, "prompts.jsonl"), prompts)

    def predictions(self, name: str, split: str = "test") -> list[Prediction]:
        """The contender's answers so far; of the dev split (or `options/0`, …) where a choice was made there."""
        return list(self._read_rows(self._of(name, _predictions(split)), Prediction))

    def stored_predictions(self, name: str) -> StoredRows[Prediction]:
        """The contender's answers so far by number, each read when it is asked for."""
        return self._stored(self._of(name, _predictions("test")), Prediction)

    def answered(self, name: str) -> list[str]:
        """The splits that the contender has answers of, the options that were tried on dev among them."""
        folder = self.contender_folder(name)
        options = (
            path.parent.relative_to(folder).as_posix() for path in folder.glob("options/*/predictions.jsonl")
        )
        return [
            *(split for split, file in _PREDICTIONS.items() if (folder / file).exists()),
            *sorted(options),
        ]

    def open_predictions(self, name: str, split: str = "test") -> contextlib.AbstractContextManager[Appender]:
        """Append answers as they finish; a torn last line is cut first."""
        return open_appender(self.folder / self._of(name, _predictions(split)))

    def write_predictions(self, name: str, predictions: Iterable[Prediction], split: str = "test") -> None:
        """Replace the answers, compacted into sample order."""
        self._write_rows(self._of(name, _predictions(split)), predictions)

    def judgements(self, name: str, split: str = "test") -> list[Judgement]:
        """What the judge has said of the contender's answers so far."""
        return list(self._read_rows(self._of(name, _JUDGEMENTS[split]), Judgement))

    def open_judgements(self, name: str, split: str = "test") -> contextlib.AbstractContextManager[Appender]:
        """Append judgements as they come; a torn last line is cut first."""
        return open_appender(self.folder / self._of(name, _JUDGEMENTS[split]))

    def write_judgements(self, name: str, judgements: Iterable[Judgement], split: str = "test") -> None:
        """Replace the judgements, compacted into sample order."""
        self._write_rows(self._of(name, _JUDGEMENTS[split]), judgements)

    def scores(self, name: str) -> dict[str, Any] | None:
        """Scores of a contender and their row statistics a sample."""
        return self._read_json(self._of(name, "scores.json"), "scores")

    def write_scores(self, name: str, scores: dict[str, Any]) -> None:
        """Write scores.json."""
        self._write_json(self._of(name, "scores.json"), "scores", scores)

    def training(self, name: str) -> list[dict[str, Any]]:
        """Training log of a tuned contender: step, loss, dev_loss, lr, tokens_per_second, memory_mb."""
        return list(self._read_rows(self._of(name, "train.jsonl"), dict[str, Any]))

    def write_training(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        """Replace the training log."""
        self._write_rows(self._of(name, "train.jsonl"), rows)

    def open_training(self, name: str) -> contextlib.AbstractContextManager[Appender]:
        """Append to the training log."""
        return open_appender(self.folder / self._of(name, "train.jsonl"))

    def first_batch(self, name: str) -> dict[str, Any] | None:
        """first-batch.json: how the first rows were trained on, as text with its trained parts marked."""
        return self._read_json(self._of(name, "first-batch.json"), "first-batch")

    def write_first_batch(self, name: str, batch: dict[str, Any]) -> None:
        """Write first-batch.json."""
        self._write_json(self._of(name, "first-batch.json"), "first-batch", batch)

    # -- people ----------------------------------------------------------------------------------

    def ratings(self) -> list[Rating]:
        """People's ratings made on this folder (in the app), in the order they were given."""
        return list(self._read_rows("ratings.jsonl", Rating))

    def append_ratings(self, ratings: Iterable[Rating]) -> None:
        """Add ratings to ratings.jsonl as whole lines; several processes may do so at once.

        A row is `{id, contender, rating, rater, time}` (0–1) or `{id, a, b, winner, rater, time}`
        (`a`, `b` or `tie`); `id` is a sample's, `time` ISO 8601. A rater's later row replaces the earlier;
        with `withdrawn` it takes it back.
        """
        append_shared(self.folder / "ratings.jsonl", ratings)

    def given_ratings(self) -> list[Rating] | None:
        """The ratings of the file that the experiment named when it was run last; None where none was kept."""
        kept = (self.folder / "given-ratings.jsonl").exists()
        return list(self._read_rows("given-ratings.jsonl", Rating)) if kept else None

    def write_given_ratings(self, ratings: Iterable[Rating]) -> None:
        """Keep what the experiment's ratings file held: the folder outlives the file."""
        self._write_rows("given-ratings.jsonl", ratings)

    # -- the end ---------------------------------------------------------------------------------

    def comparison(self) -> dict[str, Any] | None:
        """Paired comparisons of every tuned contender with every alternative, by metric."""
        return self._read_json("comparison.json", "comparison")

    def write_comparison(self, comparison: dict[str, Any]) -> None:
        """Write comparison.json."""
        self._write_json("comparison.json", "comparison", comparison)

    def verdict(self) -> Verdict | None:
        """The verdict, once there is one."""
        stored = self._read_json("verdict.json", "verdict")
        if stored is None:
            return None
        try:
            return msgspec.convert(stored, Verdict)
        except msgspec.ValidationError as error:
            raise RunError(
                f"{self.folder / 'verdict.json'}: damaged ({error}). Remove it and run the experiment again."
            ) from None

    def write_verdict(self, verdict: Verdict) -> None:
        """Write verdict.json."""
        self._write_json("verdict.json", "verdict", msgspec.to_builtins(verdict))

    def report_path(self, suffix: str) -> Path:
        """Where the report lies: suffix `html` or `md`."""
        return self.folder / f"report.{suffix}"

    def write_report(self, suffix: str, text: str) -> Path:
        """Write the report and return its place."""
        path = self.report_path(suffix)
        write_atomic(path, text)
        return path

    def file_index(self) -> dict[str, dict[str, Any]]:
        """Path → schema, rows and sha256 of every data file, for run.json."""
        index: dict[str, dict[str, Any]] = {}
        for path in sorted(self.folder.rglob("*.json*")):
            name = path.relative_to(self.folder).as_posix()
            # A leading dot marks the temporary file of a write that was killed.
            if name == "run.json" or path.name.startswith(".") or name.startswith("index/"):
                continue
            if _NO_RECORD.search(name):
                continue
            blob = path.read_bytes()
            rows = blob.count(b"\n") if path.suffix == ".jsonl" else None
            stem = path.stem if path.suffix == ".json" else None
            index[name] = {
                "schema": SCHEMAS.get(stem or "", f"workbench.{path.stem}/1"),
                "rows": rows,
                "sha256": hashlib.sha256(blob).hexdigest(),
            }
        return index

    # -- files -----------------------------------------------------------------------------------

    def _of(self, name: str, file: str) -> str:
        return (self.contender_folder(name) / file).relative_to(self.folder).as_posix()

    def _read_json(self, name: str, kind: str) -> dict[str, Any] | None:
        return read_json(self.folder / name, SCHEMAS[kind], NEEDED.get(kind, ()))

    def _write_json(self, name: str, kind: str, value: dict[str, Any]) -> None:
        write_json(self.folder / name, SCHEMAS[kind], value)

    def _read_rows(self, name: str, row_type: type[T]) -> Iterator[T]:
        return read_rows(self.folder / name, row_type)

    def _stored(self, name: str, row_type: type[T]) -> StoredRows[T]:
        return StoredRows.of(self.folder / name, row_type)

    def _write_rows(self, name: str, rows: Iterable[Any]) -> None:
        write_rows(self.folder / name, rows)


_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
# What a contender keeps beside its records: weights, and what trackers write.
_NO_RECORD = re.compile(r"(?:^|/)contenders/[^/]+/(?:adapter|model|checkpoints|tensorboard|wandb)/")
_JOB = "job.json"


def _predictions(split: str) -> str:
    """The file of a split's answers; the options that dev chooses from have a folder each."""
    return _PREDICTIONS.get(split, f"{split}/predictions.jsonl")


_PREDICTIONS = {"test": "predictions.jsonl", "dev": "dev-predictions.jsonl"}
_JUDGEMENTS = {"test": "judgements.jsonl", "dev": "dev-judgements.jsonl"}
