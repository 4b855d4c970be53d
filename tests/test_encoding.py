"""The encoder and the tokenizers: which tokens train, for every published chat template at hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import CHATML, make_tiny_model
from tests.example_tokenizers import MISTRAL, family, templates, tokenizer_of
from validators import assets
from validators.encoding import Encoding, encode
from validators.examples import Example, Message, parse_example
from validators.tokens import (
    HuggingFaceTokenizer,
    OpenAITokenizer,
    TokenizerError,
    load_hf_tokenizer,
    load_tokenizer,
    template_message,
)

MARKED = "_training"
# What a template writes between its generation prompt and the answer, and the token that ends the turn.
WRITES = {
    "cohere": ("", "<|END_OF_TURN_TOKEN|>"),
    "cohere2": ("", "<|END_RESPONSE|><|END_OF_TURN_TOKEN|>"),
    "diffusion_gemma": ("", "<turn|>"),
    "gemma": ("", "<end_of_turn>"),
    "gemma3": ("", "<end_of_turn>"),
    "gemma4": ("", "<turn|>"),
    "gemma4_v2": ("", "<turn|>"),
    "gemma4_v3": ("", "<turn|>"),
    "gemma4_v4": ("", "<turn|>"),
    "gemma4_v5": ("", "<turn|>"),
    "gptoss": ("<|channel|>final<|message|>", "<|return|>"),
    "lfm2": ("", "<|im_end|>"),
    "lfm2_2_5": ("", "<|im_end|>"),
    "lfm2_2_5_v2": ("", "<|im_end|>"),
    "lfm2_2_5_vl": ("", "<|im_end|>"),
    "lfm2_v2": ("", "<|im_end|>"),
    "llama3": ("", "<|eot_id|>"),
    "llama3_1": ("", "<|eot_id|>"),
    "llama3_2": ("", "<|eot_id|>"),
    "muse_glimmer": (" to=user<|message|>", "<|eot|>"),
    "phi3": ("", "<|end|>"),
    "phi3_5": ("", "<|end|>"),
    "qwen2_5": ("", "<|im_end|>"),
    "qwen2_5_vl": ("", "<|im_end|>"),
    "qwen3": ("<think>\n\n</think>\n\n", "<|im_end|>"),
    "qwen3_5_nothink": ("", "<|im_end|>"),
    "qwen3_5_think": ("\n</think>\n\n", "<|im_end|>"),
    "qwen3_6": ("\n</think>\n\n", "<|im_end|>"),
    "qwen3_8": ("\n</think>\n\n", "<|im_end|>"),
    "qwen3_instruct_2507": ("", "<|im_end|>"),
    "qwen3_vl": ("", "<|im_end|>"),
}
# These write a turn otherwise once another follows it: what trains of an earlier turn, its end where a model
# does not stop there left out; None where it is then no continuation of its prompt.
REWRITES_EARLIER_TURNS = {
    "gptoss": "<|channel|>final<|message|>the answer",
    "qwen3": "the answer<|im_end|>",
    "qwen3_5_nothink": None,
    "qwen3_5_think": None,
    "qwen3_6": None,
}
# These can train nothing: the fault, as the error names it.
REFUSED = {
    "deepseek_r1_distill": "continuation of its prompt",
    "deepseekv3": "continuation of its prompt",
    "glm4moe": "no end-of-turn token",
    "idefics3": "leaves out the text of user messages",
    "llava_next": "refuses the roles",
    "nemotron_3_5_lightning": "continuation of its prompt",
    "nemotron_3_nano": "continuation of its prompt",
    "nemotron_3_super": "continuation of its prompt",
    "nemotron_3_ultra": "continuation of its prompt",
    "smolvlm": "leaves out the text of user messages",
}


def user(text: str) -> Message:
    return Message("user", text)


def reply(text: str, weight: int | None = None) -> Message:
    return Message("assistant", text, weight=weight)


ONE = (user("hello"), reply("the answer"))
TWO = (*ONE, user("and now"), reply("is yes"))


def published() -> list[str]:
    return sorted(p.stem for p in templates().glob("*.jinja") if not p.stem.endswith(MARKED))


def spans(ids: tuple[int, ...], mask: tuple[int, ...], tokenizer: HuggingFaceTokenizer) -> list[str]:
    """The trained runs of tokens, decoded."""
    runs: list[list[int]] = [[]]
    for token, trained in zip(ids, mask, strict=True):
        if trained:
            runs[-1].append(token)
        elif runs[-1]:
            runs.append([])
    return [tokenizer.tokenizer.decode(run) for run in runs if run]


def trained(messages: tuple[Message, ...], tokenizer: HuggingFaceTokenizer) -> list[str]:
    encoding = encode(Example(messages), tokenizer)
    return spans(encoding.ids, encoding.loss_mask, tokenizer)


def test_the_tables_know_every_published_template() -> None:
    assert set(published()) == set(WRITES) | set(REFUSED)


@pytest.mark.parametrize("stem", sorted(WRITES))
def test_an_answer_and_its_end_of_turn_train_and_nothing_else(stem: str) -> None:
    head, end = WRITES[stem]
    tokenizer = family(stem)
    assert trained(ONE, tokenizer) == [f"{head}the answer{end}"]
    earlier = REWRITES_EARLIER_TURNS.get(stem, f"{head}the answer{end}")
    if earlier is None:
        with pytest.raises(TokenizerError, match="message 1 as a continuation"):
            encode(Example(TWO), tokenizer)
    else:
        assert trained(TWO, tokenizer) == [earlier, f"{head}is yes{end}"]


@pytest.mark.parametrize("stem", sorted(REFUSED))
def test_a_template_that_cannot_be_masked_is_refused(stem: str) -> None:
    with pytest.raises(TokenizerError, match=REFUSED[stem]) as caught:
        encode(Example(ONE), family(stem))
    assert stem in str(caught.value)


@pytest.mark.parametrize("stem", sorted(s for s in WRITES if (templates() / f"{s}{MARKED}.jinja").exists()))
def test_the_mask_agrees_with_the_marked_template(stem: str) -> None:
    """The marked ones may begin before the generation prompt's end and go on after the end of turn."""
    messages = ONE if stem in REWRITES_EARLIER_TURNS else TWO
    marked = family(f"{stem}{MARKED}")
    out = marked.tokenizer.apply_chat_template(
        [template_message(m) for m in messages],
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    theirs = spans(out["input_ids"], out["assistant_masks"], marked)
    ours = trained(messages, family(stem))
    assert len(ours) == len(theirs)
    for mine, reference in zip(ours, theirs, strict=True):
        assert reference.removesuffix("<EOS>").rstrip().endswith(mine)


@pytest.mark.parametrize("stem", sorted(WRITES))
@pytest.mark.parametrize("answer", ["the answer", "\n\nthe answer", "  \nyes  "])
def test_the_prompt_is_a_prefix_of_what_trains(stem: str, answer: str) -> None:
    """Also where an answer begins with white space that the tokenizer would melt into the prompt."""
    tokenizer = family(stem)
    messages = (user("hello"), reply(answer))
    prompt = tokenizer.prompt_ids(messages[:1])
    encoding = encode(Example(messages), tokenizer)
    assert list(encoding.ids[: len(prompt)]) == prompt
    assert not any(encoding.loss_mask[: len(prompt)])
    assert encoding.loss_mask[len(prompt)] == 1
    assert tokenizer.tokenizer.decode(encoding.ids) == tokenizer.render(messages)


def test_mistral_ends_turns_with_its_end_of_text() -> None:
    assert trained(TWO, tokenizer_of(MISTRAL)) == [" the answer<EOS>", " is yes<EOS>"]


@pytest.mark.parametrize("stem", sorted(WRITES))
def test_the_beginning_of_text_stands_once(stem: str) -> None:
    tokenizer = family(stem)
    ids = encode(Example(ONE), tokenizer).ids
    template = tokenizer.tokenizer.chat_template
    begin = tokenizer.tokenizer.convert_tokens_to_ids(
        "<|begin_of_text|>" if "<|begin_of_text|>" in template else "<BOS>"
    )
    assert ids.count(begin) == ("bos_token" in template or "<|begin_of_text|>" in template)
    # Only where the prompt ends in white space do they differ, by how that is cut.
    assert abs(len(ids) - tokenizer.count_example(Example(ONE))) <= 1


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((None, None), ["the answer<|im_end|>", "is yes<|im_end|>"]),
        ((1, 1), ["the answer<|im_end|>", "is yes<|im_end|>"]),
        ((0, 1), ["is yes<|im_end|>"]),
        ((1, 0), ["the answer<|im_end|>"]),
        ((0, 0), []),
    ],
)
def test_weights_decide_which_answers_train(
    weights: tuple[int | None, int | None], expected: list[str]
) -> None:
    messages = (user("a"), reply("the answer", weights[0]), user("b"), reply("is yes", weights[1]))
    tokenizer = tokenizer_of(CHATML)
    assert trained(messages, tokenizer) == expected


