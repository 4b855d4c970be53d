"""How `lint` prints: a line a finding, GitHub annotations, SARIF, text, colours."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import typer
from typer.testing import CliRunner, Result

from validators import lint as lint_files
from validators.annotations import annotation
from validators.findings import Finding
from validators.lint_text import histogram, render_text
from validators.rules import RULES
from validators.sarif import sarif_log
from workbench.cli.lint import complete_targets, lint

ROOT = Path(__file__).parent.parent
DIRTY = ROOT / "sample_data/dirty.jsonl"
ROW = '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]}\n'
WARNED = '{"messages": [{"role": "user", "content": " "}, {"role": "assistant", "content": "Yo"}]}\n'
FLOAT = WARNED.replace('"Yo"', '"Yo", "weight": 1.0')

# What the SARIF 2.1.0 standard asks of the parts that are written here, closed against slips of the pen.
TEXT = {
    "type": "object",
    "required": ["text"],
    "properties": {"text": {"type": "string", "minLength": 1}},
    "additionalProperties": False,
}
LEVEL = {"enum": ["none", "note", "warning", "error"]}
RULE = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "string"},
        "name": {"type": "string"},
        "shortDescription": TEXT,
        "fullDescription": TEXT,
        "help": {
            "type": "object",
            "required": ["text", "markdown"],
            "properties": {"text": {"type": "string"}, "markdown": {"type": "string"}},
            "additionalProperties": False,
        },
        "defaultConfiguration": {
            "type": "object",
            "properties": {"level": LEVEL, "enabled": {"type": "boolean"}},
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}
LOCATION = {
    "type": "object",
    "properties": {
        "physicalLocation": {
            "type": "object",
            "required": ["artifactLocation"],
            "properties": {
                "artifactLocation": {
                    "type": "object",
                    "properties": {"uri": {"type": "string", "pattern": "^[!-~]+$"}},
                    "additionalProperties": False,
                },
                "region": {
                    "type": "object",
                    "properties": {"startLine": {"type": "integer", "minimum": 1}},
                    "additionalProperties": False,
                },
            },
            "additionalProperties": False,
        },
        "logicalLocations": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"fullyQualifiedName": {"type": "string"}},
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}
RESULT = {
    "type": "object",
    "required": ["message"],
    "properties": {
        "ruleId": {"type": "string"},
        "ruleIndex": {"type": "integer", "minimum": 0},
        "level": LEVEL,
        "message": TEXT,
        "locations": {"type": "array", "items": LOCATION},
        "properties": {"type": "object"},
    },
    "additionalProperties": False,
}
SARIF = {
    "type": "object",
    "required": ["version", "runs"],
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["tool"],
                "properties": {
                    "tool": {
                        "type": "object",
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "type": "object",
                                "required": ["name"],
                                "properties": {
                                    "name": {"type": "string"},
                                    "semanticVersion": {"type": "string"},
                                    "rules": {"type": "array", "items": RULE, "uniqueItems": True},
                                },
                                "additionalProperties": False,
                            }
                        },
                        "additionalProperties": False,
                    },
                    "results": {"type": "array", "items": RESULT},
                    "properties": {"type": "object"},
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}


def run(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(lint)
    return CliRunner().invoke(app, [str(a) for a in arguments])


def finding(**changes: object) -> Finding:
    values: dict[str, object] = {
        "code": "MSG008",
        "name": "empty-content",
        "severity": "warning",
        "path": "data/a.jsonl",
        "line": 2,
        "column": 43,
        "where": "messages[0].content",
        "message": "the user message is empty",
        "help": "Fill it.",
        "fixable": False,
    }
    return Finding(**(values | changes))  # type: ignore[arg-type]


# -- a line a finding ----------------------------------------------------------------------------------


def test_jsonl_is_a_finding_a_line() -> None:
    result = run(DIRTY, "--format", "jsonl")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert rows == json.loads(run(DIRTY, "--format", "json").stdout)["findings"] and result.exit_code == 1


@pytest.mark.parametrize("form", ["json", "jsonl", "github", "sarif"])
def test_what_is_left_out_is_counted(form: str) -> None:
    whole = json.loads(run(DIRTY, "--format", "json").stdout)["summary"]
    result = run(DIRTY, "--format", form, "--max-findings", "2")
    left = sum(whole[key] for key in ("errors", "warnings", "infos")) - 2
    assert result.exit_code == 1 and f"{left} more are not shown" in result.stderr
    if form == "json":
        assert json.loads(result.stdout)["summary"] == whole | {"omitted": left}
    if form == "sarif":
        assert json.loads(result.stdout)["runs"][0]["properties"] == {"omitted": left}


@pytest.mark.parametrize("form", ["jsonl", "github"])
def test_a_clean_file_prints_nothing_there(form: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(ROW)
    result = run(tmp_path / "a.jsonl", "--format", form)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


# -- GitHub --------------------------------------------------------------------------------------------


def test_an_annotation() -> None:
    assert annotation(finding()) == (
        "::warning file=data/a.jsonl,line=2,col=43,title=MSG008 empty-content::"
        "the user message is empty (messages[0].content). Fill it."
    )


@pytest.mark.parametrize(("severity", "command"), [("error", "error"), ("info", "notice")])
def test_severities_have_commands(severity: str, command: str) -> None:
    assert annotation(finding(severity=severity, line=None, column=None)).startswith(
        f"::{command} file=data/a.jsonl,title="
    )


def test_a_finding_about_several_files_names_none(tmp_path: Path) -> None:
    whole = finding(path="", line=None, column=None, where=None)
    assert annotation(whole).startswith("::warning title=MSG008")
    log = sarif_log([whole])
    jsonschema.validate(log, SARIF)
    assert log["runs"][0]["results"][0]["locations"] == []


def test_an_annotation_cannot_be_broken_out_of() -> None:
    said = annotation(finding(path="a,b:c%.jsonl", message="x\n::error::y\r 100%"))
    assert "file=a%2Cb%3Ac%25.jsonl," in said and "x%0A::error::y%0D 100%25" in said
    assert "\n" not in said and "\r" not in said


# -- SARIF ---------------------------------------------------------------------------------------------


def test_sarif_is_what_the_standard_asks_for(tmp_path: Path) -> None:
    (tmp_path / "näive file.jsonl").write_text("")
    log = json.loads(run(DIRTY, tmp_path / "näive file.jsonl", "--format", "sarif").stdout)
    jsonschema.validate(log, SARIF)
    (sarif_run,) = log["runs"]
    rules = sarif_run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [rule.code for rule in RULES]
    for result in sarif_run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    uris = {r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in sarif_run["results"]}
    assert any(uri.startswith("file:///") and uri.endswith("n%C3%A4ive%20file.jsonl") for uri in uris)


def test_a_sarif_result() -> None:
    log = sarif_log([finding(), finding(line=None, column=None, where=None, severity="info")], omitted=3)
    jsonschema.validate(log, SARIF)
    first, second = log["runs"][0]["results"]
    place = first["locations"][0]
    assert place["physicalLocation"] == {
        "artifactLocation": {"uri": "data/a.jsonl"},
        "region": {"startLine": 2},
    }
    assert place["logicalLocations"] == [{"fullyQualifiedName": "messages[0].content"}]
    assert first["properties"] == {"byteColumn": 43, "fixable": False} and first["level"] == "warning"
    assert second["level"] == "note" and "region" not in second["locations"][0]["physicalLocation"]


# -- text ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (ROW, "All clear: 1 example in 1 file."),
        (FLOAT, "Found 1 error, 1 warning (1 can be mended with --fix); 1 example in 1 file."),
        (ROW * 2, "Found 1 warning (1 can be mended with --unsafe-fixes); 2 examples in 1 file."),
        (FLOAT * 2, "(2 can be mended with --fix, 1 more with --unsafe-fixes)"),
    ],
)
def test_the_summary_says_how_many_can_be_mended(rows: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(rows)
    assert words in run(tmp_path / "a.jsonl", "--select", "MSG008,MSG016,DUP001").stdout


@pytest.mark.parametrize(("no_color", "escapes"), [(None, True), ("", True), ("1", False)])
def test_no_color_means_no_escapes(
    no_color: str | None, escapes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)
    (tmp_path / "a.jsonl").write_text(WARNED)
    assert ("\x1b[" in run(tmp_path / "a.jsonl").stdout) is escapes


def test_a_histogram() -> None:
    bars = [text.plain for text in histogram([[1, 1, 1], [2, 3, 0], [4, 7, 64], [8, 15, 32]])]
    assert bars == [
        "       1  ▌ 1",
        "     2–3   0",
        "     4–7  " + "█" * 32 + " 64",
        "    8–15  " + "█" * 16 + " 32",
    ]
    assert list(histogram([])) == []


def test_the_shell_completes_targets() -> None:
    assert complete_targets("o") == ["openai"] and "generic" in complete_targets("")


# -- what the files hold -------------------------------------------------------------------------------


def chat(system: str, user: str, reply: str) -> str:
    turns = (("system", system), ("user", user), ("assistant", reply))
    messages = [{"role": role, "content": text} for role, text in turns if text]
    return json.dumps({"messages": messages}, ensure_ascii=False) + "\n"


def write_set(path: Path) -> Path:
    """30 rows of two classes, three of them German, one without a system message, none without a user's."""
    rows = [
        chat("Sort.", f"What is the right place for the number {n}?", "even" if n % 2 else "odd")
        for n in range(26)
    ]
    rows += [chat("Ordne.", f"Wo ist der Platz für die Nummer {n}, und ist das so?", "odd") for n in range(3)]
    path.write_text("".join([*rows, chat("", "What is the right place for the number 99?", "odd")]))
    return path


