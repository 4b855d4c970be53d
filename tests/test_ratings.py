"""People's ratings: read from a file and from the run folder, as a metric, and as a check of the judge."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metrics.calibration import judge_correction
from tests.judged_by import by
from tests.judged_run import Answers, marks, question, run_it, write_experiment
from workbench.calibrating import shared
from workbench.experiment import Experiment
from workbench.ratings import RatingsError, choices_of, people, rate, ratings_of
from workbench.records import Rating
from workbench.runs import Run

N = 40
THREE = {
    "few-shot": Answers(marks(20, 20)),
    "zero-shot": Answers(marks(10, 30)),
    "lora": Answers(marks(36, 4), tuned=True),
}


def rated_experiment(folder: Path, rows: Sequence[dict[str, Any]] | str, **settings: Any) -> Path:
    """An experiment with a ratings file: rows as JSONL, or the text of a CSV."""
    name = "people.csv" if isinstance(rows, str) else "people.jsonl"
    text = rows if isinstance(rows, str) else "".join(json.dumps(r) + "\n" for r in rows)
    (folder / name).write_text(text, encoding="utf-8")
    known = {"metrics": {"primary": "human", "also": ["exact_match"]}}
    return write_experiment(
        folder, THREE, **(known | settings | {"extra": {**settings.get("extra", {}), "ratings": name}})
    )


def scale(index: int, name: str, rating: float, **more: Any) -> dict[str, Any]:
    return {"input": question(index), "contender": name, "rating": rating, **more}


def choice(index: int, a: str, b: str, winner: str, **more: Any) -> dict[str, Any]:
    return {"input": question(index), "a": a, "b": b, "winner": winner, **more}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run without any ratings; tests copy nothing and write nothing into it."""
    path = write_experiment(tmp_path_factory.mktemp("run"), THREE)
    return run_it(path, path.parent / "runs")[0]


def read(
    folder: Run, tmp_path: Path, rows: Sequence[dict[str, Any]] | str
) -> dict[str, dict[str, list[float]]]:
    return ratings_of(folder, Experiment.load(rated_experiment(tmp_path, rows)))


def ids(run: Run) -> list[str]:
    return [s.id for s in run.samples()]


# -- the file -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "value"),
    [
        ({"rating": 0.25}, 0.25),
        ({"rating": 1, "scale": "0-1"}, 1.0),
        ({"rating": 1, "scale": "1-5"}, 0.0),
        ({"rating": 4, "scale": "1-5"}, 0.75),
        ({"rating": 10, "scale": "1-10"}, 1.0),
        ({"rating": "3.5", "scale": "1-5"}, 0.625),
    ],
)
def test_scales_are_mapped_to_0_1(folder: Run, tmp_path: Path, more: dict[str, Any], value: float) -> None:
    found = read(folder, tmp_path, [{"id": ids(folder)[3], "contender": "lora", **more}])
    assert found == {"lora": {ids(folder)[3]: [value]}}


def test_a_csv_reads_as_the_same_rows(folder: Run, tmp_path: Path) -> None:
    lines = [
        "input,contender,rating,scale,rater,note",
        f'"{question(0)}",lora,5,1-5,ann,',
        f'"{question(0)}",lora,2,1-5,bob,odd',
    ]
    assert read(folder, tmp_path, "\n".join(lines) + "\n") == {"lora": {ids(folder)[0]: [1.0, 0.25]}}


def test_a_raters_later_rating_replaces_the_earlier(folder: Run, tmp_path: Path) -> None:
    rows = [
        scale(0, "lora", 0.0, rater="ann"),
        scale(0, "lora", 0.5, rater="bob"),
        scale(0, "lora", 1.0, rater="ann"),
        scale(0, "zero-shot", 0.2, rater="ann"),
    ]
    first = ids(folder)[0]
    assert read(folder, tmp_path, rows) == {"lora": {first: [0.5, 1.0]}, "zero-shot": {first: [0.2]}}
    nameless = [scale(0, "lora", 0.0), scale(0, "lora", 1.0)]
    assert read(folder, tmp_path, nameless) == {"lora": {first: [0.0, 1.0]}}, "without a name each counts"


