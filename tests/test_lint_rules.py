"""Every rule: its page's bad example fires exactly its code, the good one fires nothing."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.example_tokenizers import made
from validators import lint
from validators.linter import LintReport
from validators.rules import RULES, Rule, RuleError, choose_rules
from validators.rules.page import Sample, page
from validators.targets import TARGETS, Target, TargetError, load_target

ROOT = Path(__file__).parent.parent
BY_CODE = {rule.code: rule for rule in RULES}


def chat(*turns: tuple[str, object], **further: object) -> dict:
    return {"messages": [{"role": role, "content": content} for role, content in turns], **further}


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def codes(report: LintReport) -> list[str]:
    return [finding.code for finding in report.findings]


def lint_sample(sample: Sample, folder: Path) -> LintReport:
    paths = [folder / name for name in sample.files]
    for path, content in zip(paths, sample.files.values(), strict=True):
        path.write_bytes(content)
    given: dict[str, Any] = dict(sample.options)
    profile = load_target(given.pop("target", "generic"))
    own = {key: json.loads(given.pop(key)) for key in tuple(given) if key in Target.__struct_fields__}
    select = [given.pop("select")] if "select" in given else []
    given |= {key: int(given[key]) for key in ("max_length", "token_limit") if key in given}
    given |= {"tokenizer": made(given["tokenizer"])} if "tokenizer" in given else {}
    if "against" in given:
        given["against"] = folder / given["against"]
        paths.remove(given["against"])
    return lint(paths, target=msgspec.structs.replace(profile, **own), select=select, **given)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_the_bad_example_fires_exactly_its_rule_and_the_good_one_nothing(rule: Rule, tmp_path: Path) -> None:
    told = page(rule)
    assert set(codes(lint_sample(told.bad, tmp_path))) == {rule.code}
    assert codes(lint_sample(told.good, tmp_path)) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_every_page_says_what_and_why(rule: Rule) -> None:
    told = page(rule)
    assert told.what.endswith(".") and told.why.endswith(".") and told.bad.files and told.good.files


def test_codes_and_names_are_unique_and_in_order() -> None:
    assert len({rule.code for rule in RULES}) == len({rule.name for rule in RULES}) == len(RULES)
    families = {
        "FMT": 16, "MSG": 20, "TOOL": 11, "PART": 5, "PREF": 4, "RFT": 3, "LEN": 4, "MASK": 6,
        "DUP": 7, "TEXT": 7, "PII": 5, "BAL": 4,
    }  # fmt: skip
    wanted = [f"{family}{n:03}" for family, count in families.items() for n in range(1, count + 1)]
    assert [rule.code for rule in RULES] == wanted


def test_the_dirty_sample_holds_one_line_for_each_line_and_row_rule() -> None:
    # Left out on purpose: rules that need a target (FMT014, MSG018) are below, and what a whole file has
    # (BOM FMT002, extension FMT003, size FMT004, counts FMT005 and FMT015, splits DUP003) or what is off
    # by default (MSG020) is shown by the rules' own examples.
    # The families about what the rows say are planted in generated files.
    report = lint(ROOT / "sample_data/dirty.jsonl", select=["FMT", "MSG", "DUP001"], ignore=["MSG020"])
    found = Counter(codes(report))
    whole_file = {"FMT002", "FMT003", "FMT004", "FMT005", "FMT015", "FMT016", "DUP003", "MSG020"}
    rows = {code for code in BY_CODE if code.startswith(("FMT", "MSG"))} | {"DUP001"}
    expected = rows - whole_file - {"FMT014", "MSG018"}
    assert found == dict.fromkeys(expected, 1)
    assert {"FMT014", "MSG018"} <= set(codes(lint(ROOT / "sample_data/dirty.jsonl", target="together")))


def test_all_faults_of_a_row_are_reported(tmp_path: Path) -> None:
    row = chat(("system", ""), ("user", "Hi"), ("user", "Hi?"), ("assistant", ""))
    assert codes(lint(write(tmp_path / "a.jsonl", row))) == ["MSG008", "MSG009", "MSG013"]


@pytest.mark.parametrize(
    ("row", "only"),
    [
        ({"messages": []}, "MSG002"),
        ({"messages": [{"content": "Hi"}, {"content": "Hello"}]}, "MSG004"),
        (chat(("user", "Hi"), ("asistant", "Hello")), "MSG005"),
        (chat(("user", "Hi")), "MSG010"),
        ({"messages": ["Hi", "Hello"]}, "MSG003"),
        (chat(("user", "Hi"), ("assistant", None)), "MSG007"),
    ],
)
def test_a_structural_fault_makes_no_noise(row: dict, only: str, tmp_path: Path) -> None:
    assert set(codes(lint(write(tmp_path / "a.jsonl", row)))) == {only}


@pytest.mark.parametrize(
    ("row", "where", "column"),
    [
        (
            b'{"messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": "a"}]}',
            "content",
            43,
        ),
        (
            '{"é": 1, "messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": "a"}]}'.encode(),
            "content",
            52,
        ),
    ],
)
def test_columns_count_bytes_from_one(row: bytes, where: str, column: int, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(row + b"\n")
    (finding,) = lint(tmp_path / "a.jsonl").findings
    assert (finding.where, finding.line, finding.column) == (f"messages[0].{where}", 1, column)
    assert row[column - 1 :].startswith(b'""')


@pytest.mark.parametrize(
    ("weight", "fixable"), [(1.0, True), (0.0, True), (True, True), (2, False), ("1", False), (None, False)]
)
def test_weights_that_mean_0_or_1_can_be_mended(weight: object, fixable: bool, tmp_path: Path) -> None:
    row = {
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Yo", "weight": weight},
        ]
    }
    findings = [f for f in lint(write(tmp_path / "a.jsonl", row)).findings if f.code == "MSG016"]
    assert [f.fixable for f in findings] == [fixable]


def test_tool_calls_and_parts_excuse_missing_text(tmp_path: Path) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "level", "arguments": "{}"}}
    photo = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}
    row = {
        "messages": [
            photo,
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": ""},
            {"role": "assistant", "content": "Half full."},
        ]
    }
    assert codes(lint(write(tmp_path / "a.jsonl", row))) == []


def test_a_reference_field_in_all_rows_that_end_with_the_user_makes_it_reinforcement(tmp_path: Path) -> None:
    rows = [chat(("user", f"Which pod? {n}"), answer=str(n)) for n in range(3)]
    report = lint(write(tmp_path / "a.jsonl", *rows))
    assert (codes(report), report.files[0].format) == ([], "reinforcement")
    assert codes(lint(write(tmp_path / "b.jsonl", *rows, chat(("user", "Which?"))))) == ["MSG010"] * 4


def test_a_further_key_does_not_excuse_a_supervised_row(tmp_path: Path) -> None:
    rows = [chat(("user", f"{n}?"), ("assistant", "Yes."), source="mail") for n in range(3)]
    report = lint(write(tmp_path / "a.jsonl", *rows, chat(("user", "And 9?"), source="mail")))
    assert (codes(report), report.files[0].format) == (["MSG010"], "chat")


def test_input_format_decides_where_keys_do_not(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"prompt": "Hi", "completion": "Yo"}, chat(("user", "Which?")))
    assert codes(lint(path, input_format="chat", ignore=["FMT"])) == ["MSG001", "MSG010"]
    assert codes(lint(path, input_format="reinforcement", ignore=["FMT"])) == ["MSG001", "RFT002"]


@pytest.mark.parametrize(
    ("prompt", "severity"),
    [("hello there", "warning"), ("how often should I clean the tank of my Duo", "error")],
)
def test_a_short_shared_prompt_is_a_warning(prompt: str, severity: str, tmp_path: Path) -> None:
    train = write(
        tmp_path / "train.jsonl", chat(("system", "Long. " * 20), ("user", prompt), ("assistant", "A"))
    )
    test = write(
        tmp_path / "test.jsonl", chat(("system", "Long. " * 20), ("user", prompt), ("assistant", "B"))
    )
    (finding,) = lint([train, test]).findings
    assert (finding.code, finding.severity, finding.path, finding.line) == ("DUP003", severity, str(test), 1)
    (finding,) = lint(test, against=[train, test]).findings
    assert (finding.code, finding.severity) == ("DUP003", severity)


def test_a_target_overrides_severities(tmp_path: Path) -> None:
    rows = [chat(("user", "a"), ("user", "b"), ("assistant", "c")), chat(("user", "d"), ("assistant", "e"))]
    path = write(tmp_path / "a.jsonl", *rows)
    assert [f.severity for f in lint(path).findings] == ["warning"]
    assert [f.severity for f in lint(path, target="together").findings] == ["error"]


@pytest.mark.parametrize("name", TARGETS)
def test_every_fact_of_a_target_has_source_day_and_certainty(name: str) -> None:
    target = load_target(name)
    assert {"user", "assistant", "system"} <= target.roles
    for fact in target.facts.values():
        assert fact.source and fact.certainty and len(fact.read) == len("2026-11-20")


def test_unknown_names_are_refused_with_a_suggestion() -> None:
    with pytest.raises(TargetError, match="Did you mean 'openai'"):
        load_target("openia")
    with pytest.raises(RuleError, match="unknown rule or family 'MSG099'"):
        choose_rules(("FMT,MSG099",))


@pytest.mark.parametrize(
    ("select", "ignore", "expected"),
    [
        ((), (), [rule.code for rule in RULES if rule.code != "MSG020"]),
        (("dup",), (), [code for code in BY_CODE if code.startswith("DUP")]),
        (("MSG020,FMT007",), (), ["FMT007", "MSG020"]),
        (
            ("MSG",),
            ("MSG0" + "01", "MSG020"),
            [c for c in BY_CODE if c[:3] == "MSG" and c not in ("MSG001", "MSG020")],
        ),
    ],
)
def test_select_and_ignore(select: tuple[str, ...], ignore: tuple[str, ...], expected: list[str]) -> None:
    assert [rule.code for rule in choose_rules(select, ignore)] == expected


def pair(asked: list, preferred: list, rejected: list) -> dict:
    return {"input": {"messages": asked}, "preferred_output": preferred, "non_preferred_output": rejected}


def turn(role: str, content: str, **further: object) -> dict:
    return {"role": role, "content": content, **further}


@pytest.mark.parametrize(
    ("row", "code", "where"),
    [
        (pair([turn("usr", "Hi")], [turn("assistant", "a")], [turn("assistant", "b")]), "MSG005", "input.messages[0].role"),
        (pair([turn("user", " ")], [turn("assistant", "a")], [turn("assistant", "b")]), "MSG008", "input.messages[0].content"),
        (pair([turn("user", "Hi")] * 2, [turn("assistant", "a")], [turn("assistant", "b")]), "MSG013", "input.messages[1]"),
        (
            pair([turn("user", "Hi"), turn("system", "s")], [turn("assistant", "a")], [turn("assistant", "b")]),
            "MSG014",
            "input.messages[1]",
        ),
        (
            {"prompt": "Hi", "chosen": [turn("assistant", "a", weight=0.5)], "rejected": [turn("assistant", "b")]},
            "MSG016",
            "chosen[0].weight",
        ),
        ({"instruction": "Say hi.", "input": "", "output": " "}, "MSG009", "output"),
        ({"instruction": "Say hi.", "output": None}, "MSG009", "output"),
        ({"prompt": "Hi", "completion": ""}, "MSG009", "completion"),
        (
            {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": ""}]},
            "MSG009",
            "conversations[1].value",
        ),
    ],
)  # fmt: skip
def test_messages_of_pairs_and_replies_of_other_formats(
    row: dict, code: str, where: str, tmp_path: Path
) -> None:
    found = lint(write(tmp_path / "a.jsonl", row)).findings
    assert [(f.code, f.where, f.fixable) for f in found] == [(code, where, False)]


def test_pairs_and_instructions_that_are_right_fire_nothing(tmp_path: Path) -> None:
    pairs = [
        pair([turn("system", "s"), turn("user", "Hi")], [turn("assistant", "a")], [turn("assistant", "")]),
        {"prompt": "Hi", "chosen": "a", "rejected": ""},
        {"chosen": [turn("user", "Ho"), turn("assistant", "a")], "rejected": [turn("user", "Ho"), turn("assistant", "b")]},
    ]  # fmt: skip
    assert codes(lint(write(tmp_path / "a.jsonl", *pairs), select=["MSG"])) == []
    rows = [{"instruction": "Say hi.", "input": "", "output": "Hi"}, {"instruction": "Say ho."}]
    assert codes(lint(write(tmp_path / "b.jsonl", *rows), select=["MSG"])) == []