def test_statistics_in_json(tmp_path: Path) -> None:
    (file,) = json.loads(run(write_set(tmp_path / "a.jsonl"), "--format", "json").stdout)["files"]
    told = file["statistics"]
    assert (file["examples"], file["distinct"], told["no_system"], told["no_user"]) == (30, 30, 1, 0)
    assert told["turns"] == pytest.approx({"min": 2, "mean": 89 / 30, "p5": 3, "p50": 3, "p95": 3, "max": 3})
    assert told["languages"] == pytest.approx({"en": 0.9, "de": 0.1}) and told["language_sample"] == 30
    assert told["classes"] == {"odd": 17, "even": 13}
    assert told["system_prompts"] == {
        "distinct": 2,
        "commonest": [{"line": 1, "examples": 26}, {"line": 27, "examples": 3}],
    }


def test_statistics_of_tokens(tmp_path: Path) -> None:
    report = lint_files(write_set(tmp_path / "a.jsonl"), tokenizer="o200k_base", max_length=24)
    told = report.files[0].statistics["tokens"]
    assert told["example"]["max"] == told["max"] and told["example"]["p50"] == told["median"]
    assert sum(count for _, _, count in told["histogram"]) == told["examples"] == 30
    assert (told["reply"]["min"], told["reply"]["max"], told["trained"]) == (1, 1, 30)
    assert told["trained_share"] == pytest.approx(30 / told["total"]) and told["limit"] == 24
    assert 0 < told["over_limit"] < 30


