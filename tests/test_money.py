"""Money: fixed costs, savings, hosting, what quality is worth, and how sure the payback is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metrics.types import Array
from tests.judged_run import (
    NOW,
    TODAY,
    Answers,
    Silent,
    jsonl,
    judged,
    label,
    marks,
    question,
    run_it,
    write_experiment,
)
from workbench.backends import cost_usd
from workbench.evidence import gather
from workbench.experiment import Experiment
from workbench.money import Money, _interval, _payback, money, surely_cheaper
from workbench.records import Verdict
from workbench.runner import Session
from workbench.runner import run as run_command
from workbench.runs import Run
from workbench.settings import OpenAIBackend

SAME = marks(80, 20)


def bill(run: Run, **decision: Any) -> Money:
    """The money of `lora` against `base`, under other decision settings."""
    experiment = Experiment.parse(run.experiment_text() or "", path=run.folder / "experiment.yaml")
    tree = experiment.decision.model_dump() | decision
    experiment = experiment.model_copy(update={"decision": type(experiment.decision).model_validate(tree)})
    base, lora = gather(run, experiment)
    return money(lora, base, experiment)


def priced(folder: Path, base: float | None, lora: float | None, **settings: Any) -> Run:
    """A run in which both answer alike, at so many USD per 1,000."""
    answers = {
        "base": Answers(settings.pop("base_marks", SAME), usd_per_1000=base),
        "lora": Answers(settings.pop("lora_marks", SAME), tuned=True, usd_per_1000=lora),
    }
    return judged(folder, answers, **settings)[0]


# -- by hand -----------------------------------------------------------------------------------------


def test_the_first_month_of_a_hosted_model(tmp_path: Path) -> None:
    """1.70 USD/h × 720 h = 1,224 hosting, 22 of training, 176 of tokens: 1,422.00 in all."""
    run = priced(tmp_path, 5, 3.52)
    made = bill(run, costs={"data_usd": 22, "hosting_usd_per_hour": 1.70}, requests_per_month=50_000)
    tokens = 50_000 * 3.52 / 1000
    assert made.hosting_per_month == pytest.approx(1224) and tokens == pytest.approx(176)
    assert made.fixed - made.evaluation + made.hosting_per_month + tokens == pytest.approx(1422.00)


def test_fixed_costs_are_data_labour_every_training_and_the_evaluation(tmp_path: Path) -> None:
    run = priced(tmp_path, 50, 10)
    info, scores = run.contender("lora") or {}, run.scores("lora") or {}
    judged_too = scores | {"judge": {"usd": 0.25}}
    for place in (run, run.part("seeds", "8"), run.part("seeds", "9")):
        place.write_contender("lora", info | {"training": {"seconds": 1800}, "seeds": [7, 8, 9]})
        place.write_scores("lora", judged_too)
        place.write_predictions("lora", run.predictions("lora"))
    made = bill(run, costs={"data_usd": 100, "labour_usd": 200, "gpu_usd_per_hour": 2})
    assert made.training == pytest.approx(3 * 0.5 * 2)
    assert made.evaluation == pytest.approx(3 * (100 * 0.01 + 0.25))
    assert made.fixed == pytest.approx(100 + 200 + 3 + 3.75)
    # 50,000 × (0.05 − 0.01) = 2,000 a month
    assert made.saving_per_month == pytest.approx(2000)
    assert made.payback_months == pytest.approx(306.75 / 2000)
    assert made.payback_probability == 1.0 and made.cheaper_probability == 1.0
    assert made.payback_interval == pytest.approx((306.75 / 2000, 306.75 / 2000))
    assert made.value_per_month is None and made.usd_per_point is None


@pytest.mark.parametrize(
    ("cached_price", "cached", "usd"),
    [(None, None, 1.6), (None, 500_000, 1.6), (0.1, None, 1.6), (0.1, 500_000, 1.15), (0.0, 2_000_000, 0.6)],
)
def test_tokens_of_the_cache_cost_their_own_price(
    cached_price: float | None, cached: int | None, usd: float
) -> None:
    settings = OpenAIBackend(kind="openai", model="m", price=(1.0, 3.0), cached_price=cached_price)
    assert cost_usd(settings, 1_000_000, 200_000, cached) == pytest.approx(usd)


def test_a_server_tells_what_it_had_in_its_cache(tmp_path: Path, serve: Any) -> None:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "till"}}
    usage = {"prompt_tokens": 100, "completion_tokens": 2, "total_tokens": 102}
    about = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    details = [{"cached_tokens": 80}, None, {"cached_tokens": "many"}]
    url, _ = serve(
        lambda _, n: (200, {}, {**about, "usage": usage | {"prompt_tokens_details": details[n % 3]}})
    )
    path = write_experiment(
        tmp_path,
        {"lora": Answers(marks(3), tuned=True)},
        extra={
            "backends": {
                "api": {
                    "kind": "openai",
                    "base_url": url,
                    "model": "m",
                    "price": [1.0, 3.0],
                    "cached_price": 0.1,
                    "concurrency": 1,
                }
            },
            "contenders": [{"name": "plain", "kind": "prompting"}],
        },
    )
    text = path.read_text(encoding="utf-8")
    session = Session(
        experiment=Experiment.parse(text, path=path),
        path=path,
        text=text,
        runs=tmp_path / "runs",
        report=Silent(),
        now=lambda: NOW,
        today=TODAY,
    )
    run, _ = run_command(session)
    answers = run.predictions("plain")
    assert sorted(str(p.cached_tokens) for p in answers) == ["80", "None", "None"]
    whole, saved = 106e-6, (20 + 8 + 6) * 1e-6
    assert sorted(p.usd or 0 for p in answers) == pytest.approx([saved, whole, whole])


# -- what quality is worth ---------------------------------------------------------------------------


def test_points_turn_into_money(tmp_path: Path) -> None:
    """Ten points at $30 a point earn $300 a month; requests are $100 dearer; $600 are back after 3 months."""
    run = priced(tmp_path, 1, 3, base_marks=marks(70, 30), lora_marks=marks(80, 20))
    settings = {"value_per_point": 30, "costs": {"labour_usd": 600}}
    made = bill(run, **settings)
    assert made.saving_per_month == pytest.approx(-100)
    assert made.value_per_month == pytest.approx(300)
    assert made.payback_months == pytest.approx((600 + 0.3) / 200)
    assert made.cheaper_probability == 0.0, "what quality is worth makes nothing cheaper"
    # 10 answers of 100 better: the value is 30 × 100 × (share), so its spread is wide but rarely loses money.
    assert 0.8 < (made.payback_probability or 0) < 1
    low, high = made.payback_interval or (None, None)
    assert low is not None and low < 3 and (high is None or high > 5)
    assert made.usd_per_point is None
    assert bill(run, **settings | {"value_per_point": None}).value_per_month is None


def test_what_a_point_costs_where_it_never_pays_back(tmp_path: Path) -> None:
    """($1,199.70 + $0.30 evaluation) ÷ 12 months + $100 dearer requests = $200 a month for 10 points."""
    run = priced(tmp_path, 1, 3, base_marks=marks(70, 30), lora_marks=marks(80, 20))
    made = bill(run, costs={"labour_usd": 1199.7})
    assert made.payback_months is None and made.payback_interval == (None, None)
    assert made.payback_probability == 0.0
    assert made.usd_per_point == pytest.approx(20)
    hosted = bill(run, costs={"labour_usd": 1199.7, "hosting_usd_per_hour": 1}).usd_per_point
    assert hosted == pytest.approx((200 + 720) / 10)
    worse = priced(tmp_path / "worse", 1, 3, base_marks=marks(80, 20), lora_marks=marks(70, 30))
    assert bill(worse).usd_per_point is None


def costly(
    folder: Path, answers: Mapping[str, Sequence[str]], usd: Mapping[str, float]
) -> tuple[Run, Verdict]:
    """A run over `till` and `post` tickets where a post ticket at the till is an expensive mistake."""
    names = list(answers)
    n = len(answers[names[0]])
    path = write_experiment(
        folder,
        {name: Answers(marks(n), tuned=name == "lora", usd_per_1000=usd[name]) for name in names},
        metrics={
            "primary": "exact_match",
            "also": ["cost_of_error"],
            "options": {"cost_of_error": {"costs": {"post": {"till": 2.0}, "*": {"*": 0.1}}}},
        },
        decision={"requests_per_month": 1000, "costs": {"labour_usd": 500}},
    )
    for name in names:
        rows = [{"input": question(i), "prediction": said} for i, said in enumerate(answers[name])]
        jsonl(folder / f"{name}.jsonl", rows)
    return run_it(path, folder / "runs")


def test_a_cheap_wrong_answer_flips_the_money(tmp_path: Path) -> None:
    """Base is cheaper a request and as often right, but it sends post to the till; lora errs harmlessly."""
    truth = [label(i) for i in range(120)]
    post = [i for i, t in enumerate(truth) if t == "post"]
    bench = [i for i, t in enumerate(truth) if t == "bench"]
    base = ["till" if i in post[:20] else t for i, t in enumerate(truth)]
    lora = ["till" if i in bench[:20] else t for i, t in enumerate(truth)]
    run, _ = costly(tmp_path, {"base": base, "lora": lora}, {"base": 1, "lora": 50})
    made = bill(run)
    # A month of 1,000 requests: $49 dearer, but 1,000 × 20/120 × (2.00 − 0.10) = $316.67 of mistakes spared.
    assert made.saving_per_month == pytest.approx(-49)
    assert made.value_per_month == pytest.approx(1000 * 20 / 120 * 1.9)
    assert made.payback_months == pytest.approx((500 + 120 * 0.05) / (316.667 - 49), rel=1e-4)
    assert (made.payback_probability or 0) > 0.95 and made.cheaper_probability == 0.0
    assert not surely_cheaper([made])
    # A value a point, where it is given, speaks instead: scores are equal, so nothing is gained.
    assert bill(run, value_per_point=100).value_per_month == pytest.approx(0)
    assert bill(run, value_per_point=100).payback_months is None


# -- how sure --------------------------------------------------------------------------------------


def test_costs_are_drawn_in_pairs(tmp_path: Path) -> None:
    """Long questions are dear for both: paired, the saving of a tenth of each is sure; unpaired it is not."""
    path = write_experiment(tmp_path, {"base": Answers(SAME), "lora": Answers(SAME, tuned=True)})
    dear = [0.001 * (100 if i % 10 == 0 else 1) for i in range(100)]
    for name, factor in (("base", 1.0), ("lora", 0.9)):
        rows = [{"input": question(i), "prediction": label(i), "usd": factor * dear[i]} for i in range(100)]
        jsonl(tmp_path / f"{name}.jsonl", rows)
    run, _ = run_it(path, tmp_path / "runs")
    made = bill(run, requests_per_month=1000)
    assert made.saving_per_month == pytest.approx(1000 * 0.1 * sum(dear) / 100)
    assert surely_cheaper([made])


def test_one_group_says_nothing_about_the_spread(tmp_path: Path) -> None:
    run = priced(tmp_path, 5, 1, groups=["one"] * 100)
    made = bill(run)
    assert made.saving_per_month == pytest.approx(200) and made.payback_months is not None


@pytest.mark.parametrize(
    ("net", "interval", "probability"),
    [
        ([10.0] * 100, (10.0, 10.0), 1.0),
        ([10.0] * 60 + [-1.0] * 40, (10.0, None), 0.6),
        ([-1.0] * 100, (None, None), 0.0),
        ([0.0] * 100, (None, None), 0.0),
    ],
)
def test_paybacks_may_be_never(net: list[float], interval: Any, probability: float) -> None:
    months: Array = _payback(100.0, np.array(net))
    assert _interval(months, 0.05) == interval
    assert float((months <= 12).mean()) == pytest.approx(probability)


@pytest.mark.parametrize(("base", "lora"), [(None, 1.0), (5.0, None), (None, None)])
def test_an_unknown_price_is_no_zero(tmp_path: Path, base: float | None, lora: float | None) -> None:
    run = priced(tmp_path, base, lora, base_marks=marks(70, 30))
    made = bill(run, value_per_point=30)
    assert made.saving_per_month is None and made.payback_months is None and made.payback_probability is None
    assert made.value_per_month == pytest.approx(300) and not surely_cheaper([made])


def test_failed_answers_cost_nothing_and_are_left_out(tmp_path: Path) -> None:
    run = priced(tmp_path, 5, 1, lora_marks=marks(78, 18, 4))
    made = bill(run)
    assert made.evaluation == pytest.approx(96 * 0.001)
    assert made.saving_per_month == pytest.approx(50_000 * 0.004)
