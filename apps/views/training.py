"""Training: how the tuned contenders learned."""

from __future__ import annotations

from typing import Any

import streamlit as st

from apps.partial import missing
from apps.picker import chosen
from apps.words import chart, literal, tiles
from workbench.card import count, seconds
from workbench.charts import loss_chart
from workbench.runs import Run


def show(run: Run) -> None:
    """Draw the page."""
    st.title("Training", anchor=False)
    tuned = [name for name in run.contenders() if (run.contender(name) or {}).get("tuned")]
    if not tuned:
        missing(run, "tuned contender")
        return
    for name in tuned:
        st.subheader(literal(name), anchor=False)
        _contender(run, name)


def _contender(run: Run, name: str) -> None:
    contender = run.contender(name) or {}
    log = run.training(name)
    summary = contender.get("training")
    if summary:
        tiles(_facts(summary, log))
    if not log:
        st.caption(
            "No training log: the adapter or the answers were brought along, or training has not begun."
        )
        return
    best = (summary or {}).get("best_step")
    st.caption("Loss on the training and the dev split; the kept step is the one the adapter was taken from")
    chart(loss_chart(log, best_step=best))
    _advice(log, best)
    with st.expander("Every logged step"):
        _table(log)
    with st.expander("Settings"):
        st.json({key: contender.get(key) for key in ("settings", "backend", "model", "hardware")})


def _facts(summary: dict[str, Any], log: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    speeds = [row["tokens_per_second"] for row in log if row.get("tokens_per_second")]
    memory = [row["memory_mb"] for row in log if row.get("memory_mb")]
    speed = f"{count(sum(speeds) / len(speeds))} tokens/s" if speeds else ""
    peak = f"peak {max(memory) / 1024:.1f} GiB" if memory else ""
    kept = summary.get("best_step")
    # A row of the log has a training loss or a dev loss; the last one usually has the latter.
    last = next((row["loss"] for row in reversed(log) if row.get("loss") is not None), None)
    return [
        ("examples", count(summary["examples"]), f"{count(summary['trained_tokens'])} trained tokens"),
        ("steps", count(summary["steps"]), "" if kept is None else f"step {kept} kept"),
        ("time", seconds(summary["seconds"]), speed),
        ("last loss", "–" if last is None else f"{last:.3f}", peak),
    ]


def _advice(log: list[dict[str, Any]], best: int | None) -> None:
    dev = [(row["step"], row["dev_loss"]) for row in log if row.get("dev_loss") is not None]
    if best is not None and dev and dev[-1][0] > best and dev[-1][1] > min(loss for _, loss in dev):
        st.info(f"Dev loss rose after step {best}: more epochs would only fit the training rows better.")


def _table(log: list[dict[str, Any]]) -> None:
    number = st.column_config.NumberColumn
    st.dataframe(
        log,
        hide_index=True,
        column_order=["step", "epoch", "loss", "dev_loss", "learning_rate", "tokens_per_second", "memory_mb"],
        column_config={
            "epoch": number("epoch", format="%.2f"),
            "loss": number("loss", format="%.4f"),
            "dev_loss": number("dev loss", format="%.4f"),
            "learning_rate": number("learning rate", format="%.2e"),
            "tokens_per_second": number("tokens / s", format="%.0f"),
            "memory_mb": number("memory, MB", format="%.0f"),
        },
    )


if __name__ == "__main__":
    show(chosen())
