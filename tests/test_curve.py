"""The forecast of a learning curve: from the scores of nested trainings to what twice the data would bring."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from workbench.curve import forecast_of
from workbench.designs import curve_points
from workbench.evidence import gather
from workbench.experiment import Experiment
from workbench.records import Prediction
from workbench.runs import Run
from workbench.scoring import score_contender

LORA = {"name": "lora", "kind": "fine-tuned"}


def curve_run(
    folder: Path, right: dict[float, list[int]], alternative: int, n: int = 200
) -> tuple[Run, Experiment]:
    """A run folder with a measured curve: so many right answers of n at each fraction and seed."""
    tree = {
        "name": "x",
        "data": {"path": "rows.jsonl"},
        "backends": {"local": {"kind": "hf", "model": "tiny"}, "echo": {"kind": "echo"}},
        "contenders": [LORA, {"name": "plain", "kind": "prompting", "backend": "echo"}],
        "metrics": {"primary": "exact_match", "also": []},
        "learning_curve": {"fractions": sorted(right), "seeds": len(next(iter(right.values())))},
    }
    made, read = (
        Run(folder),
        Experiment.parse(yaml.safe_dump(tree, sort_keys=False), path=folder / "experiment.yaml"),
    )
    lora, plain = read.contenders

    def write(place: Run, settings: Any, good: int, examples: int | None) -> None:
        # Which samples are right differs between trainings, as it does in life.
        hits = set(random.Random(good * 7 + (examples or 0)).sample(range(n), good))
        answers = [
            Prediction(id=str(i), prediction="yes" if i in hits else "no", references=("yes",))
            for i in range(n)
        ]
        info = {
            "name": settings.name,
            "kind": settings.kind,
            "tuned": examples is not None,
            "status": "success",
        }
        info |= {"backend": {}, "settings": settings.model_dump(mode="json")}
        place.write_contender(
            settings.name, info | {"training": {"examples": examples} if examples else None}
        )
        place.write_predictions(settings.name, answers)
        place.write_scores(
            settings.name, score_contender(settings.name, answers, read, ["exact_match"], tokenizer="")
        )

    write(made, plain, alternative, None)
    for point in curve_points(made, read, lora):
        good = right[point.fraction][point.settings.seed - 7]
        write(point.place, lora, good, round(400 * point.fraction))
    return made, read


@pytest.mark.parametrize(
    ("right", "alternative", "rises", "likely"),
    [
        # Steeply rising, the alternative just reached: twice the data will bring the margin of 10 samples.
        ({0.1: [60, 64], 0.25: [92, 90], 0.5: [118, 121], 1.0: [146, 143]}, 140, True, True),
        # Flat: more data brings nothing.
        ({0.1: [140, 142], 0.25: [141, 139], 0.5: [140, 143], 1.0: [141, 140]}, 140, False, False),
        # Rising, but the alternative is far above.
        ({0.1: [60, 64], 0.25: [80, 82], 0.5: [95, 97], 1.0: [110, 108]}, 190, True, False),
    ],
)
def test_the_forecast(
    right: dict[float, list[int]], alternative: int, rises: bool, likely: bool, tmp_path: Path
) -> None:
    made, read = curve_run(tmp_path, right, alternative)
    tuned, other = gather(made, read)
    found = forecast_of(made, read, tuned, [other])
    assert found is not None and found.slope_interval is not None and found.probability is not None
    assert (found.sizes, found.at) == ((40, 100, 200, 400), 800)
    assert found.scores == pytest.approx([sum(seeds) / 400 for seeds in right.values()])
    assert found.interval is not None and found.value is not None
    assert 0 <= found.interval[0] < found.value < found.interval[1] <= 1
    assert (found.slope_interval[0] > 0) is rises
    assert (found.probability > 0.8) is likely and (found.probability > 0.2) is likely
    # With a second alternative that is as hard, both have to be beaten.
    both = forecast_of(made, read, tuned, [other, other])
    assert both is not None and both.probability == pytest.approx(max(0, 2 * found.probability - 1))


def test_trainings_of_another_recipe_are_no_points(tmp_path: Path) -> None:
    """A run that was killed between the contender and its curve still holds the curve of before."""
    made, read = curve_run(tmp_path, {0.25: [60], 0.5: [90], 1.0: [120]}, 60)
    everyone = gather(made, read)
    assert everyone[0].tuned
    forecast = forecast_of(made, read, everyone[0], everyone[1:])
    assert forecast is not None and forecast.value is not None
    place = made.part("curve", "0.5-7")
    info = place.contender("lora") or {}
    place.write_contender("lora", {**info, "settings": {**info["settings"], "epochs": 9}})
    forecast = forecast_of(made, read, everyone[0], everyone[1:])
    assert forecast is not None and forecast.value is None and "scored yet" in (forecast.reason or "")


def test_no_forecast_has_its_reason(tmp_path: Path) -> None:
    made, read = curve_run(tmp_path, {0.1: [60], 0.5: [90], 1.0: [120]}, 100)
    tuned, other = gather(made, read)
    assert forecast_of(made, read.model_copy(update={"learning_curve": None}), tuned, [other]) is None
    (made.part("curve", "0.5-7").contender_folder("lora") / "scores.json").unlink()
    missing = forecast_of(made, read, tuned, [other])
    assert missing is not None and (missing.value, missing.probability) == (None, None)
    assert missing.reason == "not every training of the learning curve has been scored yet"
    strange = forecast_of(made, read, dataclasses.replace(tuned, name="theirs"), [other])
    assert strange is not None and strange.reason == "the learning curve is that of lora"
