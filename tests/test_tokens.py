"""Token counts: the chat formula, the fast counter, control tokens as text, what a lint says of tokens."""

from __future__ import annotations

import copy
import json
import random
import warnings
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import CHATML
from tests.example_tokenizers import MISTRAL, family, made, tokenizer_of
from validators import assets, lint
from validators.chat_templates import TEMPLATE_DAY
from validators.control_tokens import alias_tokenizer, controls_of
from validators.encoding import encode
from validators.examples import Example, Message, parse_example
from validators.fast_tokens import ODD_PAIRS, PAYS_FROM, FastCounter, FastCounterWarning, is_guarded
from validators.measuring import LONGEST, Measure, TokenFacts, runs
from validators.scanning import Scan
from validators.tokens import (
    HuggingFaceTokenizer,
    OpenAITokenizer,
    TokenizerError,
    for_input,
    is_estimate,
    load_tokenizer,
    template_message,
)

OPENAI = pytest.mark.skipif(
    assets.cached("tiktoken") is None, reason="tiktoken's vocabularies are not cached"
)


def user(text: str) -> Message:
    return Message("user", text)


def reply(text: str, weight: int | None = None) -> Message:
    return Message("assistant", text, weight=weight)


# -- the chat formula ---------------------------------------------------------------------------------


class Words:
    """An encoding whose tokens are words, so that sums can be checked by hand."""

    name = "words"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode_ordinary(self, text: str) -> list[str]:
        self.asked.append(text)
        return text.split()


def call(name: str, arguments: str) -> dict[str, Any]:
    return {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize(
    ("row", "tokens", "estimate"),
    [
        # 3 an example; 3 a message, its role 1, its words.
        ({"messages": [{"role": "user", "content": "one two"}]}, 3 + (3 + 1 + 2), False),
        ({"messages": [{"role": "user", "content": "one", "name": "ann"}]}, 3 + (3 + 1 + 1) + (1 + 1), False),
        (
            {"messages": [{"role": "tool", "content": "one", "tool_call_id": "c1"}]},
            3 + (3 + 1 + 1 + 1),
            False,
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "one two three"}]}]},
            3 + (3 + 1 + 3),
            False,
        ),
        # A call: its name and its arguments; a definition: its JSON. Both are our rule.
        (
            {"messages": [{"role": "assistant", "content": None, "tool_calls": [call("f", '{"a": 1}')]}]},
            3 + (3 + 1 + 1 + 2),
            True,
        ),
        (
            {"messages": [{"role": "user", "content": "one"}], "tools": [{"a": "b c"}]},
            3 + (3 + 1 + 1) + 2,
            True,
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}
                ]
            },
            3 + (3 + 1),
            True,
        ),
    ],
)
def test_the_chat_formula_by_hand(row: dict[str, Any], tokens: int, estimate: bool) -> None:
    example, tokenizer = parse_example(row), OpenAITokenizer("words", Words())
    assert tokenizer.count_example(example) == tokens
    assert is_estimate(tokenizer, example) is estimate


def test_replies_are_placed_by_the_formula() -> None:
    tokenizer = OpenAITokenizer("words", Words())
    example = Example((user("a b c"), reply("d e"), user("f"), reply("g h i"), reply("j", 0)))
    # user 3+1+3 = 7; then 2 and the role before "d e", 1 behind it; …
    assert tokenizer.reply_spans(example) == [(10, 12), (21, 24)]
    assert tokenizer.measure([example]) == [(3 + 5 * (3 + 1) + 3 + 2 + 1 + 3 + 1, [2, 3])]


def test_a_text_that_comes_again_is_counted_once() -> None:
    words = Words()
    tokenizer = OpenAITokenizer("words", words)
    rows = [Example((Message("system", "be brief"), user(f"q {n}"))) for n in range(3)]
    assert tokenizer.count_examples(rows) == [3 + 2 * (3 + 1) + 2 + 2] * 3
    assert sorted(words.asked) == ["be brief", "q 0", "q 1", "q 2", "system", "user"]
    tokenizer.count_examples(rows)
    assert len(words.asked) == 6


@OPENAI
@pytest.mark.assets
def test_harmony_counts_as_o200k() -> None:
    texts = ["hello world", "<|start|>assistant<|channel|>final", "ſ 漢字 👍"]
    harmony, plain = (load_tokenizer(name, offline=True) for name in ("o200k_harmony", "o200k_base"))
    assert [harmony.count_text(t) for t in texts] == [plain.count_text(t) for t in texts]
    assert harmony.count_text("<|start|>") > 1


