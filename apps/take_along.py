"""What one takes along from a run: its report, its card, its scores and answers as tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import streamlit as st

from apps.board import heads
from apps.exports import csv_text
from apps.reading import derived
from workbench.card import card_text
from workbench.runs import Run, RunError
from workbench.verdict import standing


def take_along(run: Run) -> None:
    """Draw the menu under the list of runs. Files are made when they are asked for."""
    made: list[tuple[str, str, str, Callable[[], bytes]]] = []
    if (report := run.report_path("html")).exists():
        made.append(("Report (HTML)", ".html", "text/html", report.read_bytes))
    if (page := run.report_path("md")).exists():
        made.append(("Report (Markdown)", ".md", "text/markdown", page.read_bytes))
    if (run.folder / "verdict.json").exists():
        made.append(("Card (Markdown)", "-card.md", "text/markdown", lambda: card_markdown(run).encode()))
    if any(run.folder.glob("contenders/*/predictions.jsonl")):
        made.append(("Scores (CSV)", "-scores.csv", "text/csv", lambda: _csv(scores(run))))
        made.append(("Answers (CSV)", "-answers.csv", "text/csv", lambda: _csv(answers(run))))
    if not made:
        return
    with st.sidebar.popover("Take along", icon=":material/download:", width="stretch"):
        for label, suffix, mime, data in made:
            st.download_button(
                label,
                _or_why(data),
                run.name + suffix,
                mime,
                key=f"take-{suffix}",
                on_click="ignore",
                type="tertiary",
            )


def card_markdown(run: Run) -> str:
    """The decision card, fenced, so that a page or a ticket shows it as the terminal does."""
    verdict = derived(standing)(run, today=datetime.now(UTC).date())
    text = card_text(verdict) if verdict else "no verdict yet\n"
    # A fence longer than any run of backticks in the text: nothing in it can close it.
    fence = "`" * (3 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}text\n{text.rstrip()}\n{fence}\n"


def scores(run: Run) -> Iterator[dict[str, Any]]:
    """A row a contender and metric, by the ratings that count now."""
    for name, scored in heads(run).items():
        for metric, score in scored["metrics"].items():
            low, high = score["interval"] or (None, None)
            yield {
                "contender": name,
                "metric": metric,
                "value": score["value"],
                "low": low,
                "high": high,
                "n": score["n"],
                "unscored": score["unscored"],
                "signature": score["signature"],
                "reason": score["reason"],
            }


def answers(run: Run) -> Iterator[dict[str, Any]]:
    """A row a sample and contender."""
    questions = {sample.id: sample for sample in run.samples()}
    for name in run.contenders():
        for p in run.predictions(name):
            sample = questions.get(p.id)
            yield {
                "id": p.id,
                "contender": name,
                "question": sample.question if sample else None,
                "reference": " | ".join(p.references),
                "prediction": p.prediction,
                "error": p.error,
                "group": p.group,
                "prompt_tokens": p.prompt_tokens,
                "completion_tokens": p.completion_tokens,
                "seconds": p.seconds,
                "usd": p.usd,
            }


def _csv(rows: Iterator[dict[str, Any]]) -> bytes:
    return csv_text(rows).encode("utf-8-sig", errors="replace")


def _or_why(data: Callable[[], bytes]) -> Callable[[], bytes]:
    """The file, or what is wrong with the run where it cannot be made."""

    def make() -> bytes:
        try:
            return data()
        except (OSError, RunError) as error:
            return str(error).encode()

    return make
