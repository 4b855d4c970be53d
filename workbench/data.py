"""Data in: the experiment's files → examples → samples → train, dev and test.

Samples that share a group, a conversation or the same text (after normalisation) always fall into the
same split, so that no test question was ever trained on.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from validators.examples import Example, ExampleError, parse_example
from validators.fingerprints import fold
from validators.reading import DataError, Row, read_rows, to_chat
from validators.suggest import did_you_mean

from .experiment import Columns, Data, Experiment, Split
from .records import Sample

SPLITS = ("train", "dev", "test")


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
    return {
        role: chat_rows(experiment.resolve(name), experiment.data.columns)
        for role, name in experiment.data.files.items()
    }, hashes


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
    """Turn rows into samples and split them. Raises DataError with every fault of the rows."""
    data = experiment.data
    faults: list[str] = []
    parts: dict[str, list[tuple[Sample, Example]]] = {}
    for role, file_rows in rows.items():
        parts[role] = _samples(experiment.resolve(data.files[role]), file_rows, data, faults)
    if faults:
        more = f"\n… and {len(faults) - 20} more" if len(faults) > 20 else ""
        raise DataError("\n".join(faults[:20]) + more)
    _number_repeats(parts)
    if "all" in parts:
        chosen = split_samples([s for s, _ in parts["all"]], data.split)
    else:
        chosen = {role: [s for s, _ in pairs] for role, pairs in parts.items()}
        if "dev" not in chosen and "train" in chosen and data.split.dev > 0:
            cut = data.split.model_copy(update={"test": data.split.dev, "dev": 0.0})
            parted = split_samples(chosen["train"], cut)
            chosen |= {"train": parted["train"], "dev": parted["test"]}
    for role in SPLITS:
        chosen.setdefault(role, [])
    examples = {s.id: e for pairs in parts.values() for s, e in pairs}
    _check_sizes(chosen, learning=data.path is not None or data.train is not None)
    return Dataset(
        rows={role: list(r) for role, r in rows.items()},
        train=tuple(chosen["train"]),
        dev=tuple(chosen["dev"]),
        test=tuple(chosen["test"]),
        sha256=dict(hashes),
        conversations=_conversations(chosen["train"] + chosen["dev"], examples),
    )


def split_samples(samples: Sequence[Sample], split: Split) -> dict[str, list[Sample]]:
    """Divide samples by group, stratified by class where the references form classes.

    Clusters (same group, or same question text) are dealt in seeded order, each to the split that has
    received the smallest share of what it should get of the cluster's classes. Same samples and seed,
    same split, whatever the order of rows in the file.
    """
    shares = {"train": 1 - split.dev - split.test, "dev": split.dev, "test": split.test}
    shares = {name: share for name, share in shares.items() if share > 0}
    strata = classes_of(samples) if split.stratify else None
    clusters = _clusters(samples)
    order = sorted(clusters, key=lambda key: min(s.id for s in clusters[key]))
    random.Random(split.seed).shuffle(order)
    stratum = {s.id: (s.references[0].strip() if strata else "") for s in samples}
    wanted = Counter(stratum.values())
    filled: dict[str, Counter[str]] = {name: Counter() for name in shares}
    chosen: dict[str, list[Sample]] = {name: [] for name in SPLITS}
    for key in order:
        members = clusters[key]
        counts = dict(sorted(Counter(stratum[s.id] for s in members).items()))
        # Fraction of its due that each split has, averaged over the cluster's classes; the total breaks ties.
        best = min(
            shares,
            key=lambda name: (
                sum(n * filled[name][c] / (shares[name] * wanted[c]) for c, n in counts.items())
                / len(members),
                filled[name].total() / shares[name],
            ),
        )
        filled[best].update(counts)
        chosen[best].extend(members)
    position = {s.id: i for i, s in enumerate(samples)}
    return {name: sorted(part, key=lambda s: position[s.id]) for name, part in chosen.items()}


def classes_of(samples: Iterable[Sample]) -> list[str] | None:
    """The classes that references form: at most 50, at most a tenth of the rows, at most 5 words each."""
    answers = [s.references[0].strip() for s in samples]
    distinct = sorted(set(answers))
    few = 1 < len(distinct) <= min(50, max(2, len(answers) // 10))
    return distinct if few and all(len(a.split()) <= 5 for a in distinct) else None


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
    conversation = "conversation " + _content_hash(example.messages, (), example.tools)
    samples = []
    for turn in turns:
        reply = example.messages[turn]
        answer = reply.text or json.dumps([c.name for c in reply.tool_calls])
        references = tuple(dict.fromkeys([answer, *_other_references(example, data)]))
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
                line=example.line,
            )
        )
    return samples


def _other_references(example: Example, data: Data) -> list[str]:
    """Accepted answers that the row names beside its own: a text, a number or a list of them."""
    if data.references is None:
        return []
    found = _lookup(example, data.references, "data.references")
    listed = found if isinstance(found, list) else [] if found is None else [found]
    if not all(isinstance(answer, str | int | float) for answer in listed):
        raise DataError(
            f"data.references is {data.references!r}, which is no text or list of texts in this row"
        )
    return [str(answer) for answer in listed]


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
            known = ", ".join(there) or "none"
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


def _clusters(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    """Samples joined by a shared group or a shared question text."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for sample in samples:
        asked = [m.text for m in sample.messages if m.role != "system"]
        # Some data put the question into the system message; a prompt of pictures alone has no text.
        text = fold(" ".join(asked)) or fold(" ".join(m.text for m in sample.messages))
        keys = ["text " + text] if text else []
        if sample.group is not None:
            keys.append("group " + sample.group)
        for key in keys:
            parent[root(key)] = root("sample " + sample.id)
    clusters = defaultdict(list)
    for sample in samples:
        clusters[root("sample " + sample.id)].append(sample)
    return dict(clusters)


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


def _check_sizes(chosen: Mapping[str, Sequence[Sample]], *, learning: bool) -> None:
    sizes = {name: len(chosen[name]) for name in SPLITS}
    told = ", ".join(f"{name} {n}" for name, n in sizes.items())
    if sizes["test"] < 2 or (learning and sizes["train"] < 1):
        raise DataError(
            f"too few samples for the split ({told}): at least 1 to train on and 2 to test on are needed. "
            "Add rows, change data.split, or check that data.split.group_by does not join everything into one group."
        )


def _ids(samples: Iterable[Sample]) -> list[str]:
    return [s.id for s in samples]
