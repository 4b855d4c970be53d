"""`workbench lint` as a whole command."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from workbench.cli.lint import lint

DIRTY = Path(__file__).parent.parent / "sample_data/dirty.jsonl"
ROW = '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]}\n'
WARNED = '{"messages": [{"role": "user", "content": " "}, {"role": "assistant", "content": "Yo"}]}\n'


def run(*arguments: str | Path, stdin: str | bytes | None = None) -> Result:
    app = typer.Typer()
    app.command()(lint)
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    (tmp_path / "clean.jsonl").write_text(ROW)
    return tmp_path / "clean.jsonl"


def test_text_output(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(ROW + WARNED)
    result = run(path)
    assert result.exit_code == 0
    assert result.stdout == (
        f"{path}:2:43: MSG008 empty-content the user message is empty (messages[0].content)\n"
        "    help: Fill it, or delete the message (or the row).\n"
        "Found 1 warning; 2 examples in 1 file.\n"
    )


def test_a_clean_file(clean: Path) -> None:
    result = run(clean)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "All clear: 1 example in 1 file.\n", "")


def test_json_output_is_one_object() -> None:
    result = run(DIRTY, "--format", "json", "--max-findings", "3")
    report = json.loads(result.stdout)
    assert result.exit_code == 1 and report["schema"] == "workbench.lint/1"
    assert set(report) == {"schema", "files", "findings", "summary"}
    assert set(report["files"][0]) == {
        "path",
        "sha256",
        "format",
        "lines",
        "examples",
        "distinct",
        "statistics",
    }
    assert len(report["findings"]) == 3 and report["findings"][0] == {
        "code": "FMT001",
        "name": "not-utf8",
        "severity": "error",
        "path": str(DIRTY),
        "line": 2,
        "column": 50,
        "where": None,
        "message": "byte 0xB0 is not UTF-8 (byte 49 of the line)",
        "help": report["findings"][0]["help"],
        "fixable": False,
    }
    counts = report["summary"]
    assert set(counts) == {"errors", "warnings", "infos", "omitted"} and counts["errors"] > 3
    assert counts["omitted"] == counts["errors"] + counts["warnings"] + counts["infos"] - 3


@pytest.mark.parametrize(
    ("content", "flags", "code"),
    [
        (ROW, [], 0),
        (WARNED, [], 0),
        (WARNED, ["--fail-on", "warning"], 1),
        (WARNED, ["--fail-on", "info"], 1),
        ("x\n", [], 1),
        ("x\n", ["--exit-zero"], 0),
        ("x\n", ["--ignore", "FMT"], 0),
        ("x\n", ["--select", "MSG,DUP", "--select", "FMT007"], 1),
        (ROW, ["--select", "MSG020", "--fail-on", "info"], 1),
        ("", [], 1),
    ],
)
def test_exit_status(content: str, flags: list[str], code: int, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(content)
    assert run(tmp_path / "a.jsonl", *flags).exit_code == code


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--target", "openia"], "unknown target 'openia'"),
        (["--select", "MSG8"], "unknown rule or family 'MSG8'"),
        (["--input-format", "chta"], "Did you mean 'chat'"),
        (["--tokenizer", "o201k_base"], "o201k_base"),
        (["--model", "fireworks/up-to-16b"], "--tokenizer"),
        (["--against", "nowhere.jsonl"], "no such file"),
        (["--format", "xml"], "xml"),
    ],
)
def test_usage_errors_exit_2_and_say_what(flags: list[str], words: str, clean: Path) -> None:
    result = run(clean, *flags)
    assert (result.exit_code, result.stdout) == (2, "") and words in result.stderr


def test_standard_input(clean: Path) -> None:
    result = run("-", clean, "--format", "json", "--target", "together", stdin=b"\n" + WARNED.encode())
    report = json.loads(result.stdout)
    assert [file["path"] for file in report["files"]] == ["-", str(clean)]
    assert [(f["path"], f["code"]) for f in report["findings"]] == [("-", "FMT006"), ("-", "MSG008")]


def test_leaks_between_files(clean: Path, tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text(ROW)
    result = run(tmp_path / "test.jsonl", "--against", clean)
    assert result.exit_code == 1 and f"({clean}:1)" in result.stdout.replace("\n", "")


def test_nothing_in_the_data_reaches_the_terminal(tmp_path: Path) -> None:
    payload = "[bold red]x[/]\x1b]0;title\x07\u202e\x9b31m:smile:"
    (tmp_path / "a.jsonl").write_text(
        json.dumps({"messages": [{"role": payload, "content": "a"}], payload: 1}) + "\n"
    )
    result = run(tmp_path / "a.jsonl", "--target", "together")
    assert "[bold red]x[/]" in result.stdout and ":smile:" in result.stdout
    assert not set(result.stdout) & {"\x1b", "\x07", "\u202e", "\x9b"}


def test_colour_obeys_no_color(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[" in run(clean).stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in run(clean).stdout


def test_help_has_examples() -> None:
    assert "workbench lint train.jsonl test.jsonl --target together" in run("--help").stdout


def test_a_length_without_a_tokenizer_is_no_all_clear(clean: Path) -> None:
    result = run(clean, "--max-length", "5")
    assert result.exit_code == 2 and "--tokenizer" in result.stderr and not result.stdout
    assert run(clean, "--max-length", "5", "--tokenizer", "o200k_base").exit_code == 1


def test_a_table_is_told_how_it_becomes_chats(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Frage,Antwort\nWo?,Hier\n")
    assert "--columns input=" in run(tmp_path / "a.csv").stdout
    # A column that no row has is the flag's fault, told once, and no finding in every row.
    wrong = run(tmp_path / "a.csv", "--columns", "input=frage,output=Antwort")
    assert (wrong.exit_code, wrong.stdout) == (2, "") and wrong.stderr.count("Did you mean 'Frage'?") == 1
    assert run(tmp_path / "a.csv", "--columns", "input=Frage,output=Antwort").exit_code == 0
