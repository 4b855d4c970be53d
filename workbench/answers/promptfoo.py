"""promptfoo: the JSON (or JSON Lines) that `promptfoo eval -o` wrote; each provider × prompt is a contender.

`error` of a result also holds the words of a failed assertion; only an error of the provider makes a
failed answer here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .source import Source, json_rows, parse
from .types import Answer, Answers, AnswersError, as_object, as_text, number, numbered, score_columns, whole

_ROW = {"provider", "vars"}
_ROW_TOO = {"response", "gradingResult", "promptIdx", "testIdx"}
# Assertions that compare with an expected text.
_EXPECTING = [
    "equals",
    "contains",
    "icontains",
    "starts-with",
    "similar",
    "levenshtein",
    "rouge-n",
    "bleu",
    "gleu",
    "meteor",
    "factuality",
]
_ANSWER_NAMES = ("reference", "references", "expected", "answer", "target", "ideal", "label", "output")
_QUESTION_NAMES = ("input", "question", "prompt", "query", "text", "message")
_PLACE = re.compile(r"{{\s*(\w+)\s*}}")
_PROVIDER_FAILED = 2


def matches(source: Source) -> bool:
    """Whether this is an export of promptfoo."""
    if source.kind == "rows":
        return source.keys >= _ROW and bool(source.keys & _ROW_TOO)
    if source.kind != "object":
        return False
    results = _results(source.first)
    return (bool(results) and isinstance(results[0], dict) and results[0].keys() >= _ROW) or (
        source.keys >= _ROW and bool(source.keys & _ROW_TOO)
    )


def read(source: Source) -> tuple[Answers, ...]:
    """Read all contenders of an export, in the order they come. Raises AnswersError."""
    results: Sequence[Any]
    if source.kind == "rows" or source.keys >= _ROW:
        results = [row for _, row in json_rows(source.path)]
    else:
        results = _results(source.first or parse(source.path.read_bytes(), str(source.path)))
    by_contender: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for index, row in enumerate(results):
        if not isinstance(row, dict) or not isinstance(row.get("vars"), dict) or "provider" not in row:
            raise AnswersError(
                f"{source.name}: result {index + 1} of promptfoo holds no `vars` or no `provider`."
            )
        by_contender.setdefault((_provider(row), _prompt(row)), []).append(row)
    names = _names(by_contender)
    return tuple(_answers(names[key], rows) for key, rows in by_contender.items())


def _results(value: Any) -> list[Any]:
    """The list of results: under results.results, or results itself in older exports."""
    found = value.get("results") if isinstance(value, dict) else None
    if isinstance(found, dict):
        found = found.get("results")
    return found if isinstance(found, list) else []


def _provider(row: Mapping[str, Any]) -> str:
    given = row["provider"]
    if isinstance(given, dict):
        return str(given.get("label") or given.get("id"))
    return str(given)


def _prompt(row: Mapping[str, Any]) -> str:
    given = row.get("prompt")
    label = given.get("label") or given.get("raw") if isinstance(given, dict) else given
    return str(row.get("promptId") or label)


def _names(keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """A contender is called by its provider, and by its prompt's number where there are several."""
    listed = list(keys)
    prompts = list(dict.fromkeys(prompt for _, prompt in listed))
    if len(prompts) == 1:
        return {key: key[0] for key in listed}
    return {key: f"{key[0]}/{prompts.index(key[1]) + 1}" for key in listed}


def _answers(name: str, rows: Sequence[dict[str, Any]]) -> Answers:
    answers = numbered([_answer(row) for row in rows])
    scores, notes = score_columns([_scores(row) for row in rows], [a.error is not None for a in answers])
    return Answers(
        name=name, rows=answers, format="promptfoo", scores=scores, model=_provider(rows[0]), notes=notes
    )


