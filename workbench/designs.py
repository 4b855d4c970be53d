"""Designs: which fits answer which samples. One split, folds, several training seeds, a learning curve.

Each fit lies in a part of the run folder (`folds/0`, `seeds/8`, `curve/0.25-7`) and is played there by the
contest as if it were alone. What was answered fold by fold is put together in the run folder itself, so
that whoever reads a run finds every sample answered there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from .contenders import is_tuned
from .contest import Contest
from .data import Dataset, Division
from .evidence import on_dev
from .experiment import Experiment
from .runs import Run
from .settings import Brought, Contender, FineTuned
from .splits import part_of

Stage = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Replica:
    """One training of a contender from one seed, or one brought file. The first lies where one alone would."""

    settings: Contender
    seed: int
    first: bool

    def place(self, run: Run) -> Run:
        """Where its files lie."""
        return run if self.first else run.part("seeds", str(self.seed))


@dataclass(frozen=True, slots=True)
class Fit:
    """One fit of a contender: on which rows, into which folder, and which of several it is."""

    settings: Contender
    dataset: Dataset
    place: Run
    told: str


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One training on a part of the training split."""

    settings: FineTuned
    fraction: float
    place: Run


# -- who plays where ---------------------------------------------------------------------------------


def replicas(settings: Contender) -> tuple[Replica, ...]:
    """The seeds that a contender is trained from, or its brought files, numbered from 1."""
    if isinstance(settings, FineTuned) and settings.adapter is None:
        seeds = range(settings.seed, settings.seed + settings.seeds)
        return tuple(Replica(_from_seed(settings, s), s, s == settings.seed) for s in seeds)
    if isinstance(settings, Brought):
        return tuple(
            Replica(settings.model_copy(update={"path": path}), number, number == 1)
            for number, path in enumerate(settings.paths, 1)
        )
    return (Replica(settings, 1, True),)


def fit_places(run: Run, division: Division) -> list[Run]:
    """Where contenders are fitted: the run itself, or its folds."""
    return [run.part("folds", str(i)) for i in range(len(division.folds))] or [run]


def curve_points(run: Run, experiment: Experiment, settings: FineTuned) -> Iterator[CurvePoint]:
    """The trainings of the learning curve, the smallest first.

    The epochs are the same on every part, so steps grow with the rows: the curve is that of this recipe,
    which would be trained on twice the rows in the same way. The whole training split is no training of
    its own where the contender was trained from that seed anyway; all its seeds are points then.
    """
    asked = experiment.learning_curve
    if asked is None:
        return
    known = {replica.seed: replica.place(run) for replica in replicas(settings)}
    for fraction in asked.fractions:
        seeds = max(asked.seeds, settings.seeds) if fraction == 1.0 else asked.seeds
        for seed in range(settings.seed, settings.seed + seeds):
            part = run.part("curve", f"{fraction:g}-{seed}")
            whole = fraction == 1.0 and seed in known
            yield CurvePoint(_from_seed(settings, seed), fraction, known[seed] if whole else part)


def curve_contender(run: Run, experiment: Experiment) -> FineTuned | None:
    """The contender whose learning curve is asked for: the one trained here, the best on dev of several."""
    if experiment.learning_curve is None:
        return None
    trained = []
    for settings in experiment.contenders:
        info = run.contender(settings.name)
        if isinstance(settings, FineTuned) and settings.adapter is None and info is not None:
            trained.append((settings, info))
    return max(trained, key=lambda pair: on_dev(pair[1], experiment))[0] if trained else None


# -- playing -----------------------------------------------------------------------------------------


def lay_out(run: Run, division: Division) -> None:
    """Write who is trained on and who is tested, whole and fold by fold."""
    run.write_splits(division.whole.ids, division.whole.test, [f.ids["test"] for f in division.folds])
    for place, fold in zip(fit_places(run, division), division.folds, strict=False):
        place.write_splits(fold.ids, fold.test)


def check(settings: Contender, contest: Contest) -> None:
    """Find what would stop a contender, in each brought file too; seeds differ in nothing that could be missing."""
    copies = replicas(settings)
    for replica in copies if isinstance(settings, Brought) else copies[:1]:
        contest.check(replica.settings)


def play(settings: Contender, contest: Contest, run: Run, division: Division, stage: Stage) -> None:
    """Let a contender answer every tested sample: each replica, in each fold; finished ones are kept."""
    copies = replicas(settings)
    for replica in copies:
        fits = list(fits_of(replica, len(copies) > 1, run, division))
        for fit in fits:
            stage(settings.name, fit.told)
            contest.over(fit.dataset, fit.place).play(fit.settings)
        if division.folds:
            _join(settings.name, [fit.place for fit in fits], replica.place(run), division)
    info = run.contender(settings.name) or {}
    told = _of_all(info, settings, copies)
    if told != info:
        run.write_contender(settings.name, told)