# -- the fast counter ---------------------------------------------------------------------------------


class Fast:
    """Counts words as the fast counter is asked to, and wrongly from some call on."""

    def __init__(self, wrong_from: int | None = None, fails: bool = False) -> None:
        self.calls: list[str] = []
        self.wrong_from, self.fails = wrong_from, fails

    def encode(self, text: str) -> list[str]:
        if self.fails:
            raise RuntimeError("some limit")
        self.calls.append(text)
        return text.split() + ["one too many"] * (
            self.wrong_from is not None and len(self.calls) > self.wrong_from
        )


TEXTS = ["one two", "three", "a ſ b", "four <|end|>", "x" * 3000, " " * 2000, "five six seven", "\ud800 a"]
COUNTS = [2, 1, 3, 2, 1, 0, 3, 2]


def test_odd_texts_go_to_tiktoken_and_the_rest_to_the_fast_counter() -> None:
    fast = Fast()
    counter = FastCounter(Words(), "", fast=fast)
    assert counter.count(TEXTS) == COUNTS
    assert fast.calls == ["one two", "three", "five six seven"] and counter.trusted


@pytest.mark.parametrize(
    ("text", "guarded"),
    [
        ("The pump is silent. " * 500, False),
        ("La pompe est à l'arrêt. " * 500, False),
        ("漢字とかな。" * 500, False),
        ("a<|b", True),
        ("Congreſs", True),
        ("a\u180eb", True),
        ("\udc00", True),
        ("ᫎ👍🏽𝒳𠀀", False),
        ("\u1acf", True),
        ("\U00010940", True),
        ("\U000323b0", True),
        ("word " * 300 + "=" * 1100 + " word" * 300, True),
        ("é" * 2000, True),
        ("=" * 600, False),
    ],
)
def test_what_is_guarded(text: str, guarded: bool) -> None:
    assert is_guarded(text) is guarded


def test_the_bytes_of_a_block_tell_whether_a_text_may_be_guarded() -> None:
    guarded = [chr(code) for code in range(0x80, 0x110000, 7) if is_guarded(chr(code))]
    assert len(guarded) > 100_000 and {one.encode("utf-8", "surrogatepass")[:2] for one in guarded} <= {
        *ODD_PAIRS,
        *(bytes([0xED, second]) for second in range(0xA0, 0xC0)),
    }
    for text in ("中\u1acf", "é\U00010940", "a\u017f"):
        assert Scan(text.encode()).has_any(ODD_PAIRS)
    assert not Scan("é中👍🏽a".encode()).has_any(ODD_PAIRS)


@pytest.mark.parametrize("fast", [Fast(wrong_from=1), Fast(fails=True)], ids=["disagrees", "fails"])
def test_a_disagreement_warns_once_and_tiktoken_counts_the_rest(fast: Fast) -> None:
    counter = FastCounter(Words(), "", fast=fast)
    with pytest.warns(FastCounterWarning, match="tiktoken counts the rest"):
        assert [counter.count(TEXTS), counter.count(TEXTS)] == [COUNTS, COUNTS]
    assert not counter.trusted
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert counter.count(TEXTS) == COUNTS


def test_the_sample_that_is_counted_twice_is_seeded() -> None:
    def asked(seed: int) -> list[str]:
        words = Words()
        FastCounter(words, "", seed, Fast()).count([f"text {n}" for n in range(5000)])
        return words.asked

    assert asked(1) == asked(1) != asked(2)
    assert asked(1)[:20] == [f"text {n}" for n in range(20)] and 25 < len(asked(1)) < 90


@OPENAI
@pytest.mark.assets
def test_the_fast_counter_is_for_large_inputs_alone() -> None:
    pytest.importorskip("gigatoken")
    tokenizer = load_tokenizer("cl100k_base", offline=True)
    assert isinstance(tokenizer, OpenAITokenizer)
    assert for_input(tokenizer, PAYS_FROM["cl100k"] - 1) is tokenizer
    fast = for_input(tokenizer, PAYS_FROM["cl100k"])
    assert isinstance(fast, OpenAITokenizer) and fast.fast is not None
    assert copy.copy(fast.fast) is not None
    chatml = made("./chatml")
    assert for_input(chatml, 10**12) is chatml