def test_statistics_as_text(tmp_path: Path) -> None:
    shown = run(write_set(tmp_path / "a.jsonl"), "--statistics", "--tokenizer", "o200k_base").stdout
    for line in (
        "  rows        30 examples, 30 distinct, chat",
        "  turns       p5 3 · p50 3 · p95 3 · max 3",
        "  missing     1 without a system message",
        "  system      2 system prompts: 26 as in line 1, 3 as in line 27",
        "  languages   en 90%, de 10%",
        "  classes     2: odd 17, even 13",
        "  a reply     p5 1 · p50 1 · p95 1 · max 1",
    ):
        assert line in shown
    assert re.search(r"\n {4}16–31 +█+ \d+\n", shown)


def test_a_set_that_forms_no_classes_has_none(tmp_path: Path) -> None:
    rows = [
        chat("", f"Question {n}?", f"A rather long answer to the question number {n}.") for n in range(30)
    ]
    (tmp_path / "a.jsonl").write_text("".join(rows))
    assert lint_files(tmp_path / "a.jsonl").files[0].statistics["classes"] is None


def test_a_rule_that_fires_again_and_again_is_told_a_few_times(tmp_path: Path) -> None:
    rows = [{"messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": f"a{i}"}]} for i in range(40)]  # fmt: skip
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{\n")
    report = lint_files(path, select=["MSG008", "FMT"])
    text = [line.plain for line in render_text(report)]
    assert sum("MSG008" in line for line in text) == 6 and sum("FMT007" in line for line in text) == 1
    assert f"{path}: MSG008 and 35 more like this (--format jsonl prints each)" in text
    assert len(report.as_dict()["findings"]) == 41
