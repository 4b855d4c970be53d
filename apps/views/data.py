"""Data: what lint found and where, how long rows are, how they were divided, what training on them costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from apps.finding_list import finding_list
from apps.limit import limit
from apps.partial import missing, no_runs
from apps.picker import chosen, root
from apps.reading import derived
from apps.source_rows import Marked, Source, marked, source_of
from apps.uploads import MOST_MB, TYPES, Upload, laid_out, safe_name
from apps.words import literal, table, tiles
from validators.linter import lint
from validators.reading import DataError
from workbench.card import count, usd
from workbench.runs import Run

# Findings of an uploaded file that are listed; the rest is counted.
_MOST_FINDINGS = 1000
_USES = {
    "train": {"use": "learned from"},
    "dev": {"use": "choices are made on it"},
    "test": {"use": "decides; nothing else sees it"},
}
# Rules that compare rows with one another.
_COMPARING = "DUP"


def show(run: Run | None) -> None:
    """Draw the page; without a run only a file can be checked."""
    if run is None:
        no_runs(str(root()))
    else:
        st.title("Data", anchor=False)
        _run(run)
    st.subheader("Check a file", anchor=False)
    _check_file()


def _run(run: Run) -> None:
    report, cost, parts = run.lint(), run.cost(), _parts(run)
    if report is None:
        missing(run, "lint report")
        return
    _numbers(report, parts, cost)
    findings = _findings(run)
    st.subheader("Findings", anchor=False)
    if findings:
        finding_list(findings, lambda f: _row_of(run, f), "run", report["summary"].get("omitted", 0))
    else:
        st.success("Lint found nothing to complain about.")
    st.subheader("Duplicates and leaks", anchor=False)
    _alike(findings, report["files"])
    st.subheader("Lengths", anchor=False)
    limit(run, cost)
    if parts is not None:
        st.subheader("Splits", anchor=False)
        _splits(parts)
    if cost is not None:
        st.subheader("Cost of training", anchor=False)
        _cost(cost)
    with st.expander("Files"):
        _files(report["files"])


@dataclass(frozen=True, slots=True)
class Parts:
    """How many samples each part of the data has, and in how many groups the tested ones stand."""

    splits: dict[str, int]
    folds: tuple[int, ...]
    groups: int


@derived
def _parts(run: Run) -> Parts | None:
    splits = run.splits()
    if splits is None:
        return None
    groups = {sample.group for sample in run.samples()} - {None}
    sizes = {name: len(ids) for name, ids in splits.items()}
    return Parts(sizes, tuple(len(fold) for fold in run.folds()), len(groups))


@derived
def _findings(run: Run) -> list[dict[str, Any]]:
    return run.findings()


def _row_of(run: Run, finding: Mapping[str, Any]) -> Marked | None:
    source = source_of(run, finding["path"])
    if source is None:
        return None
    return marked(source, finding["line"], finding.get("column"), finding.get("where"))


def _numbers(report: Mapping[str, Any], parts: Parts | None, cost: Mapping[str, Any] | None) -> None:
    files = report["files"]
    examples = sum(file["examples"] for file in files)
    # Rows are compared only where a rule that needs it was chosen.
    doubles = sum(file["examples"] - file["distinct"] for file in files if file["distinct"] is not None)
    facts = [
        ("examples", count(examples), f"{count(doubles)} of them duplicates" if doubles else "no duplicates")
    ]
    if parts is not None and parts.folds:
        tested = f"{parts.splits['test']:,} samples, each tested once"
        facts.append(("folds", str(len(parts.folds)), tested))
    elif parts is not None:
        sizes = [parts.splits[name] for name in ("train", "dev", "test")]
        facts.append(
            ("train / dev / test", " / ".join(f"{size:,}" for size in sizes), "samples in each split")
        )
    summary = report["summary"]
    worst = "no errors" if not summary["errors"] else count(summary["errors"], "error")
    found = f"{count(summary['warnings'], 'warning')} · {summary['infos']:,} info"
    facts.append(("lint", worst, found))
    if cost is not None:
        price = (cost.get("usd") or {}).get("training")
        below = f"{count(cost['billable_tokens'])} tokens · {cost['epochs']} epochs"
        facts.append(("training cost", usd(price), below))
    tiles(facts)


def _alike(findings: Sequence[Mapping[str, Any]], files: Sequence[Mapping[str, Any]]) -> None:
    """What stands twice, within a split or across: the second inflates every score."""
    alike = [f for f in findings if f["code"].startswith(_COMPARING)]
    if not alike:
        compared = all(file["distinct"] is not None for file in files)
        st.text(
            "No row stands twice, within a split or across."
            if compared
            else "Rows were not compared with one another."
        )
        return
    table(
        [
            {
                "rule": f"{f['code']} {f['name']}",
                "place": f"{f['path']}:{f['line']}" if f.get("line") else f["path"],
                "message": f["message"],
            }
            for f in alike
        ],
        "alike",
        column_config={"message": st.column_config.TextColumn(width="large")},
        height=min(320, 38 + 35 * len(alike)),
    )


def _splits(parts: Parts) -> None:
    if parts.folds:
        sizes = {f"fold {i}": size for i, size in enumerate(parts.folds)}
        st.text("Every sample is tested once, by contenders that were fitted without its fold.")
    else:
        sizes = parts.splits
    total = sum(sizes.values()) or 1
    rows = [
        {"part": name, "samples": size, "share": f"{size / total:.1%}"} | _USES.get(name, {})
        for name, size in sizes.items()
    ]
    table(rows, "splits", width="content")
    if parts.groups:
        st.caption(f"The test samples stand in {count(parts.groups, 'group')}; no group is in two parts.")


def _files(files: list[dict[str, Any]]) -> None:
    rows = [
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
    table(rows, "files", column_config=whole)


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


# -- a file of somebody's ----------------------------------------------------------------------------------


def _check_file() -> None:
    uploaded = st.file_uploader(
        "Lint a file on the spot: it is read here and kept nowhere",
        type=list(TYPES),
        max_upload_size=MOST_MB,
        key="data-upload",
    )
    if uploaded is None:
        return
    try:
        report = _checked(uploaded)
    except DataError as error:
        st.error("This file cannot be read.")
        st.code(str(error), language=None, wrap_lines=True)
        return
    summary = report["summary"]
    tiles(
        [
            ("rows", count(sum(file["examples"] for file in report["files"])), safe_name(uploaded)),
            ("errors", count(summary["errors"]), "stop a run"),
            ("warnings", count(summary["warnings"]), "should be looked at"),
            ("infos", count(summary["infos"]), "good to know"),
        ]
    )
    if not report["findings"]:
        st.success("Lint found nothing to complain about.")
        return
    finding_list(report["findings"], lambda f: _uploaded_row(uploaded, f), "file", summary["omitted"])


def _checked(uploaded: Upload) -> dict[str, Any]:
    """The lint report of an upload, made once a file."""
    kept = st.session_state.get("data-checked")
    if kept is None or kept[0] != uploaded.file_id:
        with laid_out(uploaded) as path:
            report = lint([path]).as_dict(_MOST_FINDINGS)
        for part in (*report["files"], *report["findings"]):
            part["path"] = safe_name(uploaded)
        kept = st.session_state["data-checked"] = (uploaded.file_id, report)
    return dict(kept[1])


def _uploaded_row(uploaded: Upload, finding: Mapping[str, Any]) -> Marked | None:
    with laid_out(uploaded) as path:
        return marked(Source(path, None), finding["line"], finding.get("column"), finding.get("where"))


if __name__ == "__main__":
    show(chosen() if "run" in st.session_state else None)
