"""`workbench init`: from files nobody has seen before to experiments that load, split and are told about."""

import csv
import dataclasses
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from validators.reading import Row
from workbench.cli.init import init
from workbench.data import Dataset, prepare, read_files
from workbench.experiment import Experiment
from workbench.proposal import Wishes, is_small_talk, propose
from workbench.proposal_columns import ColumnsUnknown, ProposalError, find_columns
from workbench.proposal_text import detectable, experiment_yaml, folded, samples_to_show, scalar
from workbench.sections import Columns

WORDS = [
    "pump",
    "tank",
    "seed",
    "light",
    "leaf",
    "root",
    "basil",
    "mint",
    "dill",
    "pod",
    "valve",
    "lamp",
    "filter",
    "float",
    "tray",
]
CLOSING = "You're welcome! Have a great day."


def run(*arguments: str | Path, stdin: str | None = None) -> Result:
    app = typer.Typer(rich_markup_mode=None)
    app.command()(init)
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)


def loaded(folder: Path) -> tuple[Experiment, Dataset]:
    experiment = Experiment.load(folder / "experiment.yaml")
    return experiment, prepare(experiment, *read_files(experiment))


def sentence(seed: int, words: int = 8) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words)) + f" {seed}"


def chat(*turns: str, system: str | None = None, **metadata: Any) -> dict[str, Any]:
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(turns)]
    head = [{"role": "system", "content": system}] if system else []
    return {"messages": head + messages} | ({"metadata": metadata} if metadata else {})


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_csv(path: Path, rows: Sequence[dict[str, str]], delimiter: str = ",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def long_chats(tmp_path: Path) -> Path:
    """60 conversations of 20 users: question, long reply, thanks, small talk."""
    rows = [
        chat(sentence(i) + "?", sentence(100 + i, 40), "Thanks!", CLOSING, user_id=f"u{i % 20}", n=i)
        for i in range(60)
    ]
    return write(tmp_path / "chats.jsonl", rows)


@pytest.fixture
def faq(tmp_path: Path) -> Path:
    rows = [{"Question": f"What is {sentence(i)}?", "Answer": f"{WORDS[i % 15]} {i}", "lang": "en" if i % 3 else "de"}
            for i in range(90)]  # fmt: skip
    return write_csv(tmp_path / "faq.csv", rows)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    rows = [chat(sentence(i), ("yes", "no", "a: b, #c")[i % 3], system="Sort it.") for i in range(400)]
    return write(tmp_path / "labelled.jsonl", rows)


def test_conversations_that_end_in_small_talk(tmp_path: Path, long_chats: Path) -> None:
    result = run(tmp_path / "made", "--data", long_chats)
    assert (result.exit_code, result.stderr) == (0, "")
    experiment, dataset = loaded(tmp_path / "made")
    assert experiment.task == "generation" and experiment.data.answer == -2
    assert experiment.data.path == "../chats.jsonl"
    assert experiment.data.split.group_by == "metadata.user_id"
    assert CLOSING not in {s.references[0] for s in dataset.test}
    assert not {s.group for s in dataset.train} & {s.group for s in dataset.test}
    tuned = experiment.contenders[-1]
    assert (tuned.epochs, tuned.learning_rate, tuned.batch_size) == (5, 1e-3, 4)  # type: ignore[union-attr]
    assert "60 of 60 rows end in small talk such as 'You\\'re" in result.stdout.replace(
        "'You're", "'You\\'re"
    )
    assert "answer: -2" in result.stdout and "train 42" in result.stdout


def test_a_table_of_questions_and_answers(tmp_path: Path, faq: Path) -> None:
    result = run(tmp_path / "faq", "--data", faq, "--goal", "shorter: #1\nanswers", "--worth-it", "0.2")
    assert (result.exit_code, result.stderr) == (0, "")
    experiment, dataset = loaded(tmp_path / "faq")
    assert experiment.name == "faq" and experiment.task == "qa" and experiment.primary == "token_f1"
    assert experiment.data.columns == Columns(input="Question", output="Answer")
    assert experiment.data.slices == ("metadata.lang",) and {s.tags["lang"] for s in dataset.test} == {
        "en",
        "de",
    }
    assert experiment.decision.worth_it == 0.2 and experiment.decision.requests_per_month == 50_000
    text = (tmp_path / "faq/experiment.yaml").read_text()
    assert text.startswith(f"# workbench run {tmp_path}/faq/experiment.yaml\n")
    assert "# What should get better: shorter: #1\\u000aanswers\n" in text


def test_classes_are_told_to_untuned_contenders(tmp_path: Path, labelled: Path) -> None:
    corpus = tmp_path / "pages"
    corpus.mkdir()
    (corpus / "a.md").write_text("# Yes\nIt is.")
    result = run(tmp_path / "sort", "--data", labelled, "--corpus", corpus)
    assert (result.exit_code, result.stderr) == (0, "")
    experiment, dataset = loaded(tmp_path / "sort")
    assert experiment.task == "classification" and experiment.primary == "exact_match"
    assert [c.name for c in experiment.contenders] == ["zero-shot", "few-shot", "rag", "lora"]
    told = "Sort it.\nAnswer with exactly one of these and nothing else: a: b, #c | no | yes"
    assert [getattr(c, "system", None) for c in experiment.contenders] == [told, told, told, None]
    assert experiment.contenders[-1].epochs == 3  # type: ignore[union-attr]
    assert experiment.resolve(str(experiment.data.corpus)).samefile(corpus)
    assert len(dataset.test) == 81
    # (c·0.2)½ ÷ (n + c)½ with c = 7.849: between the known 12.1 points of 100 samples and 5.6 of 500.
    assert "81 samples show a true gain of 13.3 points" in result.stdout
    assert (
        "5 points, takes 621 test samples" in result.stdout
        and "warning     the test split is too small" in result.stdout
    )


def test_another_margin_metric_and_group(tmp_path: Path, long_chats: Path) -> None:
    flags = (
        "--metric",
        "chrf",
        "--group-by",
        "n",
        "--name",
        "mine",
        "--task",
        "qa",
        "--requests-per-month",
        "1e-7",
    )
    result = run(tmp_path / "made", "--data", long_chats, *flags, "--yes")
    experiment, _ = loaded(tmp_path / "made")
    assert result.exit_code == 0 and experiment.name == "mine" and experiment.task == "qa"
    assert experiment.metric_names[:2] == ("chrf", "token_f1") and experiment.decision.worth_it == 5
    assert experiment.data.split.group_by == "metadata.n" and experiment.decision.requests_per_month == 1e-7
    assert "as asked; the data looks like generation" in result.stdout


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ({"prompt": "a", "completion": "b"}, Columns(input="prompt", output="completion")),
        ({"instruction": "a", "input": "x", "output": "b"}, Columns(template="{instruction}\n\n{input}", output="output")),
        ({"instruction": "a", "input": "", "output": "b"}, Columns(input="instruction", output="output")),
        ({"context": "x", "question": "a", "answers": ["b", "c"]}, Columns(template="{context}\n\n{question}", output="answers")),
        ({"text": "a", "label": 1, "id": 7}, Columns(input="text", output="label")),
        ({"Ticket": "a", "Class": "b"}, Columns(input="Ticket", output="Class")),
        ({"messages": []}, None),
    ],
)  # fmt: skip
def test_columns_by_name(row: dict[str, Any], columns: Columns | None) -> None:
    assert find_columns([Row(1, row)] * 3) == columns


