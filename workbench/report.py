"""The report: everything a run folder says, on one page, as HTML and as Markdown.

It reads the run folder alone and takes no clock, so the same folder gives the same bytes. A run that is
not done gives a report of what is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from validators.redaction import Placeholders

from . import card as words
from .charts_money import cost_quality_chart
from .checkup import examine
from .comparisons import comparison_now
from .document import (
    Beside,
    Block,
    Card,
    Cell,
    Document,
    Figure,
    Section,
    Table,
    Text,
    html,
    markdown,
    masked,
)
from .experiment import Experiment, readable_experiment
from .human import scores_now
from .records import ContenderSummary, Verdict
from .report_choices import choice_blocks, diagnostic_blocks
from .report_facts import data_blocks, measured_blocks
from .report_figures import figures
from .report_harm import harm_blocks
from .report_money import money_rows
from .report_samples import Mask, sample_blocks
from .report_scores import Scores, higher_is_better, measured_apart, score_blocks
from .runs import Run

_RESUME = "Run the same experiment again: it goes on where it stopped, and nothing finished is asked twice."
_STATUS = {
    "started": f"The run has not finished; this is what is there so far. {_RESUME}",
    "cancelled": f"The run was stopped; this is what is there. {_RESUME}",
    "error": f"The run ended with an error; this is what is there. {_RESUME}",
    "success": "The contenders are done, but no verdict was written.",
}


def write_report(run: Run, *, redact: bool = False, verdict: Verdict | None = None) -> tuple[Path, Path]:
    """Write report.html and report.md into the run folder and return their paths. Raises RunError.

    `verdict` is the one that stands now, where that is not the one on file. With `redact` personal data is masked, and the files are report.redacted.html and .md.
    """
    mask = Placeholders().redact if redact else str
    document, kind = report(run, mask, verdict), "redacted." if redact else ""
    if redact:
        document = masked(document, mask)
    return run.write_report(f"{kind}html", html(document)), run.write_report(f"{kind}md", markdown(document))


def report(run: Run, mask: Mask = str, verdict: Verdict | None = None) -> Document:
    """What the report says, before it becomes HTML or Markdown. Raises RunError for a damaged folder.

    `mask` is what texts go through before they are cut; `verdict` is the one on file where none is given.
    """
    meta, verdict, experiment = run.meta(), verdict or run.verdict(), readable_experiment(run)
    scores = _scores(run, experiment)
    primary = verdict.metric if verdict else _primary(experiment, scores)
    contenders = verdict.contenders if verdict else _summaries(run, scores, primary)
    sections = (
        Section("scores", "Scores", tuple(score_blocks(scores, contenders, primary, verdict))),
        Section("differences", "Differences", tuple(_differences(run, experiment))),
        Section("choices", "How options were chosen", tuple(choice_blocks(run))),
        Section("diagnostics", "Retrieval or generation?", tuple(diagnostic_blocks(run, primary))),
        Section("harm", "Harm", tuple(harm_blocks(verdict))),
        Section("cost", "Cost and speed", tuple(_cost(scores, contenders, primary, verdict))),
        Section("training", "Training", tuple(_training(run))),
        Section(
            "examples", "Where answers differ", tuple(sample_blocks(run, scores, contenders, primary, mask))
        ),
        Section("data", "Data", tuple(data_blocks(run))),
        Section("measured", "How it was measured", tuple(measured_blocks(run, scores, verdict))),
    )
    title = f"{meta.get('experiment', run.name)}: decision report"
    foot = f"{run.name} · begun {_when(meta, 'created')} · last written {_when(meta, 'updated')}"
    return Document(title, (_card(run, meta, verdict),), tuple(s for s in sections if s.blocks), foot)


# -- the card ------------------------------------------------------------------------------------


def _card(run: Run, meta: dict[str, Any], verdict: Verdict | None) -> Card:
    if verdict is not None:
        rows = tuple(words.card(verdict))
        head = words.headline(verdict)
        return Card(verdict.headline, head, words.subtitle(verdict), verdict.sentence, rows)
    status = meta.get("status", "started")
    done = [name for name in run.contenders() if run.scores(name) is not None]
    waiting = [name for name in meta.get("contenders", []) if name not in done]
    rows = (
        ("error", str(meta.get("error") or "")),
        ("scored", words.DOT.join(done)),
        ("waiting", words.DOT.join(waiting)),
        ("next", "workbench run EXPERIMENT"),
    )
    tone = "error" if status == "error" else "cant-tell"
    sentence = _STATUS.get(status, _STATUS["started"])
    name = str(meta.get("experiment", run.name))
    return Card(tone, "NO VERDICT YET", name, sentence, tuple(row for row in rows if row[1]))


def _differences(run: Run, experiment: Experiment | None) -> Iterator[Block]:
    comparison = run.comparison() if experiment is None else comparison_now(run, experiment)
    if comparison is None:
        return
    rows = tuple(
        (
            words.metric_label(metric),
            f"{row['tuned']} {words.MINUS} {row['against']}",
            _gap(row["difference"], metric),
            words.p_value(row.get("p_holm", row["difference"]["p"])).removeprefix("p ") or "none",
            row["conclusion"],
            row["difference"]["method"],
        )
        for metric, found in comparison["metrics"].items()
        for row in found
    )
    if rows:
        yield Table(("metric", "difference", "estimate", "p", "conclusion", "method"), rows, numeric=9)
        yield Text(
            "Differences are in the metric's own unit; the conclusion takes its direction into account. "
            "p values of secondary metrics carry Holm's correction.",
            "note",
        )


def _gap(difference: dict[str, Any], metric: str) -> Cell:
    estimate, ends = difference["estimate"], difference["interval"]
    if estimate is None:
        return Cell("no value", difference.get("reason") or "no reason given")
    span = words.interval(ends, metric, 3, signed=True)
    return Cell(words.gap(estimate, metric, 3), span or difference.get("reason") or "no interval")


# -- cost and training ---------------------------------------------------------------------------


def _cost(
    scores: Scores,
    contenders: Sequence[ContenderSummary],
    primary: str | None,
    verdict: Verdict | None,
) -> Iterator[Block]:
    rows: list[tuple[str | Cell, ...]] = []
    # The verdict's prices include local seconds at the price of the machine's hour.
    prices = {c.name: c.usd_per_1000 for c in contenders}
    for name, found in scores.items():
        seen = found["operations"]
        tokens = [seen.get("prompt_tokens"), seen.get("completion_tokens")]
        price = prices.get(name, seen.get("usd_per_1000"))
        rows.append(
            (
                name,
                Cell(words.usd(price), "no price known" if price is None else ""),
                words.seconds(seen.get("seconds_per_request")),
                words.seconds(seen.get("seconds_p95")),
                *("unknown" if t is None else f"{t:,.0f}" for t in tokens),
            )
        )
    if rows:
        head = ("contender", "USD per 1,000", "time a request", "p95 time", "prompt tokens", "answer tokens")
        yield Table(head, tuple(rows))
    beside: list[Text | Table | Figure] = []
    if primary is not None and not measured_apart(scores, primary):
        higher = higher_is_better(scores, primary, verdict)
        points = (
            lambda _: cost_quality_chart(contenders, primary, higher_is_better=higher),
            f"Score against cost: better and cheaper lies {'up' if higher else 'down'} and to the left.",
        )
        beside += figures(points)
    if verdict is not None and verdict.costs:
        beside.append(Table(("what tuning takes", ""), tuple(money_rows(verdict))))
    if beside:
        yield Beside(tuple(beside))


def _training(run: Run) -> Iterator[Block]:
    for name in run.contenders():
        log, training = run.training(name), (run.contender(name) or {}).get("training") or {}
        beside: list[Text | Table | Figure] = []
        if log:
            best = training.get("best_step")
            curve = (
                lambda c, log=log, best=best: c.loss_chart(log, best_step=best),
                f"Training of {name}: loss on the training split and, where measured, on the dev split.",
            )
            beside += figures(curve)
        if training:
            beside.append(Table((name, ""), tuple(_trained(training, log))))
        if beside:
            yield Beside(tuple(beside))
        for symptom in examine(log, run.contender(name)):
            yield Text(f"{name}: {symptom}", "warning")


def _trained(training: dict[str, Any], log: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    labels = {"examples": "examples", "trained_tokens": "trained tokens", "steps": "optimizer steps"}
    for key, label in labels.items():
        if training.get(key) is not None:
            yield label, words.count(training[key])
    best = training.get("best_step")
    yield "kept", f"step {best}" if best is not None else "the last step"
    yield "time", words.seconds(training.get("seconds"))
    peaks = [row["memory_mb"] for row in log if row.get("memory_mb") is not None]
    if peaks:
        yield "peak memory", f"{max(peaks):,.0f} MB"


# -- shared --------------------------------------------------------------------------------------


def _scores(run: Run, experiment: Experiment | None) -> Scores:
    """The scores of every contender that races, by the ratings that count now."""
    now = {} if experiment is None else dict(scores_now(run, experiment))
    racing = [name for name in run.contenders() if not (run.contender(name) or {}).get("diagnostic")]
    return {name: found for name in racing if (found := now.get(name) or run.scores(name)) is not None}


def _primary(experiment: Experiment | None, scores: Scores) -> str | None:
    """The deciding metric of a run without verdict: as the experiment says, else the first one scored."""
    if experiment is not None:
        return experiment.primary
    return next((metric for found in scores.values() for metric in found["metrics"]), None)


def _summaries(run: Run, scores: Scores, primary: str | None) -> tuple[ContenderSummary, ...]:
    """What a verdict would say of each contender that has begun."""
    infos = {name: run.contender(name) or {"name": name} for name in run.contenders()}
    return tuple(
        _summary(info, scores.get(name, {}), primary)
        for name, info in infos.items()
        if not info.get("diagnostic")
    )


def _summary(contender: dict[str, Any], found: dict[str, Any], primary: str | None) -> ContenderSummary:
    score, seen = found.get("metrics", {}).get(primary, {}), found.get("operations", {})
    ends = score.get("interval")
    return ContenderSummary(
        name=contender["name"],
        kind=contender.get("kind", ""),
        tuned=bool(contender.get("tuned")),
        score=score.get("value"),
        interval=(ends[0], ends[1]) if ends else None,
        n=score.get("n", 0),
        errors=score.get("unscored", 0),
        reason=score.get("reason") or (None if score else _why_unscored(contender)),
        usd_per_1000=seen.get("usd_per_1000"),
        seconds_per_request=seen.get("seconds_per_request"),
    )


def _why_unscored(contender: dict[str, Any]) -> str:
    error = contender.get("error")
    return (
        f"it failed: {error}" if error else f"not scored yet ({contender.get('status') or 'unknown status'})"
    )


def _when(meta: dict[str, Any], key: str) -> str:
    return str(meta.get(key) or "at an unknown time")[:16].replace("T", " ")
