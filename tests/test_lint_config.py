"""Defaults of `lint` from configuration files, and rules that are off for some files."""

import json
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from validators.config import ConfigError, find_config, lint_settings
from validators.ignoring import parse_ignores, read_ignores
from validators.rules import RuleError
from workbench.cli.lint import lint

ROOT = Path(__file__).parent.parent
ROW = '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]}\n'
WARNED = '{"messages": [{"role": "user", "content": " "}, {"role": "assistant", "content": "Yo"}]}\n'


def run(*arguments: str | Path, stdin: bytes | None = None) -> Result:
    app = typer.Typer()
    app.command()(lint)
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data/train.jsonl (one warning) where the command runs."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.jsonl").write_text(WARNED)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def configure(project: Path, text: str, name: str = "workbench.toml") -> None:
    (project / name).write_text(text)


@pytest.mark.parametrize(
    ("name", "table"), [("workbench.toml", "lint"), ("pyproject.toml", "tool.workbench.lint")]
)
def test_defaults_come_from_either_file_and_flags_win(name: str, table: str, project: Path) -> None:
    assert run("data/train.jsonl").exit_code == 0
    configure(project, f'[{table}]\nfail-on = "warning"\n', name)
    assert run("data/train.jsonl").exit_code == 1
    assert run("data/train.jsonl", "--fail-on", "error").exit_code == 0
    configure(project, f'[{table}]\nfail_on = "warning"\nignore = ["MSG008"]\n', name)
    assert run("data/train.jsonl").exit_code == 0
    assert run("data/train.jsonl", "--ignore", "FMT").exit_code == 1


def test_every_key_is_the_name_of_a_flag(project: Path) -> None:
    text = """
        [lint]
        target = "together"
        input-format = "chat"
        model = "gpt-4o-mini"
        tokenizer = "o200k_base"
        max-length = 512
        select = ["FMT", "MSG"]
        ignore = ["MSG011"]
        fail-on = "info"
        exit-zero = true
        max-findings = 5
        jobs = 2
        format = "json"
        [lint.per-file-ignores]
        "old*.jsonl" = ["DUP", "MSG013"]
    """
    configure(project, text)
    settings = lint_settings([Path("data/train.jsonl")], {"max_length": 64, "jobs": None})
    assert (settings.target, settings.max_length, settings.jobs, settings.exit_zero) == (
        "together",
        64,
        2,
        True,
    )
    assert settings.folder == project and "DUP001" in settings.ignores.codes("data/old7.jsonl")
    flags = run("--help").stdout
    for key in (
        "target",
        "input-format",
        "max-length",
        "per-file-ignores",
        "max-findings",
        "jobs",
        "exit-zero",
    ):
        assert f"--{key}" in flags


def test_the_nearest_file_upwards_from_the_data_counts(project: Path) -> None:
    configure(project, "[lint]\n")
    assert find_config([Path("data/train.jsonl")]) == project / "workbench.toml"
    configure(project / "data", "[project]\nname = 'x'\n", "pyproject.toml")
    assert find_config([Path("data/train.jsonl")]) == project / "workbench.toml"
    configure(project / "data", "[tool.workbench.lint]\n", "pyproject.toml")
    assert find_config([Path("data/train.jsonl")]) == project / "data/pyproject.toml"
    configure(project / "data", "[lint]\n")
    assert find_config([Path("data")]) == project / "data/workbench.toml"
    assert find_config([Path("-")]) == project / "workbench.toml"
    assert find_config([Path("data/../../elsewhere/a.jsonl")]) == project / "workbench.toml"
    assert run("a\0b.jsonl").exit_code == 2


