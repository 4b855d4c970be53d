"""The engine: ranges, blocks, the fast path against the slow one, containers, limits, processes."""

import gzip
import json
import random
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import msgspec
import polars
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from validators import lint
from validators.block_prints import of_block
from validators.blocks import Block, blocks
from validators.columns import Columns
from validators.fingerprints import of_turns
from validators.linter import LintReport, _settings, merge
from validators.orders import numbered
from validators.plain import Judge
from validators.pool import run
from validators.prefilters import Gated
from validators.ranges import Source, Task, lint_range, plan
from validators.reading import DataError, read_rows
from validators.rules import RULES, choose_rules
from validators.scanning import Scan
from validators.statistics import Profile
from validators.strict_json import decode
from validators.suspects import _lines_with
from validators.targets import load_target
from validators.text_facts import TextFacts

ROOT = Path(__file__).parent.parent
DIRTY = ROOT / "sample_data/dirty.jsonl"
BOM = b"\xef\xbb\xbf"


def chat(*turns: tuple[str, object], **more: object) -> bytes:
    row = {"messages": [{"role": role, "content": text} for role, text in turns], **more}
    return json.dumps(row, ensure_ascii=False).encode()


def rows(count: int, seed: int = 0) -> list[bytes]:
    """Clean rows of many shapes."""
    chance = random.Random(seed)
    made = []
    for n in range(count):
        turns = [
            ("user", f'Question {n}?\n"Why" – {"basil " * chance.randrange(30)}'),
            ("assistant", f"Answer {n}."),
        ]
        if n % 3 == 0:
            turns.insert(0, ("system", "Be brief."))
        if n % 5 == 0:
            turns += [("user", "And then?"), ("assistant", "Then \u2028 wait 🌱")]
        made.append(chat(*turns))
    return made


def found(report: LintReport) -> list[tuple[str, str, int | None, int | None]]:
    return [(f.path, f.code, f.line, f.column) for f in report.findings]


# -- blocks and ranges -----------------------------------------------------------------------------


@settings(max_examples=300)
@given(
    st.lists(st.binary(max_size=12), max_size=12),
    st.lists(st.integers(0, 160), max_size=5),
    st.integers(1, 40),
    st.integers(1, 20),
)
def test_every_line_is_in_exactly_one_range(lines: list[bytes], cuts: list[int], size: int, cap: int) -> None:
    data = b"\n".join(line.replace(b"\n", b"") for line in lines)
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})

    def through(lo: int, hi: int | None) -> Iterator[bytes]:
        for block in blocks(BytesIO(data), lo, hi, cap, size):
            if block.length is None:
                yield from block.data.removesuffix(b"\n").split(b"\n")
            else:
                assert block.length > cap
                yield b"?" * block.length

    told = [line for lo, hi in pairwise(edges) for line in through(lo, hi)]
    whole = data.split(b"\n")[:-1] if data.endswith(b"\n") or not data else data.split(b"\n")
    assert [len(line) for line in told] == [len(line) for line in whole] == [len(x) for x in through(0, None)]


def test_a_line_over_the_cap_is_not_held() -> None:
    data = b"a" * 100 + b"\n" + b"b" * 5 + b"\n"
    assert list(blocks(BytesIO(data), 0, None, 10, 8)) == [
        Block(b"a" * 8, 100),
        Block(b"bbbbb\n"),
    ]


parts = st.one_of(
    st.sampled_from(rows(6)),
    st.sampled_from(DIRTY.read_bytes().split(b"\n")),
    st.sampled_from([b"", b"\r", b" ", b"{", b"[]", b"null", b"\xff", b"x" * 300]),
)


@settings(max_examples=120)
@given(
    st.lists(parts, max_size=12), st.integers(1, 9), st.booleans(), st.sampled_from(["generic", "together"])
)
def test_ranges_joined_are_the_whole(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], pieces: int, bom: bool, target: str
) -> None:
    path = tmp_path_factory.mktemp("ranges") / "a.jsonl"
    path.write_bytes(BOM * bom + b"\n".join(lines))
    chosen = _settings(target, "auto", (), (), None, None)
    source = Source(path, "a.jsonl")
    ranges = plan(path, pieces)
    one = merge([[lint_range(source, 0, path.stat().st_size, chosen)]], [None], chosen, ())
    many = merge([[lint_range(source, lo, hi, chosen) for lo, hi in ranges]], [None], chosen, ())
    assert many == one


