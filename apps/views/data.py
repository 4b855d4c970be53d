"""Data: what lint found, how the samples were divided, what training on them costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from apps.partial import missing
from apps.picker import chosen
from apps.words import literal, tiles
from workbench.card import count, usd
from workbench.runs import Run

SIGNS = {"error": "✗ error", "warning": "▲ warning", "info": "● info"}
_ORDER = list(SIGNS)


def show(run: Run) -> None:
    """Draw the page."""
    st.title("Data", anchor=False)
    lint = run.lint()
    if lint is None:
        missing(run, "lint report")
        return
    _numbers(lint, run.splits(), len(run.folds()), run.cost())
    st.subheader("Findings", anchor=False)
    _findings(run.findings(), lint["summary"])
    with st.expander("Files"):
        _files(lint["files"])
    if (cost := run.cost()) is not None:
        st.subheader("Cost of training", anchor=False)
        _cost(cost)


def _numbers(
    lint: Mapping[str, Any],
    splits: Mapping[str, list[str]] | None,
    folds: int,
    cost: Mapping[str, Any] | None,
) -> None:
    files = lint["files"]
    examples = sum(file["examples"] for file in files)
    # Rows are compared only where a rule that needs it was chosen.
    doubles = sum(file["examples"] - file["distinct"] for file in files if file["distinct"] is not None)
    facts = [
        ("examples", count(examples), f"{count(doubles)} of them duplicates" if doubles else "no duplicates")
    ]
    if folds and splits is not None:
        tested = f"{len(splits['test']):,} samples, each tested once"
        facts.append(("folds", str(folds), tested))
    elif splits is not None:
        sizes = [len(splits[name]) for name in ("train", "dev", "test")]
        facts.append(
            ("train / dev / test", " / ".join(f"{size:,}" for size in sizes), "samples in each split")
        )
    summary = lint["summary"]
    worst = "no errors" if not summary["errors"] else count(summary["errors"], "error")
    found = f"{count(summary['warnings'], 'warning')} · {summary['infos']:,} info"
    facts.append(("lint", worst, found))
    if cost is not None:
        price = (cost.get("usd") or {}).get("training")
        below = f"{count(cost['billable_tokens'])} tokens · {cost['epochs']} epochs"
        facts.append(("training cost", usd(price), below))
    tiles(facts)


def _findings(findings: list[dict[str, Any]], summary: Mapping[str, Any]) -> None:
    if not findings:
        st.success("Lint found nothing to complain about.")
        return
    rules: dict[str, list[dict[str, Any]]] = {}
    for finding in findings:
        rules.setdefault(finding["code"], []).append(finding)
    ordered = sorted(
        rules, key=lambda code: (_ORDER.index(rules[code][0]["severity"]), -len(rules[code]), code)
    )
    table = [
        {
            "severity": SIGNS[rules[code][0]["severity"]],
            "code": code,
            "rule": rules[code][0]["name"],
            "rows": len(rules[code]),
            "what to do": rules[code][0]["help"],
        }
        for code in ordered
    ]
    st.dataframe(
        table, hide_index=True, column_config={"what to do": st.column_config.TextColumn(width="large")}
    )
    code = st.selectbox(
        "Rows of", ordered, format_func=lambda c: f"{c} {rules[c][0]['name']} ({len(rules[c])})"
    )
    _rows(rules[code])
    if summary.get("omitted"):
        st.caption(f"{summary['omitted']:,} further findings were counted but not kept.")


def _rows(findings: list[dict[str, Any]]) -> None:
    st.dataframe(
        [
            {
                # Fields that are not set are not written: a finding about the whole file has no line.
                "place": f"{f['path']}:{f['line']}" if f.get("line") else f["path"],
                "where": f.get("where") or ("whole row" if f.get("line") else "whole file"),
                "message": f["message"],
                "fixable": f["fixable"],
            }
            for f in findings
        ],
        hide_index=True,
        column_config={
            "message": st.column_config.TextColumn(width="large"),
            "fixable": st.column_config.CheckboxColumn("fixable", help="lint --fix can mend it"),
        },
    )


def _files(files: list[dict[str, Any]]) -> None:
    table = [
        {
            "file": file["path"],
            "format": file["format"],
            "lines": file["lines"],
            "examples": file["examples"],
            "distinct": file["distinct"],
            "tokens": (file.get("statistics", {}).get("tokens") or {}).get("total"),
            "sha256": str(file["sha256"])[:12],
        }
        for file in files
    ]
    whole = {
        name: st.column_config.NumberColumn(format="localized")
        for name in ("lines", "examples", "distinct", "tokens")
    }
    st.dataframe(table, hide_index=True, column_config=whole)


def _cost(cost: Mapping[str, Any]) -> None:
    tokens, price = cost["tokens"], cost.get("price") or {}
    trained = tokens["trained"] / tokens["total"] if tokens["total"] else 0.0
    facts = [
        (
            "tokens in the data",
            count(tokens["total"]),
            f"{'counted' if cost['exact'] else 'estimated'}, {cost['tokenizer']}",
        ),
        ("tokens that train", count(tokens["trained"]), f"{trained:.0%} of all"),
        ("cut off", count(tokens["truncated"]), "over the length limit"),
    ]
    tiles(facts)
    about = [cost["model"], cost.get("status")]
    if cost.get("usd"):
        age = ", out of date" if price.get("stale") else ""
        about.append(f"price of {price.get('as_of', '–')} ({price.get('certainty', 'unsure')}{age})")
        about.append(price.get("source"))
    else:
        about.append(f"no price: {cost.get('reason') or 'unknown'}")
    st.caption(literal(" · ".join(str(fact) for fact in about if fact)))


if __name__ == "__main__":
    show(chosen())
