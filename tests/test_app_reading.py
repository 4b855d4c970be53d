"""The app reads a run folder once: kept while its files are the same, read again when one is another."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from apps.reading import KEPT_RUNS, ReadOnce, derived
from tests.example_run import make_run
from workbench.runs import Run, RunError

calls: list[str] = []


@derived
def scored(run: Run, metric: str) -> dict[str, float]:
    calls.append("scored")
    return {name: (run.scores(name) or {})["metrics"][metric]["value"] for name in run.contenders()}


@derived
def best(run: Run, metric: str) -> str:
    calls.append("best")
    values = scored(run, metric)
    return max(values, key=lambda name: values[name])


@pytest.fixture(autouse=True)
def counted() -> None:
    calls.clear()


def test_what_was_derived_is_kept_for_each_argument(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert best(run, "exact_match") == best(run, "exact_match") == "lora"
    best(run, "macro_f1")
    assert calls == ["best", "scored"] * 2


@pytest.mark.parametrize("change", ["score", "contender", "gone"])
def test_another_file_means_another_answer(tmp_path: Path, change: str) -> None:
    run = make_run(tmp_path)
    before = best(run, "exact_match")
    if change == "score":
        scores = run.scores("rag") or {}
        scores["metrics"]["exact_match"]["value"] = 1.0
        run.write_scores("rag", scores)
    elif change == "contender":
        run.write_contender("zz", run.contender("rag") or {})
        run.write_scores("zz", _perfect(run.scores("rag") or {}))
    else:
        (run.contender_folder("lora") / "contender.json").unlink()
    assert before == "lora"
    assert best(run, "exact_match") == {"score": "rag", "contender": "zz", "gone": "few-shot"}[change]


def _perfect(scores: dict[str, Any]) -> dict[str, Any]:
    scores["metrics"]["exact_match"]["value"] = 1.0
    return scores


def test_a_file_of_the_same_size_and_a_later_time_is_another(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    path = run.folder / "contenders" / "lora" / "scores.json"
    first = scored(run, "exact_match")["lora"]
    text = path.read_text()
    value = f'"value": {first}'
    assert value in text
    path.write_text(text.replace(value, f'"value": {str(first)[:-1]}1', 1))
    os.utime(path, ns=(path.stat().st_mtime_ns, path.stat().st_mtime_ns + 1))
    assert scored(run, "exact_match")["lora"] != first


def test_of_many_runs_the_last_are_kept(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, name=f"triage-{at:08x}", until="contenders") for at in range(KEPT_RUNS + 1)]
    for run in (*runs, *runs[1:]):
        scored(run, "exact_match")
    assert len(calls) == len(runs)
    scored(runs[0], "exact_match")
    assert len(calls) == len(runs) + 1


PAGE = """
@derived
def counted(run):
    calls.append("page")
    return len(run.contenders())
"""


def test_a_page_that_is_run_anew_finds_what_it_derived(tmp_path: Path) -> None:
    run, code = make_run(tmp_path), compile(PAGE, "page.py", "exec")
    for _ in range(2):
        page: dict[str, Any] = {"derived": derived, "calls": calls, "__name__": "page"}
        exec(code, page)
        assert page["counted"](run) == 4
    assert calls == ["page"]


def test_a_damaged_file_is_told_each_time_and_never_kept(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    whole = (run.folder / "contenders/lora/scores.json").read_text()
    (run.folder / "contenders/lora/scores.json").write_text("{")
    for _ in range(2):
        with pytest.raises(RunError, match="damaged"):
            scored(run, "exact_match")
    (run.folder / "contenders/lora/scores.json").write_text(whole)
    assert best(run, "exact_match") == "lora"


def test_a_run_read_once_says_what_a_run_says(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    once = ReadOnce(run.folder)
    for _ in range(2):
        assert once.meta() == run.meta()
        assert once.verdict() == run.verdict()
        assert once.contenders() == run.contenders()
        assert once.predictions("rag") == run.predictions("rag")
        assert once.scores("rag") == run.scores("rag")
    assert isinstance(once.part("seeds", "8"), ReadOnce)