def test_a_weighted_turn_rewritten_later_can_be_left_out() -> None:
    """Reasoning templates rewrite earlier turns: with those untrained, the last one is still good."""
    messages = (user("hello"), reply("the answer", 0), user("and now"), reply("is yes"))
    assert trained(messages, family("qwen3")) == ["<think>\n\n</think>\n\nis yes<|im_end|>"]


def test_reasoning_that_a_template_keeps_trains_and_what_it_drops_is_refused() -> None:
    messages = (user("hello"), reply("<think>\nyes\n</think>\n\nthe answer"))
    assert trained(messages, family("qwen3")) == ["<think>\nyes\n</think>\n\nthe answer<|im_end|>"]
    dropping = CHATML.replace("m['content']", "m['content'].split('</think>')[-1]")
    with pytest.raises(TokenizerError, match="leaves out part of message 1"):
        encode(Example(messages), tokenizer_of(dropping))


def test_tool_calls_train_with_arguments_as_an_object() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}
    row = {
        "messages": [
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
        ]
    }
    (span,) = trained(parse_example(row).messages, family("qwen2_5"))
    assert span == '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call><|im_end|>'
    with pytest.raises(TokenizerError, match="leaves out part of message 1"):
        encode(parse_example(row), tokenizer_of(CHATML))


