"""Planted defects in generated files: each is found by its code at its line, and nothing else is found.

A family adds its defects as lines of PLANTS. A defect spoils one clean row: it is given the row and another
clean row of the file (for what is only wrong beside another), and returns the spoiled row, or the bytes of
the line. A defect of a whole file (`line` False) is told without a line.
"""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from validators import lint

Row = dict[str, Any]
Spoil = Callable[[Row, Row], Row | bytes]


class Plant(NamedTuple):
    """One defect. `kind` is the clean row it needs, `times` how many of the file's rows are spoiled."""

    code: str
    spoil: Spoil
    kind: str = "plain"
    target: str = "generic"
    format: str = "chat"
    times: int = 3


# fmt: off
WORDS = (
    "basil", "mint", "dill", "sage", "thyme", "cress", "chive", "lettuce", "parsley", "chilli", "pump",
    "wick", "lamp", "panel", "tank", "float", "hub", "sensor", "pod", "sprout", "stem", "root", "leaf",
    "flower", "fruit", "seed", "water", "light", "shade", "heat", "frost", "noon", "dusk", "week", "month",
    "spring", "summer", "scissors", "cap", "lid", "hose", "filter", "cable", "plug", "app", "clock",
    "alarm", "box", "shelf", "window", "kitchen", "balcony", "tower", "duo", "mini",
)
# fmt: on
TOOL = {
    "type": "function",
    "function": {
        "name": "tank_level",
        "parameters": {
            "type": "object",
            "properties": {"device": {"type": "string"}, "days": {"type": "integer", "minimum": 0}},
            "required": ["device"],
        },
    },
}
PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
GIF = "data:image/png;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


def text(rng: random.Random, n: int, least: int = 9) -> str:
    """A text that no other row has, as rows of one file are: some words and a number."""
    said = rng.sample(WORDS, rng.randint(least, least + 8))
    end = rng.choice((".", "?", "!", " 🌱", " — מים", "\u2028ok"))
    return f"{' '.join(said).capitalize()}, row {n}{end}"


def plain(rng: random.Random, n: int) -> Row:
    turns = [{"role": "user", "content": text(rng, n)}, {"role": "assistant", "content": text(rng, n)}]
    if n % 3 == 0:
        turns += [{"role": "user", "content": text(rng, n)}, {"role": "assistant", "content": text(rng, n)}]
    if n % 5 == 0:
        turns.insert(0, {"role": "system", "content": "You answer Quillfern customers."})
    if n % 7 == 0:
        turns[-1]["weight"] = 1
    return {"messages": turns}


def called(rng: random.Random, n: int) -> Row:
    arguments = json.dumps({"device": rng.choice(WORDS), "days": n % 9})
    call = {"id": f"c{n:08}", "type": "function", "function": {"name": "tank_level", "arguments": arguments}}
    turns = [
        {"role": "user", "content": text(rng, n)},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": str(n % 100)},
        {"role": "assistant", "content": text(rng, n)},
    ]
    return {"messages": turns, "tools": [TOOL]}


