"""`workbench explain`, and the rules' pages."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from validators.rules import FAMILIES, RULES, family_of
from validators.rules.manual import TITLES, manual
from workbench.cli.explain import complete_rules, explain

PAGES = Path(__file__).parent.parent / "docs/rules.md"


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(explain)
    return CliRunner().invoke(app, list(arguments))


def test_the_document_says_what_the_docstrings_say() -> None:
    assert PAGES.read_text(encoding="utf-8") == manual(), (
        "docs/rules.md is not what the rules' docstrings say: workbench explain --all > docs/rules.md"
    )


def test_all_prints_the_document() -> None:
    assert run("--all").stdout == manual()


def test_a_rules_page() -> None:
    shown = run("msg012").stdout
    assert shown.startswith("### MSG012 last-not-assistant\n") and shown.count("```") == 4
    assert "**Why:**" in shown and "an error of a row" in shown


def test_a_page_shows_bytes_that_are_no_text_and_what_cannot_be_seen() -> None:
    assert "<0xB0>" in run("FMT001").stdout
    assert "<0xEF><0xBB><0xBF>{" in run("FMT002").stdout


def test_options_of_an_example_are_said() -> None:
    assert "(with target=together)" in run("FMT002").stdout


def test_several_files_are_named() -> None:
    assert "== train.jsonl" in run("DUP003").stdout and "== test.jsonl" in run("DUP003").stdout


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_a_table_of_its_rules(family: str) -> None:
    rows = run(family).stdout.splitlines()[2:]
    assert [row.split("|")[1].strip() for row in rows] == [
        rule.code for rule in RULES if family_of(rule.code) == family
    ]


def test_every_family_has_a_title() -> None:
    assert set(FAMILIES) <= set(TITLES)


def test_without_a_name_all_rules_are_listed() -> None:
    assert len(run().stdout.splitlines()) == len(RULES) + 2


def test_json() -> None:
    told = json.loads(run("DUP001", "--format", "json").stdout)
    assert (told["code"], told["name"], told["fix"], told["scope"]) == (
        "DUP001",
        "exact-duplicate",
        "unsafe",
        "set",
    )
    assert set(told["bad"]) == {"train.jsonl"} and told["why"]
    assert [page["code"] for page in json.loads(run("FMT", "--format", "json").stdout)][:2] == [
        "FMT001",
        "FMT002",
    ]


@pytest.mark.parametrize(
    ("name", "words"), [("MSG1", "Did you mean 'MSG"), ("NOPE", "families are FMT, MSG")]
)
def test_unknown_names_are_refused(name: str, words: str) -> None:
    result = run(name)
    assert (result.exit_code, result.stdout) == (2, "") and words in result.stderr


def test_the_shell_completes_codes() -> None:
    assert complete_rules("dup")[0] == "DUP" and "DUP001" in complete_rules("dup")
    assert "FMT" in complete_rules("")
