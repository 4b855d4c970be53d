"""PREF: pairs of a preferred and a rejected reply. Docstrings are the rules' pages, as in `fmt`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import msgspec

from ..findings import Fault, kind_of, quoted
from ..strict_json import Decoded
from ..targets import Target
from .subjects import Collection, Line

# The two forms: what the input, the preferred and the rejected side are called.
OPENAI = ("input", "preferred_output", "non_preferred_output")
TRL = ("prompt", "chosen", "rejected")
# Where other trainers keep what the sides answer.
PROMPT_KEYS = frozenset({"prompt", "instruction", "input", "question", "conversations", "messages"})
Check = Callable[[Line, Target], Iterator[Fault]]
# A sign test's level at which lengths are no chance any more.
BIAS_LEVEL = 0.001


def in_pairs(check: Check) -> Check:
    """A check of chats that also looks at each list of messages in a pair: what was asked, and both sides."""

    @wraps(check)
    def checked(line: Line, target: Target) -> Iterator[Fault]:
        if line.format != "preference":
            yield from check(line, target)
            return
        for place, messages in _conversations(line.value):
            inner = Line(line.number, None, Decoded({"messages": messages}), target, "chat")
            for fault in check(inner, target):
                where = place + (fault.where or "").removeprefix("messages")
                # Fixes are made for chats.
                yield msgspec.structs.replace(fault, where=where, fixable=False)

    return checked


def _conversations(value: dict[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    form = _form(value)
    asked, where = _input(value)
    for place, messages in ((where, asked), *((key, value.get(key)) for key in form[1:])):
        if isinstance(messages, list):
            yield place, messages


def bad_pair(line: Line, target: Target) -> Iterator[Fault]:
    """The input, the preferred or the non-preferred side is missing or misshapen.

    Why: without both sides and what they answer there is nothing to prefer.
    Bad:
        {"input": {"messages": [{"role": "user", "content": "Is mint thirsty?"}]}, "preferred_output": "Very.", "non_preferred_output": [{"role": "assistant", "content": "No idea."}]}
    Good:
        {"input": {"messages": [{"role": "user", "content": "Is mint thirsty?"}]}, "preferred_output": [{"role": "assistant", "content": "Very."}], "non_preferred_output": [{"role": "assistant", "content": "No idea."}]}
    """
    form = _form(line.value)
    if target.pair_form == "openai" and form is not OPENAI:
        cure = f"Rename to {', '.join(OPENAI)}: workbench convert IN OUT --to preference."
        yield Fault(f"{target.title} does not take pairs of {', '.join(TRL)}", cure, where="$")
        return
    yield from _input_faults(line.value, form)
    sides = {key: line.value.get(key) for key in form[1:]}
    for key, side in sides.items():
        if fault := _side_fault(side, form, key, target):
            cure = 'Write [{"role": "assistant", "content": "…"}].' if form is OPENAI else "Give the reply."
            yield Fault(fault, cure, where=key)
    kinds = {kind_of(side) for side in sides.values() if isinstance(side, (str, list))}
    if form is TRL and len(kinds) == 2:
        cure = "Write both as text or both as lists of messages."
        yield Fault("one side is text and the other a list", cure, where=form[2])


def identical_pair(line: Line, target: Target) -> Iterator[Fault]:
    """Both sides are the same.

    Why: the pair teaches nothing; it only costs tokens.
    Bad:
        {"prompt": "Is mint thirsty?", "chosen": "Very.", "rejected": "Very. "}
    Good:
        {"prompt": "Is mint thirsty?", "chosen": "Very.", "rejected": "Not at all."}
    """
    _, preferred, rejected = _form(line.value)
    if preferred in line.value and rejected in line.value:
        one, other = _trimmed(line.value[preferred]), _trimmed(line.value[rejected])
        if one and one == other:
            cure = "Write the worse reply, or delete the row."
            yield Fault("the preferred and the rejected side are the same", cure, where=rejected)


def input_ends_with_assistant(line: Line, target: Target) -> Iterator[Fault]:
    """The input ends with the assistant, and the target wants the user there.

    Why: the target refuses the row; the reply would follow a reply.
    With: target=together
    Bad:
        {"input": {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}, "preferred_output": [{"role": "assistant", "content": "How can I help?"}], "non_preferred_output": [{"role": "assistant", "content": "What?"}]}
    Good:
        {"input": {"messages": [{"role": "user", "content": "Hi"}]}, "preferred_output": [{"role": "assistant", "content": "How can I help?"}], "non_preferred_output": [{"role": "assistant", "content": "What?"}]}
    """
    messages, where = _input(line.value)
    last = messages[-1] if isinstance(messages, list) and messages else None
    if target.pair_input_ends_with_user and isinstance(last, dict) and last.get("role") == "assistant":
        cure = "Cut the input after the user's last message, or move the reply to both sides."
        place = f"{where}[{len(messages) - 1}]"
        yield Fault(f"the input ends with the assistant, which {target.title} refuses", cure, where=place)


def length_bias(data: Collection, target: Target) -> Iterator[Fault]:
    """Preferred replies are longer (or shorter) than the rejected ones too often for chance.

    Why: the quickest thing to learn is then the length. A sign test over the pairs rejects chance at 0.001.
    Bad:
        {"prompt": "Is mint thirsty?", "chosen": "Very, all summer.", "rejected": "Very."}
        {"prompt": "Is dill thirsty?", "chosen": "Less so than mint.", "rejected": "Less."}
        {"prompt": "Is thyme thirsty?", "chosen": "No, keep it dry.", "rejected": "No."}
        {"prompt": "Is sage thirsty?", "chosen": "Only in great heat.", "rejected": "Seldom."}
        {"prompt": "Is basil thirsty?", "chosen": "Yes, in the morning.", "rejected": "Yes."}
        {"prompt": "Is cress thirsty?", "chosen": "Keep its fleece wet.", "rejected": "Wet."}
        {"prompt": "Is chive thirsty?", "chosen": "A little every day.", "rejected": "A bit."}
        {"prompt": "Is lettuce thirsty?", "chosen": "It is mostly water.", "rejected": "Quite."}
        {"prompt": "Is rosemary thirsty?", "chosen": "It likes dry feet.", "rejected": "Hardly."}
        {"prompt": "Is parsley thirsty?", "chosen": "Evenly moist is best.", "rejected": "Moist."}
        {"prompt": "Is chilli thirsty?", "chosen": "When it bears fruit.", "rejected": "Later."}
    Good:
        {"prompt": "Is mint thirsty?", "chosen": "Very.", "rejected": "Not that I know of."}
        {"prompt": "Is dill thirsty?", "chosen": "Less so than mint.", "rejected": "Less."}
    """
    for file in data.files:
        lengths = file.tallies.get("PREF004")
        if not isinstance(lengths, LengthTally):
            continue
        pairs = lengths.longer + lengths.shorter
        if _sign_test(lengths.longer, lengths.shorter) < BIAS_LEVEL:
            word = "longer" if lengths.longer > lengths.shorter else "shorter"
            share = max(lengths.longer, lengths.shorter) / pairs
            message = f"the preferred side is {word} in {share:.0%} of {pairs:,} pairs that differ in length"
            cure = "Add pairs in which the better reply is the other way round, or cut to like lengths."
            yield Fault(message, cure, path=file.path)


class LengthTally:
    """Pairs whose preferred side is the longer, and the shorter, in characters."""

    def __init__(self) -> None:
        self.longer = self.shorter = 0

    def add(self, line: Line) -> None:
        """Take down one row that could be decoded."""
        if line.format == "preference":
            _, preferred, rejected = _form(line.value)
            one, other = (len(_text(line.value.get(key))) for key in (preferred, rejected))
            if one and other:
                self.longer += one > other
                self.shorter += one < other

    def join(self, later: LengthTally, lines: int) -> None:
        """Add the tally of the range behind this one."""
        self.longer += later.longer
        self.shorter += later.shorter


def _form(value: dict[str, Any]) -> tuple[str, str, str]:
    return OPENAI if sum(key in value for key in OPENAI) > sum(key in value for key in TRL) else TRL


def _input(value: dict[str, Any]) -> tuple[Any, str]:
    """What the sides answer, and its path."""
    given = value.get("input")
    if isinstance(given, dict):
        return given.get("messages"), "input.messages"
    return value.get("prompt"), "prompt"


def _input_faults(value: dict[str, Any], form: tuple[str, str, str]) -> Iterator[Fault]:
    if form is OPENAI:
        messages, cure = _input(value)[0], 'Write {"messages": [{"role": "user", "content": "…"}]}.'
        if not isinstance(value.get("input"), dict):
            found = kind_of(value["input"]) + ", not an object" if "input" in value else "missing"
            yield Fault(f"the input is {found}", cure, where="input")
        elif fault := _messages_fault(messages):
            yield Fault(f"the input's messages: {fault}", cure, where="input.messages")
        return
    prompt = value.get("prompt")
    if isinstance(prompt, list) and (fault := _messages_fault(prompt)):
        yield Fault(f"the prompt: {fault}", "Write text or a list of messages.", where="prompt")
    elif "prompt" in value and not (isinstance(prompt, list) or (isinstance(prompt, str) and prompt.strip())):
        found = "empty" if prompt == "" else "blank" if isinstance(prompt, str) else kind_of(prompt)
        yield Fault(f"the prompt is {found}", "Write text or a list of messages.", where="prompt")
    elif PROMPT_KEYS.isdisjoint(value) and all(key in value for key in TRL[1:]) and not _shared_start(value):
        yield Fault("the prompt is missing", "Say under 'prompt' what the replies answer.", where="prompt")


def _shared_start(value: dict[str, Any]) -> bool:
    """Whether both sides begin alike: TRL then takes the common beginning for the prompt."""
    one, other = value["chosen"], value["rejected"]
    if isinstance(one, list) and isinstance(other, list):
        return len(one) > 1 and len(other) > 1 and bool(one[0] == other[0])
    if isinstance(one, str) and isinstance(other, str):
        return one.strip()[:1] == other.strip()[:1]
    return True  # misshapen sides are told as such


def _side_fault(side: Any, form: tuple[str, str, str], key: str, target: Target) -> str | None:
    """What is wrong with one side; the rejected one may be empty, the preferred one may not."""
    if side is None:
        return f"{key} is missing"
    if isinstance(side, str) and form is TRL:
        return f"{key} is empty" if key == form[1] and not side.strip() else None
    if isinstance(side, dict) and form is TRL and _text(side).strip():
        return None  # one message, as some trainers take it
    if not isinstance(side, list):
        return f"{key} is {kind_of(side)}, not a list of messages"
    if fault := _messages_fault(side):
        return f"{key}: {fault}"
    if side[-1].get("role") not in ("assistant", "tool"):
        return f"{key} ends with the {quoted(side[-1].get('role'))} role, not the assistant"
    most = target.max_pair_messages
    if most is not None and len(side) > most:
        return f"{key} has {len(side)} messages, and {target.title} takes {most}"
    calls = any(message.get("tool_calls") for message in side)
    return f"{key} is empty" if key == form[1] and not calls and not _text(side).strip() else None


def _messages_fault(messages: Any) -> str | None:
    if not isinstance(messages, list) or not messages:
        return "a list of messages is missing" if messages is None else "no list of messages, or an empty one"
    for i, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            return f"message {i} has no role"
        content, calls = message.get("content"), message.get("tool_calls")
        if not isinstance(content, (str, list)) and not calls:
            return f"message {i} has no content"
    return None


def _text(side: Any) -> str:
    if isinstance(side, str):
        return side
    if isinstance(side, list):
        return "".join(_text(item) for item in side)
    if isinstance(side, dict):
        return _text(side.get("content", side.get("text", side.get("value"))))
    return ""


def _trimmed(value: Any) -> Any:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list):
        return [_trimmed(item) for item in value]
    return {key: _trimmed(v) for key, v in value.items()} if isinstance(value, dict) else value


def _sign_test(one: int, other: int) -> float:
    """Two-sided p of as uneven a split under a fair coin; above 1,000 by the normal limit."""
    n, least = one + other, min(one, other)
    if n > 1000:
        return math.erfc((abs(one - other) - 1) / math.sqrt(2 * n))
    tail: int = sum(math.comb(n, k) for k in range(least + 1))
    return min(1.0, math.ldexp(2 * tail, -n))