def pictured(rng: random.Random, n: int) -> Row:
    parts = [{"type": "text", "text": text(rng, n)}, {"type": "image_url", "image_url": {"url": PNG}}]
    return {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": text(rng, n)}]}


def pair(rng: random.Random, n: int) -> Row:
    sides = [text(rng, n, 5), text(rng, n, 14)]
    return {
        "input": {"messages": [{"role": "user", "content": text(rng, n)}]},
        "preferred_output": [{"role": "assistant", "content": sides[n % 2]}],
        "non_preferred_output": [{"role": "assistant", "content": sides[1 - n % 2]}],
    }


def graded(rng: random.Random, n: int) -> Row:
    return {"messages": [{"role": "user", "content": text(rng, n)}], "answer": text(rng, n)}


KINDS = {"plain": plain, "called": called, "pictured": pictured, "pair": pair, "graded": graded}
MIX = {
    "chat": ("plain", "plain", "plain", "called", "pictured"),
    "preference": ("pair",),
    "reinforcement": ("graded",),
}


def at(path: str, value: object) -> Spoil:
    """Put a value at a path such as `messages.1.content`."""

    def spoil(row: Row, other: Row) -> Row:
        *parents, last = (int(part) if part.isdigit() else part for part in path.split("."))
        place: Any = row
        for part in parents:
            place = place[part]
        place[last] = value
        return row

    return spoil


def without(path: str) -> Spoil:
    def spoil(row: Row, other: Row) -> Row:
        *parents, last = (int(part) if part.isdigit() else part for part in path.split("."))
        place: Any = row
        for part in parents:
            place = place[part]
        del place[last]
        return row

    return spoil


def raw(change: Callable[[bytes], bytes]) -> Spoil:
    return lambda row, other: change(json.dumps(row).encode())


def first(of: str, **change: object) -> Spoil:
    """Change the first message of a role; a value of None leaves the key out."""

    def spoil(row: Row, other: Row) -> Row:
        message = next(m for m in row["messages"] if m["role"] == of)
        for key, value in change.items():
            message.pop(key, None)
            if value is not None:
                message[key] = value
        return row

    return spoil


def turns(change: Callable[[list[Row]], list[Row]]) -> Spoil:
    return lambda row, other: {**row, "messages": change(row["messages"])}


def folded(row: Row, other: Row) -> Row:
    """The other row again, in capitals."""
    return {**other, "messages": [{**m, "content": m["content"].upper()} for m in other["messages"]]}


def answered_otherwise(row: Row, other: Row) -> Row:
    """The other row's prompt with another last reply."""
    return {**other, "messages": [*other["messages"][:-1], {**ASSISTANT}]}


SYSTEM = {"role": "system", "content": "Be brief."}
IMAGE = {"type": "image_url", "image_url": {"url": PNG}}
CALL = "messages.1.tool_calls.0"
ARGUMENTS = f"{CALL}.function.arguments"
ASSISTANT = {"role": "assistant", "content": "It hums because it is dry."}

PLANTS: tuple[Plant, ...] = (
    Plant("FMT001", raw(lambda line: line[:40] + b"\xff" + line[40:])),
    Plant("FMT006", raw(lambda line: b"  ")),
    Plant("FMT007", raw(lambda line: line[:-1])),
    Plant("FMT008", lambda row, other: json.dumps([row]).encode()),
    Plant("FMT009", raw(lambda line: line[:-1] + b', "id": 1, "id": 2}')),
    Plant("FMT010", raw(lambda line: line[:-1] + b', "metadata": {"score": NaN}}')),
    Plant("FMT011", raw(lambda line: line.replace(b", row ", b", row \\ud83c", 1))),
    Plant("FMT013", lambda row, other: {"mesages": row["messages"]}),
    Plant("FMT014", lambda row, other: {**row, "source": "mail"}, target="together"),
    Plant("MSG001", at("messages", "none"), times=1),
    Plant("MSG002", at("messages", []), times=1),
    Plant("MSG003", turns(lambda messages: [messages[0]["content"], *messages[1:]])),
    Plant("MSG004", first("user", role=None)),
    Plant("MSG005", first("user", role="human")),
    Plant("MSG006", first("user", content=None)),
    Plant("MSG007", first("assistant", content=7)),
    Plant("MSG008", first("user", content=" ")),
    Plant("MSG009", first("assistant", content="")),
    Plant("MSG010", turns(lambda messages: [m for m in messages if m["role"] != "assistant"][:2][-1:])),
    Plant("MSG011", turns(lambda messages: [SYSTEM, *messages[-1:]]), times=1),
    Plant("MSG012", turns(lambda messages: [*messages, {"role": "user", "content": "Thanks, that helps."}])),
    Plant("MSG013", turns(lambda messages: [*messages, ASSISTANT])),
    Plant("MSG014", turns(lambda messages: [next(m for m in messages if m["role"] == "user"), SYSTEM, ASSISTANT])),
    Plant("MSG015", turns(lambda messages: [SYSTEM, SYSTEM, *(m for m in messages if m["role"] != "system")])),
    Plant("MSG016", first("assistant", weight=0.5)),
    Plant("MSG017", turns(lambda messages: [{**m, "weight": 0} if m["role"] == "assistant" else m for m in messages])),
    Plant("MSG018", first("user", lang="en"), target="together"),
    Plant("MSG019", lambda row, other: {**row, "functions": [TOOL["function"]]}),
    Plant("TOOL001", without(f"{CALL}.function.name"), "called"),
    Plant("TOOL001", without(f"{CALL}.id"), "called", "openai"),
    Plant("TOOL002", at(ARGUMENTS, "{'device': 'Duo'}"), "called"),
    Plant("TOOL003", at(ARGUMENTS, '"{\\"device\\": \\"Duo\\"}"'), "called"),
    Plant("TOOL004", at(ARGUMENTS, '{"device": "Duo", "days": -1}'), "called"),
    Plant("TOOL005", at(f"{CALL}.function.name", "tank_levle"), "called"),
    Plant("TOOL006", at("messages.2.tool_call_id", "c00000000x"), "called"),
    Plant("TOOL007", turns(lambda messages: [*messages[:2], messages[0], messages[3]]), "called"),
    Plant("TOOL008", at("tools", [TOOL, {"type": "function", "function": {"parameters": {}}}]), "called"),
    Plant("TOOL008", at("tools.0", {"type": "function", "function": {"name": "tank_level", "parameters": {"type": "dict"}}}), "called"),
    Plant("TOOL009", at("tools", [TOOL, *({"type": "function", "function": {"name": f"t{n}"}} for n in range(128))]), "called"),
    Plant("TOOL010", lambda row, other: json.dumps(row).replace('"c0', '"call_').encode(), "called", "mistral"),
    Plant("PART001", at("messages.0.content.0.type", "input_text"), "pictured"),
    Plant("PART001", without("messages.0.content.1.image_url"), "pictured"),
    Plant("PART002", at("messages.1.content", [IMAGE]), "pictured"),
    Plant("PART003", at("messages.0.content", [IMAGE] * 11), "pictured", "together", times=1),
    Plant("PART004", at("messages.0.content.1.image_url.url", "https://example.com/a.png"), "pictured", "together"),
    Plant("PART005", at("messages.0.content.1.image_url.url", GIF), "pictured"),
    Plant("PREF001", without("non_preferred_output"), "pair", format="preference"),
    Plant("PREF001", at("input", "Is mint thirsty?"), "pair", format="preference"),
    Plant("PREF002", lambda row, other: {**row, "non_preferred_output": row["preferred_output"]}, "pair", format="preference"),
    Plant("PREF003", lambda row, other: {**row, "input": {"messages": [*row["input"]["messages"], ASSISTANT]}}, "pair", "together", "preference"),
    Plant("RFT001", turns(lambda messages: [*messages, ASSISTANT]), "graded", format="reinforcement"),
    Plant("RFT002", without("answer"), "graded", format="reinforcement"),
    Plant("RFT003", lambda row, other: {**row, "note": row["answer"][:9]}, "graded", format="reinforcement", times=1),
    Plant("DUP001", folded),
    Plant("DUP005", answered_otherwise),
    Plant("TEXT001", first("assistant", content="The display shows 22 Â°C, the kit costs 5 â‚¬.")),
    Plant("TEXT002", first("assistant", content="The display shows 22 \ufffdC at noon.")),
    Plant("TEXT003", first("assistant", content="The pass\u200bword stands under the lid.")),
    Plant("TEXT004", first("assistant", content="Dear {{customer_name}}, the pump is on its way.")),
    Plant("PII001", first("assistant", content=f"Use the key {'AKIA' + 'Q3EGRIZ7XJ5MN2LK'} for it.")),
    Plant("PII002", first("user", content="Write to ida.lindqvist@quillfern.com about my pump."), times=1),
    Plant("PII003", first("user", content="My card is 4242 4242 4242 4242, the pump was not paid."), times=1),
    Plant("PII005", first("user", content="Send it to DE89 3704 0044 0532 0130 00 as a refund, please."), times=1),
)  # fmt: skip
GROUPS = sorted({(plant.format, plant.target) for plant in PLANTS})


def generate(rows: int, format: str, plants: list[Plant], seed: int) -> tuple[bytes, set[tuple[str, int]]]:
    """A file's bytes, and which codes stand at which of its lines."""
    rng = random.Random(seed)
    kinds = [MIX[format][n % len(MIX[format])] for n in range(rows)]
    clean = [KINDS[kind](rng, n) for n, kind in enumerate(kinds)]
    lines: list[Row | bytes] = list(clean)
    free = {kind: [n for n in range(rows // 20, rows) if kinds[n] == kind] for kind in KINDS}
    planted = set()
    for plant in [each for each in plants for _ in range(each.times)]:
        n = free[plant.kind].pop(rng.randrange(len(free[plant.kind])))
        # The other row stands before all that are spoiled, and each is taken once.
        other = clean[next(i for i in range(len(planted) * 2, rows) if kinds[i] == plant.kind)]
        lines[n] = plant.spoil(json.loads(json.dumps(clean[n])), other)
        planted.add((plant.code, n + 1))
    return b"".join(
        line if isinstance(line, bytes) else encoded(line, n) for n, line in enumerate(ended(lines))
    ), planted


def ended(lines: list[Row | bytes]) -> Iterator[Row | bytes]:
    return (line + b"\n" if isinstance(line, bytes) else line for line in lines)


def encoded(row: Row, n: int) -> bytes:
    return json.dumps(row, ensure_ascii=n % 4 == 0).encode() + (b"\r\n" if n % 11 == 0 else b"\n")


@pytest.mark.parametrize(("format", "target"), GROUPS)
def test_planted_defects_are_found_at_their_lines_and_nothing_else(
    format: str, target: str, tmp_path: Path
) -> None:
    plants = [plant for plant in PLANTS if (plant.format, plant.target) == (format, target)]
    rows = 10_000 if (format, target) == ("chat", "generic") else 1_000
    content, planted = generate(rows, format, plants, seed=7)
    path = tmp_path / "planted.jsonl"
    path.write_bytes(content)
    report = lint(path, target=target, input_format="reinforcement" if format == "reinforcement" else "auto")
    found = {(f.code, f.line) for f in report.findings if f.severity != "info"}
    assert (sorted(planted - found), sorted(found - planted, key=str)) == ([], [])
