"""The run folders under one root: what each is, how much room it takes, which may go."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from validators.suggest import did_you_mean

from .runs import Run, RunError
from .settings import NAME_PATTERN

# An experiment's name of up to 64 characters, a dash, eight digits of hash.
LONGEST_NAME = 80


class ShelfError(ValueError):
    """The runs cannot be listed, or a name is none of them; the message says what to do."""


@dataclass(frozen=True, slots=True)
class RunLine:
    """What is known of one run folder. `fault` says what of it cannot be read."""

    name: str
    experiment: str | None
    status: str | None
    created: str | None
    test_samples: int | None
    headline: str | None
    reason: str | None
    bytes: int
    fault: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The line as strict JSON values."""
        return asdict(self)


def list_runs(root: Path) -> list[RunLine]:
    """Every run folder directly under `root`, the newest first; links are passed over. Raises ShelfError."""
    if not root.exists():
        return []
    if not root.is_dir():
        raise ShelfError(f"{root}: not a folder. Give the folder that holds run folders.")
    if (root / "run.json").exists():
        raise ShelfError(f"{root} is one run. Give the folder that holds it: {root.parent}")
    folders = [p for p in root.iterdir() if not p.is_symlink() and (p / "run.json").is_file()]
    lines = [_line(Run(p)) for p in folders]
    # By creation; a damaged folder has no date and comes last.
    return sorted(
        sorted(lines, key=lambda line: line.name), key=lambda line: line.created or "", reverse=True
    )


def named(root: Path, lines: Sequence[RunLine], names: Iterable[str]) -> list[RunLine]:
    """The runs of these names. Raises ShelfError for a name that is none."""
    known = {line.name: line for line in lines}
    chosen = []
    for name in names:
        if name not in known:
            there = did_you_mean(name, known) or (
                f" There are: {', '.join(known)}" if known else " There are none."
            )
            raise ShelfError(f"{root} holds no run named {name!r}.{there}")
        chosen.append(known[name])
    return chosen


def surplus(lines: Sequence[RunLine], keep: int) -> list[RunLine]:
    """All but the `keep` newest whole runs of each experiment. What is damaged is left alone."""
    seen: Counter[str] = Counter()
    extra = []
    for line in lines:
        if line.experiment is None or line.fault is not None:
            continue
        seen[line.experiment] += 1
        if seen[line.experiment] > keep:
            extra.append(line)
    return extra


def remove_run(root: Path, name: str) -> str | None:
    """Remove one run folder; return why it could not be, or None. A run in use or a link is not removed."""
    folder = root / name
    if len(name) > LONGEST_NAME or not re.fullmatch(NAME_PATTERN.replace("{0,63}", "*"), name):
        return "not a run's name"
    if folder.is_symlink() or not (folder / "run.json").is_file():
        return "not a run folder (or a link to one)"
    try:
        with Run(folder).lock():
            # rmtree removes links themselves, never what they point to.
            shutil.rmtree(folder)
    except (RunError, OSError) as error:
        return str(error)
    return None


def _line(run: Run) -> RunLine:
    """Read what can be read; the first fault is named, the rest stays."""
    faults: list[str] = []

    def read(file: str, what: Callable[[], Any]) -> Any:
        try:
            return what()
        except RunError as error:
            faults.append(str(error))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            faults.append(f"{run.folder / file}: not as a run writes it ({type(error).__name__}: {error})")
        return None

    meta = read("run.json", run.meta) or {}
    tests = read("splits.json", lambda: len(splits["test"]) if (splits := run.splits()) is not None else None)
    verdict = read("verdict.json", run.verdict)
    return RunLine(
        name=run.name,
        experiment=_text(meta.get("experiment")),
        status=_text(meta.get("status")),
        created=_text(meta.get("created")),
        test_samples=tests,
        headline=verdict.headline if verdict else None,
        reason=verdict.reason if verdict else None,
        bytes=folder_bytes(run.folder),
        fault=faults[0] if faults else None,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def folder_bytes(folder: Path) -> int:
    """Bytes of the plain files in a folder; links count for nothing and are not followed."""
    total = 0
    for place, _, files in os.walk(folder, followlinks=False):
        for name in files:
            try:
                found = (Path(place) / name).lstat()
            except OSError:
                continue  # gone meanwhile: a run may be writing here
            total += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return total