def test_the_example_is_cut_at_max_length_and_says_by_how_much() -> None:
    tokenizer = tokenizer_of(CHATML)
    whole = encode(Example(ONE), tokenizer)
    cut = encode(Example(ONE), tokenizer, max_length=len(whole.ids) - 3)
    assert cut == Encoding(whole.ids[:-3], whole.loss_mask[:-3], "test", 3)
    assert whole.truncated == 0 and encode(Example(ONE), tokenizer, max_length=10**6) == whole
    assert encode(Example(ONE), tokenizer, max_length=1).trained == 0


def test_the_end_of_turn_trains_where_it_is_the_pad_token_too(tiny_model: Path) -> None:
    tokenizer = load_hf_tokenizer("tiny", tiny_model)
    assert tokenizer.tokenizer.pad_token_id == tokenizer.tokenizer.eos_token_id
    encoding = encode(Example(ONE), tokenizer)
    last = max(i for i, m in enumerate(encoding.loss_mask) if m)
    assert encoding.ids[last] == tokenizer.tokenizer.eos_token_id


def test_a_template_without_end_of_turn_would_never_stop() -> None:
    plain = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
    with pytest.raises(TokenizerError, match="never learn to stop"):
        encode(Example(ONE), tokenizer_of(plain))


def test_a_model_without_template_is_refused(tmp_path: Path) -> None:
    tokenizer = load_hf_tokenizer("base", make_tiny_model(tmp_path, template=None))
    with pytest.raises(TokenizerError, match="base has no chat template"):
        encode(Example(ONE), tokenizer)


def test_roles_a_template_refuses_are_named() -> None:
    with pytest.raises(TokenizerError, match="gemma refuses the roles user, user"):
        encode(Example((user("a"), user("b"))), family("gemma"))


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<|>"), min_size=1, max_size=30)


@settings(max_examples=60)
@given(turns=st.lists(st.tuples(TEXT, TEXT, st.sampled_from([0, 1])), min_size=1, max_size=4))
def test_any_text_in_any_alphabet_trains_exactly(turns: list[tuple[str, str, int]]) -> None:
    tokenizer = CHATML_TOKENIZER
    messages = tuple(m for q, a, w in turns for m in (user(q), reply(a, w)))
    assert trained(messages, tokenizer) == [f"{a}<|im_end|>" for _, a, w in turns if w]


CHATML_TOKENIZER = tokenizer_of(CHATML)


class Words:
    """Counts words, so that the chat formula can be checked by hand."""

    def encode_ordinary(self, text: str) -> list[str]:
        return text.split()


@pytest.mark.parametrize(
    ("messages", "tools", "expected"),
    [
        # 3 for the reply's start; each message 3, its role 1, its words.
        ((user("one two"),), (), 3 + (3 + 1 + 2)),
        ((user("one two"), reply("three")), (), 3 + (3 + 1 + 2) + (3 + 1 + 1)),
        ((Message("user", "one", name="ann"),), (), 3 + (3 + 1 + 1) + (1 + 1)),
        ((user(""),), (), 3 + (3 + 1)),
        ((user("one"),), ({"a": 1},), 3 + (3 + 1 + 1) + 1),
    ],
)
def test_openai_counts_follow_the_published_formula(
    messages: tuple[Message, ...], tools: tuple[dict[str, int], ...], expected: int
) -> None:
    assert OpenAITokenizer("words", Words()).count_example(Example(messages, tools)) == expected


@pytest.mark.assets
@pytest.mark.skipif(assets.cached("tiktoken") is None, reason="tiktoken's vocabularies are not cached")
@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("o200k_base", [24912, 2375]),
        ("cl100k_base", [15339, 1917]),
        ("gpt-4o-mini", [24912, 2375]),
        ("ft:gpt-3.5-turbo:us::x", [15339, 1917]),
    ],
)
def test_openai_names_find_their_vocabulary(name: str, ids: list[int]) -> None:
    tokenizer = load_tokenizer(name, offline=True)
    assert isinstance(tokenizer, OpenAITokenizer)
    assert tokenizer.encoding.encode("hello world") == ids
    assert tokenizer.count_example(Example((user("hello world"),))) == 3 + 3 + 1 + 2
    assert tokenizer.count_text("<|endoftext|>") > 1  # control tokens in data are text


def test_an_unknown_tokenizer_is_named() -> None:
    with pytest.raises(assets.AssetError, match="unknown tokenizer 'gpt-nine'"):
        load_tokenizer("gpt-nine")
