"""lm-evaluation-harness: a `samples_*.jsonl` that --log_samples wrote; each filter is a contender.

A row is one document under one filter. Multiple choice becomes the chosen option's text against the
right option's; a task of likelihoods alone has no text, its likelihood goes to `reference_nats`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .source import Source, json_rows
from .types import Answer, Answers, AnswersError, as_object, as_text, as_texts, number, score_columns

# Everything in a row that is no score.
_OWN = frozenset(
    [
        "doc_id",
        "doc",
        "target",
        "arguments",
        "resps",
        "filtered_resps",
        "filter",
        "metrics",
        "doc_hash",
        "prompt_hash",
        "target_hash",
    ]
)
_LOG_LIKELIHOOD_PAIRS = ("bits_per_byte", "byte_perplexity", "word_perplexity")
_DATE = re.compile(r"_\d{4}-\d\d-\d\dT[\d.-]+$")


def matches(source: Source) -> bool:
    """Whether the rows are samples of the harness."""
    return source.kind in ("rows", "object") and {"doc_id", "doc", "filtered_resps"} <= source.keys


def read(source: Source) -> tuple[Answers, ...]:
    """Read a file of samples: one `Answers` a filter. Raises AnswersError."""
    task = _DATE.sub("", source.path.stem.removeprefix("samples_"))
    by_filter: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for line, row in json_rows(source.path):
        missing = {"doc_id", "filtered_resps", "target"} - row.keys()
        if missing:
            raise AnswersError(
                f"{source.name}:{line}: a sample of lm-evaluation-harness lacks {', '.join(sorted(missing))}."
            )
        by_filter.setdefault(str(row.get("filter", "none")), []).append((line, row))
    return tuple(
        _answers(task if len(by_filter) == 1 else f"{task}/{name}", rows) for name, rows in by_filter.items()
    )


def _answers(name: str, rows: Sequence[tuple[int, dict[str, Any]]]) -> Answers:
    answers = tuple(_answer(line, row) for line, row in rows)
    given = [
        {key: value for key, value in row.items() if key not in _OWN and not isinstance(value, list | dict)}
        for _, row in rows
    ]
    scores, notes = score_columns(given, [False] * len(rows))
    pairs = sorted(
        {key for _, row in rows for key, value in row.items() if key not in _OWN and isinstance(value, list)}
        - set(_LOG_LIKELIHOOD_PAIRS)
    )
    if pairs:
        notes += (f"{', '.join(pairs)}: kept by the harness as lists for a whole corpus, no score a sample",)
    return Answers(name=name, rows=answers, format="lm-eval", scores=scores, notes=notes)


def _answer(line: int, row: Mapping[str, Any]) -> Answer:
    asked = _requests(row.get("arguments"))
    prompt = as_text(asked[0][0]) if asked and asked[0] else None
    common: dict[str, Any] = {
        "id": str(row["doc_id"]),
        "input": prompt,
        "content": row.get("doc_hash"),
        "aliases": tuple(
            dict.fromkeys(v for v in as_object(row.get("doc")).values() if isinstance(v, str) and v)
        ),
        "line": line,
    }
    filtered = row["filtered_resps"]
    listed = filtered if isinstance(filtered, list) else [filtered]
    likelihoods = [_likelihood(one) for one in listed]
    if listed and all(found is not None for found in likelihoods):
        nats = [float(found) for found in likelihoods if found is not None]
        if len(nats) > 1:
            return Answer(**common, **_choice(row, asked, nats))
        return Answer(**common, **_alone(row, -nats[0]))
    # Several generations under no choosing filter come as one list: the first stands for the sample.
    said = listed[0] if listed else None
    while isinstance(said, list):
        said = said[0] if said else None
    return Answer(
        **common,
        prediction=None if said is None else as_text(said),
        references=_references(row["target"]),
        error="the harness kept no answer" if said is None else None,
    )


def _requests(arguments: object) -> list[list[Any]]:
    """The arguments of each request, as the harness writes them now (objects) and wrote them (lists)."""
    listed = list(arguments.values()) if isinstance(arguments, dict) else arguments
    if not isinstance(listed, list):
        return []
    return [list(a.values()) if isinstance(a, dict) else a if isinstance(a, list) else [a] for a in listed]


def _likelihood(value: object) -> float | None:
    """The log-likelihood in `[ll, is_greedy]`, or in the bare text of one."""
    pair = isinstance(value, list) and len(value) == 2 and str(value[1]) in ("True", "False")
    text = value[0] if pair and isinstance(value, list) else value
    try:
        found = number(float(text)) if pair or _is_negative(text) else None  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return found


def _is_negative(value: object) -> bool:
    """A rolling log-likelihood is logged as text such as "-10.25"; an answer may be a number, hardly such a one."""
    return isinstance(value, str) and re.fullmatch(r"-\d+\.\d+(e[+-]?\d+)?", value) is not None


def _choice(
    row: Mapping[str, Any], asked: Sequence[Sequence[Any]], likelihoods: list[float]
) -> dict[str, Any]:
    # acc_mutual_info asks for every option once more, without the question.
    if "acc_mutual_info" in row and len(likelihoods) % 2 == 0:
        likelihoods = likelihoods[: len(likelihoods) // 2]
    options = [as_text(a[1]).strip() if len(a) > 1 else "" for a in asked[: len(likelihoods)]]
    if len(set(options)) < len(likelihoods):
        options = [str(i) for i in range(len(likelihoods))]
    best = max(range(len(likelihoods)), key=likelihoods.__getitem__)
    # The harness takes digits for the option's number even where an option reads the same.
    right = [
        options[int(t)] if t.isdigit() and int(t) < len(options) else t.strip()
        for t in _references(row["target"])
    ]
    return {"prediction": options[best], "references": tuple(right)}


def _alone(row: Mapping[str, Any], nats: float) -> dict[str, Any]:
    target = as_text(row["target"])
    counted = [row[key] for key in ("bits_per_byte", "byte_perplexity") if isinstance(row.get(key), list)]
    size = number(counted[0][1]) if counted and len(counted[0]) == 2 else None
    return {
        "references": (target,),
        "reference_nats": nats if nats >= 0 else None,
        "reference_bytes": int(size) if size else len(target.encode("utf-8", "replace")),
    }


def _references(target: object) -> tuple[str, ...]:
    """The targets: several are logged as the text of a Python list."""
    if isinstance(target, str) and target.startswith("[") and target.endswith("]"):
        try:
            read = ast.literal_eval(target)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return (target,)
        if isinstance(read, list) and read and all(isinstance(one, str | int | float) for one in read):
            return tuple(str(one) for one in read)
    return as_texts(target)