def _scores(row: Mapping[str, Any]) -> dict[str, object]:
    grading = as_object(row.get("gradingResult"))
    return {
        "score": row.get("score", grading.get("score")),
        "pass": row.get("success", grading.get("pass")),
        **as_object(row.get("namedScores") or grading.get("namedScores")),
    }


def _answer(row: Mapping[str, Any]) -> Answer:
    response, test = as_object(row.get("response")), as_object(row.get("testCase"))
    metadata = as_object(test.get("metadata")) | as_object(row.get("metadata"))
    variables = {k: v for k, v in row["vars"].items() if not k.startswith("_") and k != "sessionId"}
    output, error = response.get("output"), _error(row, response)
    tokens = as_object(response.get("tokenUsage"))
    own = variables.get("id", metadata.get("id"))
    content = hashlib.sha256(json.dumps(variables, sort_keys=True).encode()).hexdigest()[:12]
    milliseconds = None if response.get("cached") else number(row.get("latencyMs"))
    group = metadata.get("group", variables.get("group"))
    return Answer(
        id=content if own is None else as_text(own),
        content=content,
        input=_question(variables),
        aliases=tuple(v for v in variables.values() if isinstance(v, str) and v),
        prediction=None if error or output is None else as_text(output),
        references=_references(test.get("assert"), variables),
        group=None if group is None else as_text(group),
        tags={k: v for k, v in metadata.items() if isinstance(v, str) and k not in ("id", "group")},
        prompt_tokens=whole(tokens.get("prompt")),
        completion_tokens=whole(tokens.get("completion")),
        seconds=None if milliseconds is None or error else milliseconds / 1000,
        usd=None if error else number(response.get("cost")),
        finish_reason=_reason(response.get("finishReason")),
        error=error,
    )


def _error(row: Mapping[str, Any], response: Mapping[str, Any]) -> str | None:
    """What the provider failed with; a failed assertion is no error."""
    told = response.get("error") or row.get("error")
    failed = response.get("error") or row.get("failureReason") == _PROVIDER_FAILED
    if failed or response.get("output") is None:
        return as_text(told or "promptfoo kept no output")
    return None


def _reason(given: object) -> str | None:
    return {"max_tokens": "length", "MAX_TOKENS": "length"}.get(str(given), str(given)) if given else None


def _question(variables: Mapping[str, Any]) -> str | None:
    """The variable that asks: one of the usual names, else the only one that is not the answer, else all of them."""
    named = next((variables[name] for name in _QUESTION_NAMES if name in variables), None)
    if named is not None:
        return as_text(named)
    rest = {k: v for k, v in variables.items() if k not in (*_ANSWER_NAMES, "id", "group")}
    if len(rest) == 1:
        return as_text(next(iter(rest.values())))
    return "\n".join(f"{k}: {as_text(v)}" for k, v in rest.items()) or None


def _references(asserted: object, variables: Mapping[str, Any]) -> tuple[str, ...]:
    """Expected texts: of the assertions that name one, else the variable that is called like an answer."""
    found: list[str] = []
    for one in asserted if isinstance(asserted, list) else []:
        if isinstance(one, dict) and one.get("type") in _EXPECTING:
            values = one.get("value") if isinstance(one.get("value"), list) else [one.get("value")]
            rendered = [_render(str(v), variables) for v in values or [] if isinstance(v, str | int | float)]
            found += [text for text in rendered if text is not None]
    if not found:
        named = next((variables[name] for name in _ANSWER_NAMES if name in variables), None)
        found = [as_text(v) for v in (named if isinstance(named, list) else [named]) if v is not None]
    return tuple(dict.fromkeys(found))


def _render(text: str, variables: Mapping[str, Any]) -> str | None:
    """An assertion's value with its plain `{{names}}` filled in; None where it is code or a file."""
    filled = _PLACE.sub(lambda m: as_text(variables[m[1]]) if m[1] in variables else m[0], text)
    hidden = "{{" in filled or "{%" in filled or filled.startswith(("file://", "javascript:", "python:"))
    return None if hidden else filled
