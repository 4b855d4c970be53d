"""Reading rows, parsing examples, turning table rows into chats."""

import json
from pathlib import Path

import pytest

from validators.examples import Example, ExampleError, Message, ToolCall, parse_example
from validators.reading import DataError, Row, read_rows, to_chat

ROW = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]}


@pytest.mark.parametrize(
    ("name", "content", "lines"),
    [
        ("a.jsonl", '{"a": 1}\n\n{"a": 2}\r\n', [1, 3]),
        ("a.jsonl", '\ufeff{"a": 1}\n{"a": 2}', [1, 2]),
        ("a.jsonl", '{"a": 1, "b": "x\u2028y"}\n{"a": 2}', [1, 2]),
        ("a.json", '[{"a": 1},\n\n {"a": 2}]', [1, 3]),
        ("a.json", '[\n {\n  "a": 1\n },\n {"a": 2}]', [2, 5]),
        ("a.json", '{"a": 1}\n{"a": 2}', [1, 2]),
        ("a.csv", "a,b\n1,x\n2,y\n", [2, 3]),
        ("a.csv", '\ufeffa;b\n1;"x\ny"\n2;z\n', [2, 4]),
        ("a.tsv", "a\tb\n1\tx,y\n2\tz\n", [2, 3]),
    ],
)
def test_rows_and_their_lines(name: str, content: str, lines: list[int], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content.encode())
    rows = list(read_rows(tmp_path / name))
    assert [row.line for row in rows] == lines
    assert [int(row.value["a"]) for row in rows] == [1, 2]


def test_parquet_rows(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    polars.DataFrame({"q": ["Hi", "Ho"], "refs": [["a"], ["b", "c"]]}).write_parquet(tmp_path / "a.parquet")
    assert list(read_rows(tmp_path / "a.parquet")) == [
        Row(1, {"q": "Hi", "refs": ["a"]}),
        Row(2, {"q": "Ho", "refs": ["b", "c"]}),
    ]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": 2,}\n', r"a\.jsonl:2:8: a comma before"),
        ("a.jsonl", b'{"a": NaN}', r"a\.jsonl:1:7: NaN is not"),
        ("a.jsonl", b'{"a": 1, "a": 2}', r"a\.jsonl:1:10: the key \"a\" is there already"),
        ("a.jsonl", b"\xef\xbb\xbf[1]", r"a\.jsonl:1:4: a row must be a JSON object"),
        ("a.jsonl", b"", r"a\.jsonl: the file has no rows"),
        ("a.jsonl", b"PK\x03\x04", r"zip archive\. Unpack"),
        ("a.jsonl", b"\x1f\x8b\x08", r"compressed file is broken or cut short"),
        ("a.jsonl", b"\x7fELF\x02\x00", r"a\.jsonl: this is binary data"),
        ("a.jsonl", b"\x89PNG\r\n\x1a\n", r"a\.jsonl:1:1: byte 0x89 is not UTF-8"),
        ("a.json", b'[{"a": 1},\n {"a": }]', r"a\.json:2:8: a value is expected"),
        ("a.json", b'[{"a": 1},\n  7]', r"a\.json:2:3: a row must be"),
        ("a.csv", b"a,b\n1,2\n1\n", r"a\.csv:3:1: 1 cells, and the header has 2"),
        ("a.csv", b"a,a\n1,2\n", r"a\.csv:1:1: the column 'a' is there twice"),
        ("a.csv", b'a\n"x"y\n', r"a\.csv:2:1: not CSV"),
        ("a.csv", b"a\n\xff\n", r"a\.csv: .*not UTF-8"),
        ("a.parquet", b"PAR1", r"not a Parquet file"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(
    name: str, content: bytes, words: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        list(read_rows(tmp_path / name))


def test_missing_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "tickets.jsonl").write_text("{}")
    with pytest.raises(DataError, match=r"no such file\. Did you mean 'tickets\.jsonl'"):
        list(read_rows(tmp_path / "ticket.jsonl"))
    with pytest.raises(DataError, match=r"folder; name a data file\. Inside are tickets\.jsonl"):
        list(read_rows(tmp_path))


def test_a_column_becomes_a_chat() -> None:
    row = {"question": "How many pods?", "answer": "6", "desk": "shop/advice"}
    assert to_chat(row, input="question", output="answer", template=None, system="Be brief.") == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "How many pods?"},
            {"role": "assistant", "content": "6"},
        ],
        "metadata": {"desk": "shop/advice"},
    }


