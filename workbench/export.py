"""Export: a tuned contender as a folder that needs neither the run nor the workbench. What ships is what was scored."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .adapters import ORIGIN, is_whole_model, origin_of, write_origin
from .backends import Request
from .backends.hf import HfBackend
from .experiment import Experiment
from .files import write_atomic
from .merging import Drift, drift_of, merge
from .model_card import CardFacts, model_card
from .models import weights_hash
from .predictor import experiment_of
from .runs import Run
from .settings import FineTuned, Hosted
from .training import trained_folder
from .training.saving import copy_beside

# A merged model that gives other answers than these shares allow is refused: its score would be another.
MOST_CHANGED_ANSWERS = 0.1
MOST_MEAN_DRIFT = 0.1
# Prompts of the test split that base with adapter and the merged model are both asked.
ASKED = 32


class ExportError(ValueError):
    """A contender cannot be exported; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: `kind` is `adapter`, `merged model` or `model`; `drift` is measured where it was merged."""

    folder: Path
    contender: str
    kind: str
    base: str
    files: tuple[str, ...]
    size: int
    """Bytes."""
    choice: str | None
    """What the verdict chose."""
    drift: Drift | None = None


@dataclass(frozen=True, slots=True)
class _Source:
    """A scored contender and the folder of its weights; `place` is where it was fitted."""

    run: Run
    place: Run
    experiment: Experiment
    settings: FineTuned
    info: dict[str, Any]
    folder: Path


def export(
    folder: Path,
    out: Path,
    *,
    contender: str | None = None,
    merged: bool = False,
    experiment_path: Path | None = None,
    offline: bool = False,
) -> Exported:
    """Write a tuned contender of a run to the new folder `out`: weights, tokenizer, template, origin, model card.

    Default is the verdict's choice, or the only one that was tuned here. With `merged` the adapter goes into
    its base, and the result is held against what was scored. Nothing is left at `out` where that fails. Raises
    ExportError, RunError, PredictError, AdapterError, AssetError, BackendError, MergeError.
    """
    run = Run.open(folder)
    if out.resolve().is_relative_to(run.folder.resolve()):
        raise ExportError(f"{out} lies in the run folder; name a folder elsewhere.")
    source = _source(run, experiment_of(run, experiment_path), contender)
    whole = is_whole_model(source.folder)
    if merged and whole:
        raise ExportError(
            f"{source.settings.name!r} was trained whole (method: full): there is no adapter to merge. Leave out --merge."
        )
    verdict = run.verdict()
    with _appearing(out) as work:
        drift = None
        if merged:
            drift = _merge(source, work, offline)
        else:
            _copy(source, work, offline)
        kind = "merged model" if merged else "model" if whole else "adapter"
        facts = CardFacts(
            source.run, source.settings, source.info, origin_of(work), kind, drift, len(run.folds())
        )
        write_atomic(work / "README.md", model_card(facts))
        files = sorted(p for p in work.rglob("*") if p.is_file())
        done = Exported(
            folder=out,
            contender=source.settings.name,
            kind=kind,
            base=facts.base,
            files=tuple(p.relative_to(work).as_posix() for p in files),
            size=sum(p.stat().st_size for p in files),
            choice=verdict.choice if verdict else None,
            drift=drift,
        )
    return done


def _source(run: Run, experiment: Experiment, contender: str | None) -> _Source:
    """The contender, its weights unchanged since it was scored. Raises ExportError."""
    settings = _chosen(run, experiment, contender)
    name = settings.name
    place = run.part("folds", "0") if run.folds() else run
    info = place.contender(name)
    if info is None or info["status"] != "success" or run.scores(name) is None:
        raise ExportError(f"{name!r} was never scored in {run.folder}; run the experiment first.")
    if settings.adapter is not None:
        folder = experiment.resolve(settings.adapter)
    else:
        folder = trained_folder(place, settings)
    if not folder.exists():
        raise ExportError(f"{folder} is gone: run the experiment again, which trains {name!r} anew.")
    if info["adapter"] != weights_hash(folder):
        raise ExportError(
            f"{folder} does not hold the weights that were scored. Run the experiment again: what ships has to be "
            "what was scored."
        )
    return _Source(run, place, experiment, settings, info, folder)


def _chosen(run: Run, experiment: Experiment, contender: str | None) -> FineTuned:
    """The contender that is named, or the verdict's choice, or the only one with weights of its own."""
    known = {c.name: c for c in experiment.contenders}
    tuned = [c for c in experiment.contenders if isinstance(c, FineTuned)]
    named = ", ".join(c.name for c in tuned) or "none"
    if contender is not None and contender not in known:
        raise ExportError(f"{run.folder} has no contender {contender!r}; fine-tuned here: {named}")
    verdict = run.verdict()
    choice = known.get(contender or (verdict.choice if verdict else None) or "")
    if isinstance(choice, FineTuned):
        return choice
    if contender is None and len(tuned) == 1:
        return tuned[0]
    if isinstance(choice, Hosted):
        raise ExportError(f"the weights of {choice.name!r} lie at its provider and cannot be exported.")
    said = f"{choice.name!r} ({choice.kind}) has no weights of its own" if choice else "nothing was chosen"
    raise ExportError(f"{said}: say which contender with --contender. Fine-tuned here: {named}")


