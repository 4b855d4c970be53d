"""The fixes of `--fix` and `--unsafe-fixes`: what each mends, what none may touch, in many files."""

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from validators import lint
from validators.diffing import unified_diff
from validators.mending import FILE_FIXES, Plan, mend_file, mended_lines, plan_mending
from validators.parts import Source
from validators.reading import BOM
from validators.rewriting import rewrite
from validators.row_fixes import ROW_FIXES
from validators.rules import RULES

HI = b'{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]}'


def reply(**keys: Any) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Yo", **keys},
        ]
    }


def call(arguments: str, identity: str = "c1") -> dict[str, Any]:
    return {"id": identity, "type": "function", "function": {"name": "level", "arguments": arguments}}


def mend(data: bytes, plan: Plan) -> bytes:
    return b"".join(change.new for change in mended_lines(lines_of(data), plan))


def mend_value(row: dict[str, Any], **options: Any) -> dict[str, Any]:
    mended: dict[str, Any] = json.loads(mend(json.dumps(row).encode(), plan_mending(**options)))
    return mended


# -- each fix ------------------------------------------------------------------------------------------


def test_every_rule_with_a_fix_has_one() -> None:
    declared = {rule.code for rule in RULES if rule.fix}
    assert declared - {*ROW_FIXES, *FILE_FIXES} == set()
    assert {*ROW_FIXES, *FILE_FIXES} - declared == {"MSG016"}  # fixable by its value


@pytest.mark.parametrize("weight", [0.0, 1.0, True, False])
def test_weights_become_integers(weight: object) -> None:
    mended = mend_value(reply(weight=weight))["messages"][1]["weight"]
    assert type(mended) is int and mended == weight


@pytest.mark.parametrize("weight", [0.5, 2, "1", None])
def test_weights_that_say_something_else_stay(weight: object) -> None:
    assert mend_value(reply(weight=weight)) == reply(weight=weight)


def test_functions_become_tools_with_ids_that_tie_calls_to_results() -> None:
    function = {"name": "level", "parameters": {"type": "object"}}
    row = {
        "messages": [
            {"role": "user", "content": "Water?"},
            {"role": "assistant", "content": None, "function_call": {"name": "level", "arguments": "{}"}},
            {"role": "function", "name": "level", "content": "5 l"},
            {"role": "assistant", "function_call": {"name": "level", "arguments": '{"tank": 2}'}},
            {"role": "function", "name": "level", "content": "3 l"},
            {"role": "assistant", "content": "Eight."},
        ],
        "functions": [function],
        "function_call": {"name": "level"},
    }
    mended = mend_value(row)
    assert list(mended) == ["messages", "tools", "tool_choice"]
    assert mended["tools"] == [{"type": "function", "function": function}]
    assert mended["tool_choice"] == {"type": "function", "function": {"name": "level"}}
    first, result, second, other, last = mended["messages"][1:]
    assert first["tool_calls"] == [
        {"id": "call00001", "type": "function", "function": {"name": "level", "arguments": "{}"}}
    ]
    assert result == {"role": "tool", "name": "level", "content": "5 l", "tool_call_id": "call00001"}
    assert second["tool_calls"][0]["id"] == other["tool_call_id"] == "call00002"
    assert last == row["messages"][5]  # type: ignore[index]


@pytest.mark.parametrize(
    "row",
    [
        {**reply(), "function_call": "auto", "tool_choice": "none"},
        {**reply(), "functions": "none"},
        {**reply(), "functions": [{"name": "a"}], "tools": "[]"},
        reply(function_call={"arguments": "{}"}),
        reply(function_call={"name": "a"}, tool_calls="none"),
    ],
)
def test_where_old_and_new_names_disagree_nothing_is_mended_nor_promised(row: dict, tmp_path: Path) -> None:
    assert mend_value(row) == row
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    found = [f for f in lint(tmp_path / "a.jsonl").findings if f.code == "MSG019"]
    assert [f.fixable for f in found] == [False] * len(found) != []


@pytest.mark.parametrize(
    ("arguments", "mended"),
    [
        ('"{\\"tank\\": 2}"', '{"tank": 2}'),
        ('{"tank": 2}', '{"tank": 2}'),
        ('"two"', '"two"'),
        ('"[1]"', '"[1]"'),
        ("[1]", "[1]"),
        ("{", "{"),
    ],
)
def test_arguments_encoded_twice_are_decoded_once(arguments: str, mended: str) -> None:
    row = mend_value(reply(tool_calls=[call(arguments)]))
    assert row == reply(tool_calls=[call(mended)])


