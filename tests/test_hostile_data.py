"""Data made to hang, to flood or to leak: each case here once took minutes, all memory, or told a secret."""

from __future__ import annotations

import gzip
import json
import os
import re
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.example_tokenizers import tokenizer_of
from validators import lint, long_runs
from validators.characters import mend_garbled, without_invisible
from validators.chat_templates import TokenizerError
from validators.examples import Example, Message
from validators.findings import Finding
from validators.ignoring import parse_ignores
from validators.linter import lint_rows
from validators.mending import mend_row, plan_mending
from validators.personal import find_personal, find_phones, find_secrets, without_personal
from validators.reading import DataError, read_rows
from validators.rows import Row
from validators.rules import RuleError
from validators.rules.text import _CODE_LIKE
from validators.suggest import did_you_mean
from validators.targets import load_target
from validators.tokens import load_tokenizer
from validators.writing import replacing
from workbench.cli.lint import source_of

KEY = "sk-proj-Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zAb3dEf6h"
PEM = "-----BEGIN PRIVATE KEY-----"
MANY = 100_000


def found(*rows: dict[str, Any], **options: Any) -> tuple[Finding, ...]:
    return lint_rows([Row(i, row) for i, row in enumerate(rows, 1)], "a.jsonl", **options).findings


def chat(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "Hi"}, *messages], **more}


# -- expressions that went back over the same text again and again ---------------------------------------------


@pytest.mark.parametrize(
    "text",
    [PEM + "a: b " * 40 + "!", (PEM + "a: b") * 2000, "-eyJaaaaaaaa" * 10_000, PEM + "\n" * MANY],
)
def test_what_only_begins_like_a_secret_is_passed_over_at_once(text: str) -> None:
    assert not list(find_secrets(text))


@pytest.mark.parametrize(
    "text",
    [
        f"{PEM}\nMIIEvQIBADANBg",
        f"{PEM}\\nMIIEvQIBADANBg",
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG v2\nComment: a b: c\n\nlQOYBF0Lxb8BCAC",
        "-----BEGIN RSA PRIVATE KEY-----\\nProc-Type: 4,ENCRYPTED\\nDEK-Info: DES,1\\n\\nMIIEvQIBADANBg",
    ],
)
def test_private_keys_are_found_behind_their_headers(text: str) -> None:
    assert [each.title for each in find_secrets(text)] == ["a private key"]


def test_numbers_that_are_too_long_for_a_phone_end_soon() -> None:
    assert not list(find_phones("+11111111111111111111111111a " * 5_000))
    assert len(list(find_phones("+49 30 901820, +4930901820 or +1 (212) 456-0177"))) == 3


def test_a_brace_before_many_empty_lines_is_no_code() -> None:
    assert _CODE_LIKE.search("{a}" + "\n" * MANY) is None
    assert _CODE_LIKE.search("x\n\n  def f") and _CODE_LIKE.search("a;\n") and _CODE_LIKE.search("a; \r\nb")


def test_many_faults_of_one_text_are_mended_in_one_go() -> None:
    assert without_invisible("\u200ba" * MANY) == "a" * MANY
    assert mend_garbled("Itâ€™s " * MANY) == "It’s " * MANY


def test_many_addresses_of_one_text_are_found_in_order() -> None:
    places = find_personal(f"a@b.co {KEY} " * 5_000)
    assert [each.kind for each in places] == ["email", "secret"] * 5_000
    assert places == sorted(places, key=lambda each: each.start)


# -- rows with very many calls, keys, names ----------------------------------------------------------------------


def call(i: int) -> dict[str, Any]:
    return {"id": f"c{i}", "type": "function", "function": {"name": f"f{i}", "arguments": "{}"}}


def test_a_row_of_very_many_calls() -> None:
    count = 3_000
    calls = {"role": "assistant", "content": None, "tool_calls": [call(i) for i in range(count)]}
    results = [{"role": "tool", "tool_call_id": f"c{i}", "content": "x"} for i in range(count)]
    end = {"role": "assistant", "content": "Done."}
    assert not found(chat(calls, *results, end))
    assert [f.code for f in found(chat(calls, *results[1:], end))] == ["TOOL007"]
    assert [f.code for f in found(chat(calls, *results, {**results[0], "tool_call_id": "d"}, end))] == [
        "TOOL006"
    ]