ODD = [
    *(
        "ſ",
        "'ſ",
        "'S",
        "'ll",
        "'Re",
        "\u212a",
        "İ",
        "e\u0301",
        "\u200d",
        "👩‍👩‍👧",
        "漢字",
        "ไทย",
        "عربي",
        "हिन्दी",
    ),
    *(
        "\r\n",
        "\n\n",
        "  ",
        "\t",
        "\u00a0",
        "\u3000",
        "\u2028",
        "\x85",
        "\x1c",
        "\u180e",
        "1234567",
        "٣٤",
        "½",
    ),
    *(
        "<|endoftext|>",
        "<|im_end|>",
        "=" * 80,
        "_x",
        "camelCase",
        "//",
        "\x00",
        "\ufeff",
        "ǅ",
        "Ⅷ",
        "!?",
        "a" * 600,
    ),
    "\ud83d",
]


@OPENAI
@pytest.mark.assets
def test_the_fast_counter_equals_tiktoken_on_what_breaks_fast_counters() -> None:
    pytest.importorskip("gigatoken")
    generator = random.Random(20261120)
    tokenizer = load_tokenizer("cl100k_base", offline=True)
    fast = for_input(tokenizer, 10**9)
    assert isinstance(fast, OpenAITokenizer) and fast.fast is not None

    def text() -> str:
        ends = (0x2FFF, 0x2FFF, 0xD7FF, 0x323FF)
        pieces = [
            generator.choice(ODD)
            if generator.random() < 0.5
            else chr(0x20 + generator.randrange(generator.choice(ends))).encode(errors="ignore").decode()
            for _ in range(generator.randint(1, 12))
        ]
        return "".join(pieces)

    texts = [text() for _ in range(20_000)]
    assert fast.fast.count(texts) == [tokenizer.count_text(t) for t in texts]
    assert fast.fast.trusted


# -- control tokens in text ---------------------------------------------------------------------------

FAMILIES = ["llama3", "llama3_1", "gemma", "gemma3", "phi3", "phi3_5", "qwen2_5", "qwen3", "gptoss", "lfm2"]
TALK = (user("hello  world\n\nand now"), reply("the answer is yes"), user("is it?"), reply("yes\n"))


def tokenizers() -> list[HuggingFaceTokenizer]:
    return [
        *map(family, FAMILIES),
        tokenizer_of(CHATML, "chatml"),
        tokenizer_of(MISTRAL, "mistral", begin="<s>", further=("[INST]", "[/INST]")),
    ]


TOKENIZERS = {tokenizer.name: tokenizer for tokenizer in tokenizers()}


def reference(messages: Sequence[Message], tokenizer: HuggingFaceTokenizer) -> list[int]:
    text = tokenizer.render(messages)  # differs from a bare call by the day alone
    ids: list[int] = tokenizer.tokenizer.encode(text, add_special_tokens=False)
    if "strftime_now" not in tokenizer.tokenizer.chat_template:
        plain = [template_message(m) for m in messages]
        applied = tokenizer.tokenizer.apply_chat_template(plain, tokenize=True, return_dict=True)
        assert ids == applied["input_ids"]
    return ids


@pytest.mark.parametrize("name", TOKENIZERS)
def test_without_control_tokens_ids_are_those_of_the_chat_template(name: str) -> None:
    tokenizer = TOKENIZERS[name]
    ids = reference(TALK, tokenizer)
    assert tokenizer.count_example(Example(TALK)) == len(ids)
    # Where a prompt ends in white space, it is cut off from the answer as a model is asked.
    encoding = encode(Example(TALK), tokenizer)
    assert tokenizer.tokenizer.decode(encoding.ids) == tokenizer.tokenizer.decode(ids)
    assert abs(len(encoding.ids) - len(ids)) <= 2