# -- the fast path ---------------------------------------------------------------------------------


def judge(target: str = "generic", input_format: str = "auto") -> Judge:
    return Judge(choose_rules(), load_target(target), input_format)


def test_plain_rows_are_taken_at_once() -> None:
    data = b"\n".join(rows(400)) + b"\n"
    assert len(data) > 1 << 15
    taken = judge().rows(data)
    assert taken is not None and len(taken.rows) == 400


QA = chat(("user", "Hi"), ("assistant", "Yo"))


@pytest.mark.parametrize("padding", [0, 200], ids=["by bytes", "by vectors"])
@pytest.mark.parametrize(
    "odd",
    [
        QA.replace(b'"role": "user"', b'"role": "user", "role": "user"'),
        QA.replace(b'"role": "user"', b'"role": "user", "\\u0072ole": "user"'),
        QA.replace(b'{"messages"', b'{"messages": [], "messages"'),
        QA.replace(b"Hi", b"  \\t"),
        QA.replace(b"Hi", b""),
        QA.replace(b"Hi", "\u3000".encode()),
        QA.replace(b"Hi", b"\xff"),
        QA.replace(b"Hi", b"\\ud800"),
        QA.replace(b'"Hi"', b"null"),
        QA.replace(b"assistant", b"user"),
        QA.replace(b"assistant", b"asistant"),
        QA[:-1] + b', "more": 1}',
        QA.replace(b'"Yo"', b'"Yo", "weight": 2'),
        QA + QA,
        QA + b"\n",
        QA.replace(b", ", b",\n", 1),
        QA[:-1] + b"\n" + QA[-1:] + QA,
        b"[]",
        b"",
    ],
)
def test_what_is_not_plain_and_clean_is_not_taken(odd: bytes, padding: int) -> None:
    around = rows(padding)
    assert judge().rows(b"\n".join([*around, odd, *around]) + b"\n") is None


@settings(max_examples=400)
@given(st.integers(0, 5), st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=0, max_size=2)), max_size=3))
def test_what_the_fast_path_takes_the_slow_path_finds_clean(
    seed: int, edits: list[tuple[float, bytes]]
) -> None:
    data = bytearray(b"\n".join(rows(4, seed)))
    for place, piece in edits:
        at = int(place * (len(data) - 1))
        data[at : at + 1] = piece
    taken = judge().rows(bytes(data))
    if taken is None:
        return
    lines = bytes(data).removesuffix(b"\n").split(b"\n")
    assert [msgspec.to_builtins(row) for row in taken.rows] == [decode(line).value for line in lines]
    assert not any(decode(line).faults for line in lines)


