"""`workbench split`: the run's own split, with rows copied byte for byte."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from validators.reading import BOM, DataError
from workbench.cli.split import split as split_verb
from workbench.data import divide, read_files
from workbench.experiment import Experiment
from workbench.sections import Split
from workbench.splitting import split_file

PARTS = ("train", "dev", "test")


def chat(asked: str, said: str, **further: object) -> str:
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    return json.dumps({"messages": messages, **further})


def tickets(number: int = 60) -> list[str]:
    return [
        chat(f"Ticket {n}: the pump?", ("water", "light")[n % 3 == 0], customer=f"c{n % 20}")
        for n in range(number)
    ]


def write(path: Path, rows: list[str], end: str = "\n") -> Path:
    path.write_bytes("".join(row + end for row in rows).encode())
    return path


def read(folder: Path) -> dict[str, list[bytes]]:
    return {
        name: (folder / f"{name}.jsonl").read_bytes().splitlines(keepends=True)
        for name in PARTS
        if (folder / f"{name}.jsonl").exists()
    }


def test_every_row_is_in_one_part_byte_for_byte(tmp_path: Path) -> None:
    rows = [row.replace('": "', '" :  "', n % 2) for n, row in enumerate(tickets())]
    path = write(tmp_path / "a.jsonl", rows, "\r\n")
    done = split_file(path, tmp_path / "out", Split(seed=7))
    parts = read(tmp_path / "out")
    assert {name: len(part) for name, part in parts.items()} == done.parts[""]
    assert Counter(row for part in parts.values() for row in part) == Counter(
        path.read_bytes().splitlines(True)
    )
    order = {row: i for i, row in enumerate(path.read_bytes().splitlines(True))}
    assert all([order[r] for r in part] == sorted(order[r] for r in part) for part in parts.values())
    assert 9 <= len(parts["test"]) <= 15 and 3 <= len(parts["dev"]) <= 9


def test_it_is_the_split_of_a_run(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [*tickets(), *tickets(10)])
    data = {"path": str(path), "split": {"group_by": "metadata.customer", "seed": 3}}
    experiment = Experiment.model_validate(
        {"name": "x", "data": data, "contenders": [{"name": "zero-shot", "kind": "prompting"}],
         "backends": {"mock": {"kind": "echo"}}}
    )  # fmt: skip
    whole = divide(experiment, *read_files(experiment)).whole
    split_file(path, tmp_path / "out", Split(group_by="metadata.customer", seed=3))
    lines = path.read_bytes().splitlines(keepends=True)
    for name, part in read(tmp_path / "out").items():
        assert part == [lines[i - 1] for i in sorted(s.line for s in getattr(whole, name))]


def test_groups_duplicates_and_classes(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl", [*tickets(), *(row.upper().replace("MESSAGES", "messages") for row in [])]
    )
    again = write(
        tmp_path / "b.jsonl", [*tickets(), *[row.replace("Ticket", "ticket ") for row in tickets(30)]]
    )
    split_file(path, tmp_path / "groups", Split(group_by="metadata.customer"))
    homes: dict[str, set[str]] = {}
    for name, part in read(tmp_path / "groups").items():
        for row in part:
            homes.setdefault(json.loads(row)["customer"], set()).add(name)
    assert all(len(places) == 1 for places in homes.values())
    split_file(again, tmp_path / "twins", Split(test=0.3))
    homes = {}
    for name, part in read(tmp_path / "twins").items():
        for row in part:
            asked = json.loads(row)["messages"][0]["content"].lower()
            homes.setdefault(" ".join(asked.split()), set()).add(name)
    assert all(len(places) == 1 for places in homes.values())
    split_file(path, tmp_path / "classes", Split(test=0.3, dev=0))
    test = Counter(json.loads(row)["messages"][1]["content"] for row in read(tmp_path / "classes")["test"])
    assert test == {"water": 12, "light": 6}


def test_folds_test_every_row_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", tickets())
    done = split_file(path, tmp_path / "out", Split(folds=4))
    assert list(done.parts) == ["fold-1", "fold-2", "fold-3", "fold-4"]
    tested: Counter[bytes] = Counter()
    for fold in done.parts:
        parts = read(tmp_path / "out" / fold)
        tested.update(parts["test"])
        assert sum(map(len, parts.values())) == 60
    assert tested == Counter(path.read_bytes().splitlines(keepends=True))


ROWS = {
    "preference": lambda n: {"prompt": f"q{n}", "chosen": "a", "rejected": "b"},
    "prompt-completion": lambda n: {"prompt": f"q{n}", "completion": "a"},
    "alpaca": lambda n: {"instruction": f"q{n}", "output": "a"},
    "sharegpt": lambda n: {"conversations": [{"from": "human", "value": f"q{n}"}, {"from": "gpt", "value": "a"}]},
    "text": lambda n: {"text": f"q{n}"},
    "reinforcement": lambda n: {"messages": [{"role": "user", "content": f"q{n}"}], "answer": "a"},
    "gemini": lambda n: {"contents": [{"role": "user", "parts": [{"text": f"q{n}"}]}, {"role": "model", "parts": [{"text": "a"}]}]},
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_every_format_is_split_with_duplicates_together(name: str, tmp_path: Path) -> None:
    rows = [json.dumps({**ROWS[name](n % 20), "n": n}) for n in range(60)]
    split_file(write(tmp_path / "a.jsonl", rows), tmp_path / "out", Split(test=0.3, group_by=None))
    homes: dict[str, set[str]] = {}
    for part, lines in read(tmp_path / "out").items():
        for line in lines:
            homes.setdefault(str(json.loads(line)["n"] % 20), set()).add(part)
    assert len(homes) == 20 and all(len(places) == 1 for places in homes.values())


def test_marks_blank_lines_and_a_missing_newline(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(BOM + "\n\n".join(tickets()).encode())
    done = split_file(path, tmp_path / "out", Split())
    assert done.blank == 59
    for name in PARTS:
        content = (tmp_path / "out" / f"{name}.jsonl").read_bytes()
        assert content.startswith(BOM) and content.endswith(b"\n") and b"\n\n" not in content


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(st.lists(st.integers(0, 12), min_size=30, max_size=60), st.integers(0, 99), st.randoms())
def test_any_rows_in_any_order_give_the_same_parts(
    tmp_path_factory: pytest.TempPathFactory, questions: list[int], seed: int, chance: random.Random
) -> None:
    folder = tmp_path_factory.mktemp("split")
    rows = [chat(f"Question {q}?", f"answer {n}") for n, q in enumerate(questions)]
    shuffled = list(rows)
    chance.shuffle(shuffled)
    found = []
    for name, content in {"a": rows, "b": shuffled}.items():
        try:
            split_file(
                write(folder / f"{name}.jsonl", content), folder / name, Split(test=0.3, dev=0, seed=seed)
            )
        except DataError:
            found.append(None)
            continue
        found.append({part: sorted(lines) for part, lines in read(folder / name).items()})
    assert found[0] == found[1]
    if found[0]:
        assert sorted(row for part in found[0].values() for row in part) == sorted(
            f"{r}\n".encode() for r in rows
        )


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        (tickets(60), {"group_by": "customer"}, "--group-by is 'customer'.*Did you mean 'metadata.customer'"),
        ([chat("Same?", str(n)) for n in range(30)], {}, "too few rows that can be parted"),
        ([*tickets(5), '{"a": 1}'], {}, r"a\.jsonl:6: .*no key of a known format"),
        ([*tickets(5), "{"], {}, r"a\.jsonl:6:2"),
        ([], {}, "no rows"),
    ],
)
def test_what_cannot_be_split(rows: list[str], options: dict, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        split_file(write(tmp_path / "a.jsonl", rows), tmp_path / "out", Split(**options))
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]


def test_the_folder_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.jsonl", tickets())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    with pytest.raises(DataError, match="not empty"):
        split_file(path, tmp_path / "full", Split())

    def broken(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("workbench.splitting.os.fsync", broken)
    with pytest.raises(OSError, match="No space"):
        split_file(path, tmp_path / "out", Split())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "full"]


def run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(split_verb)
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_the_command(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", tickets())
    result = run(path, "--out", tmp_path / "out", "--dev", 0, "--test", 0.25)
    assert result.stdout.splitlines() == [
        f"{tmp_path / 'out' / 'train.jsonl'}  45 rows",
        f"{tmp_path / 'out' / 'test.jsonl'}  15 rows",
    ]
    report = json.loads(run(path, "--out", tmp_path / "b", "--folds", 3, "--format", "json").stdout)
    assert report["schema"] == "workbench.split/1" and report["rows"]["fold-3/test"] == 20
    result = run(path, "--out", tmp_path / "c", "--dev", 0.5, "--test", 0.5)
    assert result.exit_code == 2 and "must leave rows to train on" in result.stderr
    assert "JSON Lines" in str(run(tmp_path / "a.csv", "--out", tmp_path / "c").exception)