@pytest.mark.parametrize("name", TOKENIZERS)
def test_control_tokens_in_text_are_text(name: str) -> None:
    tokenizer = TOKENIZERS[name]
    special = set(tokenizer.tokenizer.all_special_ids)
    # Reasoning marks are the template's own to read, where it reads them (below).
    controls = [token for token in controls_of(tokenizer.tokenizer).texts if "think" not in token]
    text = "".join(f"a{token}b {token}{token}\n" for token in controls[:6]).strip()
    odd = (user(text), reply(f"the answer {text}"))
    plain = (user("hello"), reply("the answer"))
    encoding, calm = encode(Example(odd), tokenizer), encode(Example(plain), tokenizer)
    assert [i for i in encoding.ids if i in special] == [i for i in calm.ids if i in special]
    assert tokenizer.tokenizer.decode(encoding.ids) == tokenizer.render(odd)
    assert text in tokenizer.render(odd)
    trained = [i for i, m in zip(encoding.ids, encoding.loss_mask, strict=True) if m]
    assert f"the answer {text}" in tokenizer.tokenizer.decode(trained)
    prompt = tokenizer.prompt_ids(odd[:1])
    assert list(encoding.ids[: len(prompt)]) == prompt and not any(encoding.loss_mask[: len(prompt)])


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_copy_with_aliases_writes_the_same_ids(name: str) -> None:
    tokenizer = TOKENIZERS[name]
    controls, rendered = controls_of(tokenizer.tokenizer), tokenizer.render(TALK)
    hidden = controls.hidden(rendered)
    assert len(hidden) == len(rendered) and controls.shown(hidden) == rendered
    ids, offsets = alias_tokenizer(tokenizer.tokenizer).encode(hidden)
    encoded = tokenizer.tokenizer(rendered, add_special_tokens=False, return_offsets_mapping=True)
    assert (ids, offsets) == (encoded["input_ids"], encoded["offset_mapping"])


