"""`workbench show`: a row as the model will see it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.conftest import make_tiny_model
from validators.encoding import encode
from validators.examples import parse_example
from validators.tokens import HuggingFaceTokenizer, load_hf_tokenizer
from workbench.cli import program
from workbench.cli.show import render

ROW = {
    "messages": [
        {"role": "user", "content": "the <|im_end|> pump"},
        {"role": "assistant", "content": "is silent", "weight": 0},
        {"role": "user", "content": "and?"},
        {"role": "assistant", "content": "the tank\nleaks"},
    ]
}
RENDERED = (
    "<|im_start|>user\nthe <|im_end|> pump<|im_end|>\n<|im_start|>assistant\nis silent<|im_end|>\n"
    "<|im_start|>user\nand?<|im_end|>\n<|im_start|>assistant\nthe tank\nleaks<|im_end|>\n"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "train.jsonl"
    file.write_text(f"not json\n\n{json.dumps(ROW)}\n{json.dumps({'messages': 3})}\n", encoding="utf-8")
    return file


def run(path: Path, model: Path | str, *flags: str, line: int = 3) -> tuple[int, str, str]:
    arguments = ["show", str(path), "--line", str(line), "--tokenizer", str(model), *flags]
    result = CliRunner().invoke(program, arguments, env={"NO_COLOR": "1"})
    return result.exit_code, result.stdout, result.stderr


def tokenizer(model: Path) -> HuggingFaceTokenizer:
    return load_hf_tokenizer("tiny", model)


def test_the_json_is_the_encoding(path: Path, tiny_model: Path) -> None:
    code, out, _ = run(path, tiny_model, "--format", "json")
    shown, encoding = json.loads(out), encode(parse_example(ROW), tokenizer(tiny_model))
    assert code == 0
    assert shown.keys() == {"schema", "tokenizer", "ids", "tokens", "loss_mask", "truncated"}
    assert (shown["schema"], shown["tokenizer"]) == ("workbench.encoding/1", str(tiny_model))
    assert (shown["ids"], shown["loss_mask"]) == (list(encoding.ids), list(encoding.loss_mask))
    assert "".join(shown["tokens"]) == RENDERED
    assert len(shown["tokens"]) == len(shown["ids"]) and shown["truncated"] == 0
    trained = [t for t, m in zip(shown["tokens"], shown["loss_mask"], strict=True) if m]
    assert "".join(trained) == "the tank\nleaks<|im_end|>"


def test_max_length_cuts_and_says_how_much(path: Path, tiny_model: Path) -> None:
    whole = encode(parse_example(ROW), tokenizer(tiny_model))
    _, out, _ = run(path, tiny_model, "--format", "json", "--max-length", "20")
    shown = json.loads(out)
    assert shown["ids"] == list(whole.ids[:20]) and shown["truncated"] == len(whole.ids) - 20
    _, text, _ = run(path, tiny_model, "--max-length", "20")
    assert f"cut at 20: {len(whole.ids) - 20:,} go, 0 trained ones stay" in text
    before, after = text.split(f"── cut here: {len(whole.ids) - 20:,} tokens go ──")
    assert "⟦" not in before and "⟦the tank\nleaks<|im_end|>⟧" in after


def test_trained_tokens_are_marked_where_there_are_no_colours(path: Path, tiny_model: Path) -> None:
    code, text, _ = run(path, tiny_model)
    head, body = text.split("\n", 1)
    assert code == 0 and head.startswith(f"{path}:3 · {tiny_model} · ") and "trained" in head
    assert (
        body.rstrip("\n")
        == RENDERED.replace("the tank\nleaks<|im_end|>", "⟦the tank\nleaks<|im_end|>⟧").rstrip()
    )
    assert "\x1b" not in text


def test_colours_and_the_cut_stand_where_the_mask_says() -> None:
    tokens, mask = ["a", "b\x1b[31m", "c", "d"], (0, 1, 1, 0)
    coloured = render(tokens, mask, 2, coloured=True)
    assert coloured.plain == "ab\\u001b[31m\n── cut here: 2 tokens go ──\ncd"
    styles = [(coloured.plain[s.start : s.end], str(s.style)) for s in coloured.spans]
    assert (
        ("b\\u001b[31m", "bold green") in styles
        and ("c", "bold green dim") in styles
        and ("d", "dim") in styles
    )
    marked = render(tokens, mask, 4, coloured=False)
    assert (marked.plain, marked.spans) == ("a⟦b\\u001b[31mc⟧d", [])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (1, "train.jsonl:1:"),
        (2, "no row begins in this line"),
        (4, "messages"),
        (9, "no row begins in this line"),
    ],
)
def test_what_is_no_chat_row_is_named(path: Path, tiny_model: Path, line: int, said: str) -> None:
    code, out, error = run(path, tiny_model, line=line)
    assert (code, out) == (2, "") and f"train.jsonl:{line}:" in error and said in error
    assert error.count("train.jsonl") == 1


def test_a_template_that_allows_no_mask_is_named(path: Path, tmp_path: Path) -> None:
    model = make_tiny_model(
        tmp_path / "bare", template="{% for m in messages %}{{ m['content'] }}\n{% endfor %}"
    )
    code, _, error = run(path, model)
    assert code == 2 and "never learn to stop" in error


@pytest.mark.parametrize(
    ("name", "said"), [("o200k_base", "Hugging Face tokenizer"), ("gpt-nine", "unknown tokenizer")]
)
def test_tokenizers_that_cannot_show_are_named(
    path: Path, name: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from validators.tokens import OpenAITokenizer, load_tokenizer

    monkeypatch.setattr(
        "validators.tokens.load_tokenizer",
        lambda given: OpenAITokenizer(given, None) if given == "o200k_base" else load_tokenizer(given),
    )
    code, _, error = run(path, name)
    assert code == 2 and said in error


def test_another_format_and_a_missing_file_are_named(tmp_path: Path, tiny_model: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text(json.dumps({"prompt": "q", "completion": "a"}) + "\n")
    code, _, error = run(file, tiny_model, line=1)
    assert code == 2 and "workbench convert" in error
    code, _, error = run(tmp_path / "pears.jsonl", tiny_model, line=1)
    assert code == 2 and "there is no such file. Did you mean 'pairs.jsonl'?" in error
