"""Rows between formats and targets: what is named as lost, and that nothing else is."""

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from validators import lint
from validators.conversion import CONVERSION_TARGETS, FORMS, LossError, convert_file, convert_row
from validators.examples import ExampleError
from validators.reading import DataError
from validators.rules.subjects import row_format
from workbench.cli.convert import convert

SYSTEM = {"role": "system", "content": "Be brief."}
ASKED = {"role": "user", "content": "Is mint thirsty?"}
SAID = {"role": "assistant", "content": "Very."}
WORSE = {"role": "assistant", "content": "No idea."}
CALL = {"id": "c1", "type": "function", "function": {"name": "level", "arguments": '{"tank": 2}'}}
TOOL = {"type": "function", "function": {"name": "level", "parameters": {}}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "Half full"}

CHAT = {"messages": [SYSTEM, ASKED, SAID]}
TOOLS = {"messages": [ASKED, CALLING, RESULT, SAID], "tools": [TOOL]}
PAIR = {"input": {"messages": [ASKED]}, "preferred_output": [SAID], "non_preferred_output": [WORSE]}
TRL_PAIR = {"prompt": [ASKED], "chosen": [SAID], "rejected": [WORSE]}


@pytest.mark.parametrize(
    ("row", "to", "written"),
    [
        (CHAT, "chat", CHAT),
        (
            CHAT,
            "alpaca",
            {"instruction": "Is mint thirsty?", "input": "", "output": "Very.", "system": "Be brief."},
        ),
        (
            CHAT,
            "sharegpt",
            {
                "conversations": [
                    {"from": "system", "value": "Be brief."},
                    {"from": "human", "value": "Is mint thirsty?"},
                    {"from": "gpt", "value": "Very."},
                ]
            },
        ),
        (CHAT, "trl-prompt-completion", {"prompt": [SYSTEM, ASKED], "completion": [SAID]}),
        (
            CHAT,
            "gemini",
            {
                "systemInstruction": {"role": "system", "parts": [{"text": "Be brief."}]},
                "contents": [
                    {"role": "user", "parts": [{"text": "Is mint thirsty?"}]},
                    {"role": "model", "parts": [{"text": "Very."}]},
                ],
            },
        ),
        (
            TOOLS,
            "gemini",
            {
                "contents": [
                    {"role": "user", "parts": [{"text": "Is mint thirsty?"}]},
                    {"role": "model", "parts": [{"functionCall": {"name": "level", "args": {"tank": 2}}}]},
                    {
                        "role": "user",
                        "parts": [
                            {"functionResponse": {"name": "level", "response": {"output": "Half full"}}}
                        ],
                    },
                    {"role": "model", "parts": [{"text": "Very."}]},
                ],
                "tools": [{"functionDeclarations": [TOOL["function"]]}],
            },
        ),
        (
            TOOLS,
            "trl",
            {
                "messages": [
                    ASKED,
                    CALLING
                    | {
                        "tool_calls": [
                            CALL | {"function": CALL["function"] | {"arguments": {"tank": 2}}}  # type: ignore[operator]
                        ]
                    },
                    RESULT,
                    SAID,
                ],
                "tools": [TOOL],
            },
        ),
        ({"messages": [ASKED, SAID]}, "prompt-completion", {"prompt": "Is mint thirsty?", "completion": "Very."}),
        ({"prompt": "Is mint thirsty?", "completion": "Very."}, "openai", {"messages": [ASKED, SAID]}),
        ({"prompt": "a", "completion": "b"}, "together", {"prompt": "a", "completion": "b"}),
        ({"prompt": [ASKED], "completion": [SAID]}, "trl", {"prompt": [ASKED], "completion": [SAID]}),
        ({"text": "Mint is thirsty."}, "chat", {"messages": [{"role": "assistant", "content": "Mint is thirsty."}]}),
        (PAIR, "trl-preference", TRL_PAIR),
        (TRL_PAIR, "openai", PAIR),
        ({"chosen": [ASKED, SAID], "rejected": [ASKED, WORSE]}, "preference", PAIR),
        ({"prompt": "Is mint thirsty?", "chosen": "Very.", "rejected": "No idea."}, "together", PAIR),
        (
            {"prompt": "a", "chosen": "b", "rejected": "c"},
            "trl",
            {"prompt": "a", "chosen": "b", "rejected": "c"},
        ),
        ({"instruction": "Do", "input": "it", "output": "ok"}, "alpaca", {"instruction": "Do", "input": "it", "output": "ok"}),
    ],
)  # fmt: skip
def test_what_is_written_without_loss(row: dict, to: str, written: dict) -> None:
    assert convert_row(row, to) == (written, ())


