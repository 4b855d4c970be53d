"""Data in: the experiment's files → examples → samples → train, dev and test, once or fold by fold."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from validators.examples import Example, ExampleError, Message, parse_example
from validators.personal import without_personal
from validators.reading import DataError, Row, read_rows, to_chat
from validators.redaction import redact_row
from validators.suggest import did_you_mean

from .experiment import Experiment
from .records import Sample
from .sections import Columns, Data
from .splits import SPLITS, fold_samples, split_samples


@dataclass(frozen=True, slots=True)
class Dataset:
    """The data of one experiment: rows as chats, samples, which split each is in, file hashes."""

    rows: dict[str, list[Row]]
    """Chat rows by file role: "all", or "train", "dev", "test"."""
    train: tuple[Sample, ...]
    dev: tuple[Sample, ...]
    test: tuple[Sample, ...]
    sha256: dict[str, str]
    conversations: dict[str, Example]
    """The whole training conversation of each training sample, by sample id; once a conversation."""

    @property
    def ids(self) -> dict[str, list[str]]:
        """Sample ids by split."""
        return {"train": _ids(self.train), "dev": _ids(self.dev), "test": _ids(self.test)}


def chat_rows(path: Path, columns: Columns | None) -> list[Row]:
    """Read a data file as chat rows; `columns` turns table rows into chats. Raises DataError."""
    rows = list(read_rows(path))
    if columns is None:
        return rows
    mapping = columns.model_dump()
    converted = []
    for row in rows:
        try:
            converted.append(Row(row.line, to_chat(row.value, **mapping)))
        except ValueError as error:
            raise DataError(f"{path}:{row.line}: {error}") from None
    return converted


def read_files(experiment: Experiment) -> tuple[dict[str, list[Row]], dict[str, str]]:
    """All chat rows by file role, and each file's sha256. Raises DataError."""
    hashes = hash_files(experiment)
    rows = {
        role: chat_rows(experiment.resolve(name), experiment.data.columns)
        for role, name in experiment.data.files.items()
    }
    return _redacted(experiment, rows) if experiment.personal_data == "redact" else rows, hashes


def _redacted(experiment: Experiment, rows: Mapping[str, Sequence[Row]]) -> dict[str, list[Row]]:
    """The rows with placeholders for personal data; a value has the same one in all files and in the corpus."""
    placeholders, found = experiment.placeholders, {}
    placeholders.leave_free(json.dumps(row.value).encode() for many in rows.values() for row in many)
    for role, many in rows.items():
        try:
            found[role] = [Row(row.line, redact_row(row.value, placeholders)) for row in many]
        except ValueError as error:
            raise DataError(f"{experiment.data.files[role]}: {error}") from None
    return found


def hash_files(experiment: Experiment) -> dict[str, str]:
    """Each file's sha256 by role. Raises DataError for what is missing, empty or no data file at all."""
    hashes = {}
    for role, name in experiment.data.files.items():
        path = experiment.resolve(name)
        next(read_rows(path))
        with path.open("rb") as file:
            hashes[role] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes


def prepare(experiment: Experiment, rows: Mapping[str, Sequence[Row]], hashes: Mapping[str, str]) -> Dataset:
    """Turn rows into samples and split them once. Raises DataError with every fault of the rows."""
    data = experiment.data
    parts = _read_samples(experiment, rows)
    if "all" in parts:
        chosen = split_samples([s for s, _ in parts["all"]], data.split)
    else:
        chosen = {role: [s for s, _ in pairs] for role, pairs in parts.items()}
        if "dev" not in chosen and "train" in chosen and data.split.dev > 0:
            cut = data.split.model_copy(update={"test": data.split.dev, "dev": 0.0})
            parted = split_samples(chosen["train"], cut)
            chosen |= {"train": parted["train"], "dev": parted["test"]}
    _check_sizes(chosen, learning=data.path is not None or data.train is not None)
    return _dataset(rows, parts, chosen, hashes)


@dataclass(frozen=True, slots=True)
class Division:
    """All that is tested, and by which fits: one, or with folds one a fold."""

    whole: Dataset
    """`test` holds every tested sample; train and dev are empty where there are folds."""
    folds: tuple[Dataset, ...] = ()

    @property
    def fits(self) -> tuple[Dataset, ...]:
        """The data sets that contenders are fitted on."""
        return self.folds or (self.whole,)