def test_a_template_is_filled_and_a_list_of_answers_becomes_references() -> None:
    row = {"q": "How many {pods}?", "device": "Sprig Duo", "answers": ["6", "six"], "id": 7}
    chat = to_chat(row, input=None, output="answers", template="{{{device}}}: {q}")
    assert [m["content"] for m in chat["messages"]] == ["{Sprig Duo}: How many {pods}?", "6"]
    assert chat["metadata"] == {"id": 7, "references": ["6", "six"]}
    assert to_chat({"q": 5}, input="q", output=None, template=None) == {
        "messages": [{"role": "user", "content": "5"}]
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"input": "questoin"},
            "no column 'questoin'; there are 'question', 'answer'.* Did you mean 'question'",
        ),
        ({"template": "{questoin}"}, "Did you mean 'question'"),
        ({"template": "{question.__class__}"}, "no column"),
        ({"template": "{question!r}"}, "nothing else"),
        ({"template": "{question:>9}"}, "nothing else"),
        ({"template": "{}"}, "nothing else"),
        ({"template": "{question"}, "template is broken"),
        ({"input": "question", "template": "{question}"}, "not both"),
        ({}, "not both and not neither"),
        ({"input": "empty"}, "'empty' is empty in this row"),
        ({"input": "question", "output": "none"}, "must hold texts"),
    ],
)
def test_bad_mappings_are_refused(options: dict[str, str], words: str) -> None:
    row = {"question": "Hi", "answer": "Yo", "empty": None, "none": []}
    with pytest.raises(DataError, match=words):
        to_chat(row, **{"input": None, "output": None, "template": None, **options})


def test_an_example_is_parsed_whole() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "level", "arguments": {"device": "Duo"}}}
    row = {
        "messages": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "How "}, {"type": "text", "text": "full?"}],
            },
            {"role": "assistant", "content": None, "tool_calls": [call], "weight": 0},
            {"role": "tool", "tool_call_id": "c1", "content": "0.5", "name": "level"},
            {"role": "assistant", "content": "Half."},
        ],
        "functions": [{"name": "level"}],
        "metadata": {"group": "Q-1"},
        "id": "row-1",
        "answer": "Half.",
    }
    example = parse_example(row, 3)
    assert example.messages[0].text == "How full?" and example.messages[1].text == ""
    assert example.messages[1].tool_calls == (ToolCall("c1", "level", '{"device":"Duo"}'),)
    assert example.tools == ({"type": "function", "function": {"name": "level"}},)
    assert (example.metadata, example.line) == ({"group": "Q-1", "id": "row-1", "answer": "Half."}, 3)
    assert example.messages[2].as_dict() == row["messages"][2]
    assert parse_example({"messages": [m.as_dict() for m in example.messages]}).messages == example.messages


def test_examples_are_frozen_and_share_no_metadata() -> None:
    one, two = parse_example(ROW), parse_example(ROW)
    assert one == two == Example((Message("user", "Hi"), Message("assistant", "Yo")))
    assert one.metadata is not two.metadata
    with pytest.raises(AttributeError):
        one.line = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("row", "where"),
    [
        ([], "$"),
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["Hi"]}, "messages[0]"),
        ({"messages": [{"content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["Hi"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "assistant", "content": "Hi", "weight": True}]}, "messages[0].weight"),
        ({"messages": [{"role": "assistant", "content": "Hi", "weight": 1.0}]}, "messages[0].weight"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0].tool_calls[0]"),
        ({"messages": [{"role": "assistant", "tool_calls": {}}]}, "messages[0].tool_calls"),
        ({**ROW, "tools": [5]}, "tools"),
        ({**ROW, "metadata": 5}, "metadata"),
    ],
)
def test_what_is_no_chat_is_told_with_its_place(row: object, where: str) -> None:
    with pytest.raises(ExampleError) as error:
        parse_example(row)  # type: ignore[arg-type]
    assert error.value.where == where and where in str(error.value)


def test_a_parsed_row_can_be_written_again() -> None:
    assert json.loads(json.dumps([m.as_dict() for m in parse_example(ROW).messages])) == ROW["messages"]
