"""What the columns of a table mean, by their names and values: question, answer, group, slices, references."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from validators.findings import quoted
from validators.reading import Row
from validators.suggest import did_you_mean

from .sections import Columns

# The likeliest names first; case, spaces and hyphens do not count.
INPUTS = (
    "question", "prompt", "input", "instruction", "query", "user_message", "user", "message", "request", "ticket",
    "utterance", "text", "sentence", "body", "content", "email", "review", "comment", "document", "article",
    "passage", "description", "title", "source", "problem",
)  # fmt: skip
OUTPUTS = (
    "answer", "output", "completion", "response", "reply", "label", "label_text", "class", "category", "target",
    "answers", "intent", "sentiment", "topic", "tag", "summary", "translation", "solution", "expected", "reference",
    "assistant", "result", "department", "priority",
)  # fmt: skip
# What is put before the question where a table has it, and what follows an instruction.
CONTEXTS = ("context", "passage")
OTHER_FORMS = {
    "conversations": "ShareGPT conversations",
    "chosen": "preference pairs",
    "contents": "Gemini contents",
}
# Rows that share such a column's value tell of one another: they belong on one side of the split.
GROUPS = re.compile(
    r"(^|_)(customer|user|client|account|patient|student|author|speaker|conversation|session|thread|dialog|"
    r"dialogue|case|order|household|company|document|doc|article)(_?(id|no|nr|number|name|key|hash|uuid))?$"
)
REFERENCES = ("references", "answers", "accepted_answers", "all_answers", "aliases")
# Names that a template can hold as they are.
_PLAIN = re.compile(r"[A-Za-z0-9_ -]+")


class ProposalError(ValueError):
    """No experiment can be proposed for this data; the message says why and what to do."""


class ColumnsUnknown(ProposalError):
    """The table's columns do not tell which holds the question and which the answer."""

    def __init__(self, message: str, names: tuple[str, ...]) -> None:
        super().__init__(message)
        self.names = names


def is_chat(rows: Sequence[Row]) -> bool:
    """Whether the rows are chats already: any with messages makes the file one of chats."""
    return any("messages" in row.value for row in rows)


def find_columns(rows: Sequence[Row], input: str | None = None, output: str | None = None) -> Columns | None:
    """The mapping from table rows to chats, None where the rows are chats.

    Raises ColumnsUnknown where names do not tell, ProposalError for a column that is not there.
    """
    if is_chat(rows):
        if input or output:
            raise ProposalError(
                "the rows are chats already (they have messages): leave out --input and --output."
            )
        return None
    names = tuple(dict.fromkeys(name for row in rows for name in row.value))
    for flag, given in (("--input", input), ("--output", output)):
        if given is not None and given not in names:
            near = did_you_mean(given, names)
            raise ProposalError(
                f"{flag}: there is no column {quoted(given)}; there are {_listed(names)}.{near}"
            )
    usable = [name for name in names if all(_is_cell(row.value.get(name)) for row in rows)]
    output = output or _first(OUTPUTS, [name for name in usable if name != input])
    questions = [name for name in names if name != output and _is_text(rows, name)]
    template = None if input else _template(questions)
    input = input or _first(INPUTS, questions)
    if output is None or input is None:
        form = next((f" (they look like {what})" for key, what in OTHER_FORMS.items() if key in names), "")
        missing = " and ".join(
            what for what, found in (("the question", input), ("the answer", output)) if not found
        )
        raise ColumnsUnknown(
            f"cannot tell which column holds {missing}{form}; there are {_listed(names)}. "
            "Name them: --input COLUMN --output COLUMN.",
            names,
        )
    if input == output:
        raise ProposalError(f"--input and --output are both {quoted(input)}; name two columns.")
    return Columns(template=template, output=output) if template else Columns(input=input, output=output)