def divide(experiment: Experiment, rows: Mapping[str, Sequence[Row]], hashes: Mapping[str, str]) -> Division:
    """The data as this experiment divides it: by one split, or by folds. Raises DataError."""
    folds = experiment.data.split.folds
    if folds is None:
        return Division(prepare(experiment, rows, hashes))
    return crossfit(experiment, rows, hashes, folds)


def crossfit(
    experiment: Experiment, rows: Mapping[str, Sequence[Row]], hashes: Mapping[str, str], folds: int
) -> Division:
    """Divide one file into `folds` folds, each tested once by what was fitted on the others. Raises DataError."""
    parts = _read_samples(experiment, rows)
    samples = [s for s, _ in parts["all"]]
    divided = fold_samples(samples, experiment.data.split, folds)
    for number, chosen in enumerate(divided, 1):
        _check_sizes(chosen, learning=True, where=f" in fold {number} of {folds}")
    datasets = tuple(_dataset(rows, parts, chosen, hashes) for chosen in divided)
    # Every row is trained on in some fold: what a training must refuse is found in the whole.
    every = {key: example for dataset in datasets for key, example in dataset.conversations.items()}
    whole = _dataset(rows, parts, {"test": samples}, hashes)
    return Division(replace(whole, conversations=every), datasets)


def without(
    experiment: Experiment, rows: Mapping[str, Sequence[Row]], places: Iterable[tuple[str, int | None]]
) -> dict[str, list[Row]]:
    """The rows less those at `places`: the file as the experiment names it, and the line."""
    names, left_out = experiment.data.files, set(places)
    return {
        role: [row for row in found if (names[role], row.line) not in left_out]
        for role, found in rows.items()
    }


def samples_of(path: Path, rows: Sequence[Row], data: Data) -> list[Sample]:
    """The samples of one file's chat rows, as a run has them. Raises DataError with the faults of the rows."""
    faults: list[str] = []
    parts = {"all": _samples(path, rows, data, faults)}
    _refuse(faults)
    _number_repeats(parts)
    return [sample for sample, _ in parts["all"]]


def _refuse(faults: Sequence[str]) -> None:
    if faults:
        more = f"\n… and {len(faults) - 20} more" if len(faults) > 20 else ""
        raise DataError("\n".join(faults[:20]) + more)


def _read_samples(
    experiment: Experiment, rows: Mapping[str, Sequence[Row]]
) -> dict[str, list[tuple[Sample, Example]]]:
    """The samples of each file, each with its row. Raises DataError with every fault of the rows."""
    data = experiment.data
    faults: list[str] = []
    parts: dict[str, list[tuple[Sample, Example]]] = {}
    for role, file_rows in rows.items():
        parts[role] = _samples(experiment.resolve(data.files[role]), file_rows, data, faults)
    _refuse(faults)
    _number_repeats(parts)
    return parts


def _dataset(
    rows: Mapping[str, Sequence[Row]],
    parts: Mapping[str, Sequence[tuple[Sample, Example]]],
    chosen: Mapping[str, Sequence[Sample]],
    hashes: Mapping[str, str],
) -> Dataset:
    train, dev, test = (tuple(chosen.get(role, ())) for role in SPLITS)
    examples = {s.id: e for pairs in parts.values() for s, e in pairs}
    return Dataset(
        rows={role: list(r) for role, r in rows.items()},
        train=train,
        dev=dev,
        test=test,
        sha256=dict(hashes),
        conversations=_conversations([*train, *dev], examples),
    )


def _samples(path: Path, rows: Sequence[Row], data: Data, faults: list[str]) -> list[tuple[Sample, Example]]:
    pairs = []
    for row in rows:
        try:
            example = parse_example(row.value, row.line)
            pairs += [(s, example) for s in _asked_for(example, data)]
        except (ExampleError, DataError) as error:
            faults.append(f"{path}:{row.line}: {error}")
    if not pairs and not faults:
        raise DataError(f"{path}: no row has an assistant answer to learn from or to compare with.")
    return pairs


