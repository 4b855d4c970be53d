"""Small tokenizers of the test's own, with published chat templates and a few made to misbehave."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path

from tests.conftest import CHATML
from validators.tokens import HuggingFaceTokenizer

# As its publisher has it in the tokenizer's settings; the wheel holds no template of this family.
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% else %} {{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)
# By the names that rules' pages give them.
MADE = {
    "./chatml": CHATML,
    "./marked": CHATML.replace(
        "{{ m['content'] }}<|im_end|>", "{% generation %}{{ m['content'] }}<|im_end|>{% endgeneration %}"
    ),
    "./begins": "{{ bos_token }}" + CHATML,
    "./endless": "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}",
    "./thinking": "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' and loop.last %}"
    "<think>\n</think>\n{% endif %}{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}",
}
CONTROL = re.compile(
    r"<\|[A-Za-z_0-9]+\|?>|<[a-z_]+\|>|<｜[^｜>]+｜>|</?(?:think|tool_call|end_of_utterance)>|<(?:start|end)_of_[a-z]+>"
)
TRAINED_ON = ["the answer is yes\n\n\n\nhello world\n\n\n\n  and now"]


def templates() -> Path:
    """The folder of published chat templates inside the trl wheel."""
    spec = importlib.util.find_spec("trl")
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "chat_templates"


def tokenizer_of(
    template: str, name: str = "test", begin: str = "<BOS>", further: tuple[str, ...] = ()
) -> HuggingFaceTokenizer:
    """A byte-level tokenizer that knows a template's control tokens; newlines merge as in real vocabularies."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    raw = ByteLevelBPETokenizer()
    raw.train_from_iterator(TRAINED_ON * 3, vocab_size=320)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw._tokenizer,
        bos_token=begin,
        eos_token="<EOS>",
        pad_token="<EOS>",
        additional_special_tokens=sorted({*CONTROL.findall(template), *further}),
    )
    tokenizer.chat_template = template
    return HuggingFaceTokenizer(name, tokenizer)


def family(stem: str) -> HuggingFaceTokenizer:
    """A tokenizer with a published template."""
    return tokenizer_of((templates() / f"{stem}.jinja").read_text(encoding="utf-8"), stem)


@cache
def made(name: str) -> HuggingFaceTokenizer:
    """One of the tokenizers that rules' pages name."""
    return tokenizer_of(MADE[name], name, begin="<s>")
