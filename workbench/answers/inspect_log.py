"""Inspect: a log as `.eval` (zip) or `.json`; a log is one contender, called `task/model`.

Of several epochs each is a row of its own, and the sample is their group: repeats of one question are
no independent samples.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from validators.examples import Message

from .archive import check_sizes, read_member
from .source import Source, parse
from .types import Answer, Answers, AnswersError, as_object, as_text, as_texts, number, score_columns, whole

_SAMPLE = re.compile(r"samples/[^/]+\.json")
_ATTACHMENT = "attachment://"
_CUT = ("max_tokens", "model_length")


def matches(source: Source) -> bool:
    """Whether this is a log of Inspect."""
    if source.kind == "object":
        return {"status", "eval"} <= source.keys and isinstance((source.first or {}).get("eval"), dict)
    return source.kind == "zip" and bool(source.keys & {"header.json", "_journal/start.json"})


def read(source: Source) -> tuple[Answers, ...]:
    """Read a log. Raises AnswersError."""
    if source.kind == "zip":
        with zipfile.ZipFile(source.path) as archive:
            check_sizes(archive, source.name)
            start = "header.json" if "header.json" in source.keys else "_journal/start.json"
            header = _object(archive, start, source.name)
            names = [n for n in dict.fromkeys(archive.namelist()) if _SAMPLE.fullmatch(n)]
            return (_answers(header, (_object(archive, n, source.name) for n in names), source.name),)
    log = source.first
    return (_answers(log, samples if isinstance(samples := log.get("samples"), list) else (), source.name),)


def _object(archive: zipfile.ZipFile, member: str, name: str) -> dict[str, Any]:
    value = parse(read_member(archive, member, name), f"{name}: {member}")
    if not isinstance(value, dict):
        raise AnswersError(f"{name}: {member} is no JSON object.")
    return value


def _answers(header: Mapping[str, Any], samples: Iterable[Any], name: str) -> Answers:
    about = as_object(header.get("eval"))
    model, task = str(about.get("model")), str(about.get("task"))
    rows, scores, epochs = [], [], []
    for index, sample in enumerate(samples, 1):
        if not isinstance(sample, dict) or sample.get("id") is None:
            raise AnswersError(f"{name}: sample {index} has no id.")
        rows.append(_answer(sample, model))
        scores.append(_scores(sample))
        epochs.append(sample.get("epoch", 1))
    if not rows:
        raise AnswersError(
            f"{name}: this log of Inspect holds no samples (status {header.get('status', 'started')}). "
            "Was it written with log_samples off?"
        )
    columns, notes = score_columns(scores, [row.error is not None for row in rows])
    if header.get("status") not in ("success", None):
        notes += (f"the log's status is {header['status']}: samples may be missing",)
    if len(set(epochs)) > 1:
        rows = [
            msgspec.structs.replace(row, id=f"{row.id}#{epoch}", group=row.group or row.id)
            for row, epoch in zip(rows, epochs, strict=True)
        ]
    return Answers(
        name=f"{task}/{model}", rows=tuple(rows), format="inspect", scores=columns, model=model, notes=notes
    )


def _answer(sample: Mapping[str, Any], model: str) -> Answer:
    attached, output = as_object(sample.get("attachments")), as_object(sample.get("output"))
    given = output.get("choices")
    choices = given if isinstance(given, list) else []
    choice = as_object(choices[0]) if choices else {}
    reply = as_object(choice.get("message"))
    said = output.get("completion") or _text(reply.get("content"), attached)
    error = _error(sample) or (None if choices or said else "the model gave no output")
    messages = _messages(sample.get("input"), attached)
    metadata = as_object(sample.get("metadata"))
    group = metadata.get("group")
    reason = choice.get("stop_reason")
    return Answer(
        id=as_text(sample["id"]),
        input=next((m.text for m in reversed(messages) if m.role == "user"), None),
        messages=messages,
        prediction=None if error else _resolved(as_text(said), attached),
        references=as_texts(sample.get("target")),
        group=None if group is None else as_text(group),
        tags={k: v for k, v in metadata.items() if isinstance(v, str) and k != "group"},
        tool_calls=tuple(
            {"id": c.get("id"), "name": c.get("function"), "arguments": c.get("arguments")}
            for c in _objects(reply.get("tool_calls"))
        ),
        seconds=None if error else number(sample.get("working_time", sample.get("total_time"))),
        finish_reason="length" if reason in _CUT else reason if isinstance(reason, str) else None,
        error=error,
        **_usage(sample.get("model_usage"), model),
    )


def _usage(used: object, model: str) -> dict[str, Any]:
    """Tokens and USD of the model that answered; a grader's own tokens are not counted."""
    usage = as_object(as_object(used).get(model))
    return {
        "prompt_tokens": whole(usage.get("input_tokens")),
        "completion_tokens": whole(usage.get("output_tokens")),
        "usd": number(usage.get("total_cost")),
    }


def _error(sample: Mapping[str, Any]) -> str | None:
    error = sample.get("error")
    if error:
        return as_text(error.get("message") if isinstance(error, dict) else error)
    return "the sample was invalidated" if sample.get("invalidation") else None


def _scores(sample: Mapping[str, Any]) -> dict[str, object]:
    """Each scorer's value; one that gives several values counts as `scorer.value`."""
    given = sample.get("scores") or ({"score": sample["score"]} if sample.get("score") else {})
    flat: dict[str, object] = {}
    for name, score in as_object(given).items():
        value = score.get("value") if isinstance(score, dict) else score
        if isinstance(value, dict):
            flat |= {f"{name}.{key}": one for key, one in value.items()}
        else:
            flat[name] = value
    return flat


def _messages(given: object, attached: Mapping[str, Any]) -> tuple[Message, ...]:
    if isinstance(given, str):
        return (Message("user", _resolved(given, attached)),)
    return tuple(Message(str(m.get("role")), _text(m.get("content"), attached)) for m in _objects(given))


def _text(content: object, attached: Mapping[str, Any]) -> str:
    """A message's text: its text parts joined; reasoning, pictures and the like are left out."""
    if isinstance(content, str):
        return _resolved(content, attached)
    found = [part.get("text") for part in _objects(content) if part.get("type") == "text"]
    return "".join(_resolved(text, attached) for text in found if isinstance(text, str))


def _objects(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _resolved(text: str, attached: Mapping[str, Any]) -> str:
    """Long texts are kept once, as attachments, and referred to by their hash."""
    if not text.startswith(_ATTACHMENT):
        return text
    return as_text(attached.get(text.removeprefix(_ATTACHMENT), text))
