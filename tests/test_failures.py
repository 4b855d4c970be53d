"""Failed answers: could what they might have been change the verdict? Seed by seed, and for every kind of metric."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Reply
from tests.judged_by import by, fair, parts, reply
from tests.judged_run import Answers, marks, question, run_it, write_experiment
from workbench.records import Verdict

BASE = marks(60, 40)


def of_three_seeds(folder: Path, second: str) -> Verdict:
    """base is right on 60 of 100; lora is brought in three files, right on 75 of 100 in the first and the third."""
    seeds = {"one": marks(75, 25), "two": second, "three": marks(75, 25)}
    named = {"base": Answers(BASE), **{name: Answers(m) for name, m in seeds.items()}}
    path = write_experiment(folder, named)
    tree = yaml.safe_load(path.read_text())
    files = [f"{name}.jsonl" for name in seeds]
    lora = {"name": "lora", "kind": "predictions", "path": files, "tuned": True}
    tree["contenders"] = [tree["contenders"][0], lora]
    path.write_text(yaml.safe_dump(tree))
    return run_it(path, folder / "runs")[1]


def test_failures_of_a_later_seed_count_too(tmp_path: Path) -> None:
    whole = of_three_seeds(tmp_path / "whole", marks(75, 25))
    assert (whole.headline, whole.reason) == ("tune", "quality")
    few = of_three_seeds(tmp_path / "few", marks(74, 25, 1))
    assert (few.headline, few.reason) == ("tune", "quality"), "one failure of three hundred changes nothing"
    many = of_three_seeds(tmp_path / "many", marks(40, 25, 35))
    assert (many.headline, many.reason) == ("cant-tell", "invalid-comparison")
    assert "35 answers of lora or base failed" in many.sentence


def test_where_every_answer_failed_the_failure_is_the_reason(tmp_path: Path) -> None:
    path = write_experiment(tmp_path, {"base": Answers(marks(0, 0, 30))})
    verdict = run_it(path, tmp_path / "runs")[1]
    assert (verdict.headline, verdict.reason) == ("cant-tell", "invalid-comparison")
    assert verdict.sentence.startswith("30 answers of base failed (")
    assert verdict.next.startswith("mend what the reason names, then: workbench run")


def test_a_score_over_seeds_is_of_the_samples_that_all_were_scored_on(tmp_path: Path) -> None:
    verdict = of_three_seeds(tmp_path, marks(70, 25, 5))
    (lora,) = [c for c in verdict.contenders if c.name == "lora"]
    assert (lora.n, lora.errors) == (95, 5)
    assert lora.score == pytest.approx((75 + 70 + 75) / 3 / 95)
    assert lora.interval is not None and lora.interval[0] < lora.score < lora.interval[1]


def test_the_best_that_a_failed_answer_could_be_is_the_metric_s_end(tmp_path: Path) -> None:
    """The references are no JSON, but a failed answer could have been some."""
    contenders = {"base": Answers(marks(0, 60)), "lora": Answers(marks(0, 30, 30), tuned=True)}
    path = write_experiment(tmp_path, contenders, metrics={"primary": "json_valid", "also": []})
    (tmp_path / "base.jsonl").write_text((tmp_path / "base.jsonl").read_text().replace("somewhere", "{}"))
    (tmp_path / "lora.jsonl").write_text((tmp_path / "lora.jsonl").read_text().replace("somewhere", "[]"))
    verdict = run_it(path, tmp_path / "runs")[1]
    assert verdict.reason == "invalid-comparison" and "30 answers" in verdict.sentence


def test_a_schema_in_a_file_is_not_needed_to_decide(tmp_path: Path) -> None:
    """The run folder does not hold the file that the experiment names."""
    contenders = {"base": Answers(marks(0, 60)), "lora": Answers(marks(0, 58, 2), tuned=True)}
    metrics = {"primary": "schema_match", "also": [], "options": {"schema_match": {"schema": "schema.json"}}}
    path = write_experiment(tmp_path, contenders, metrics=metrics)
    (tmp_path / "schema.json").write_text('{"type": "object"}')
    (tmp_path / "lora.jsonl").write_text((tmp_path / "lora.jsonl").read_text().replace("somewhere", "{}"))
    verdict = run_it(path, tmp_path / "runs")[1]
    assert (verdict.headline, verdict.reason) == ("tune", "quality")


def test_answers_that_the_judge_could_not_rate_are_unknown(tmp_path: Path, serve: Any) -> None:
    """The judge mumbles over every answer of the last 15 questions, on which lora is wrong and base is right."""

    def mumbles(body: dict[str, Any], n: int) -> Reply:
        shown = parts(body["messages"][0]["content"])["conversation"]
        return reply("Hm.") if shown in {question(i) for i in range(25, 40)} else by(fair)(body, n)

    url, _ = serve(mumbles)
    contenders = {"base": Answers("-" * 25 + "+" * 15), "lora": Answers(marks(25, 15), tuned=True)}
    judge = {"kind": "openai", "model": "judge-1", "base_url": url}
    path = write_experiment(
        tmp_path,
        contenders,
        metrics={"primary": "judge", "also": []},
        extra={"backends": {"none": {"kind": "echo"}, "judge": judge}, "judge": {"backend": "judge"}},
    )
    verdict = run_it(path, tmp_path / "runs", offline=False)[1]
    assert (verdict.headline, verdict.reason) == ("cant-tell", "invalid-comparison")
    assert "15 answers of lora or base were not rated by the judge" in verdict.sentence