def test_columns_that_do_not_tell() -> None:
    with pytest.raises(
        ColumnsUnknown, match="holds the question and the answer; there are 'Frage', 'Antwort'"
    ):
        find_columns([Row(1, {"Frage": "a", "Antwort": "b"})])
    with pytest.raises(ProposalError, match=r"no column 'Fragen'.*Did you mean 'Frage'"):
        find_columns([Row(1, {"Frage": "a", "Antwort": "b"})], "Fragen")
    with pytest.raises(ProposalError, match="look like preference pairs"):
        find_columns([Row(1, {"prompt": "a", "chosen": "b", "rejected": "c"})])


@pytest.mark.parametrize("suffix", [".tsv", ".json", ".parquet"])
def test_other_containers(tmp_path: Path, suffix: str) -> None:
    rows = [{"input": sentence(i), "output": ("up", "down")[i % 2]} for i in range(40)]
    path = tmp_path / f"rows{suffix}"
    if suffix == ".tsv":
        write_csv(path, rows, "\t")
    elif suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        import polars

        polars.DataFrame(rows).write_parquet(path)
    result = run(tmp_path / "x", "--data", path)
    assert (result.exit_code, result.stderr) == (0, "")
    experiment, dataset = loaded(tmp_path / "x")
    assert experiment.task == "classification" and len(dataset.test) >= 8