def _asked_for(example: Example, data: Data) -> list[Sample]:
    """The samples of one example: one for each assistant turn that is asked for."""
    turns = [i for i, m in enumerate(example.messages) if m.role == "assistant" and (m.text or m.tool_calls)]
    if not turns:
        raise DataError(
            "no assistant answer, so there is nothing to compare with. Add one or remove the row."
        )
    if isinstance(data.answer, int):
        if not -len(turns) <= data.answer < len(turns):
            raise DataError(f"data.answer is {data.answer}, but the row has {len(turns)} assistant turns")
        turns = [turns[data.answer]]
    elif data.answer == "last":
        turns = turns[-1:]
    group = _lookup(example, data.split.group_by, "data.split.group_by") if data.split.group_by else None
    tags = {path.rsplit(".", 1)[-1]: str(_lookup(example, path, "data.slices")) for path in data.slices}
    sources = tuple(_texts(example, data.sources, "data.sources"))
    conversation = "conversation " + _content_hash(example.messages, (), example.tools)
    samples = []
    for turn in turns:
        reply = example.messages[turn]
        answer = reply.text or _calls_text(reply)
        references = tuple(dict.fromkeys([answer, *_texts(example, data.references, "data.references")]))
        messages = example.messages[:turn]
        samples.append(
            Sample(
                id=_content_hash(messages, references, example.tools),
                messages=messages,
                references=references,
                # Turns of one conversation stay together even without group_by.
                group=str(group) if group is not None else (conversation if len(turns) > 1 else None),
                tags=tags,
                tools=example.tools,
                sources=sources,
                line=example.line,
            )
        )
    return samples


def _calls_text(reply: Message) -> str:
    """A reply's tool calls as JSON text: what `tool_call_match` compares."""

    def arguments(text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            return text

    calls = [{"name": c.name, "arguments": arguments(c.arguments)} for c in reply.tool_calls]
    return json.dumps(calls, ensure_ascii=False)


def _texts(example: Example, path: str | None, setting: str) -> list[str]:
    """What the row holds at a dotted path: a text, a number or a list of them; nothing where it says null."""
    if path is None:
        return []
    found = _lookup(example, path, setting)
    listed = found if isinstance(found, list) else [] if found is None else [found]
    if not all(isinstance(one, str | int | float) for one in listed):
        raise DataError(f"{setting} is {path!r}, which is no text or list of texts in this row")
    return [str(one) for one in listed]


def _lookup(example: Example, path: str, setting: str) -> Any:
    """A value of the row by dotted path (`metadata.customer`)."""
    value: Any = {"metadata": example.metadata}
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            there = [f"metadata.{k}" for k in example.metadata]
            guess = (
                f" Did you mean 'metadata.{path}'?"
                if f"metadata.{path}" in there
                else did_you_mean(path, there)
            )
            known = without_personal(", ".join(there)) or "none"
            raise DataError(f"{setting} is {path!r}, which this row lacks. It has: {known}.{guess}")
        value = value[key]
    return value


def _content_hash(messages: Sequence[Any], references: Sequence[str], tools: Sequence[Any]) -> str:
    plain = [[m.as_dict() for m in messages], list(references), list(tools)]
    text = json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _number_repeats(parts: dict[str, list[tuple[Sample, Example]]]) -> None:
    """Give the second and later copies of one content an id of their own."""
    seen: Counter[str] = Counter()
    for pairs in parts.values():
        for index, (sample, example) in enumerate(pairs):
            seen[sample.id] += 1
            if seen[sample.id] > 1:
                new = f"{sample.id}-{seen[sample.id]}"
                pairs[index] = (
                    Sample(**{f: getattr(sample, f) for f in sample.__struct_fields__} | {"id": new}),
                    example,
                )


def _conversations(samples: Sequence[Sample], examples: Mapping[str, Example]) -> dict[str, Example]:
    """Each conversation once, cut after its last asked-for turn: what training sees.

    Where one turn is asked for, later turns are not part of the task and are left out.
    """
    chosen: dict[int, tuple[str, Example]] = {}
    for sample in samples:
        whole = examples[sample.id]
        upto = whole.messages[: len(sample.messages) + 1]
        before = chosen.get(id(whole))
        if before is None or len(upto) > len(before[1].messages):
            kept = before[0] if before else sample.id
            chosen[id(whole)] = (kept, Example(upto, whole.tools, whole.metadata, whole.line))
    return dict(chosen.values())


def _check_sizes(chosen: Mapping[str, Sequence[Sample]], *, learning: bool, where: str = "") -> None:
    sizes = {name: len(chosen.get(name, ())) for name in SPLITS}
    told = ", ".join(f"{name} {n}" for name, n in sizes.items())
    if sizes["test"] < 2 or (learning and sizes["train"] < 1):
        raise DataError(
            f"too few samples for the split{where} ({told}): at least 1 to train on and 2 to test on are needed. "
            "Add rows, change data.split, or check that data.split.group_by does not join everything into one group."
        )


def _ids(samples: Iterable[Sample]) -> list[str]:
    return [s.id for s in samples]
