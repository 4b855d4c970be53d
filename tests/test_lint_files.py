"""Any bytes give findings or a clean row; ranges, containers and odd files."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from validators import lint, lint_rows
from validators.examples import Example
from validators.findings import printable
from validators.linter import _settings, merge
from validators.ranges import Source, lint_range, plan
from validators.reading import DataError, Row

ROOT = Path(__file__).parent.parent
DIRTY = ROOT / "sample_data/dirty.jsonl"
ROW = b'{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]}'
OTHER = b'{"messages": [{"role": "user", "content": "Ho"}, {"role": "assistant", "content": "Ay"}]}'


def found(
    content: bytes, folder: Path, name: str = "a.jsonl", **options: object
) -> list[tuple[str, int | None, int | None]]:
    path = folder / name
    path.write_bytes(content)
    report = lint(path, **options)
    text = json.dumps(report.as_dict(), allow_nan=False, ensure_ascii=False)
    assert text.encode() and all(printable(f.message) == f.message for f in report.findings)
    return [(f.code, f.line, f.column) for f in report.findings]


pieces = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [ROW, OTHER, b"\n", b"\r\n", b"\xef\xbb\xbf", b"\x00", b"{", b"[", b'"', b"\\ud800", b":", b"NaN"]
    ),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["messages", "role", "content"]), inner)
        ),
    ).map(lambda value: json.dumps(value).encode()),
)


@settings(max_examples=150)
@given(st.lists(pieces, max_size=8), st.sampled_from(["a.jsonl", "a.json", "a.csv"]))
def test_arbitrary_bytes_never_raise(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], name: str
) -> None:
    found(b"".join(parts), tmp_path_factory.mktemp("any"), name)


@settings(max_examples=100)
@given(st.data())
def test_mutated_rows_never_raise(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray(DIRTY.read_bytes())
    for _ in range(data.draw(st.integers(1, 12))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    found(bytes(content), tmp_path_factory.mktemp("mutated"))


messages = st.lists(
    st.one_of(
        st.none(),
        st.dictionaries(
            st.sampled_from(["role", "content", "weight", "tool_calls", "function_call", "name"]),
            st.one_of(
                st.sampled_from(["user", "assistant", "system", "tool", "", " ", 0, 1, 1.0, None, True]),
                st.lists(
                    st.sampled_from([{"type": "text", "text": "x"}, {"type": "text"}, {}, "x", 1, None]),
                    max_size=2,
                ),
                st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
            ),
        ),
    ),
    max_size=4,
)


@settings(max_examples=150)
@given(messages, st.sampled_from(["generic", "together", "openai"]))
def test_any_shape_of_messages_is_linted(
    tmp_path_factory: pytest.TempPathFactory, value: list[object], target: str
) -> None:
    found(json.dumps({"messages": value}).encode(), tmp_path_factory.mktemp("shape"), target=target)


@pytest.mark.parametrize("pieces", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_ranges_find_what_the_whole_finds(pieces: int, bom: bytes, tmp_path: Path) -> None:
    path = tmp_path / "dirty.jsonl"
    path.write_bytes(bom + DIRTY.read_bytes())
    chosen = _settings("together", "auto", (), (), None, None)
    source = Source(path, str(path))
    parts = [lint_range(source, lo, hi, chosen) for lo, hi in plan(path, pieces)]
    whole = lint(path, target="together")
    merged = merge([parts], [whole.files[0].sha256], chosen, ())
    assert merged == whole


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", [("FMT005", None, None)]),
        (b"\xef\xbb\xbf", [("FMT005", None, None)]),
        (b"\n\n", [("FMT005", None, None), ("FMT006", 1, 1), ("FMT006", 2, 1)]),
        (ROW, []),
        (ROW + b"\r\n" + OTHER + b"\r\n", []),
        (b"\xef\xbb\xbf" + ROW + b"\n", []),
        (b"\xef\xbb\xbf" + b"x\n", [("FMT007", 1, 4)]),
        (ROW + b"\n \t\r\n" + OTHER, [("FMT006", 2, 1)]),
        (ROW + b"\x00\n", [("FMT007", 1, len(ROW) + 1)]),
        (ROW + ROW + b"\n", [("FMT007", 1, len(ROW) + 1)]),
        (ROW.replace(b"Hi", "Hi\u2028there\x85".encode()) + b"\n" + OTHER, []),
        (ROW.decode().encode("utf-16") + b"\n", [("FMT001", 1, None)]),
        (b"\x1f\x8b\x08\x00", [("FMT001", 1, None)]),
        (ROW.decode().encode("utf-16-le"), [("FMT007", 1, 2)]),
        (b"[" * 100_000 + b"]" * 100_000, [("FMT007", 1, 129)]),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, [("FMT007", 1, 641)]),
        (json.dumps(json.loads(ROW), indent=2).encode(), [("FMT007", 1, None)]),
        (b"[\n" + ROW + b"\n]", [("FMT007", 1, None)]),
        (b"null\n", [("FMT008", 1, 1)]),
        (b'"' + b"a" * 100_000 + b"\n", [("FMT007", 1, 1)]),
    ],
    ids=range(20),
)
def test_odd_files(content: bytes, expected: list[object], tmp_path: Path) -> None:
    assert found(content, tmp_path) == expected


def test_a_json_array_has_the_places_of_its_items(tmp_path: Path) -> None:
    bad = ROW.replace(b'"Yo"', b'""')
    content = b"[\n  " + ROW + b",\n\n  " + bad + b", " + OTHER.replace(b"Ay", b"") + b"]"
    column = bad.index(b'""') + 3
    second = len(bad) + 2 + OTHER.index(b'"Ay"') + 3
    assert found(content, tmp_path, "a.json") == [("MSG009", 4, column), ("MSG009", 4, second)]
    pretty = json.dumps([json.loads(ROW), json.loads(bad)], indent=1).encode()
    (finding,) = found(pretty, tmp_path, "b.json")
    assert finding[0] == "MSG009" and pretty.splitlines()[finding[1] - 1][finding[2] - 1 :].startswith(b'""')
    assert found(b"[" + ROW + b",]", tmp_path, "c.json") == [("FMT007", 1, len(ROW) + 2)]


def test_tables_are_linted_by_their_rows(tmp_path: Path) -> None:
    assert found(b"prompt,completion\nHi,Yo\nHi,Yo\n", tmp_path, "a.csv") == [("DUP001", 3, None)]
    assert found(b"a,b\n1,2\n1\n", tmp_path, "b.csv")[0][0] == "FMT007"
    assert found(b"not parquet", tmp_path, "c.parquet")[0][0] == "FMT007"


def test_rows_that_are_chats_already(tmp_path: Path) -> None:
    rows = [Row(2, json.loads(ROW)), Row(5, {"messages": []}), Row(9, json.loads(ROW))]
    report = lint_rows(rows, "tickets.csv")
    assert [(f.code, f.path, f.line, f.column) for f in report.findings] == [
        ("MSG002", "tickets.csv", 5, None),
        ("DUP001", "tickets.csv", 9, None),
    ]
    assert (report.files[0].examples, report.files[0].distinct, report.files[0].sha256) == (3, 2, None)


def test_files_that_cannot_be_read_raise(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_bytes(ROW)
    (tmp_path / "empty").mkdir()
    for path, words in [
        ("trian.jsonl", "Did you mean 'train.jsonl'"),
        ("empty", "no data file"),
        ("*.csv", "no file matches"),
    ]:
        with pytest.raises(DataError, match=words):
            lint(tmp_path / path)
    with pytest.raises(DataError, match="unknown input format 'chta'"):
        lint(tmp_path / "train.jsonl", input_format="chta")


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(ROW)
    report = lint([tmp_path / "a.jsonl", tmp_path / "." / "a.jsonl"], against=[tmp_path / "a.jsonl"])
    assert (len(report.files), report.findings) == (1, ())


class Letters:
    """A tokenizer that counts letters."""

    name, kind, exact = "letters", "tiktoken", True

    def count_text(self, text: str) -> int:
        return len(text)

    def count_example(self, example: Example) -> int:
        return sum(len(message.text) for message in example.messages)


def test_token_statistics(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(ROW + b"\n" + OTHER.replace(b"Ay", b"Aye!") + b'\n{"messages": []}\n')
    statistics = lint(tmp_path / "a.jsonl", tokenizer=Letters(), max_length=5).files[0].statistics
    told = {
        "tokenizer": "letters",
        "exact": True,
        "examples": 2,
        "uncounted": 1,
        "total": 10,
        "median": 5,
        "max": 6,
        "over_limit": 1,
    }
    assert {key: statistics["tokens"][key] for key in told} == told
    assert statistics["no_system"] == 2
