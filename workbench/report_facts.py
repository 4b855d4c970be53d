"""The report's facts: the data set and how everything was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from . import card as words
from .document import Block, Cell, Table, Text
from .records import Verdict
from .runs import Run


def data_blocks(run: Run) -> Iterator[Block]:
    """The data set: rows, splits, tokens and their price, and what the linter found, by rule."""
    rows = run.meta().get("dataset", {}).get("rows")
    splits, cost, lint = run.splits(), run.cost(), run.lint()
    facts: list[tuple[str, str]] = []
    if rows is not None:
        facts.append(("rows", words.count(rows)))
    if folds := run.folds():
        facts.append(("split", f"{len(folds)} folds, each tested by what was fitted on the others"))
    elif splits is not None:
        facts.append(("split", words.DOT.join(f"{name} {len(ids):,}" for name, ids in splits.items())))
    if cost is not None:
        facts += list(_bill(cost))
    if facts:
        yield Table(("data set", ""), tuple(facts), numeric=9)
    findings = run.findings()
    if lint is not None and not findings:
        yield Text("The linter found nothing.")
    if findings:
        yield Table(
            ("rule", "severity", "found", "first places", "what it says"),
            tuple(_by_rule(findings)),
            numeric=9,
        )
    omitted = ((lint or {}).get("summary") or {}).get("omitted")
    if omitted:
        yield Text(f"{words.count(omitted, 'finding')} more were counted but not kept.", "note")


def _bill(cost: dict[str, Any]) -> Iterator[tuple[str, str]]:
    tokens = cost.get("tokens") or {}
    if tokens:
        exact = "" if cost.get("exact") else " (estimated)"
        parts = [f"{name} {value:,}" for name, value in tokens.items() if isinstance(value, int)]
        yield "tokens", f"{words.DOT.join(parts)}{exact}, counted by {cost.get('tokenizer')}"
    if cost.get("billable_tokens") is not None:
        yield "billable", f"{words.count(cost['billable_tokens'], 'token')} in {cost.get('epochs')} epochs"
    price, bill = cost.get("price") or {}, cost.get("usd")
    if bill:
        total = words.DOT.join(
            f"{name} {words.usd(value)}" for name, value in bill.items() if value is not None
        )
        yield (
            "price",
            f"{total} ({price.get('certainty')}, {price.get('source')}, as of {price.get('as_of')})",
        )
    else:
        yield "price", f"unknown: {cost.get('reason') or 'no reason given'}"


def _by_rule(findings: list[dict[str, Any]]) -> Iterator[tuple[str | Cell, ...]]:
    rules: dict[str, list[dict[str, Any]]] = {}
    for finding in findings:
        rules.setdefault(finding["code"], []).append(finding)
    severity = ("error", "warning", "info")
    for code, found in sorted(
        rules.items(), key=lambda r: (severity.index(r[1][0]["severity"]), -len(r[1]), r[0])
    ):
        first = found[0]
        places = [f"{f['path']}:{f['line']}" if f.get("line") else str(f["path"]) for f in found[:3]]
        more = f" and {len(found) - 3:,} more" if len(found) > 3 else ""
        yield (
            Cell(code, first["name"]),
            first["severity"],
            f"{len(found):,}",
            ", ".join(places) + more,
            Cell(first["message"], first.get("help") or ""),
        )


def measured_blocks(run: Run, scores: Mapping[str, Any], verdict: Verdict | None) -> Iterator[Block]:
    """Everything needed to measure it again: models, decoding, hardware, signatures, seeds, versions, hashes."""
    found = [(name, run.contender(name)) for name in run.contenders()]
    rows = [_setting(name, contender) for name, contender in found if contender is not None]
    if rows:
        yield Table(("contender", "model", "decoding", "hardware", "fingerprints"), tuple(rows), numeric=9)
    signed = dict.fromkeys(
        (metric, score["signature"]) for s in scores.values() for metric, score in s["metrics"].items()
    )
    if signed:
        yield Table(("metric", "signature"), tuple((words.metric_label(m), s) for m, s in signed), numeric=9)
    yield Table(("run", ""), tuple((k, v) for k, v in _facts(run.meta(), verdict) if v), numeric=9)
    yield Text(
        "Intervals are 95 % intervals over the test samples, over their groups where samples belong together. "
        "Contenders are compared on the same samples, pair by pair. A failed request is not a wrong answer: "
        "it is counted on its own. p tests a difference of zero and does not decide.",
        "note",
    )


def _setting(name: str, contender: dict[str, Any]) -> tuple[str | Cell, ...]:
    backend, model = contender.get("backend") or {}, contender.get("model") or {}
    decoding = [f"{backend['max_new_tokens']} tokens at most" if "max_new_tokens" in backend else ""]
    decoding += [f"{key} {backend[key]}" for key in ("dtype", "device") if key in backend]
    hardware = ", ".join(f"{k} {v}" for k, v in (contender.get("hardware") or {}).items())
    prints = {
        "settings": contender.get("hash"),
        "template": contender.get("template"),
        "adapter": contender.get("adapter"),
    }
    short = words.DOT.join(f"{k} {str(v)[:12]}" for k, v in prints.items() if v)
    revision = model.get("revision") or (model.get("sha256") or "")[:12]
    status = contender.get("status", "")
    return (
        Cell(name, "" if status == "success" else status),
        Cell(str(model.get("name") or backend.get("model") or "none"), str(revision)),
        Cell(str(backend.get("kind", "")), ", ".join(filter(None, decoding))),
        Cell(hardware, words.seconds(contender["seconds"]) if contender.get("seconds") is not None else ""),
        short,
    )


def _facts(meta: dict[str, Any], verdict: Verdict | None) -> Iterator[tuple[str, str]]:
    decision = meta.get("decision") or {}
    yield "task", str(meta.get("task", ""))
    yield "seed", str(meta.get("seed", ""))
    if verdict is not None:
        yield "training seeds", str(verdict.seeds)
        yield "margin", words.gap(verdict.margin, verdict.metric, words.digits_for(verdict))
    plainly = {k: v for k, v in decision.items() if v is not None and not isinstance(v, dict)}
    yield "decision settings", words.DOT.join(f"{k} {v}" for k, v in plainly.items())
    history = len(meta.get("decision_history") or ())
    yield "changed since", words.count(history, "time") if history else ""
    for name, digest in (meta.get("dataset", {}).get("files") or {}).items():
        yield f"sha256 of {name}", digest
    yield "versions", words.DOT.join(f"{k} {v}" for k, v in (meta.get("versions") or {}).items())
