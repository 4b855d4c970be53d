"""Tools, parts, pairs and reinforcement rows: tables of what fires, bounds against hostile schemas."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from validators import lint, lint_rows
from validators.images import Embedded, embedded_image, scheme_of
from validators.linter import LintReport
from validators.reading import Row
from validators.rules.pref import _sign_test
from validators.rules.subjects import row_format
from validators.tool_schemas import schema_fault, violations

USER = {"role": "user", "content": "How full is the tank?"}
REPLY = {"role": "assistant", "content": "Half full."}
SCHEMA = {"type": "object", "properties": {"device": {"type": "string"}}, "required": ["device"]}
PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(90)).decode()


def found(row: object, **options: Any) -> LintReport:
    return lint_rows([Row(1, row)], "a.jsonl", **options)  # type: ignore[arg-type]


def codes(row: object, ignore: tuple[str, ...] = ("FMT",), **options: Any) -> list[str]:
    report = found(row, ignore=ignore, **options)
    return [f.code for f in report.findings if f.severity != "info"]


def call(arguments: object = '{"device": "Duo"}', name: object = "level", **more: object) -> dict[str, Any]:
    return {"id": "c12345678", "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def asked(*calls: object, tools: object = None, after: tuple[object, ...] = ()) -> dict[str, Any]:
    assistant = {"role": "assistant", "content": None, "tool_calls": list(calls)}
    row = {"messages": [USER, assistant, *after]}
    return row if tools is None else {**row, "tools": tools}


def tool(parameters: object = SCHEMA, name: object = "level") -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def result(identity: object = "c12345678") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": identity, "content": "0.5"}


@pytest.mark.parametrize(
    ("row", "target", "expected"),
    [
        (asked(call()), "openai", []),
        (asked("level()"), "generic", ["TOOL001"]),
        (asked({"id": "c1", "name": "level", "arguments": "{}"}), "generic", ["TOOL001"]),
        (asked(call(name="")), "generic", ["TOOL001"]),
        (asked(call(name=None), after=(result(), REPLY)), "generic", ["TOOL001"]),
        ({"messages": [USER, {**REPLY, "tool_calls": "[]"}]}, "generic", ["TOOL001"]),
        (asked(call(id=None)), "generic", []),
        (asked(call(id=None)), "openai", ["TOOL001"]),
        (asked(call(id=None), after=(result(), REPLY)), "openai", ["TOOL001"]),
        (asked(call(type="tool")), "azure", ["TOOL001"]),
        (asked(call(type="tool")), "mistral", []),
        (asked(call({"device": "Duo"})), "together", ["TOOL001"]),
        (asked(call({"device": "Duo"})), "trl", []),
        (asked(call("")), "generic", ["TOOL002"]),
        (asked(call('{"a": 1,}')), "generic", ["TOOL002"]),
        (asked(call('{"a": NaN}')), "generic", ["TOOL002"]),
        (asked(call("[" * 100_000)), "generic", ["TOOL002"]),
        (asked(call("[1]")), "generic", ["TOOL003"]),
        (asked(call("null")), "generic", ["TOOL003"]),
        (asked(call(json.dumps('{"device": "Duo"}'))), "generic", ["TOOL003"]),
        (asked(call(["Duo"])), "generic", ["TOOL003"]),
        (asked(call(None)), "generic", []),
        (asked(call(), tools=[tool()]), "openai", []),
        (asked(call("{}"), tools=[tool()]), "openai", ["TOOL004"]),
        (asked(call("{}"), tools=[tool()["function"]]), "generic", ["TOOL004"]),
        (asked(call("{}"), tools=json.dumps([tool()])), "generic", ["TOOL004"]),
        (asked(call("{}"), tools=json.dumps([tool()])), "openai", ["TOOL008", "TOOL004"]),
        (asked(call("{}"), tools=[tool()["function"]]), "openai", ["TOOL004", "TOOL008"]),
        (asked(call({"device": "Duo", "unit": None}), tools=[tool()]), "trl", []),
        (asked(call(name="levle"), tools=[tool()]), "generic", ["TOOL005"]),
        (asked(call(name="levle"), tools=[]), "generic", []),
        (asked(call(name="levle"), tools=[tool(name=None)]), "generic", ["TOOL008"]),
        (asked(call(), after=(result("c2"), REPLY)), "generic", ["TOOL006"]),
        (asked(call(), after=(result(None), REPLY)), "generic", []),
        (asked(call(), after=(result(None), REPLY)), "openai", ["TOOL006"]),
        ({"messages": [USER, result(), REPLY]}, "generic", ["TOOL006"]),
        (asked(call(), after=(USER, REPLY)), "generic", ["TOOL007"]),
        (asked(call(), call(id="c2"), after=(result(), REPLY)), "generic", ["TOOL007"]),
        (asked(call(id=None), call(id=None), after=(result(None), REPLY)), "trl", ["TOOL007", "TOOL007"]),
        (asked(call(), tools={}), "generic", ["TOOL008"]),
        (asked(call(), tools=[7, tool()]), "generic", ["TOOL008"]),
        (asked(call(), tools=[tool({"type": "string"})]), "generic", ["TOOL008"]),
        (asked(call(), tools=[tool("{}")]), "generic", ["TOOL008"]),
        (asked(call(), tools=[tool(None)]), "openai", []),
        (asked(call(), tools=[tool()] * 129), "generic", ["TOOL009"]),
        (asked(call(), tools=[tool()] * 128), "openai", []),
        (asked(call()), "mistral", []),
        (asked(call(id="call_1")), "mistral", ["TOOL010"]),
        (asked(call(id="äbcdefghi")), "mistral", ["TOOL010"]),
        (asked(call(id="call_1"), after=(result("call_1"), REPLY)), "mistral", ["TOOL010"]),
    ],
)
def test_tool_rows(row: dict[str, Any], target: str, expected: list[str]) -> None:
    assert sorted(codes(row, target=target, ignore=("FMT", "MSG"))) == sorted(expected)


def test_old_functions_are_checked_as_tools() -> None:
    def row(name: str, arguments: str) -> dict[str, Any]:
        old = {"role": "assistant", "content": None, "function_call": {"name": name, "arguments": arguments}}
        answer = {"role": "function", "name": name, "content": "0.5"}
        return {"messages": [USER, old, answer, REPLY], "functions": [tool()["function"]]}

    assert codes(row("level", '{"device": "Duo"}'), ignore=("FMT", "MSG")) == []
    assert codes(row("level", "{}"), ignore=("FMT", "MSG")) == ["TOOL004"]
    assert codes(row("light", "{"), ignore=("FMT", "MSG")) == ["TOOL002", "TOOL005"]


def test_only_arguments_encoded_twice_can_be_mended() -> None:
    rows = [asked(call(json.dumps('{"device": "Duo"}'))), asked(call("[1]")), asked(call('"Duo"'))]
    assert [found(row, select=["TOOL003"]).findings[0].fixable for row in rows] == [True, False, False]


@pytest.mark.parametrize(
    ("schema", "arguments", "broken"),
    [
        ({"type": "object"}, {}, 0),
        (SCHEMA, {"device": "Duo"}, 0),
        (SCHEMA, {"device": 7}, 1),
        ({"properties": {"n": {"type": "integer"}}}, {"n": 1.0}, 0),
        ({"properties": {"n": {"enum": [1, 2]}}, "additionalProperties": False}, {"n": 3, "m": 1}, 2),
        ({"properties": {"n": {"type": "string", "nullable": True}}}, {"n": None}, 0),
        ({"properties": {"n": {"minimum": 0, "exclusiveMinimum": True}}}, {"n": 1}, 0),
        ({"properties": {"n": {"items": [{"type": "string"}, {"type": "integer"}]}}}, {"n": ["a", "b"]}, 1),
        ({"properties": {"n": {"pattern": "^[a-z]+$"}}}, {"n": "ok"}, 0),
        ({"properties": {"n": {"pattern": "^[a-z]+$"}}}, {"n": "no1"}, 1),
        (
            {"properties": {"n": {"$ref": "#/definitions/n"}}, "definitions": {"n": {"type": "null"}}},
            {"n": 1},
            1,
        ),
        # Not checked: references that leave the schema or lead nowhere, formats, what has no linear pattern.
        ({"$ref": "http://127.0.0.1:9/schema.json"}, {}, 0),
        ({"$ref": "file:///etc/passwd"}, {}, 0),
        ({"$ref": "#/$defs/none"}, {}, 0),
        ({"properties": {"n": {"format": "email"}}}, {"n": "no"}, 0),
        ({"properties": {"n": {"pattern": "(?=a)b"}}}, {"n": "c"}, 0),
        ({"patternProperties": {"^(a+)+$": {"type": "null"}}}, {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!": 1}, 0),
    ],
)
def test_arguments_against_schemas(schema: dict[str, Any], arguments: object, broken: int) -> None:
    assert schema_fault(schema) is None
    assert len(violations(schema, arguments)) == broken


def ladder(rungs: int) -> dict[str, Any]:
    """Each rung asks twice for the next: 2 ** rungs looks."""
    defs: dict[str, Any] = {
        str(n): {"allOf": [{"$ref": f"#/$defs/{n + 1}"}, {"$ref": f"#/$defs/{n + 1}"}]} for n in range(rungs)
    }
    return {"$ref": "#/$defs/0", "$defs": {**defs, str(rungs): {}}}


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        ({"$ref": "#"}, {}),
        (ladder(60), {}),
        ({"properties": {"n": {"pattern": "^(a+)+$"}}}, {"n": "a" * 50_000 + "!"}),
        ({"properties": {"n": {"pattern": "((a{1000}){1000}){1000}"}}}, {"n": "a"}),
        ({"properties": {"n": {"uniqueItems": True}}}, {"n": [{"k": n} for n in range(900)]}),
        ({"properties": {"n": {"uniqueItems": True}}}, {"n": list(range(1_000_000))}),
        ({"properties": {"n": {"multipleOf": 1e-300}}}, {"n": 1e300}),
        ({"properties": {str(n): {} for n in range(100_000)}}, {}),
    ],
    ids=["circle", "ladder", "pattern", "expansion", "unique", "long", "overflow", "wide"],
)
def test_hostile_schemas_end_soon(schema: dict[str, Any], arguments: object) -> None:
    assert isinstance(violations(schema, arguments), list)


@pytest.mark.parametrize(
    ("schema", "path", "words"),
    [
        ({"type": "dict"}, "type", "Did you mean 'object'"),
        ({"type": ["string", "nul"]}, "type", "'nul'"),
        ({"properties": {"a": {"type": "float"}}}, "properties.a.type", "Did you mean 'number'"),
        ({"properties": {"a": {"type": "string", "required": True}}}, "properties.a.required", "beside"),
        ({"properties": {"a": "string"}}, "properties.a", "a schema is an object, this is text"),
        ({"properties": []}, "properties", "a list"),
        ({"items": [{"type": "str"}]}, "items[0].type", "Did you mean 'string'"),
        ({"anyOf": []}, "anyOf", "empty"),
        ({"enum": "a"}, "enum", "text"),
        ({"minimum": "1"}, "minimum", "text"),
        ("{}", "", "text"),
    ],
)
def test_faults_of_schemas(schema: object, path: str, words: str) -> None:
    fault = schema_fault(schema)
    assert fault is not None and fault[0] == path and words in fault[1]


def test_findings_about_arguments_hold_no_values() -> None:
    secret = "sk-live-4242424242424242"
    schema = {"properties": {"key": {"type": "integer"}, "n": {"enum": [1]}, "p": {"pattern": "^x"}}}
    values = json.dumps({"key": secret, "n": secret, "p": secret})
    rows = [
        asked(call(values), tools=[tool(schema)]),
        asked(call(f"{{'key': '{secret}'}}")),
        asked(call(json.dumps(secret))),
        {"messages": [{"role": "user", "content": [{"type": "text", "text": {"key": secret}}]}, REPLY]},
        {"prompt": "Hi", "chosen": {"key": secret}, "rejected": secret},
    ]
    for row in rows:
        findings = found(row, select=["TOOL", "PART", "PREF"]).findings
        assert findings and all(secret not in f"{f.message}{f.help}{f.where}" for f in findings)


@pytest.mark.parametrize(
    ("parts", "target", "expected"),
    [
        ([{"type": "text", "text": "Hi"}], "openai", []),
        (["Hi"], "generic", ["PART001"]),
        ([{"text": "Hi"}], "generic", ["PART001"]),
        ([{"type": "text"}], "generic", ["PART001"]),
        ([{"type": []}], "generic", ["PART001"]),
        ([{"type": "text", "text": 5}], "generic", ["PART001"]),
        ([{"type": "input_image", "image_url": PNG}], "generic", ["PART001"]),
        ([{"type": "image_url", "image_url": {}}], "generic", ["PART001"]),
        ([{"type": "image_url", "image_url": PNG}], "generic", []),
        ([{"type": "image_url", "image_url": PNG}], "mistral", []),
        ([{"type": "image_url", "image_url": PNG}], "openai", ["PART001"]),
        ([{"type": "input_audio", "input_audio": {"data": "UklGRg=="}}], "together", ["PART001"]),
        ([{"type": "image", "image": None}], "trl", []),
        ([{"type": "image_url", "image_url": {"url": PNG}}] * 11, "together", ["PART003"]),
        ([{"type": "image_url", "image_url": {"url": PNG}}] * 64, "azure", []),
        ([{"type": "image_url", "image_url": {"url": PNG}}] * 65, "azure", ["PART003"]),
        ([{"type": "image_url", "image_url": {"url": PNG}}] * 31, "gemini", ["PART003"]),
        ([{"type": "image_url", "image_url": {"url": "basil.png"}}], "generic", []),
        ([{"type": "image_url", "image_url": {"url": "basil.png"}}], "openai", ["PART004"]),
        ([{"type": "image_url", "image_url": {"url": "gs://garden/basil.png"}}], "gemini", []),
        ([{"type": "image_url", "image_url": {"url": "gs://garden/basil.png"}}], "azure", ["PART004"]),
        ([{"type": "image_url", "image_url": {"url": "https://example.com/a"}}], "fireworks", ["PART004"]),
        ([{"type": "image_url", "image_url": {"url": "data:image/png,abc"}}], "openai", ["PART004"]),
        ([{"type": "image_url", "image_url": {"url": PNG.replace("png", "jpg")}}], "together", ["PART004"]),
        ([{"type": "image_url", "image_url": {"url": PNG.replace("png", "jpg")}}], "openai", []),
        (
            [{"type": "image_url", "image_url": {"url": "data:image/gif;base64,R0lGODlhAQAB"}}],
            "openai",
            ["PART005"],
        ),
        ([{"type": "image_url", "image_url": {"url": "data:image/gif;base64,R0lGODlhAQAB"}}], "trl", []),
        ([{"type": "image_url", "image_url": {"url": PNG + "A" * (14 << 20)}}], "openai", ["PART005"]),
        ([{"type": "image_url", "image_url": {"url": PNG + "A" * (14 << 20)}}], "trl", []),
    ],
)
def test_parts_of_a_user_message(parts: list[object], target: str, expected: list[str]) -> None:
    row = {"messages": [{"role": "user", "content": parts}, REPLY]}
    assert codes(row, target=target) == expected


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00", "png"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "jpeg"),
        (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "webp"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", None),
        (b"GIF89a\x01\x00", "gif"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00", "heic"),
        (b"<svg xmlns=", None),
        (b"", None),
    ],
)
def test_an_image_is_known_by_its_first_bytes(data: bytes, shown: str | None) -> None:
    for length in range(3):
        whole = data + bytes(length + 60 if data else length * 0)
        uri = f"data:image/png;base64,{base64.b64encode(whole).decode()}"
        assert embedded_image(uri) == Embedded("image/png", shown, len(whole))


def test_what_is_no_embedded_image() -> None:
    assert (
        embedded_image("data:") is embedded_image("data:image/png,x") is embedded_image("https://a/b") is None
    )
    assert [scheme_of(text) for text in ("DATA:,", "HTTPS://a", "gs://a", "C:\\a.png", "")] == [
        "data", "http", "gs", "path", "path",
    ]  # fmt: skip


def pair(**change: object) -> dict[str, Any]:
    row = {
        "input": {"messages": [USER]},
        "preferred_output": [REPLY],
        "non_preferred_output": [dict(REPLY, content="?")],
    }
    return {key: value for key, value in {**row, **change}.items() if value is not None}


@pytest.mark.parametrize(
    ("row", "target", "expected"),
    [
        (pair(), "openai", []),
        (pair(input=None), "generic", ["PREF001"]),
        (pair(input={"messages": []}), "generic", ["PREF001"]),
        (pair(input={"messages": [{"role": "user"}]}), "generic", ["PREF001"]),
        (pair(preferred_output=None), "generic", ["PREF001"]),
        (pair(preferred_output="Half full."), "generic", ["PREF001"]),
        (pair(preferred_output=[{"role": "assistant", "content": " "}]), "generic", ["PREF001"]),
        (pair(non_preferred_output=[{"role": "assistant", "content": ""}]), "generic", []),
        (pair(non_preferred_output=[USER]), "generic", ["PREF001"]),
        (pair(preferred_output=[REPLY, USER, REPLY]), "openai", []),
        (pair(preferred_output=[REPLY, USER, REPLY]), "together", ["PREF001"]),
        (pair(non_preferred_output=[REPLY]), "generic", ["PREF002"]),
        (pair(input={"messages": [USER, REPLY]}), "generic", []),
        (pair(input={"messages": [USER, REPLY]}), "together", ["PREF003"]),
        ({"prompt": "Hi", "chosen": "Hello.", "rejected": "What?"}, "trl", []),
        ({"prompt": "Hi", "chosen": "Hello.", "rejected": "What?"}, "openai", ["PREF001"]),
        ({"prompt": "Hi", "chosen": "Hello."}, "trl", ["PREF001"]),
        ({"prompt": "", "chosen": "Hello.", "rejected": "What?"}, "trl", ["PREF001"]),
        ({"prompt": "Hi", "chosen": "Hello.", "rejected": [REPLY]}, "trl", ["PREF001"]),
        ({"prompt": "Hi", "chosen": "Hello. ", "rejected": " Hello."}, "trl", ["PREF002"]),
        ({"chosen": "It is blue.", "rejected": "It is green."}, "trl", []),
        ({"chosen": "Blue.", "rejected": "It is green."}, "trl", ["PREF001"]),
        ({"chosen": [REPLY], "rejected": [dict(REPLY, content="?")]}, "trl", ["PREF001"]),
    ],
)
def test_pairs(row: dict[str, Any], target: str, expected: list[str]) -> None:
    assert codes(row, target=target) == expected


@pytest.mark.parametrize(
    ("one", "other", "p"),
    # Two-sided binomial tails, by hand for the small ones: 2 · 1/2^11; 2 · (1 + 10)/2^10; a tie is certain.
    [
        (11, 0, 2 / 2048),
        (9, 1, 22 / 1024),
        (5, 5, 1.0),
        (0, 0, 1.0),
        (530, 470, 0.0620),
        (2600, 2400, 0.00489),
    ],
)
def test_the_sign_test(one: int, other: int, p: float) -> None:
    assert _sign_test(one, other) == _sign_test(other, one) == pytest.approx(p, rel=0.01)


def test_length_bias_is_told_once_a_file(tmp_path: Path) -> None:
    rows = [{"prompt": f"{n}?", "chosen": "Long enough.", "rejected": f"No {n}"} for n in range(11)]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (finding,) = lint(path, select=["PREF004"]).findings
    assert finding.line is None and "longer in 100% of 11 pairs" in finding.message
    path.write_text("".join(json.dumps(row) + "\n" for row in rows[:10]))
    assert lint(path, select=["PREF004"]).findings == ()


def test_reinforcement_files_that_are_known_by_their_rows(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"messages": [{"role": "user", "content": f"{n}?"}], "answer": str(n), "unit": "pods"}
        for n in range(9)
    ]
    rows[4]["messages"].append(REPLY)
    rows[6]["note"] = "odd"
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = [(f.code, f.line, f.severity) for f in lint(path, select=["RFT", "MSG010"]).findings]
    assert told == [("RFT003", None, "info"), ("RFT001", 5, "error"), ("RFT003", 7, "error")]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("messages", "chat"),
        ("messages tools", "chat"),
        ("messages answer", "chat"),
        ("messages rejected", "chat"),
        ("messages chosen rejected", "preference"),
        ("input preferred_output non_preferred_output", "preference"),
        ("input preferred_output", "preference"),
        ("input non_preferred_output", "preference"),
        ("prompt chosen rejected", "preference"),
        ("chosen rejected", "preference"),
        ("prompt chosen", "preference"),
        ("prompt completion", "prompt-completion"),
        ("prompt completion label", "prompt-completion"),
        ("prompt", "prompt-completion"),
        ("instruction input output", "alpaca"),
        ("instruction output", "alpaca"),
        ("conversations", "sharegpt"),
        ("conversations system", "sharegpt"),
        ("contents systemInstruction", "gemini"),
        ("text", "text"),
        ("question answer", None),
    ],
)
def test_formats_are_told_by_their_keys(keys: str, expected: str | None) -> None:
    assert row_format(dict.fromkeys(keys.split(), "x")) == expected


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from(["", "function", "user", "tool", "{}", "a", PNG]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "role",
                    "content",
                    "type",
                    "text",
                    "image_url",
                    "url",
                    "id",
                    "function",
                    "name",
                    "arguments",
                    "parameters",
                    "tool_calls",
                    "tool_call_id",
                    "function_call",
                    "properties",
                    "required",
                    "$ref",
                    "items",
                    "messages",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
keys = st.sampled_from(
    [
        "messages",
        "tools",
        "functions",
        "input",
        "prompt",
        "chosen",
        "rejected",
        "preferred_output",
        "non_preferred_output",
        "answer",
    ]
)


@settings(max_examples=300)
@given(
    st.dictionaries(keys, anything | st.lists(anything, max_size=3), max_size=4),
    st.sampled_from(["generic", "openai", "together", "mistral"]),
    st.sampled_from(["auto", "chat", "preference", "reinforcement"]),
)
def test_any_value_is_linted(row: dict[str, Any], target: str, input_format: str) -> None:
    found(row, target=target, input_format=input_format)


arguments = st.sampled_from(["{}", "[]", '"{}"', "x", '{"a": 1}', {}, [], None, 1])
function = st.fixed_dictionaries(
    {}, optional={"name": st.sampled_from(["f", "g", "", 1]), "arguments": arguments}
)
one_call = st.fixed_dictionaries({}, optional={"id": anything, "type": anything, "function": function})
message = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool", "function"])},
    optional={
        "content": anything,
        "tool_calls": st.lists(one_call, max_size=3),
        "tool_call_id": anything,
        "function_call": function,
    },
)
schemas = st.dictionaries(
    st.sampled_from(["type", "properties", "required", "$ref", "enum", "items", "anyOf", "pattern"]),
    anything,
    max_size=3,
)
defined = st.fixed_dictionaries({}, optional={"name": st.sampled_from(["f", 1]), "parameters": schemas})
tool_rows = st.lists(st.fixed_dictionaries({}, optional={"type": anything, "function": defined}), max_size=2)


@settings(max_examples=300)
@given(st.lists(message, max_size=4), tool_rows, st.sampled_from(["generic", "openai", "mistral", "trl"]))
def test_any_tool_row_is_linted(messages: list[object], tools: list[object], target: str) -> None:
    found({"messages": messages, "tools": tools}, target=target)


@settings(max_examples=200)
@given(anything, anything)
def test_any_schema_is_looked_at(schema: object, arguments: object) -> None:
    assert schema_fault(schema) is None or schema_fault(schema)[1]  # type: ignore[index]
    assert isinstance(violations({"properties": {"a": schema}}, {"a": arguments}), list)