@pytest.mark.parametrize(
    ("row", "to", "lost"),
    [
        ({"instruction": "Do", "input": "it", "output": "ok"}, "chat", "the border between instruction and input"),
        (PAIR, "chat", "the non-preferred side"),
        (CHAT, "prompt-completion", "roles and borders of the prompt's messages"),
        (CHAT, "text", "roles and borders of messages"),
        (TOOLS, "alpaca", "tool calls"),
        ({"messages": [ASKED, SAID, ASKED, SAID]}, "trl-prompt-completion", "training of earlier replies"),
        ({"messages": [ASKED, SAID | {"weight": 0}, ASKED, SAID]}, "sharegpt", "weight 0: the reply would train"),
        ({"messages": [ASKED | {"name": "Ada"}, SAID]}, "sharegpt", "the key 'name' of messages"),
        ({"messages": [ASKED, SAID], "id": 7}, "together", "the key 'id'"),
        ({"messages": [SYSTEM | {"role": "developer"}, ASKED, SAID]}, "mistral", "the role developer (it becomes system)"),
        ({"messages": [ASKED, SAID], "input": "x"}, "alpaca", "the key 'input'"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x.png"}}]}, SAID]},
            "alpaca",
            "content parts of type 'image_url'",
        ),
        ({"messages": [ASKED, SAID, SYSTEM, ASKED, SAID]}, "gemini", "the place of a later system message"),
    ],
)  # fmt: skip
def test_losses_are_named(row: dict, to: str, lost: str) -> None:
    assert lost in convert_row(row, to)[1]


def test_an_untrained_earlier_reply_survives_prompt_and_completion() -> None:
    row = {"messages": [ASKED, SAID | {"weight": 0}, ASKED, SAID]}
    written, lost = convert_row(row, "trl-prompt-completion")
    assert (convert_row(written, "chat"), lost) == ((row, ()), ())


def test_ids_take_the_form_that_mistral_asks_for() -> None:
    written, lost = convert_row(TOOLS, "mistral")
    call, result = written["messages"][1]["tool_calls"][0], written["messages"][2]
    assert lost == () and call["id"] == result["tool_call_id"] and len(call["id"]) == 9


def test_old_names_of_tools_become_new_ones() -> None:
    old = {"messages": [ASKED, {"role": "assistant", "function_call": CALL["function"]}], "functions": [TOOL["function"]]}  # fmt: skip
    written, lost = convert_row(old, "openai")
    assert lost == () and written["tools"] == [TOOL]
    assert written["messages"][1]["tool_calls"][0]["function"] == CALL["function"]