@settings(max_examples=150)
@given(st.lists(parts, min_size=1, max_size=10))
def test_both_paths_say_the_same(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("both") / "a.jsonl"
    path.write_bytes(b"\n".join(lines))
    fast = lint(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Judge, "rows", lambda self, chunk: None)
        slow = lint(path)
    assert fast == slow


SAID = st.one_of(
    st.text(min_size=1, max_size=30),
    st.text(
        alphabet="aB \t\n\x1c\u00a0\u2028\u00b4\u212b\u0130\u1e9e\u03a3\ufb01\uff21\u3042.",
        min_size=1,
        max_size=40,
    ),
    st.lists(
        st.sampled_from(["I'm", "sorry,", "but", "I", "can't", "tip!", "a", "\n\n", "ESTÁ"]),
        min_size=1,
        max_size=20,
    ).map(" ".join),
).filter(lambda text: not text.isspace())
TURNS = st.lists(
    st.tuples(st.sampled_from(["system", "developer", "user", "assistant"]), SAID), min_size=1, max_size=5
)


@settings(max_examples=150)
@example([*[[("system", "0")]] * 7, [("assistant", "SORRY I CAN")]], True)
@given(st.lists(TURNS, min_size=8, max_size=14), st.booleans())
def test_a_block_has_the_fingerprints_of_its_rows(
    rows_of_turns: list[list[tuple[str, str]]], asked: bool
) -> None:
    texts = [text for turns in rows_of_turns for _, text in turns]
    orders = [tuple(role for role, _ in turns) for turns in rows_of_turns]
    block = of_block(texts, numbered(orders), 1, asked)
    one_by_one = [of_turns(turns, line, "", asked) for line, turns in enumerate(rows_of_turns, 1)]
    assert list(block.prints) == one_by_one
    facts, slow = TextFacts(), TextFacts()
    facts.below = slow.below = 1 << 62
    profile, slow_profile = Profile(3), Profile(3)
    facts.take_block(block)
    profile.read_block(block)
    for row, turns in zip(one_by_one, rows_of_turns, strict=True):
        slow.take(row, turns)
        slow_profile.read(turns, row.example)
    assert [getattr(facts, name) for name in TextFacts.__slots__] == [
        getattr(slow, name) for name in TextFacts.__slots__
    ]
    assert [getattr(profile, name) for name in Profile.__slots__] == [
        getattr(slow_profile, name) for name in Profile.__slots__
    ]


def test_words_run_together_are_other_words() -> None:
    def prints(text: str) -> int:
        return of_turns([("user", "Who?"), ("assistant", text)], 1).example

    assert prints("the rapist") != prints("therapist")
    assert prints(" The\n\n therapist ") == prints("the therapist")


@pytest.mark.parametrize("end", [b"C:\\\\", b'\\\\\\"', b'\\"a\\\\\\\\', b'\\\\n\\"'])
def test_rows_with_backslashes_before_quotes_stay_in_their_block(end: bytes) -> None:
    odd = QA.replace(b"Hi", end)
    for padding in (0, 300):
        taken = judge().rows(b"\n".join([odd, *rows(padding), odd]) + b"\n")
        assert (
            taken is not None
            and taken.rows[0].messages[0].content == json.loads(odd)["messages"][0]["content"]
        )


PIECES = [
    b" ",
    b"a",
    b"1",
    b"23",
    b" (",
    b")",
    b"-",
    b"/",
    b".",
    b"...",
    b"{",
    b"[Ins",
    b"<YOUR",
    b"@",
    b"\n",
    b"\\b",
    b"\\f",
]
PIECES += [
    b"sk-",
    b"x" * 16,
    b"AKIA",
    b"-----",
    b"\x7f",
    *(sign.encode() for sign in "Ãâ€é\u200b\ufeff\ufffd\x85あ"),
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=60))
def test_vectors_find_what_prefilters_find(pieces: list[bytes]) -> None:
    data = b"".join(pieces) + b"\n"
    for rule in RULES:
        if isinstance(needs := getattr(rule, "needs", None), Gated) and needs.finder:
            wanted = {n for n, line in enumerate(data.split(b"\n")) if needs.search(line)}
            assert wanted <= set(_lines_with(needs, data, Scan(data))), rule.code


# -- containers ------------------------------------------------------------------------------------


def packed(data: bytes, kind: str) -> bytes:
    return gzip.compress(data) if kind == "gz" else zstandard.ZstdCompressor().compress(data)