def find_group(metadata: Sequence[Mapping[str, Any]], wish: str | None) -> tuple[str | None, str]:
    """The column to split by (`metadata.customer`) and why: the wish, or one whose values repeat sensibly.

    Raises ProposalError where the wish is not in every row.
    """
    keys = [key for key in _common_keys(metadata) if "." not in key]
    if wish is not None:
        path = wish if wish.startswith("metadata.") else f"metadata.{wish}"
        if not all(_holds(row, path.split(".")[1:]) for row in metadata):
            near = did_you_mean(path.removeprefix("metadata."), keys)
            raise ProposalError(
                f"--group-by: not every row has the column {quoted(wish)}; all have {_listed(keys)}.{near}"
            )
        return path, "as asked"
    for key in keys:
        values = [row[key] for row in metadata]
        if not GROUPS.search(_folded(key)) or not all(isinstance(v, str | int) for v in values):
            continue
        sizes = Counter(str(value) for value in values)
        most = max(sizes.values())
        if 5 <= len(sizes) < len(values) and most <= len(values) / 5:
            why = f"{len(sizes)} values, up to {most} rows each, which stay on one side of the split"
            return f"metadata.{key}", why
    return None, "no column names a customer, user or conversation that repeats"


def find_slices(metadata: Sequence[Mapping[str, Any]], group_by: str | None) -> tuple[str, ...]:
    """Up to three columns with a few common values: scores are worth showing for each value."""
    found = []
    for key in _common_keys(metadata):
        values = [row[key] for row in metadata]
        if "." in key or f"metadata.{key}" == group_by or not all(isinstance(v, str | bool) for v in values):
            continue
        sizes = Counter(str(value) for value in values)
        shown = all(value.strip() and len(value) <= 40 for value in sizes)
        if shown and 2 <= len(sizes) <= 8 and min(sizes.values()) >= max(5, len(values) / 25):
            found.append(f"metadata.{key}")
    return tuple(found[:3])


def find_references(metadata: Sequence[Mapping[str, Any]]) -> str | None:
    """The column that lists further right answers in every row."""
    return next(
        (f"metadata.{key}" for key in REFERENCES if all(_texts(row.get(key)) for row in metadata)), None
    )


def _template(names: Sequence[str]) -> str | None:
    """Instruction and input (Alpaca's form), or passage and question: two columns make the question."""
    instruction, more = _first(("instruction",), names), _first(("input",), names)
    if instruction and more:
        return _joined(instruction, more)
    context, question = _first(CONTEXTS, names), _first(("question", "query"), names)
    return _joined(context, question) if context and question else None


def _joined(first: str, second: str) -> str | None:
    return f"{{{first}}}\n\n{{{second}}}" if _PLAIN.fullmatch(first) and _PLAIN.fullmatch(second) else None


def _first(wanted: Sequence[str], names: Sequence[str]) -> str | None:
    folded = {_folded(name): name for name in reversed(names)}
    return next((folded[name] for name in wanted if name in folded), None)


def _is_text(rows: Sequence[Row], name: str) -> bool:
    """Text in every row, and not empty in all of them (as Alpaca's `input` can be)."""
    cells = [row.value.get(name) for row in rows]
    return all(isinstance(cell, str) for cell in cells) and any(str(cell).strip() for cell in cells)


def _is_cell(value: object) -> bool:
    """Text, a number, or several texts: what can be an answer."""
    return isinstance(value, str | int | float) or _texts(value)


def _texts(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)


def _common_keys(metadata: Sequence[Mapping[str, Any]]) -> list[str]:
    return [key for key in metadata[0] if all(key in row for row in metadata)]


def _holds(value: Any, path: Sequence[str]) -> bool:
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return False
        value = value[key]
    return True


def _folded(name: str) -> str:
    """customerId, Customer ID and customer-id as customer_id."""
    return re.sub(r"[\s-]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip())).casefold()


def _listed(names: Sequence[str]) -> str:
    return ", ".join(quoted(name) for name in names[:30]) + (", …" if len(names) > 30 else "") or "none"