@contextlib.contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """A folder that takes the place of `out` once it is whole, and vanishes where it never is."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ExportError(f"{out} is there already; name a new folder.")
    out.parent.mkdir(parents=True, exist_ok=True)
    spool = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        work = spool / "whole"
        work.mkdir()
        yield work
        work.replace(out)
    finally:
        shutil.rmtree(spool, ignore_errors=True)


def _copy(source: _Source, work: Path, offline: bool) -> None:
    """The folder as it was scored; what one that was made elsewhere lacks comes from its base."""
    for path in (p for p in source.folder.iterdir() if p.is_file() and p.name != "README.md"):
        shutil.copyfile(path, work / path.name)
    if not (work / ORIGIN).exists():
        copy_beside(_backend(source, offline).folder, work)
        write_origin(work, _origin(source))


def _merge(source: _Source, work: Path, offline: bool) -> Drift:
    backend = _backend(source, offline)
    samples = {s.id: s for s in source.place.samples() or source.run.samples()}
    prompts = [p for p in source.place.prompts(source.settings.name) if p.id in samples][:ASKED]
    requests = [Request(prompt=p, references=samples[p.id].references) for p in prompts]
    try:
        merge(backend, source.folder, work)
        copy_beside(backend.folder, work)
        drift = drift_of(backend, source.folder, work, requests)
    finally:
        backend.close()
    changed = 1 - drift.same_answers / max(1, drift.answers)
    if changed > MOST_CHANGED_ANSWERS or drift.mean > MOST_MEAN_DRIFT * drift.spread:
        raise ExportError(
            f"merged into its base, {source.settings.name!r} is no longer what was scored: {drift.same_answers} of "
            f"{drift.answers} answers are the same, and logits move by {drift.mean:.3g} in the mean where they spread "
            f"by {drift.spread:.3g}. Export the adapter folder (leave out --merge)."
        )
    origin = origin_of(source.folder) or _origin(source)
    write_origin(work, origin | {"four_bits": False, "merged": True, "dtype": backend.dtype})
    return drift


def _backend(source: _Source, offline: bool) -> HfBackend:
    """The base as it was scored: its number format, its weights. Raises ExportError."""
    asked = source.experiment.backend_of(source.settings)
    scored = asked.model_copy(update={"dtype": source.info["hardware"]["dtype"]})
    backend = HfBackend(scored, source.experiment.folder, offline=offline)  # type: ignore[arg-type]
    if backend.identity().sha256 != source.info["model"]["sha256"]:
        raise ExportError(
            f"the base {scored.model} has other weights now than when {source.settings.name!r} was scored. Run the "
            "experiment again, or put the base back."
        )
    return backend


def _origin(source: _Source) -> dict[str, Any]:
    """Of weights that were made elsewhere, what the run knows of them: on which base they were scored."""
    info = source.info
    base = {key: info["model"].get(key) for key in ("revision", "sha256", "licence")}
    return {
        "base": {"model": info["model"]["name"], **base},
        "method": "brought" if source.settings.adapter else source.settings.method,
        "dtype": info["hardware"]["dtype"],
        "four_bits": False,
        "template": info["template"],
        "data": None,
    }


def as_json(exported: Exported) -> dict[str, Any]:
    """The export as `--format json` prints it."""
    drift = exported.drift
    told = {f: getattr(exported, f) for f in ("contender", "kind", "base", "size", "choice")}
    return {
        "schema": "workbench.export/1",
        **told,
        "folder": str(exported.folder),
        "files": list(exported.files),
        "drift": {f: getattr(drift, f) for f in Drift.__slots__} if drift else None,
    }