def test_ids_take_the_targets_form_and_still_tie() -> None:
    row = reply(tool_calls=[call("{}", "call_1"), call("{}", "a1B2c3D4e")])
    row["messages"] += [{"role": "tool", "tool_call_id": i, "content": "5"} for i in ("a1B2c3D4e", "call_1")]
    mended = mend_value(row, target="mistral", ignore=["MSG", "FMT"])["messages"]
    first, second = (c["id"] for c in mended[1]["tool_calls"])
    assert (mended[2]["tool_call_id"], mended[3]["tool_call_id"]) == (second, first)
    assert second == "a1B2c3D4e" and re.fullmatch("[a-z0-9]{9}", first)
    assert mend_value(row) == row


UNSAFE = {"target": "together", "unsafe": True}


@pytest.mark.parametrize(
    ("row", "mended", "options"),
    [
        ({**reply(), "source": "mail"}, reply(), UNSAFE),
        (reply(lang="en"), reply(), UNSAFE),
        (
            {"messages": [{"role": "user", "content": "cafÃ©"}]},
            {"messages": [{"role": "user", "content": "café"}]},
            {"unsafe": True},
        ),
        (
            {"messages": [{"role": "user", "content": "Ba\u200bsil"}], "metadata": "a\u200bb"},
            {"messages": [{"role": "user", "content": "Basil"}], "metadata": "a\u200bb"},
            {"unsafe": True},
        ),
    ],
)
def test_what_loses_something_is_mended_only_when_it_is_allowed(
    row: dict, mended: dict, options: dict
) -> None:
    assert mend_value(row, **options) == mended
    assert mend_value(row, **{**options, "unsafe": False}) == row


def test_repeated_rows_go_and_the_first_stays() -> None:
    again = HI.replace(b"Hi", b"hi ")
    data = HI + b"\n" + again + b"\r\n" + HI.replace(b"Yo", b"No") + b"\n" + HI
    assert mend(data, plan_mending()) == data
    assert mend(data, plan_mending(unsafe=True)) == HI + b"\n" + HI.replace(b"Yo", b"No") + b"\n"


@pytest.mark.parametrize(
    ("target", "data", "mended"),
    [
        ("together", BOM + HI, HI),
        ("together", BOM + BOM + HI, HI),
        ("together", b"\n" + BOM + HI, HI),
        ("generic", BOM + b"\n" + HI, BOM + HI),
        ("generic", b"\n\n" + BOM + HI, BOM + HI),
        ("generic", BOM + b"\n" + BOM + HI, BOM + HI),
        ("azure", HI, BOM + HI),
        ("azure", b"\n" + HI, BOM + HI),
        ("azure", BOM + HI, BOM + HI),
        ("azure", b"", b""),
        ("generic", b" \r\n" + HI + b"\r\n\t\r\n" + HI + b"\n\n  ", HI + b"\r\n" + HI + b"\n"),
    ],
)
def test_marks_and_blank_lines(target: str, data: bytes, mended: bytes) -> None:
    assert mend(data, plan_mending(target=target)) == mended


@pytest.mark.parametrize(
    "row",
    [
        b'{"messages": [{"role": "assistant", "content": "a", "content": "b", "weight": 1.0}]}',
        b'{"messages": [{"role": "assistant", "content": "a", "weight": 1.0, "n": NaN}]}',
        b'{"messages": [{"role": "assistant", "content": "\\ud800", "weight": 1.0}]}',
        b'{"messages": [{"role": "assistant", "content": "a", "weight": 1.0}]',
        b"\xff\xfe",
    ],
)
def test_rows_that_are_not_strict_json_are_left_alone_and_nothing_is_promised(
    row: bytes, tmp_path: Path
) -> None:
    assert mend(row, plan_mending(unsafe=True)) == row
    (tmp_path / "a.jsonl").write_bytes(row + b"\n")
    assert not any(finding.fixable for finding in lint(tmp_path / "a.jsonl").findings)


def test_only_what_is_selected_is_mended() -> None:
    data = b"\n" + json.dumps(reply(weight=1.0)).encode()
    assert mend(data, plan_mending(select=["FMT"])) == data[1:]
    assert mend(data, plan_mending(ignore=["FMT"])) == data.replace(b"1.0", b"1")