@pytest.mark.parametrize(
    ("row", "to", "words"),
    [
        (CHAT, "preference", "a preference needs a second, worse one"),
        ({"messages": [ASKED]}, "alpaca", "does not end with a reply"),
        ({"question": "a"}, "chat", "no key of a known format"),
        ({"messages": [{"role": "user"}]}, "chat", r"messages\[0\]\.content"),
        ({"conversations": [{"from": "robot", "value": "a"}]}, "chat", r"conversations\[0\]"),
        ({"contents": [{"parts": []}]}, "chat", r"contents\[0\]"),
        ({"chosen": "a", "rejected": "b"}, "chat", "needs its prompt"),
        ({"messages": [ASKED, CALLING | {"tool_calls": [CALL | {"function": {"name": "x", "arguments": "{"}}]}]}, "gemini", "no .strict. JSON object"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_converted(row: dict, to: str, words: str) -> None:
    with pytest.raises(ExampleError, match=words):
        convert_row(row, to)


# -- nothing is lost without a word --------------------------------------------------------------------

TEXT = st.text('aé {}"\\\n:,.', max_size=8)
WORDS = st.sampled_from(["Hi", "Is mint thirsty?", "a\nb", '{"a": 1}', '{"output": "x"}', "", " "]) | TEXT
PARTS = st.lists(
    st.one_of(
        st.builds(lambda text: {"type": "text", "text": text}, WORDS),
        st.sampled_from(["gs://pods/a.png", "data:image/png;base64,AAAA"]).map(
            lambda url: {"type": "image_url", "image_url": {"url": url}}
        ),
    ),
    min_size=1,
    max_size=3,
)
NAMES = st.sampled_from([{}, {}, {}, {"name": "Ada"}])
USER = st.builds(lambda content, name: {"role": "user", "content": content, **name}, WORDS | PARTS, NAMES)
REPLY = st.builds(
    lambda content, weight: {"role": "assistant", "content": content, **weight},
    WORDS,
    st.sampled_from([{}, {}, {"weight": 0}, {"weight": 1}]),
)
ARGUMENTS = st.sampled_from(["{}", '{"a": [1, 2.5, "x"]}', '{"a": 123456789012345678901}'])


@st.composite
def exchange(draw: st.DrawFn) -> list[dict[str, Any]]:
    """One or two calls, and their results, not always in the calls' order."""
    number = draw(st.integers(0, 99))
    calls = [
        {
            "id": f"c{number}-{i}",
            "type": "function",
            "function": {"name": f"f{i}", "arguments": draw(ARGUMENTS)},
        }
        for i in range(draw(st.integers(1, 2)))
    ]
    said = draw(st.sampled_from([None, "Let me look."]))
    results = [{"role": "tool", "tool_call_id": call["id"], "content": draw(WORDS)} for call in calls]
    return [{"role": "assistant", "content": said, "tool_calls": calls}, *draw(st.permutations(results))]


@st.composite
def chats(draw: st.DrawFn) -> dict[str, Any]:
    messages: list[dict[str, Any]] = []
    for kind in draw(st.lists(st.sampled_from("surruraretxd"), max_size=5)):
        if kind in "sd":
            messages.append({"role": "system" if kind == "s" else "developer", "content": draw(WORDS)})
        elif kind == "u":
            messages.append(draw(USER))
        elif kind == "t":
            messages += draw(exchange())
        else:
            messages.append(draw(REPLY))
    ids: dict[str, int] = {}
    for message in messages:  # an id twice in a row would be another row's fault
        for call in message.get("tool_calls", ()):
            ids[call["id"]] = ids.get(call["id"], -1) + 1
    row: dict[str, Any] = {"messages": [*messages, draw(USER), draw(REPLY)]}
    if any(ids.values()):
        row["messages"] = row["messages"][-2:]
    row |= draw(st.sampled_from([{}, {}, {"id": 3}, {"metadata": {"a": None}}, {"text": "x"}, {"output": 1}]))
    return row | draw(st.sampled_from([{}, {}, {"tools": [TOOL]}]))


def canonical(row: dict[str, Any]) -> Any:
    """The row but for what is only spelling: names of ids, default weights, JSON inside texts."""
    names: dict[str, str] = {}

    def parsed(text: Any) -> Any:
        try:
            return json.loads(text)
        except (TypeError, ValueError):
            return text

    messages = []
    for message in row["messages"]:
        turn = {k: v for k, v in message.items() if not (k == "weight" and v == 1)}
        content = turn.get("content")
        if isinstance(content, list) and len(content) == 1 and content[0]["type"] == "text":
            content = content[0]["text"]
        turn["content"] = parsed(content) if turn["role"] == "tool" else content
        turn["tool_calls"] = [
            (
                names.setdefault(c["id"], str(len(names))),
                c["function"]["name"],
                parsed(c["function"]["arguments"]),
            )
            for c in turn.get("tool_calls", ())
        ]
        if "tool_call_id" in turn:
            turn["tool_call_id"] = names.get(turn["tool_call_id"], turn["tool_call_id"])
        messages.append(turn)
    return row | {"messages": messages}


@settings(max_examples=120, suppress_health_check=list(HealthCheck))
@given(chats(), st.sampled_from([*FORMS, *CONVERSION_TARGETS]))
def test_a_conversion_that_names_no_loss_can_be_undone(row: dict, to: str) -> None:
    before = json.dumps(row)
    try:
        written, lost = convert_row(row, to)
    except ExampleError:
        return
    assert json.dumps(row) == before, "the row itself was changed"
    json.dumps(written, allow_nan=False)
    if not lost:
        back, lost_back = convert_row(written, "chat")
        assert lost_back == () and canonical(back) == canonical(row)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(chats(), chats(), st.sampled_from(["preference", "trl-preference", "openai", "trl", "together"]))
def test_pairs_can_be_undone(row: dict, other: dict, to: str) -> None:
    def bare(messages: list) -> list:
        return [{k: v for k, v in m.items() if k != "weight"} for m in messages]

    pair = {
        "input": {"messages": bare(row["messages"][-2:-1])},
        "preferred_output": bare(row["messages"][-1:]),
        "non_preferred_output": bare(other["messages"][-1:]),
    }
    written, lost = convert_row(pair, to)
    if not lost:
        assert convert_row(written, "preference") == (pair, ())


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(chats(), st.sampled_from([*FORMS, *CONVERSION_TARGETS]))
def test_what_is_written_has_the_format_that_was_asked_for(row: dict, to: str) -> None:
    try:
        written, _ = convert_row(row, to)
    except ExampleError:
        return
    wanted = FORMS[to][1] if to in FORMS else "gemini" if to == "gemini" else "chat"
    assert row_format(written) == wanted


ODD: list[Any] = [
    None,
    1,
    1.5,
    True,
    "x",
    "",
    "[1]",
    [],
    {},
    [1],
    [None],
    [[]],
    [{}],
    {"name": 1},
    {"role": "user"},
]
SEEDS: list[dict[str, Any]] = [
    CHAT,
    TOOLS,
    PAIR,
    TRL_PAIR,
    {"messages": [ASKED, {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}], "functions": [{"name": "f"}]},
    {"instruction": "Do", "input": "it", "output": "ok", "system": "s", "history": [["a", "b"]]},
    {"prompt": [ASKED], "completion": [SAID]},
    {"chosen": [ASKED, SAID], "rejected": [ASKED, WORSE]},
    {"text": "a"},
    convert_row(TOOLS, "sharegpt")[0],
    convert_row(TOOLS, "gemini")[0],
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


def test_rows_of_any_shape_are_converted_or_refused_by_name() -> None:
    chance = random.Random(20261120)
    converted = 0
    for _ in range(4000):
        row = copy.deepcopy(chance.choice(SEEDS))
        *outer, last = chance.choice(places(row)[1:])
        inner: Any = row
        for key in outer:
            inner = inner[key]
        inner[last] = copy.deepcopy(chance.choice(ODD))
        try:
            written, _ = convert_row(row, chance.choice([*FORMS, *CONVERSION_TARGETS]))
            json.dumps(written)
            converted += 1
        except ExampleError as error:
            assert error.where
    assert converted > 500


# -- files and the command -----------------------------------------------------------------------------


def run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(convert)
    return CliRunner().invoke(app, [str(a) for a in arguments])


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_lossy_conversion_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    source, out = write(tmp_path / "a.jsonl", CHAT, PAIR, PAIR), tmp_path / "b.jsonl"
    with pytest.raises(LossError, match=r"the non-preferred side \(2 rows, first at line 2\)"):
        convert_file(source, out, "chat")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl"]
    done = convert_file(source, out, "chat", lossy=True)
    assert (done.rows, done.losses) == (3, {"the non-preferred side": (2, 2)})
    assert json.loads(out.read_text().splitlines()[0]) == CHAT


@pytest.mark.parametrize(
    ("rows", "to", "words"),
    [
        ([CHAT, {"messages": [ASKED]}], "alpaca", r"a\.jsonl:2: messages: the conversation does not end"),
        ([CHAT], "gemeni", "Did you mean 'gemini'"),
        ([], "chat", "no rows"),
    ],
)
def test_faults_of_a_file_have_their_place(rows: list, to: str, words: str, tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", *rows)
    (tmp_path / "b.jsonl").write_text("old\n")
    with pytest.raises(DataError, match=words):
        convert_file(source, tmp_path / "b.jsonl", to)
    assert (tmp_path / "b.jsonl").read_text() == "old\n"


def test_the_input_is_never_overwritten(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", CHAT)
    with pytest.raises(DataError, match="this is the input"):
        convert_file(source, tmp_path / "." / "a.jsonl", "chat")
    with pytest.raises(DataError, match="no such folder"):
        convert_file(source, tmp_path / "x" / "b.jsonl", "chat")


def test_azure_gets_its_mark_and_gzip_its_name(tmp_path: Path) -> None:
    import gzip

    source = write(tmp_path / "a.jsonl", CHAT)
    convert_file(source, tmp_path / "b.jsonl", "azure")
    convert_file(source, tmp_path / "c.jsonl.gz", "chat")
    assert (tmp_path / "b.jsonl").read_bytes().startswith(b"\xef\xbb\xbf{")
    assert json.loads(gzip.decompress((tmp_path / "c.jsonl.gz").read_bytes())) == CHAT


@pytest.mark.parametrize("to", ["openai", "azure", "together", "mistral", "trl", "fireworks"])
def test_what_is_written_for_a_target_lints_clean_for_it(to: str, tmp_path: Path) -> None:
    rows = [
        TOOLS | {"messages": [ASKED | {"content": f"Pod {n}?"}, CALLING, RESULT, SAID]} for n in range(10)
    ]
    convert_file(write(tmp_path / "a.jsonl", *rows), tmp_path / "b.jsonl", to)
    found = [f for f in lint(tmp_path / "b.jsonl", target=to).findings if f.severity == "error"]
    assert found == []


def test_the_command(tmp_path: Path) -> None:
    source = write(tmp_path / "a.json", CHAT)
    result = run(source, tmp_path / "b.jsonl", "--to", "sharegpt", "--format", "json")
    assert json.loads(result.stdout) == {"losses": [], "rows": 1, "schema": "workbench.conversion/1"}
    result = run(source, tmp_path / "b.jsonl", "--to", "text", "--lossy")
    assert result.stdout.splitlines() == [
        f"1 row written to {tmp_path / 'b.jsonl'}",
        "lost: roles and borders of messages (1 row, first at line 1)",
    ]
    assert isinstance(run(source, tmp_path / "b.jsonl", "--to", "text").exception, LossError)


def test_a_tables_columns_become_chats(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Frage,Antwort\nWo?,Hier\n")
    refused = run(tmp_path / "a.csv", tmp_path / "b.jsonl", "--to", "chat")
    assert "--columns input=NAME,output=NAME" in str(refused.exception)
    done = run(
        tmp_path / "a.csv", tmp_path / "b.jsonl", "--to", "chat", "--columns", "input=Frage,output=Antwort"
    )
    assert done.exit_code == 0
    messages = json.loads((tmp_path / "b.jsonl").read_text())["messages"]
    assert [(m["role"], m["content"]) for m in messages] == [("user", "Wo?"), ("assistant", "Hier")]
    wrong = run(tmp_path / "a.csv", tmp_path / "b.jsonl", "--to", "chat", "--columns", "Frage")
    assert wrong.exit_code == 2 and "input=NAME" in wrong.stderr
