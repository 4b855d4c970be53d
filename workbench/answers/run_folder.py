"""A run folder of ours, or one contender in it."""

from __future__ import annotations

from ..runs import Run
from .source import Source
from .types import Answer, Answers, AnswersError


def matches(source: Source) -> bool:
    """Whether this is a run folder or a contender's folder in one."""
    return source.kind in ("run", "contender")


def read(source: Source) -> tuple[Answers, ...]:
    """Every contender that has answered, or the one named. Raises RunError and AnswersError."""
    if source.kind == "contender":
        return (_answers(Run.open(source.path.parent.parent), source.path.name),)
    run = Run.open(source.path)
    found = tuple(_answers(run, name) for name in run.contenders() if run.predictions(name))
    if not found:
        raise AnswersError(f"{source.name}: no contender of this run has answered yet.")
    return found


def _answers(run: Run, name: str) -> Answers:
    samples = {s.id: s for s in run.samples()}
    rows = []
    for p in run.predictions(name):
        sample = samples.get(p.id)
        fields = {f: getattr(p, f) for f in p.__struct_fields__ if f in Answer.__struct_fields__}
        rows.append(
            Answer(
                **fields,
                input=sample.question if sample else None,
                messages=sample.messages if sample else (),
                tags=sample.tags if sample else {},
            )
        )
    info, stored = run.contender(name) or {}, run.scores(name) or {}
    at = {id_: i for i, id_ in enumerate(stored.get("ids", ()))}
    given = {
        metric: tuple(
            None if (row := score["rows"][at[r.id]] if r.id in at else None) is None else float(row[0])
            for r in rows
        )
        for metric, score in stored.get("metrics", {}).items()
        if len(score["columns"]) == 1
    }
    model = (info.get("model") or {}).get("name")
    return Answers(
        name=name,
        rows=tuple(rows),
        format="run",
        scores={k: v for k, v in given.items() if any(one is not None for one in v)},
        signatures={metric: score["signature"] for metric, score in stored.get("metrics", {}).items()},
        model=None if model is None else str(model),
    )