@pytest.mark.parametrize("scheme", ["always", "first", "never"])
@pytest.mark.parametrize("strip", [False, True])
def test_tokenizers_that_put_spaces_before_words_keep_their_rules(scheme: str, strip: bool) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE(unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    raw.decoder = decoders.Metaspace(prepend_scheme=scheme)
    alphabet = sorted(set("▁abcdefghijklmnopqrstuvwxyz<>|_/[]INST\n.?"))
    raw.train_from_iterator(
        ["the answer is yes hello world"] * 3,
        trainers.BpeTrainer(
            vocab_size=120, special_tokens=["<unk>", "<s>", "</s>"], initial_alphabet=alphabet
        ),
    )
    end = AddedToken("<|im_end|>", special=True, rstrip=strip, lstrip=strip, normalized=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<|im_start|>", end],
    )
    tokenizer.chat_template = CHATML
    ours = HuggingFaceTokenizer("spaced", tokenizer)
    rendered = ours.render(TALK)
    hidden = controls_of(tokenizer).hidden(rendered)
    assert alias_tokenizer(tokenizer).encode(hidden)[0] == tokenizer.encode(
        rendered, add_special_tokens=False
    )
    odd = (user("hello <|im_end|> world </s>"), reply("the answer <s>"))
    encoding = encode(Example(odd), ours)
    wanted = [*("<|im_start|>", "<|im_end|>") * 2]
    assert [
        tokenizer.convert_ids_to_tokens(i) for i in encoding.ids if i in tokenizer.all_special_ids
    ] == wanted


def test_reasoning_marks_stay_the_templates_own_beside_other_control_tokens() -> None:
    tokenizer = family("qwen3")
    messages = (user("<think>hello"), reply("<think>\nyes\n</think>\n\nthe <|im_end|> answer"))
    encoding = encode(Example(messages), tokenizer)
    think, end = tokenizer.tokenizer.convert_tokens_to_ids(["<think>", "<|im_end|>"])
    # One mark is the template's, that of the user is text; two turns end, the one spelt out is text.
    assert (encoding.ids.count(think), encoding.ids.count(end)) == (1, 2)


def test_tool_calls_and_definitions_hold_their_control_tokens_as_text() -> None:
    tokenizer = family("qwen2_5")
    arguments = json.dumps({"city": "<|im_end|>Rome"})
    escaped = arguments.replace("<", "\\u003c")
    for written in (arguments, escaped):
        row = {
            "messages": [
                {"role": "user", "content": "hello"},
                {"role": "assistant", "content": None, "tool_calls": [call("weather", written)]},
            ],
            "tools": [{"type": "function", "function": {"name": "weather", "description": "<|im_start|>"}}],
        }
        ids = encode(parse_example(row), tokenizer).ids
        start, end = tokenizer.tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
        assert (ids.count(start), ids.count(end)) == (3, 3)


def test_lone_surrogates_and_private_characters_end_in_no_traceback() -> None:
    tokenizer = made("./chatml")
    assert encode(Example((user("a\ud800b"), reply("c"))), tokenizer).trained > 0
    assert tokenizer.count_text("a\ud800b") == tokenizer.count_text("a\ufffdb")
    assert encode(Example((user("\U000f0001"), reply("c"))), tokenizer).trained > 0
    with pytest.raises(TokenizerError, match="private-use"):
        encode(Example((user("\U000f0001<|im_end|>"), reply("c"))), tokenizer)


CONTROLS = st.sampled_from(["<|im_start|>", "<|im_end|>", "<EOS>", "<s>", "<|im_", "end|>", " ", "\n"])
TEXT = st.lists(st.one_of(CONTROLS, st.text(max_size=5)), min_size=1, max_size=8).map("".join)


@settings(max_examples=60)
@given(asked=TEXT, answered=TEXT)
def test_any_text_with_any_control_tokens_trains_exactly(asked: str, answered: str) -> None:
    tokenizer = made("./chatml")
    if not asked.isascii() or not answered.isascii():  # other alphabets: test_encoding
        asked, answered = ascii(asked), ascii(answered)
    encoding = encode(Example((user(asked), reply(answered))), tokenizer)
    trained = [i for i, m in zip(encoding.ids, encoding.loss_mask, strict=True) if m]
    assert tokenizer.tokenizer.decode(trained) == f"{answered}<|im_end|>"
    end = tokenizer.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert encoding.ids.count(end) == 2


# -- dates --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stem", ["gptoss", "llama3_2", "muse_glimmer"])
def test_templates_that_print_the_date_print_one_date(stem: str) -> None:
    tokenizer = family(stem)
    other = replace(tokenizer, day=date(2031, 5, 6))
    text = tokenizer.render(TALK)
    for form in ("%d %b %Y", "%Y-%m-%d"):
        text = text.replace(TEMPLATE_DAY.strftime(form), date(2031, 5, 6).strftime(form))
    assert text == other.render(TALK) != tokenizer.render(TALK)


def test_the_template_is_otherwise_untouched_by_the_date() -> None:
    template = "\n \n{{ strftime_now('%A %d.%m.%y %%') }}\n" + CHATML
    assert tokenizer_of(template).render((user("a"),)).startswith("\n \nFriday 26.07.24 %%\n<|im_start|>")


# -- hostile templates ------------------------------------------------------------------------------------

ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{{ '' }}{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (ENDLESS, "runs wild: no end after 0.2 seconds"),
        ("{% for m in messages %}{{ m['content'] * 3000 }}{% endfor %}", "runs wild: 3,000 characters"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "refuses the roles user"),
        ("{{ messages.append(1) }}", "refuses the roles user"),
        ("{% include '/etc/passwd' %}", "refuses the roles user"),
        ("{{ 'x' }}", "leaves out the text"),
    ],
)
def test_a_hostile_template_ends_in_a_message(
    template: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("validators.chat_templates.MOST_SECONDS", 0.2)
    monkeypatch.setattr("validators.chat_templates.MOST_CHARACTERS", 2000)
    with pytest.raises(TokenizerError, match=said):
        tokenizer_of(template).render((user("a"),))


# -- what a lint says of tokens -----------------------------------------------------------------------


def test_the_texts_of_tokens_join_to_the_whole() -> None:
    tokenizer = made("./chatml")
    ids = encode(Example((user("漢字 👍 é"), reply("the answer  is"))), tokenizer).ids
    texts = tokenizer.texts_of(ids)
    assert len(texts) == len(ids) and "".join(texts) == tokenizer.tokenizer.decode(ids)
    assert "漢" in texts and "" in texts


@pytest.mark.parametrize(
    ("mask", "expected"),
    [((), ()), ((0, 0), ()), ((1, 1), ((0, 2),)), ((0, 1, 1, 0, 1), ((1, 3), (4, 5)))],
)
def test_runs_of_a_mask(mask: tuple[int, ...], expected: tuple[tuple[int, int], ...]) -> None:
    assert runs(mask) == expected


def test_facts_of_ranges_join_to_those_of_the_whole() -> None:
    tokenizer = OpenAITokenizer("words", Words())
    rows = [Example((user("w " * n), reply("a b", n % 2)), line=n + 1) for n in range(40)]
    measure = Measure(tokenizer)
    whole, first, second = measure.facts(), measure.facts(), measure.facts()
    list(measure.rows(rows, whole))
    list(measure.rows(rows[:25], first))
    later = [Example(row.messages, line=row.line - 25) for row in rows[25:]]
    list(measure.rows(later, second))
    first.join(second, 25)
    assert first == whole
    assert whole.longest[0] == (3 + 2 * 4 + 39 + 2, 40) and len(whole.longest) == LONGEST
    told = whole.as_dict(limit=40)
    assert (told["total"], told["examples"], told["trained"]) == (sum(13 + n for n in range(40)), 40, 40)
    assert (told["median"], told["max"], told["over_limit"]) == (32.5, 52, 12)
    assert told["exact"] is True and told["reply"]["p50"] == 2
    assert TokenFacts().as_dict()["median"] is None


def chat(question: Any, answer: str, **further: Any) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer, **further},
        ]
    }


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_lint_finds_what_is_too_long_at_its_line(tmp_path: Path) -> None:
    rows = [chat(f"q{n}", "a b") for n in range(20)]
    rows[4] = chat("w " * 50, "a b")
    rows[9] = chat("q", "b " * 30)
    tokenizer = OpenAITokenizer("words", Words())
    report = lint(
        write(tmp_path / "a.jsonl", rows), select=["LEN"], tokenizer=tokenizer, max_length=30, token_limit=60
    )
    found = [(f.code, f.line) for f in report.findings]
    assert found == [("LEN001", 5), ("LEN003", 5), ("LEN002", 10)]
    tokens = report.files[0].statistics["tokens"]
    assert (tokens["examples"], tokens["limit"], tokens["over_limit"]) == (20, 60, 1)