# -- bytes outside a fix -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b'{"n":1.50, "messages" : [ {"role":"assistant","content":"\\u00e9 \\/","weight" :1.0 } ] }',
        '{"é": 1e2, "messages": [{"weight": true, "role": "assistant", "content": "é"}]}'.encode(),
    ],
)
def test_every_other_byte_of_a_mended_row_is_kept(raw: bytes) -> None:
    wanted = re.sub(rb'("weight" ?: ?)(1\.0|true)', rb"\g<1>1", raw)
    assert mend(raw, plan_mending()) == wanted != raw


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=200)
@given(st.dictionaries(st.text(max_size=3), JSON, max_size=4), JSON, st.data(), st.booleans(), st.booleans())
def test_a_rewritten_line_says_what_it_should(
    old: dict, item: Any, data: st.DataObject, ascii: bool, wide: bool
) -> None:
    raw = json.dumps(old, ensure_ascii=ascii, indent=1 if wide else None).encode("utf-8", "surrogatepass")
    keys = list(old)
    gone = data.draw(st.sampled_from([None, *keys]))
    changed = data.draw(st.sampled_from([None, "new", *keys]))
    new = {k: (item if k == changed else v) for k, v in old.items() if k != gone}
    if changed == "new":
        new["new"] = item
    assert json.loads(rewrite(raw, old, new)) == new
    assert rewrite(raw, old, old) == raw


# -- many files ----------------------------------------------------------------------------------------

TEXTS = [
    "Hi",
    "is  mint THIRSTY?",
    "cafÃ©",
    "Ba\u200bsil",
    "",
    " ",
    "“É”",
    "a\nb",
    "\u202eabc",
    "x" * 40,
    "Â\xad",
]
LINES = [
    b"",
    b"  ",
    b"\t",
    b"\r",
    b"{",
    b"[1]",
    b"null",
    b"\xff",
    BOM,
    BOM + HI,
    HI,
    b'{"text": "a"}',
    b"x\r",
]
TARGETS = ["generic", "together", "mistral", "azure", "openai", "trl"]


def random_message(chance: random.Random) -> Any:
    if chance.random() < 0.03:
        return chance.choice([1, None, "x", []])
    role = chance.choice(["user", "assistant", "system", "function", "tool", "human"])
    message: dict[str, Any] = {
        "role": role,
        "content": chance.choice([*TEXTS, None, [{"type": "text", "text": "Ã©"}]]),
    }
    if chance.random() < 0.3:
        message["weight"] = chance.choice([0, 1, 1.0, 0.0, True, 2, "1", None])
    if chance.random() < 0.2:
        message["function_call"] = chance.choice(
            [{"name": "f", "arguments": '"{}"'}, {"name": "f"}, None, "f", {}]
        )
    if chance.random() < 0.2:
        arguments = chance.choice(["{}", '"{\\"a\\": 1}"', '"x"', "[", {"a": 1}, None])
        identity = chance.choice(["c1", "call00001", "a1B2c3D4e", 5, "", [1], {}])
        message["tool_calls"] = chance.choice([[call(arguments, identity)], [None], "x", None, []])
    if role in ("function", "tool") and chance.random() < 0.7:
        message |= chance.choice(
            [{"name": "f"}, {"tool_call_id": "c1"}, {"tool_call_id": None}, {"tool_call_id": []}]
        )
    if chance.random() < 0.1:
        message[chance.choice(["lang", "contnet", "prefix"])] = chance.choice(TEXTS)
    return message


def random_line(chance: random.Random) -> bytes:
    if chance.random() < 0.3:
        return chance.choice(LINES)
    row: dict[str, Any] = {"messages": [random_message(chance) for _ in range(chance.randint(0, 4))]}
    for key, values in {
        "functions": [[{"name": "f"}], [], None, "f"],
        "function_call": ["auto", {"name": "f"}, None],
        "tools": [[{"type": "function", "function": {"name": "f"}}], None, []],
        "tool_choice": ["auto", "none"],
        "source": ["mail"],
        "metadata": [{"n": 1.50}, "Ã©"],
    }.items():
        if chance.random() < 0.15:
            row[key] = chance.choice(values)
    text = json.dumps(row, ensure_ascii=chance.random() < 0.5)
    if chance.random() < 0.2:
        text = json.dumps(row, separators=(",", ":"))
    raw = text.encode()
    if chance.random() < 0.1:
        at = chance.randrange(len(raw))
        raw = raw[:at] + bytes([chance.randrange(256)]) + raw[at + chance.randint(0, 1) :]
    return raw.replace(b"\n", b" ")