def train(settings: FineTuned, contest: Contest, run: Run, division: Division, stage: Stage) -> list[Run]:
    """Train a contender, each replica in each fold, as `play` would before it asks; return where each training lies."""
    copies = replicas(settings)
    fits = [fit for replica in copies for fit in fits_of(replica, len(copies) > 1, run, division)]
    for fit in fits:
        stage(settings.name, fit.told)
        contest.over(fit.dataset, fit.place).ready(fit.settings)
    return [fit.place for fit in fits]


def fits_of(replica: Replica, seeded: bool, run: Run, division: Division) -> Iterator[Fit]:
    """One fit of a replica for each fold, or one in all; `seeded` where it is one of several."""
    places = fit_places(run, division)
    seed = f", seed {replica.seed}" if seeded else ""
    for number, (place, dataset) in enumerate(zip(places, division.fits, strict=True), 1):
        fold = f", fold {number} of {len(places)}" if division.folds else ""
        yield Fit(replica.settings, dataset, replica.place(place), f"{replica.settings.kind}{fold}{seed}")


def choose_on_dev(contest: Contest, experiment: Experiment, run: Run, division: Division) -> None:
    """Where several tuned contenders stand, score each on dev; with folds, the mean over theirs decides."""
    places = fit_places(run, division)
    for place, dataset in zip(places, division.fits, strict=True):
        contest.over(dataset, place).choose_on_dev()
    if not division.folds:
        return
    for name in (c.name for c in experiment.contenders if is_tuned(c)):
        info, dev = run.contender(name), _mean_dev([p.contender(name) or {} for p in places])
        if info is not None and info.get("dev") != dev:
            run.write_contender(name, info | {"dev": dev})


def play_curve(
    settings: FineTuned, contest: Contest, experiment: Experiment, run: Run, dataset: Dataset, stage: Stage
) -> None:
    """Train on nested parts of the training split, and let each training answer the test split."""
    stratify = experiment.data.split.stratify
    for point in curve_points(run, experiment, settings):
        seed = point.settings.seed
        train = tuple(part_of(dataset.train, point.fraction, seed=seed, stratify=stratify))
        stage(settings.name, f"learning curve, {point.fraction:.0%} of the training split, seed {seed}")
        contest.over(replace(dataset, train=train), point.place).play(point.settings)


def scored_places(run: Run, experiment: Experiment) -> Iterator[tuple[Run, str]]:
    """Every place (with the contender's name) whose answers were finished and are to be scored."""
    curve = curve_contender(run, experiment)
    for settings in experiment.contenders:
        places = [replica.place(run) for replica in replicas(settings)]
        if isinstance(settings, FineTuned) and settings is curve:
            places += [point.place for point in curve_points(run, experiment, settings)]
        for place in dict.fromkeys(places):
            if (place.contender(settings.name) or {}).get("status") == "success":
                yield place, settings.name


# -- putting together --------------------------------------------------------------------------------


def _join(name: str, folds: Sequence[Run], into: Run, division: Division) -> None:
    """Put the folds' answers, prompts and state together, in the order of the samples."""
    answers = {p.id: p for fold in folds for p in fold.predictions(name)}
    prompts = {p.id: p for fold in folds for p in fold.prompts(name)}
    order = [s.id for s in division.whole.test]
    into.write_prompts(name, [prompts[i] for i in order])
    into.write_predictions(name, [answers[i] for i in order if i in answers])
    if log := folds[0].training(name):
        into.write_training(name, log)
    infos = [fold.contender(name) or {} for fold in folds]
    choices = [
        {"fold": n, **choice} for n, info in enumerate(infos, 1) for choice in info.get("choices") or ()
    ]
    joined = infos[0] | {"folds": len(folds), "dev": _mean_dev(infos), "choices": choices or None}
    if all(info.get("training") for info in infos):
        # Rows, steps and losses are the first fold's, whose log is shown; time was spent on all.
        seconds = sum(info["training"]["seconds"] for info in infos)
        usd = [info["training"].get("usd") for info in infos]
        billed = {"usd": None if None in usd else sum(usd)} if "job" in infos[0]["training"] else {}
        joined["training"] = infos[0]["training"] | {"seconds": seconds} | billed
    into.write_contender(name, joined)


def _mean_dev(infos: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The mean dev score over folds; None where one has none."""
    found = [info.get("dev") or {} for info in infos]
    values = [dev.get("value") for dev in found]
    if None in values or len({dev.get("metric") for dev in found}) > 1:
        return None
    return {"metric": found[0]["metric"], "value": fmean(v for v in values if v is not None)}


def _of_all(info: dict[str, Any], settings: Contender, copies: Sequence[Replica]) -> dict[str, Any]:
    """contender.json as it says that all replicas have finished: with their seeds, and the settings of all."""
    told = {key: value for key, value in info.items() if key != "seeds"}
    seeds = {"seeds": [replica.seed for replica in copies]} if len(copies) > 1 else {}
    return told | seeds | {"settings": settings.model_dump(mode="json")}


def _from_seed(settings: FineTuned, seed: int) -> FineTuned:
    return settings.model_copy(update={"seed": seed, "seeds": 1})
