"""From rows to samples to splits: nothing that was trained on is asked in the test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from validators.reading import DataError
from workbench.data import Dataset, chat_rows, divide, prepare, read_files
from workbench.experiment import Experiment
from workbench.records import Sample
from workbench.sections import Columns


def turn(question: str, answer: str, **more: Any) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}],
        **more,
    }


def rows(count: int) -> list[dict[str, Any]]:
    return [turn(f"question {i}", f"answer {i}") for i in range(count)]


def write(path: Path, values: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(v) + "\n" for v in values), encoding="utf-8")
    return path


def dataset(
    folder: Path, values: list[dict[str, Any]] | None = None, data: str = "path: rows.jsonl"
) -> Dataset:
    if values is not None:
        write(folder / "rows.jsonl", values)
    text = f"name: t\ndata: {{{data}}}\ncontenders: [{{name: z, kind: prompting}}]\n"
    experiment = Experiment.parse(text, path=folder / "e.yaml")
    return prepare(experiment, *read_files(experiment))


def all_samples(found: Dataset) -> list[Sample]:
    return sorted([*found.train, *found.dev, *found.test], key=lambda s: (s.line, len(s.messages)))


# -- samples -------------------------------------------------------------------------------------------

CHAT = {
    "messages": [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "q1"},
        {"role": "assistant", "content": "a1"},
        {"role": "user", "content": "q2"},
        {"role": "assistant", "content": "a2"},
    ]
}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("last", [(4, "a2")]),
        ("all", [(2, "a1"), (4, "a2")]),
        (0, [(2, "a1")]),
        (1, [(4, "a2")]),
        (-1, [(4, "a2")]),
        (-2, [(2, "a1")]),
    ],
)
def test_which_turn_is_asked_for(tmp_path: Path, answer: str | int, expected: list[tuple[int, str]]) -> None:
    others = [
        {"messages": turn(f"x{i}", "y")["messages"] + turn("z", f"a{i}")["messages"]} for i in range(20)
    ]
    found = dataset(tmp_path, [*others, CHAT], f"path: rows.jsonl, answer: {answer}")
    assert [(len(s.messages), s.references[0]) for s in all_samples(found) if s.line == 21] == expected


def test_turns_of_one_conversation_stay_together(tmp_path: Path) -> None:
    chats = [
        {"messages": [m for t in range(3) for m in turn(f"chat {i} turn {t}", f"a{i}{t}")["messages"]]}
        for i in range(30)
    ]
    found = dataset(tmp_path, chats, "path: rows.jsonl, answer: all")
    lines = [{s.line for s in part} for part in (found.train, found.dev, found.test)]
    assert sum(map(len, lines)) == 30 == len(set.union(*lines))
    groups = {s.line: s.group for s in all_samples(found)}
    assert all(s.group == groups[s.line] for s in all_samples(found))
    assert len(set(groups.values())) == 30
    assert len(found.conversations) == len(lines[0] | lines[1]), "training sees each conversation once"
    assert all(len(e.messages) == 6 for e in found.conversations.values())


def test_training_ends_with_the_turn_that_is_asked_for(tmp_path: Path) -> None:
    chats = [
        {"messages": turn(f"q{i}", f"a{i}")["messages"] + turn("thanks", "welcome")["messages"]}
        for i in range(20)
    ]
    found = dataset(tmp_path, chats, "path: rows.jsonl, answer: 0")
    assert {e.messages[-1].text[0] for e in found.conversations.values()} == {"a"}
    assert all(len(e.messages) == 2 for e in found.conversations.values())


def test_references_slices_and_groups_come_from_the_row(tmp_path: Path) -> None:
    values = [
        turn(
            f"q{i}",
            "14",
            metadata={"answers": ["14", "fourteen", 14.5], "who": {"id": i // 2}, "lang": "en"},
            kind="x",
        )
        for i in range(40)
    ]
    found = dataset(
        tmp_path,
        values,
        "path: rows.jsonl, references: metadata.answers, slices: [metadata.lang, metadata.who.id, metadata.kind], "
        "split: {group_by: metadata.who.id}",
    )
    first = all_samples(found)[0]
    assert first.references == ("14", "fourteen", "14.5")
    assert first.tags == {"lang": "en", "id": "0", "kind": "x"}
    assert first.group == "0"


@pytest.mark.parametrize(
    ("stored", "references"),
    [
        ("fourteen", ("14", "fourteen")),
        (14, ("14",)),
        ([], ("14",)),
        (None, ("14",)),
        (["14", "14"], ("14",)),
    ],
)
def test_one_reference_or_none(tmp_path: Path, stored: Any, references: tuple[str, ...]) -> None:
    values = [turn(f"q{i}", "14", metadata={"also": stored}) for i in range(10)]
    found = dataset(tmp_path, values, "path: rows.jsonl, references: metadata.also")
    assert {s.references for s in all_samples(found)} == {references}


def test_repeated_rows_get_an_id_of_their_own(tmp_path: Path) -> None:
    found = dataset(tmp_path, [*rows(20), *rows(3), rows(1)[0]])
    ids = [s.id for s in all_samples(found)]
    assert len(set(ids)) == 24
    assert ids[20:] == [ids[0] + "-2", ids[1] + "-2", ids[2] + "-2", ids[0] + "-3"]
    place = {s.id: name for name, part in found.ids.items() for s in all_samples(found) if s.id in part}
    assert place[ids[0]] == place[ids[20]] == place[ids[23]]


def test_an_id_says_what_was_asked_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    plain = dataset(tmp_path, rows(20))
    moved = dataset(tmp_path / "b", [turn("new", "x"), *({**r, "metadata": {"x": 1}} for r in rows(20))])
    assert {s.id for s in all_samples(plain)} < {s.id for s in all_samples(moved)}


# -- folds ---------------------------------------------------------------------------------------------


def test_folds_train_on_no_conversation_that_they_test(tmp_path: Path) -> None:
    chats = [
        {"messages": [m for t in range(2) for m in turn(f"chat {i} turn {t}", f"a{i}{t}")["messages"]]}
        for i in range(24)
    ]
    write(tmp_path / "rows.jsonl", [*chats, chats[0], chats[1]])
    (tmp_path / "experiment.yaml").write_text(
        "name: x\ndata: {path: rows.jsonl, answer: all, split: {folds: 4}}\n"
        "contenders: [{name: zero-shot, kind: prompting}]\n"
    )
    experiment = Experiment.load(tmp_path / "experiment.yaml")
    found = divide(experiment, *read_files(experiment))
    assert [s.line for s in found.whole.test] == [i // 2 + 1 for i in range(52)], "all, in the file's order"
    assert (found.whole.train, found.whole.dev) == ((), ()) and len(found.whole.conversations) == 26
    for fold in found.fits:
        fitted = {s.id for s in (*fold.train, *fold.dev)}
        assert set(fold.conversations) <= fitted
        learned = {m.text for example in fold.conversations.values() for m in example.messages}
        assert not learned & {m.text for s in fold.test for m in s.messages}
        assert {m.text for s in fold.train for m in s.messages} <= learned


# -- files ---------------------------------------------------------------------------------------------


def test_train_and_test_from_files_of_their_own(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", rows(40))
    write(tmp_path / "test.jsonl", [turn(f"t{i}", "a") for i in range(5)])
    found = dataset(tmp_path, None, "train: train.jsonl, test: test.jsonl")
    assert [s.question for s in found.test] == [f"t{i}" for i in range(5)]
    assert (len(found.train), len(found.dev)) == (36, 4), "dev is cut from train"
    assert sorted(found.sha256) == ["test", "train"]
    write(tmp_path / "dev.jsonl", [turn("d", "a")])
    found = dataset(tmp_path, None, "train: train.jsonl, dev: dev.jsonl, test: test.jsonl")
    assert (len(found.train), len(found.dev), len(found.test)) == (40, 1, 5)


def test_columns_make_chats_of_table_rows(tmp_path: Path) -> None:
    lines = [f'q{i},"a, {i}",de' for i in range(10)]
    (tmp_path / "rows.csv").write_text("\n".join(["question,reply,lang", *lines]), encoding="utf-8")
    found = dataset(
        tmp_path,
        None,
        "path: rows.csv, slices: [metadata.lang], columns: {template: 'Say: {question}', output: reply, system: S}",
    )
    first = all_samples(found)[0]
    assert [(m.role, m.text) for m in first.messages] == [("system", "S"), ("user", "Say: q0")]
    assert first.references == ("a, 0",)
    assert first.tags == {"lang": "de"}


def test_a_wrong_column_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("question,reply\nq,a\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"rows\.csv:2: .*questoin"):
        chat_rows(tmp_path / "rows.csv", Columns(input="questoin", output="reply"))


@pytest.mark.parametrize(
    ("values", "data", "words"),
    [
        (
            [turn("q", "a"), {"messages": []}],
            "path: rows.jsonl",
            ["rows.jsonl:2: messages: a list of messages is needed"],
        ),
        (
            [{"messages": [{"role": "user", "content": "q"}]}] * 3,
            "path: rows.jsonl",
            ["rows.jsonl:1: no assistant answer", "rows.jsonl:3: no assistant answer"],
        ),
        (
            [turn("q", "a")],
            "path: rows.jsonl, answer: 3",
            ["rows.jsonl:1: data.answer is 3, but the row has 1 assistant"],
        ),
        (
            [turn("q", "a", metadata={"customer": 1})],
            "path: rows.jsonl, split: {group_by: metadata.customr}",
            [
                "rows.jsonl:1: data.split.group_by is 'metadata.customr', which this row lacks",
                "metadata.customer",
            ],
        ),
        (
            [turn("q", "a")],
            "path: rows.jsonl, slices: [metadata.x]",
            ["data.slices is 'metadata.x'", "It has: none"],
        ),
        (
            [turn("q", "a", metadata={"also": {"x": 1}})],
            "path: rows.jsonl, references: metadata.also",
            ["rows.jsonl:1: data.references is 'metadata.also', which is no text or list of texts"],
        ),
        ([turn("q", "a")], "path: rows.jsonl", ["too few samples for the split (train 1, dev 0, test 0)"]),
        (
            [turn(f"q{i}", "a", metadata={"g": 1}) for i in range(50)],
            "path: rows.jsonl, split: {group_by: metadata.g}",
            ["too few samples", "does not join everything into one group"],
        ),
    ],
)
def test_errors_name_the_place(
    tmp_path: Path, values: list[dict[str, Any]], data: str, words: list[str]
) -> None:
    with pytest.raises(DataError) as caught:
        dataset(tmp_path, values, data)
    message = str(caught.value)
    assert not [word for word in words if word not in message], message
    assert message.count("messages: ") <= 1, "the place is told once"


def test_many_faults_are_counted(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        dataset(tmp_path, [{"messages": []}] * 50)
    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "… and 30 more"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no rows"),
        (b"\x1f\x8b\x08", "compressed file is broken"),
        (b"{\n", "rows.jsonl:1"),
        (b"[1]\n", "rows.jsonl:1"),
    ],
)
def test_unreadable_files_are_told(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "rows.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=words):
        dataset(tmp_path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl"):
        dataset(tmp_path)