def test_without_one_for_the_data_that_of_the_working_folder_counts(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    configure(project, "[lint]\n")
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "a.jsonl"
    assert find_config([elsewhere]) == project / "workbench.toml"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[lint]\ntragte = 'openai'\n", "unknown key 'tragte': known are target"),
        ("[lint]\nmax-finding = 3\n", "Did you mean 'max-findings'?"),
        ("[lnit]\n", "unknown table [lnit]: known are lint, cost. Did you mean 'lint'?"),
        ("[lint]\nselect = 'MSG'\n", "Expected `array`, got `str`"),
        ("[lint]\nfail-on = 'worry'\n", "Invalid enum value 'worry'"),
        ("[lint]\nmax-length = 0\n", "max-length must be at least 1"),
        ("[lint]\nselect = ['MSG8']\n", "unknown rule or family 'MSG8'"),
        ("[lint.per-file-ignores]\n'*' = ['MSG8']\n", "unknown rule or family 'MSG8'"),
        ("[lint\n", "not a TOML file"),
        ("lint = 3\n", "[lint] must be a table"),
        ("[lint]\nfolder = 'x'\n", "unknown key 'folder'"),
    ],
)
def test_what_is_wrong_is_told_and_exits_2(text: str, words: str, project: Path) -> None:
    configure(project, text)
    result = run("data/train.jsonl")
    assert (result.exit_code, result.stdout) == (2, "") and words in result.stderr


def test_an_error_names_the_file_and_the_table(project: Path) -> None:
    configure(project, "[tool.workbench.lint]\nx = 1\n", "pyproject.toml")
    with pytest.raises(ConfigError, match=r"pyproject.toml: \[tool.workbench.lint\]: unknown key 'x'"):
        lint_settings([Path("data/train.jsonl")], {})


@pytest.mark.parametrize(
    ("pattern", "off"),
    [
        ("train.jsonl", True),
        ("*.jsonl", True),
        ("data/*", True),
        ("data/train.jsonl", True),
        ("test*", False),
        ("other/*", False),
    ],
)
def test_patterns_match_the_path_or_the_name(pattern: str, off: bool, project: Path) -> None:
    ignores = read_ignores({pattern: ["MSG008", "dup"]}, project)
    assert ("MSG008" in ignores.codes("data/train.jsonl")) is off
    assert ("DUP001" in ignores.codes(str(project / "data/train.jsonl"))) is off


def test_per_file_ignores_hold_for_their_files_alone(project: Path) -> None:
    (project / "data/test.jsonl").write_text(WARNED + WARNED.replace("Yo", "Oh"))
    flags = ("--format", "json", "--select", "MSG008,DUP")

    def found(*more: str) -> list[tuple[str, str]]:
        report = json.loads(run("data/train.jsonl", "data/test.jsonl", *flags, *more).stdout)
        assert report["summary"]["errors"] + report["summary"]["warnings"] == len(report["findings"])
        return [(Path(f["path"]).stem, f["code"]) for f in report["findings"]]

    everything = found()
    assert ("train", "MSG008") in everything and ("test", "DUP003") in everything
    rest = found("--per-file-ignores", "test*:MSG008,DUP003")
    assert rest == [f for f in everything if f[0] == "train" or f[1] not in ("MSG008", "DUP003")]
    configure(project, "[lint.per-file-ignores]\n'data/test.jsonl' = ['MSG008', 'DUP003']\n")
    assert found() == rest
    assert found("--per-file-ignores", "train.jsonl:MSG008") == [
        f for f in everything if f != ("train", "MSG008")
    ]


@pytest.mark.parametrize("flag", ["MSG008", ":MSG008", "a*:", "a*:MSG8"])
def test_a_bad_per_file_ignore_is_refused(flag: str, project: Path) -> None:
    with pytest.raises(RuleError):
        parse_ignores([flag], project)
    assert run("data/train.jsonl", "--per-file-ignores", flag).exit_code == 2


def test_the_pre_commit_hook_calls_the_linter() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert {"id", "name", "entry", "language", "files"} <= set(hook)
    assert hook["entry"] == "workbench lint" and hook["language"] == "python" and hook["require_serial"]