def random_file(chance: random.Random) -> bytes:
    lines = [random_line(chance) for _ in range(chance.randint(0, 6))]
    ends = [chance.choice([b"\n", b"\n", b"\r\n"]) for _ in lines]
    data = b"".join(line + end for line, end in zip(lines, ends, strict=True))
    return data if chance.random() < 0.7 else data.removesuffix(b"\n")


def kept_texts(line: bytes) -> list[Any] | None:
    """What people wrote in a row: no safe fix may touch it."""
    try:
        row = json.loads(line.removeprefix(BOM))
    except ValueError:
        return None
    if not isinstance(row, dict) or not isinstance(row.get("messages"), list):
        return [row]
    told = [m.get("content") if isinstance(m, dict) else m for m in row["messages"]]
    return [told, row.get("metadata"), row.get("source")]


FILES = 10_000


def test_in_any_file_fixes_are_idempotent_and_lose_nothing() -> None:
    chance = random.Random(20261120)
    for number in range(FILES):
        data, target, unsafe = random_file(chance), chance.choice(TARGETS), number % 2 == 1
        plan = plan_mending(target=target, unsafe=unsafe)
        changes = list(mended_lines(lines_of(data), plan))
        mended = b"".join(change.new for change in changes)
        assert b"".join(change.old for change in changes) == data, number
        again = list(mended_lines(lines_of(mended), plan))
        assert b"".join(change.new for change in again) == mended, (number, target, unsafe, data, mended)
        assert not any(change.codes for change in again), (number, target, unsafe, data)
        for change in changes:
            # A file's mark goes on to the next line where its own was blank.
            assert change.codes or change.new.removeprefix(BOM) == change.old.removeprefix(BOM)
            if not unsafe and change.old.strip(b" \t\r\n" + BOM):
                assert kept_texts(change.new) == kept_texts(change.old), (number, change)


def lines_of(data: bytes) -> list[bytes]:
    """Lines as a file has them: a lone carriage return ends none."""
    return re.findall(rb"[^\n]*\n|[^\n]+\Z", data)


def test_what_was_mended_lints_clean_of_it(tmp_path: Path) -> None:
    chance = random.Random(7)
    path = tmp_path / "a.jsonl"
    for _ in range(120):
        data, target = random_file(chance), chance.choice(TARGETS)
        path.write_bytes(data)
        before = lint(path, target=target)
        done = mend_file(Source(path, str(path)), plan_mending(target=target))
        if done.refused:
            continue
        after = lint(path, target=target)
        assert not [f for f in after.findings if f.fixable], data
        assert bool(done.fixed) == any(f.fixable for f in before.findings), data
        mend_file(Source(path, str(path)), plan_mending(target=target, unsafe=True))
        left = {
            f.code for f in lint(path, target=target).findings if f.code in ("DUP001", "FMT006", "FMT002")
        }
        assert not left, data


# -- the difference ------------------------------------------------------------------------------------


def patched(data: bytes, diff: bytes) -> bytes:
    """The diff applied, checking each of its lines."""
    old, new, at = lines_of(data), [], 0
    pieces = re.sub(rb"\n\n?\\ No newline at end of file\n", b"\0\n", diff)
    for line in lines_of(pieces):
        text = line[1:].replace(b"\0\n", b"")
        if line.startswith(b"@@"):
            numbers = [int(n) for n in re.findall(rb"\d+", line)]
            start = numbers[0] - 1
            new += old[at:start]
            at = start
            assert len(new) == numbers[2] - (1 if numbers[3] else 0)
        elif line.startswith((b"---", b"+++")):
            continue
        elif line.startswith(b"+"):
            new.append(text)
        else:
            assert old[at] == text
            at += 1
            new += [text] if line.startswith(b" ") else []
    return b"".join(new + old[at:])


def test_the_diff_makes_the_mended_file() -> None:
    chance = random.Random(3)
    for _ in range(150):
        data = b"".join(random_file(chance).replace(b"\0", b"") for _ in range(chance.randint(1, 6)))
        if not data.endswith(b"\n"):
            data += b"\n" * chance.randint(0, 1)
        plan = plan_mending(target=chance.choice(TARGETS), unsafe=chance.random() < 0.5)
        diff = b"".join(unified_diff(mended_lines(iter(lines_of(data)), plan), "a.jsonl"))
        mended = b"".join(change.new for change in mended_lines(iter(lines_of(data)), plan))
        assert patched(data, diff) == mended
        assert bool(diff) == (mended != data)