@pytest.mark.parametrize("kind", ["gz", "zst"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_compressed_files_are_read_as_what_is_in_them(kind: str, name: str, tmp_path: Path) -> None:
    bad = chat(("user", ""), ("assistant", "Yo"))
    content = b"\n".join([*rows(300), bad])
    if name == "a.json":
        content = b"[" + content.replace(b"\n", b",\n") + b"]"
    (tmp_path / name).write_bytes(content)
    (tmp_path / f"{name}.{kind}").write_bytes(packed(content, kind))
    plain, zipped = lint(tmp_path / name), lint(tmp_path / f"{name}.{kind}")
    assert [f[1:] for f in found(zipped)] == [f[1:] for f in found(plain)]
    assert [(f.code, f.line) for f in plain.findings] == [("MSG008", 301)]
    assert zipped.files[0].examples == 301
    assert list(read_rows(tmp_path / f"{name}.{kind}")) == list(read_rows(tmp_path / name))


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_a_cut_archive_is_a_finding(kind: str, tmp_path: Path) -> None:
    whole = packed(
        b"\n".join(
            chat(("user", random.Random(n).randbytes(40).hex()), ("assistant", "Yo")) for n in range(3000)
        ),
        kind,
    )
    path = tmp_path / f"a.jsonl.{kind}"
    path.write_bytes(whole[: len(whole) // 2])
    assert "FMT001" in [f.code for f in lint(path).findings]
    with pytest.raises(DataError, match=r"cut short|broken"):
        list(read_rows(path))


def test_folders_patterns_and_several_files(tmp_path: Path) -> None:
    (tmp_path / "in/deep").mkdir(parents=True)
    for n, name in enumerate(["b.jsonl", "a.jsonl", "deep/c.csv", "deep/notes.md", ".hidden.jsonl"]):
        text = "prompt,completion\nHi,Yo\n" if name.endswith("csv") else rows(9)[n].decode()
        (tmp_path / "in" / name).write_text(text)
    names = [Path(file.path).name for file in lint(tmp_path / "in").files]
    assert names == ["a.jsonl", "b.jsonl", "c.csv"]
    matched = lint([f"{tmp_path}/in/**/*.csv", tmp_path / "in/a.jsonl", f"{tmp_path}/in/a*"]).files
    assert [Path(file.path).name for file in matched] == ["c.csv", "a.jsonl"]
    with pytest.raises(DataError, match="no file matches"):
        lint(f"{tmp_path}/*.parquet")


def test_columns_and_templates_turn_tables_into_chats(tmp_path: Path) -> None:
    frame = polars.DataFrame({"q": ["Hi", "Ho", None], "a": ["Yo", "", "Ay"]})
    frame.write_parquet(tmp_path / "t.parquet")
    frame.write_csv(tmp_path / "t.csv")
    (tmp_path / "t.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in frame.to_dicts()))
    by_columns = Columns(input="q", output="a")
    assert [(f.code, f.line) for f in lint(tmp_path / "t.parquet", columns=by_columns).findings] == [
        ("MSG009", 2),
        ("FMT013", 3),
    ]
    assert [(f.code, f.line) for f in lint(tmp_path / "t.jsonl", columns=by_columns).findings] == [
        ("MSG009", 2),
        ("FMT013", 3),
    ]
    by_template = Columns(template="Say: {q}", output="a", system="Be brief.")
    (row, *_) = read_rows(tmp_path / "t.csv", columns=by_template)
    assert [m["content"] for m in row.value["messages"]] == ["Be brief.", "Say: Hi", "Yo"]
    with pytest.raises(DataError, match=r"t\.csv:2: there is no column 'z'"):
        list(read_rows(tmp_path / "t.csv", columns=Columns(input="z")))


def test_a_typed_table_of_chats_has_no_faults_of_its_own_making(tmp_path: Path) -> None:
    calls = [{"id": "c1", "type": "function", "function": {"name": "level", "arguments": "{}"}}]
    value = [
        {
            "messages": [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Yo", "weight": 1},
            ]
        },
        {
            "messages": [
                {"role": "user", "content": "Level?"},
                {"role": "assistant", "content": None, "tool_calls": calls},
            ]
        },
    ]
    polars.DataFrame(value, strict=False).write_parquet(tmp_path / "chats.parquet")
    assert found(lint(tmp_path / "chats.parquet", ignore=["TOOL007"])) == []


def test_parquet_is_read_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("validators.tables._BATCH", 4)
    for count in (0, 3, 4, 9):
        polars.DataFrame(
            {"text": [f"t{n}" for n in range(count)]}, schema={"text": polars.String}
        ).write_parquet(tmp_path / "a.parquet")
        assert [file.examples for file in lint(tmp_path / "a.parquet").files] == [count]


def test_a_hub_data_set_is_streamed(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/train.jsonl").write_bytes(
        b"\n".join([*rows(5), chat(("user", " "), ("assistant", "Yo"))])
    )
    report = lint(f"hf://{tmp_path}/set@train")
    assert [(f.code, f.line) for f in report.findings] == [("MSG008", 6)]
    assert (report.files[0].examples, report.files[0].sha256) == (6, None)


def test_an_array_on_standard_input(tmp_path: Path) -> None:
    (tmp_path / "stdin.jsonl").write_bytes(
        b"[" + QA + b",\n" + chat(("user", ""), ("assistant", "Yo")) + b"]"
    )
    report = lint(Source(tmp_path / "stdin.jsonl", "-"))
    assert [(f.code, f.line) for f in report.findings] == [("MSG008", 2)]


@pytest.mark.parametrize(
    ("row", "codes"),
    [
        (b"[" + b"0," * 3_000_000 + b"x]", ["FMT007"]),
        (b"{" + b'"a":1,' * 900_000 + b'"a":1}', ["FMT009", "FMT013"]),
        (
            b'{"messages": [' + b'{"role": "user", "content": ""},' * 150_000 + b"{}]}",
            ["MSG004", "MSG006", "MSG008"],
        ),
    ],
    ids=["broken", "repeated", "many faults"],
)
def test_long_rows_are_told_in_time(row: bytes, codes: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(row)
    report = lint(tmp_path / "a.jsonl", select=["FMT", "MSG"])
    assert sorted({f.code for f in report.findings}) == codes and len(report.findings) < 500


# -- limits ----------------------------------------------------------------------------------------


def test_findings_past_the_limit_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join([b"x", QA] * 5000))
    every, some = lint(path), lint(path, keep=7)
    assert every.counts == some.counts and every.fixable == some.fixable
    assert some.findings == every.findings[:7]
    assert some.as_dict(5)["summary"]["omitted"] == len(every.findings) - 5


def test_a_row_over_the_cap_is_told_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(QA + b"\n" + chat(("user", "x" * 300_000), ("assistant", "Yo")) + b"\n" + b"bad\n")
    target = msgspec.structs.replace(load_target("generic"), max_row_bytes=1000)
    assert [(f.code, f.line, f.column) for f in lint(path, target=target).findings] == [
        ("FMT016", 2, 1),
        ("FMT007", 3, 1),
    ]


def test_memory_does_not_follow_the_longest_row(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        for _ in range(40):
            file.write(b"x" * (1 << 20))
    target = msgspec.structs.replace(load_target("generic"), max_row_bytes=1 << 20)
    tracemalloc.start()
    report = lint(path, target=target)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [f.code for f in report.findings] == ["FMT016"] and peak < 8 << 20


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"messages":['])
def test_depth_is_a_finding(opening: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(opening * 100_000 + b"\n" + QA)
    assert [(f.code, f.line) for f in lint(tmp_path / "a.jsonl").findings] == [("FMT007", 1)]


def test_a_long_chat_is_not_a_deep_one() -> None:
    turns = [("user", "Hi"), ("assistant", "Yo")] * 200
    assert decode(chat(*turns)).faults == ()


# -- processes -------------------------------------------------------------------------------------


def test_processes_say_what_one_says(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join([*rows(50), *DIRTY.read_bytes().split(b"\n"), *rows(50)]))
    chosen = _settings("generic", "auto", (), (), None, None)
    tasks = [Task(Source(path, "a.jsonl"), span) for span in plan(path, 5)]
    alone = merge([list(run(tasks, chosen, 1))], [None], chosen, ())
    shared = merge([list(run(tasks, chosen, 2))], [None], chosen, ())
    assert shared == alone and len(alone.findings) > 20


# -- any bytes -------------------------------------------------------------------------------------

SEEDS = [DIRTY.read_bytes(), b"\n".join(rows(8)), gzip.compress(b"\n".join(rows(8)))]


@pytest.mark.parametrize("seed", range(3))
def test_mutated_bytes_never_raise(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    odd = [
        b"\x00",
        b"\xff",
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b"\n",
        b",",
        b":",
        b"\\u",
        b"\\ud800",
        b"1e999",
    ]
    for n in range(250):
        data = bytearray(chance.choice(SEEDS))
        for _ in range(chance.randrange(1, 8)):
            at = chance.randrange(len(data))
            data[at : at + chance.randrange(3)] = chance.choice(odd)
        path = tmp_path / f"a{n % 4}.{('jsonl', 'json', 'csv', 'jsonl.gz')[n % 4]}"
        path.write_bytes(data)
        report = lint(path)
        assert json.dumps(report.as_dict(), allow_nan=False)
        assert report.total == len(report.findings)


def test_prefilters_miss_nothing(tmp_path: Path) -> None:
    """Without their prefilters the rules find no more."""
    bare = [msgspec.structs.replace(rule, needs=None) if hasattr(rule, "needs") else rule for rule in RULES]
    path = tmp_path / "a.jsonl"
    path.write_bytes(DIRTY.read_bytes() + b"\n" + b"\n".join(rows(40)))
    chosen = _settings("generic", "auto", (), (), None, None)
    one = merge([[lint_range(Source(path, "a"), 0, None, chosen)]], [None], chosen, ())
    kept = tuple(rule for rule in bare if rule.code in {r.code for r in chosen.rules})
    unfiltered = replace(chosen, rules=kept)
    assert merge([[lint_range(Source(path, "a"), 0, None, unfiltered)]], [None], unfiltered, ()) == one