def test_choices_count_for_both(folder: Run, tmp_path: Path) -> None:
    rows = [
        choice(0, "lora", "few-shot", "a", rater="ann"),
        choice(0, "few-shot", "lora", "tie", rater="bob"),
        # The same pair the other way round is the same question: ann has changed her mind.
        choice(0, "few-shot", "lora", "a", rater="ann"),
    ]
    first = ids(folder)[0]
    assert read(folder, tmp_path, rows) == {"few-shot": {first: [0.5, 1.0]}, "lora": {first: [0.5, 0.0]}}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"id": "nowhere", "contender": "lora", "rating": 1}, "no test sample has the id 'nowhere'"),
        ({"input": "What?", "contender": "lora", "rating": 1}, "no test sample asks 'What?'"),
        ({"contender": "lora", "rating": 1}, "a row needs `id`, or `input`"),
        (scale(0, "lara", 1), "no contender is called 'lara'. Did you mean 'lora'? There are:"),
        ({"input": question(0), "rating": 1}, "a row needs `contender`"),
        (
            scale(0, "lora", 4),
            "rating '4' is no number from 0 to 1; for ratings up to 5 or 10 add a column scale",
        ),
        (scale(0, "lora", 0, scale="1-5"), "rating '0' is no number from 1 to 5"),
        (scale(0, "lora", 2, scale="1-7"), "scale is '1-7': write one of 0-1, 1-5, 1-10"),
        ({"input": question(0), "contender": "lora", "rating": "good"}, "rating 'good' is no number"),
        ({"input": question(0), "contender": "lora", "rating": "nan"}, "rating 'nan' is no number"),
        ({"input": question(0), "contender": "lora"}, "a row needs `rating`, or `winner`"),
        (choice(0, "lora", "few-shot", "lora"), "winner is 'lora': write a, b or tie"),
        (choice(0, "lora", "lora", "a"), "a and b are both 'lora'"),
        (choice(0, "lora", "x", "a"), "no contender is called 'x'"),
    ],
)
def test_faults_name_place_and_cure(folder: Run, tmp_path: Path, row: dict[str, Any], told: str) -> None:
    with pytest.raises(RatingsError) as caught:
        read(folder, tmp_path, [scale(1, "lora", 0.5), row])
    assert f"people.jsonl:2: {told}" in str(caught.value)


def test_all_faults_at_once_and_a_missing_file(folder: Run, tmp_path: Path) -> None:
    with pytest.raises(RatingsError) as caught:
        read(folder, tmp_path, [scale(0, "x", 1), scale(0, "lora", 7)])
    assert len(str(caught.value).splitlines()) == 2
    (tmp_path / "people.jsonl").unlink()
    with pytest.raises(RatingsError, match="there is no such file"):
        people(folder, Experiment.load(tmp_path / "experiment.yaml"))


def test_scales_and_choices_do_not_mix(folder: Run, tmp_path: Path) -> None:
    with pytest.raises(RatingsError, match="do not average"):
        read(folder, tmp_path, [scale(0, "lora", 1), choice(1, "lora", "few-shot", "a")])


def test_a_wrong_file_stops_the_run_before_anything_is_answered(tmp_path: Path) -> None:
    path = rated_experiment(tmp_path, [scale(0, "lara", 1)])
    with pytest.raises(RatingsError, match="no contender is called 'lara'"):
        run_it(path, tmp_path / "runs")
    (run,) = Run.all(tmp_path / "runs")
    assert run.contenders() == []


# -- the folder's own -------------------------------------------------------------------------------------