def test_results_are_paired_by_place_where_ids_are_missing() -> None:
    bare = [{"type": "function", "function": {"name": "f", "arguments": {}}}] * 2
    calls = {"role": "assistant", "content": None, "tool_calls": bare}
    result, end = {"role": "tool", "content": "x"}, {"role": "assistant", "content": "Done."}
    assert not found(chat(calls, result, result, end))
    assert {f.code for f in found(chat(calls, result, end))} == {"TOOL007"}
    assert {f.code for f in found(chat(result, calls, end))} == {"TOOL006", "MSG013"}
    assert {f.code for f in found(chat(calls, {**result, "tool_call_id": ["c"]}, end))} <= {
        "TOOL006",
        "TOOL007",
    }


def test_very_many_old_calls_are_mended() -> None:
    turns = [
        turn
        for i in range(5_000)
        for turn in (
            {"role": "assistant", "function_call": {"name": f"f{i}", "arguments": "{}"}},
            {"role": "function", "name": f"f{i}", "content": "x"},
        )
    ]
    raw, codes = mend_row(
        json.dumps(chat(*turns, {"role": "assistant", "content": "x"})).encode(), plan_mending()
    )
    ids = [m["tool_calls"][0]["id"] for m in json.loads(raw)["messages"] if "tool_calls" in m]
    assert ids == [f"call{i:05}" for i in range(1, 5_001)] and set(codes) == {"MSG019"}


def test_no_name_is_suggested_for_what_nobody_typed() -> None:
    assert did_you_mean("a" * MANY, ["a" * MANY]) == ""
    assert [f.code for f in found({f"k{i}": 1 for i in range(MANY)})] == ["FMT013"]


# -- white space without end -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base"])
@pytest.mark.parametrize("text", ["{}", "{}x", "a{}\n", "a\n{}.", "a{}b{}", "!{} 1", "\t{}\r\nx"])
@pytest.mark.parametrize("space", [" ", "\t", "\u3000"])
def test_a_cut_run_of_spaces_counts_as_the_whole(
    name: str, text: str, space: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoding = load_tokenizer(name).encoding  # type: ignore[attr-defined]
    monkeypatch.setattr("validators.long_runs.LONG", 5)
    pattern = re.compile(long_runs._SPACES.pattern.replace("{500000,}", "{5,}"))
    monkeypatch.setattr("validators.long_runs._SPACES", pattern)
    for length in (4, 5, 6, 100):
        whole = text.replace("{}", space * length)
        assert long_runs.ordinary_ids(encoding, whole) == encoding.encode_ordinary(whole)


def test_a_million_blanks_are_counted_or_told_of() -> None:
    tokenizer = load_tokenizer("o200k_base")
    assert tokenizer.count_text(" " * 1_100_000 + "x") > 1000
    assert tokenizer.count_text(" " * 1_100_000 + "\nx") > 1000

    class PanicException(BaseException):
        pass

    class Panicking:
        def encode_ordinary(self, text: str) -> list[int]:
            raise PanicException

    with pytest.raises(TokenizerError, match="Shorten it"):
        long_runs.ordinary_ids(Panicking(), "x")


# -- memory ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded on Linux only")
@pytest.mark.parametrize(
    "template",
    [
        "{{ 'x' * 10000000000 }}",
        "{% set n = namespace(x='xx') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
    ],
)
def test_a_template_cannot_take_all_memory(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    monkeypatch.setattr("validators.chat_templates.MOST_BYTES", 1 << 27)
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(TokenizerError, match="runs wild: over 134,217,728 bytes"):
        tokenizer_of(template).count_example(Example((Message("user", "a"),)))
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_an_array_s_item_that_unpacks_to_too_much_is_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("validators.reading.MAX_ROW_BYTES", 1 << 20)
    target = msgspec.structs.replace(load_target("generic"), max_row_bytes=1 << 20)
    row = json.dumps(chat({"role": "assistant", "content": "Hello!"})).encode()
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(b"[" + row + b',{"a": "' + b" " * (1 << 22) + b'"},\n' + row + b"]"))
    told = lint(path, target=target)
    assert [(f.code, f.line) for f in told.findings] == [("FMT016", 1), ("DUP001", 2)]
    assert told.files[0].lines == 2
    with pytest.raises(DataError, match=r"a\.json\.gz:1: the row is too long\. It has 4,194,313 bytes"):
        list(read_rows(path))


def test_a_table_s_row_that_unpacks_to_too_much_is_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("validators.tables.MAX_ROW_BYTES", 1000)
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,2\n3," + b"x" * 2000))
    with pytest.raises(DataError, match=r"a\.csv\.gz:3:1: the row is too long"):
        list(read_rows(path))
    path.write_bytes(gzip.compress(b"a,b\n" + b'"x\n",' * 400))
    assert "FMT007" in {f.code for f in lint(path).findings}
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 400))
    assert len(list(read_rows(path))) == 400