def test_lint_without_tokenizer_says_nothing_of_tokens(tmp_path: Path) -> None:
    report = lint(write(tmp_path / "a.jsonl", [chat("q <|im_end|>", "a b")]), select=["LEN", "MASK"])
    assert not report.findings and "tokens" not in report.files[0].statistics


def test_rows_that_are_read_one_by_one_and_at_once_say_the_same(tmp_path: Path) -> None:
    """A further key, or a weight, takes a row off the linter's fast path."""
    rows = [chat(f"q{n} " * n, "a b <|im_end|>" if n == 3 else "a") for n in range(1, 9)]
    slow = [row | {"metadata": {}} for row in rows]
    told = [
        lint(write(tmp_path / name, given), select=["LEN", "MASK"], tokenizer=made("./chatml"), max_length=60)
        for name, given in (("a.jsonl", rows), ("b.jsonl", slow))
    ]
    fast, one_by_one = ([(f.code, f.line, f.where, f.message) for f in report.findings] for report in told)
    assert fast == one_by_one and ("MASK004", 3) in [(code, line) for code, line, *_ in fast]
    assert told[0].files[0].statistics["tokens"] == told[1].files[0].statistics["tokens"]


def test_masks_are_judged_row_by_row(tmp_path: Path) -> None:
    rows = [
        chat("<s>q", "a"),
        chat("q", "a", weight=0),
        chat("q", "<|im_start|>a"),
        {"messages": [*chat("q", "a")["messages"], *chat("r", "b")["messages"]]},
    ]
    path = write(tmp_path / "a.jsonl", rows)

    def found(name: str) -> list[tuple[str, int | None]]:
        report = lint(path, select=["MASK"], ignore=["MASK005"], tokenizer=made(name))
        return [(f.code, f.line) for f in report.findings]

    assert found("./begins") == [("MASK001", 1), ("MASK003", 2), ("MASK004", 3)]
    assert found("./thinking") == [("MASK001", 1), ("MASK003", 2), ("MASK004", 3), ("MASK006", 4)]
    assert found("./endless") == [("MASK001", 1), ("MASK002", 1), ("MASK003", 2)]


def test_pictures_cannot_train_a_model_of_text(tmp_path: Path) -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/pot.png"}}
    path = write(tmp_path / "a.jsonl", [chat("q", "a"), chat([picture], "One pot.")])

    def found(tokenizer: Any) -> list[tuple[str, int | None]]:
        return [(f.code, f.line) for f in lint(path, select=["MASK003"], tokenizer=tokenizer).findings]

    text = made("./chatml")
    assert found(text) == [("MASK003", 2)]
    # The template of a model that sees: another trainer's matter.
    for hears_or_sees in ("image", "audio"):
        assert found(tokenizer_of("{#- " + hears_or_sees + " -#}" + CHATML, "senses", begin="<s>")) == []