def test_ratings_made_on_the_folder_count_and_are_whole_lines(tmp_path: Path) -> None:
    path = write_experiment(tmp_path, THREE)
    run, _ = run_it(path, tmp_path / "runs")
    experiment = Experiment.load(path)
    some = ids(run)
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(lambda i: rate(run, Rating(id=i, contender="lora", rating=0.5, rater="ann")), some[:20])
        )
    assert len(run.ratings()) == 20
    with (run.folder / "ratings.jsonl").open("a") as file:
        file.write('{"id": "torn by a ki')
    rate(run, Rating(id=some[0], contender="lora", rating=1.0, rater="ann", time="2026-11-20T09:00:00Z"))
    rate(run, Rating(id=some[0], contender="gone", rating=1.0, rater="ann"))
    assert len(run.ratings()) == 22
    found = ratings_of(run, experiment)
    assert set(found) == {"lora"}, "a contender that is no more is left out"
    assert found["lora"][some[0]] == [1.0] and found["lora"][some[1]] == [0.5]


def test_a_rating_of_an_answer_that_has_changed_counts_no_more(tmp_path: Path) -> None:
    path = write_experiment(tmp_path, THREE)
    run, _ = run_it(path, tmp_path / "runs")
    first, second = ids(run)[:2]
    for sample in (first, second):
        rate(run, Rating(id=sample, a="lora", b="few-shot", winner="a", rater="ann"))
    rows = [json.loads(line) for line in (tmp_path / "lora.jsonl").read_text().splitlines()]
    rows[0]["prediction"] = "something else"
    (tmp_path / "lora.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    run_it(path, tmp_path / "runs")
    assert ratings_of(run, Experiment.load(path))["lora"] == {second: [1.0]}


def test_the_folders_rating_follows_the_files(tmp_path: Path) -> None:
    path = rated_experiment(tmp_path, [scale(0, "lora", 0.0, rater="ann")])
    run, _ = run_it(path, tmp_path / "runs")
    rate(run, Rating(id=ids(run)[0], contender="lora", rating=0.8, rater="ann"))
    assert ratings_of(run, Experiment.load(path)) == {"lora": {ids(run)[0]: [0.8]}}


# -- as a metric --------------------------------------------------------------------------------------------


def test_people_alone_lead_to_a_verdict(tmp_path: Path) -> None:
    """Everybody rates every answer: right ones 4 or 5, wrong ones 1 or 2 of five."""
    rows = []
    for name, answers in THREE.items():
        for i, mark in enumerate(answers.marks):
            for rater in ("ann", "bob"):
                high = (4, 5) if mark == "+" else (1, 2)
                rows.append(scale(i, name, high[rater == "bob"], scale="1-5", rater=rater))
    run, verdict = run_it(rated_experiment(tmp_path, rows), tmp_path / "runs")
    assert (verdict.headline, verdict.reason, verdict.choice) == ("tune", "quality", "lora")
    metric = (run.scores("lora") or {})["metrics"]["human"]
    assert metric["value"] == pytest.approx((36 * 0.875 + 4 * 0.125) / 40) and metric["n"] == N
    assert "people, ratings on a scale" in metric["signature"]


def test_unrated_answers_are_unscored_and_no_errors(tmp_path: Path) -> None:
    rows = [scale(i, name, 1.0 if name == "lora" else 0.5) for i in range(25) for name in THREE]
    run, _ = run_it(rated_experiment(tmp_path, rows), tmp_path / "runs")
    scores = run.scores("lora") or {}
    assert (scores["metrics"]["human"]["n"], scores["metrics"]["human"]["unscored"]) == (25, 15)
    assert scores["metrics"]["exact_match"]["n"] == N


def test_no_ratings_is_no_value_with_a_reason(tmp_path: Path) -> None:
    path = write_experiment(tmp_path, THREE, metrics={"primary": "exact_match", "also": ["human"]})
    run, _ = run_it(path, tmp_path / "runs")
    metric = (run.scores("lora") or {})["metrics"]["human"]
    assert metric["value"] is None and "no answer was rated" in metric["reason"]


# -- as a check of the judge ----------------------------------------------------------------------------------


def judging(folder: Path, url: str, rows: Sequence[dict[str, Any]], **judge: Any) -> Path:
    server = {"kind": "openai", "model": "judge-1", "base_url": url}
    return rated_experiment(
        folder,
        rows,
        metrics={"primary": "judge", "also": ["exact_match"]},
        extra={"backends": {"judge": server}, "judge": {"backend": "judge", **judge}},
    )


def generous(asked: dict[str, str]) -> str:
    """A judge that gives wrong answers one star too many."""
    return f"Rating: {5 if asked['answer'] == asked['reference answer'] else 2}"


def strict(name: str, many: int) -> list[dict[str, Any]]:
    """People who give right answers 5 and wrong ones 1."""
    return [
        scale(i, name, 5 if mark == "+" else 1, scale="1-5")
        for i, mark in enumerate(THREE[name].marks[:many])
    ]


def test_the_judge_is_held_against_people(tmp_path: Path, serve: Any) -> None:
    url, _ = serve(by(generous))
    rows = strict("lora", 40) + strict("few-shot", 40)
    run, _ = run_it(judging(tmp_path, url, rows), tmp_path / "runs", offline=False)
    checked = (run.scores("lora") or {})["judge"]["calibration"]
    assert checked["what"] == "answers" and checked["shared"] == 80
    assert checked["agreement"]["n"] == 80 and checked["agreement"]["exact"] == pytest.approx(56 / 80)
    assert checked["agreement"]["rho"] == pytest.approx(1.0) and 0.8 < checked["agreement"]["kappa"] < 1
    found = {c["against"]: c for c in checked["corrected"]}
    # The judge sees 16 of 40 × 0.75; people see 16 of 40.
    assert found["few-shot"]["estimate"] == pytest.approx(0.4) and found["few-shot"][
        "shift"
    ] == pytest.approx(0.1)
    assert found["few-shot"]["rated"] == 40 and found["few-shot"]["interval"][0] < 0.4
    assert (
        found["zero-shot"]["estimate"] is None and "0 samples rated by people" in found["zero-shot"]["reason"]
    )


def test_few_shared_items_are_said(tmp_path: Path, serve: Any) -> None:
    url, _ = serve(by(generous))
    run, _ = run_it(judging(tmp_path, url, strict("lora", 19)), tmp_path / "runs", offline=False)
    told = (run.scores("lora") or {})["judge"]
    assert told["calibration"]["shared"] == 19
    assert any("on 19 answers only" in c for c in told["caveats"])


def test_a_pairwise_judge_is_held_against_choices(tmp_path: Path, serve: Any) -> None:
    def longer(asked: dict[str, str]) -> str:
        a, b = len(asked["answer A"]), len(asked["answer B"])
        return f"Verdict: {'tie' if a == b else 'A' if a > b else 'B'}"

    url, _ = serve(by(longer))
    # The judge takes the longer text, which is the wrong one; people take the right one.
    rows = [choice(i, "lora", "few-shot", "a" if i >= 20 and i < 36 else "tie") for i in range(N)]
    path = judging(tmp_path, url, rows, mode="pairwise", against="few-shot")
    run, _ = run_it(path, tmp_path / "runs", offline=False)
    scores = run.scores("lora") or {}
    checked = scores["judge"]["calibration"]
    assert checked["what"] == "pairs of answers" and checked["shared"] == N
    assert scores["metrics"]["judge"]["value"] == pytest.approx(0.3)
    found = {c["against"]: c for c in checked["corrected"]}
    assert found["few-shot"]["estimate"] == pytest.approx(0.2), "16 of 40 won, the rest level"
    assert found["zero-shot"]["estimate"] is None and "no common unit" in found["zero-shot"]["reason"]


def test_choices_and_ratings_meet_as_preferences() -> None:
    scaled = [Rating(id="s", contender=name, rating=r) for name, r in (("a", 0.8), ("b", 0.3), ("c", 0.3))]
    given = choices_of(scaled)
    assert given["s", "a", "b"] == [1.0] and given["s", "b", "a"] == [0.0] and given["s", "b", "c"] == [0.5]
    chosen = [Rating(id="s", a="b", b="a", winner="b")]
    judged = {"a": {"s": 0.75}, "b": {"s": 0.5}}
    assert shared(judged, chosen, None) == ([1.0], [1.0], "pairs of answers")
    pairwise = {"a": {"s": 0.0}, "b": {"s": 0.5}, "c": {"s": 1.0}}
    assert shared(pairwise, scaled, "b") == ([0.0, 1.0], [1.0, 0.5], "pairs of answers")


# -- the correction -----------------------------------------------------------------------------------------------


def test_a_correction_by_hand() -> None:
    """Judge 0.5 on all of 40; people 0.3 on half of those rated and 0.5 on the others: 0.5 − 0.1."""
    human: list[float | None] = [0.3 if i % 2 else 0.5 for i in range(20)] + [None] * 20
    found = judge_correction([0.5] * 40, human)
    assert (found.n, found.rated, found.reason) == (40, 20, None)
    assert found.estimate == pytest.approx(0.4) and found.shift == pytest.approx(-0.1)
    # The shift's standard error: 0.1026 (the sample's deviation) over the root of 20; t(19) = 2.0930.
    assert found.interval == pytest.approx((0.4 - 2.0930 * 0.022942, 0.4 + 2.0930 * 0.022942), abs=1e-5)


def test_all_rated_is_what_people_say() -> None:
    rng = np.random.default_rng(0)
    human, judged = rng.normal(0.1, 0.3, 50), rng.normal(0.4, 0.3, 50)
    found = judge_correction(judged, list(human))
    half = 2.0096 * human.std(ddof=1) / 50**0.5
    assert found.estimate == pytest.approx(human.mean())
    assert found.interval == pytest.approx((human.mean() - half, human.mean() + half), abs=1e-4)


@pytest.mark.parametrize(
    ("judged", "human", "groups", "told"),
    [
        ([0.1] * 30, [0.2] * 19 + [None] * 11, None, "19 samples rated by people; 20 are needed"),
        ([0.1] * 30, [0.2] * 30, ["x"] * 15 + ["y"] * 15, "2 groups of samples rated by people"),
        ([], [], None, "0 samples"),
    ],
)
def test_too_few_rated_is_no_estimate(judged: Any, human: Any, groups: Any, told: str) -> None:
    found = judge_correction(judged, human, groups=groups)
    assert found.estimate is None and found.interval is None and told in (found.reason or "")


@pytest.mark.parametrize(("judged", "human"), [([1.0], []), ([float("nan")] * 30, [0.0] * 30)])
def test_what_does_not_pair_is_refused(judged: Any, human: Any) -> None:
    with pytest.raises(ValueError, match=r"give one of each|not finite"):
        judge_correction(judged, human)


@pytest.mark.parametrize(("rated", "grouped"), [(25, False), (80, False), (100, True)])
def test_the_correction_covers_what_people_would_say(rated: int, grouped: bool) -> None:
    """A judge who sees too much of a difference: its own interval misses, the corrected one does not."""
    rng = np.random.default_rng(rated)
    worlds, n, truth, hit, naive = 600, 200, 0.10, 0, 0
    for _ in range(worlds):
        shift = np.repeat(rng.normal(0, 0.15, n // 2), 2) if grouped else np.zeros(n)
        human = truth + shift + rng.choice([-0.5, -0.25, 0.0, 0.25, 0.5], size=n)
        judged = 0.6 * human + 0.15 + rng.normal(0, 0.25, n)
        some: list[float | None] = [None] * n
        chosen = rng.permutation(n // 2)[: rated // 2] if grouped else rng.permutation(n)[:rated]
        for i in [j for c in chosen for j in (2 * c, 2 * c + 1)] if grouped else chosen:
            some[i] = float(human[i])
        found = judge_correction(judged, some, groups=np.arange(n) // 2 if grouped else None)
        assert found.interval is not None
        hit += found.interval[0] <= truth <= found.interval[1]
        naive += abs(judged.mean() - truth) <= 1.96 * judged.std() / n**0.5
    assert 0.92 <= hit / worlds <= 0.98, hit / worlds
    assert naive / worlds < 0.5