GOOD = chat("Hi", "Yo")
BAD = {
    "missing": ("chat.jsonl", None, (), "chat.jsonl: there is no such file. Did you mean 'chats.jsonl'?"),
    "empty": ("e.jsonl", b"", (), "the file has no rows"),
    "binary": ("b.jsonl", b"\x89PNG\x00\x01", (), "this is binary data"),
    "not JSON": ("n.jsonl", b'{"messages": [}\n', (), "n.jsonl:1:15"),
    "no answers": ("q.jsonl", [chat("Hi")] * 20, (), "no row can be used"),
    "some bad rows": ("s.jsonl", [GOOD] * 20 + [chat("Hi"), {"messages": 3}], (), "2 of 22 rows cannot be used"),
    "too few": ("f.jsonl", [GOOD, chat("Ho", "Yo")], (), "too few samples for the split"),
    "one group": ("g.jsonl", [chat(str(i), "Yo", g=1) for i in range(20)], ("--group-by", "g"), "too few samples"),
    "unknown group": ("u.jsonl", [chat(str(i), "Yo", user=i) for i in range(20)], ("--group-by", "usr"), "Did you mean 'user'?"),
    "columns of a chat": ("c.jsonl", [GOOD] * 20, ("--input", "x"), "the rows are chats already"),
    "unknown column": ("t.csv", b"frage,answer\na,b\n", ("--input", "frag"), "Did you mean 'frage'?"),
    "columns unclear": ("t.csv", b"eins,zwei\na,b\n", (), "there are 'eins', 'zwei'. Name them: --input"),
    "same column": ("t.csv", b"eins,zwei\na,b\n", ("--input", "eins", "--output", "eins"), "both 'eins'"),
    "task": ("g.jsonl", [GOOD] * 20, ("--task", "clasification"), "Did you mean 'classification'?"),
    "metric": ("g.jsonl", [GOOD] * 20, ("--metric", "rouge-l"), "did you mean 'rouge_l'?"),
    "margin": ("g.jsonl", [GOOD] * 20, ("--worth-it", "5", "--metric", "exact_match"), "goes from 0 to 1"),
    "no number": ("g.jsonl", [GOOD] * 20, ("--worth-it", "inf"), "--worth-it: inf"),
    "name": ("g.jsonl", [GOOD] * 20, ("--name", "a/b"), "--name 'a/b'"),
    "corpus": ("g.jsonl", [GOOD] * 20, ("--corpus", "nowhere"), "nowhere: no such corpus"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named_and_nothing_written(tmp_path: Path, long_chats: Path, case: str) -> None:
    name, content, flags, message = BAD[case]
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        write(path, content)
    result = run(tmp_path / "made", "--data", path, *flags)
    assert result.exit_code == 2 and result.stdout == ""
    assert result.stderr.startswith("init: ") and message in result.stderr
    assert not (tmp_path / "made").exists()


def test_a_folder_as_data_and_a_file_as_folder(tmp_path: Path, long_chats: Path) -> None:
    result = run(tmp_path / "made", "--data", tmp_path)
    assert (
        result.exit_code == 2
        and "this is a folder; name a data file. Inside are chats.jsonl." in result.stderr
    )
    result = run(long_chats, "--data", long_chats)
    assert result.exit_code == 2 and "this is a file; name a folder" in result.stderr


def test_overwriting_takes_force(tmp_path: Path, long_chats: Path) -> None:
    (tmp_path / "experiment.yaml").write_text("mine")
    result = run(tmp_path, "--data", long_chats)
    assert result.exit_code == 2 and "--force" in result.stderr
    assert (tmp_path / "experiment.yaml").read_text() == "mine"
    assert run(tmp_path, "--data", long_chats, "--force").exit_code == 0
    assert Experiment.load(tmp_path / "experiment.yaml").data.path == "chats.jsonl"


def test_errors_that_would_stop_the_run_are_told(tmp_path: Path) -> None:
    rows = [chat(sentence(i) + "?", f"{i} it is") for i in range(40)]
    rows[3]["messages"].append({"role": "user", "content": "And mint?"})
    result = run(tmp_path / "x", "--data", write(tmp_path / "d.jsonl", rows))
    assert result.exit_code == 0
    assert (
        f"1 error in the data (MSG012) will stop the run: workbench lint {tmp_path}/d.jsonl" in result.stdout
    )


def test_questions_on_a_terminal(tmp_path: Path, faq: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.cli.init._at_terminal", lambda: True)
    answers = ["fewer calls", "RAG: 0.4", "5", "0.1", "", "-3", "100", "", "2.5"]
    result = run(tmp_path / "x", "--data", faq, stdin="\n".join(answers) + "\n")
    assert result.exit_code == 0 and "token_f1 goes from 0 to 1" in result.stderr
    decision = Experiment.load(tmp_path / "x/experiment.yaml").decision
    assert (decision.worth_it, decision.requests_per_month) == (0.1, 50_000)
    assert (decision.costs.data_usd, decision.costs.labour_usd, decision.costs.gpu_usd_per_hour) == (
        100,
        0,
        2.5,
    )
    text = (tmp_path / "x/experiment.yaml").read_text()
    assert "# What should get better: fewer calls\n" in text
    assert "# Tried before (prompting, RAG): RAG: 0.4\n" in text


def test_columns_are_asked_for_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.cli.init._at_terminal", lambda: True)
    path = write_csv(tmp_path / "t.csv", [{"eins": sentence(i), "zwei": f"{i}."} for i in range(30)])
    result = run(tmp_path / "x", "--data", path, stdin="ein\neins\nzwei" + "\n" * 9)
    assert result.exit_code == 0 and "Did you mean 'eins'?" in result.stderr
    assert loaded(tmp_path / "x")[0].data.columns == Columns(input="eins", output="zwei")


@pytest.mark.parametrize("folder", ["a b", "~x", "ü#: {}", "-", "new\nline"])
def test_odd_folders_and_file_names(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    data = write(tmp_path / folder / "~d #1: {x}.jsonl", [chat(sentence(i) + "?", f"{i}") for i in range(30)])
    assert run(tmp_path / folder, "--data", data).exit_code == 0
    assert len(loaded(tmp_path / folder)[1].test) == 6


@settings(max_examples=150)
@given(st.text(min_size=1), st.text(min_size=1), st.lists(st.text(), max_size=2), st.text())
def test_names_from_data_survive_the_file(question: str, label: str, goals: list[str], system: str) -> None:
    if question == label:
        label += "2"
    rows = [Row(i + 1, {question: f"q {i}", label: f"{i % 2}{label[:9]}"}) for i in range(40)]
    columns = find_columns(rows, question, label)
    proposal = propose(rows, columns, Wishes(goals=tuple(goals)), name="x", path=question, source="d")
    text = experiment_yaml(proposal, f"workbench run {label}")
    experiment = Experiment.parse(text, path=Path("x/experiment.yaml"))
    assert experiment.data.columns == columns and experiment.data.path == question
    assert getattr(experiment.contenders[0], "system", None) == proposal.system
    for value in (system, question, f"{system}\ud800"):
        assert yaml.safe_load(f"{{a: [{scalar(value)}]}}") == {"a": [value]}


@pytest.mark.parametrize(
    ("text", "chatter"),
    [
        ("You're welcome!", True),
        ("Happy to help. Goodbye!", True),
        ("No problem", True),
        ("Refill the tank above the float sensor.", False),
        ("You can cancel anytime.", False),
        ("You're welcome to return it: " + "word " * 20, False),
    ],
)
def test_small_talk(text: str, chatter: bool) -> None:
    assert is_small_talk(text) is chatter


def task_of(*replies: str, question: str = "Do it") -> str:
    rows = [Row(i + 1, chat(f"{question} {i}", reply)) for i, reply in enumerate(replies)]
    return propose(rows, None, Wishes(), name="x", path="p", source="p").task


def test_tasks() -> None:
    assert task_of(*["left", "right"] * 20) == "classification"
    assert task_of(*[json.dumps({"n": i}) for i in range(40)]) == "extraction"
    assert task_of(*[f"{i} euros" for i in range(40)]) == "qa"
    assert task_of(*[sentence(i, 15) for i in range(40)], question="What?") == "qa"
    assert task_of(*[sentence(i, 15) for i in range(40)]) == "generation"
    call = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}],
    }
    rows = [Row(i, {"messages": [{"role": "user", "content": f"{i}"}, call]}) for i in range(1, 41)]
    assert propose(rows, None, Wishes(), name="x", path="p", source="p").task == "tools"


def test_what_a_test_size_shows() -> None:
    assert samples_to_show(0.05) == 621 and samples_to_show(0.0) is None
    rows = [Row(i + 1, chat(f"{i}?", f"{i}")) for i in range(40)]
    proposal = propose(rows, None, Wishes(), name="x", path="p", source="p")
    assert detectable(proposal, 100)[0].startswith(
        "100 samples show a true gain of 12.1 points in 4 of 5 tests"
    )
    assert folded(proposal, 600) == ""
    # A fifth of 400 rows shows 13.4 points; all of them show 6.2.
    proposal = dataclasses.replace(proposal, metric="exact_match")
    assert "all 400 rows are tested with data.split.folds: 5" in folded(proposal, 400)
    assert "6.2 points" in folded(proposal, 400)