# -- secrets -----------------------------------------------------------------------------------------------------


def test_no_finding_of_any_rule_tells_a_secret() -> None:
    rows = [
        {"messages": [{"role": KEY, "content": "x"}]},
        chat({"role": "assistant", "content": "x", "weight": KEY, KEY: 1}),
        chat(
            {"role": "assistant", "content": None, "tool_calls": [{**call(1), "id": KEY}]}, tools=[{KEY: 1}]
        ),
        {KEY: 1},
        *[{"prompt": f"Plant {i}?", "completion": KEY} for i in range(40)],
    ]
    for target in ("generic", "together", "mistral"):
        told = found(*rows, target=target)
        assert {"MSG005", "MSG016", "FMT013"} <= {f.code for f in told}
        assert KEY[:20] not in json.dumps([f.as_dict() for f in told])


def test_classes_that_are_secrets_are_not_in_the_statistics() -> None:
    rows = [{"messages": [{"role": "user", "content": f"{i}"}, {"role": "assistant", "content": r}]} for i in range(20) for r in (KEY, "no")]  # fmt: skip
    report = lint_rows([Row(i, row) for i, row in enumerate(rows, 1)], "a.jsonl")
    assert report.files[0].statistics["classes"] == {"<OpenAI API key>": 20, "no": 20}


def test_a_secret_s_place_is_marked() -> None:
    assert without_personal(f"a '{KEY}' b {KEY}") == "a '<OpenAI API key>' b <OpenAI API key>"
    assert without_personal("unknown-part-type 'x'") == "unknown-part-type 'x'"


def test_text_that_begins_with_data_is_text() -> None:
    told = found(chat({"role": "assistant", "content": f"data: {KEY}"}))
    assert [f.code for f in told] == ["PII001"]
    assert not found(chat({"role": "assistant", "content": f"data:image/png;base64,{KEY}"}))


# -- places ------------------------------------------------------------------------------------------------------


def test_devices_and_folders_are_not_replaced_by_files(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "folder").mkdir()
    for path in (pipe, tmp_path / "folder"):
        with pytest.raises(DataError, match="no file that can be replaced"), replacing(path) as copy:
            copy.keep()
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_pipe_is_read_once_and_not_mended(tmp_path: Path) -> None:
    from validators.mending import mend_file

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(b'{"prompt": "a", "completion": "b"}\n'))
    writer.start()
    (tmp_path / "spool").mkdir()
    source = source_of(str(pipe), tmp_path / "spool")
    writer.join()
    assert not isinstance(source, str) and source.label == str(pipe)
    assert not lint(source).findings and not lint(source).findings
    assert "a pipe has no file" in (mend_file(source, plan_mending()).refused or "")


@pytest.mark.parametrize("flag", ["a:,", "a: , ", ":MSG", "a:"])
def test_ignores_without_a_code_are_refused(flag: str) -> None:
    with pytest.raises(RuleError, match="PATTERN:CODES"):
        parse_ignores([flag], Path())
