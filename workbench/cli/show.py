"""`workbench show`: one row as the model will see it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .lint import Form

if TYPE_CHECKING:
    from rich.text import Text

    from validators.chat_templates import HuggingFaceTokenizer
    from validators.encoding import Encoding
    from validators.examples import Example

# Around trained tokens where colours are not to be had.
OPEN, CLOSE = "⟦", "⟧"
TRAINED, CUT = "bold green", "dim"


def show(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A file of chat rows.")],
    line: Annotated[int, typer.Option(min=1, help="Which row: the line it begins in.")],
    tokenizer: Annotated[str, typer.Option(help="A Hugging Face tokenizer: model, folder or hub id.")],
    max_length: Annotated[
        int | None, typer.Option(min=1, help="Where training cuts an example, in tokens.")
    ] = None,
    format: Annotated[Form, typer.Option(help="How to print.")] = Form.text,
) -> None:
    """Show a row as the model will see it: the chat template applied, what trains, what is cut off.

    Trained tokens are coloured, or stand in ⟦ ⟧ where there are no colours.

    \b
    workbench show train.jsonl --line 17 --tokenizer smollm2-135m-instruct
    workbench show train.jsonl --line 17 --tokenizer Qwen/Qwen3-8B --max-length 1024 --format json
    """
    from validators.assets import AssetError
    from validators.encoding import encode
    from validators.tokens import TokenizerError

    try:
        example = _example(path, line)
        counter = _tokenizer(tokenizer)
        whole = encode(example, counter)
        cut = encode(example, counter, max_length)
    except (AssetError, TokenizerError, ValueError) as error:
        place = "" if str(error).startswith(str(path)) else f"{path}:{line}: "
        typer.echo(f"show: {place}{error}", err=True)
        raise typer.Exit(2) from error
    if format is Form.json:
        typer.echo(json.dumps(as_dict(cut, counter), ensure_ascii=False, indent=2, sort_keys=True))
        return
    _print(f"{path}:{line}", whole, len(cut.ids), counter)


def as_dict(encoding: Encoding, tokenizer: HuggingFaceTokenizer) -> dict[str, Any]:
    """An encoding as the `workbench.encoding/1` object."""
    return {
        "schema": "workbench.encoding/1",
        "tokenizer": encoding.tokenizer,
        "ids": list(encoding.ids),
        "tokens": tokenizer.texts_of(encoding.ids),
        "loss_mask": list(encoding.loss_mask),
        "truncated": encoding.truncated,
    }


def _example(path: Path, line: int) -> Example:
    """The chat that begins in a line. Raises DataError or ExampleError (both ValueErrors)."""
    from validators.examples import ExampleError, parse_example
    from validators.reading import DataError, row_at

    row = row_at(path, line)
    if row is None:
        raise DataError("no row begins in this line. `workbench lint` shows which lines hold rows.")
    try:
        return parse_example(row.value, row.line)
    except ExampleError as error:
        if "messages" in row.value:
            raise
        raise DataError(f"{error}. A row of another format: `workbench convert IN OUT --to chat`.") from None


def _tokenizer(name: str) -> HuggingFaceTokenizer:
    from validators.tokens import HuggingFaceTokenizer, TokenizerError, load_tokenizer

    tokenizer = load_tokenizer(name)
    if not isinstance(tokenizer, HuggingFaceTokenizer):
        raise TokenizerError(
            f"{name} is an OpenAI encoding, and OpenAI publishes no chat template: where a turn's own tokens stand is "
            "not known. `workbench lint --tokenizer` counts its rows; show one with a Hugging Face tokenizer."
        )
    return tokenizer


def _print(place: str, whole: Encoding, kept: int, tokenizer: HuggingFaceTokenizer) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    coloured = console.is_terminal and not os.environ.get("NO_COLOR")
    left = sum(whole.loss_mask[:kept])
    console.print(f"{place} · {whole.tokenizer} · {_counts(whole, kept, left)}")
    console.print(render(tokenizer.texts_of(whole.ids), whole.loss_mask, kept, coloured=coloured))


def _counts(whole: Encoding, kept: int, left: int) -> str:
    total = f"{len(whole.ids):,} tokens, {whole.trained:,} of them trained"
    if kept == len(whole.ids):
        return total
    return f"{total}; cut at {kept:,}: {len(whole.ids) - kept:,} go, {left:,} trained ones stay"


def render(tokens: list[str], mask: tuple[int, ...], kept: int, *, coloured: bool) -> Text:
    """The tokens as text for people: trained ones in colour or in brackets, a mark where the row is cut.

    Nothing in the data can drive the terminal: control characters show as escapes.
    """
    from rich.text import Text

    text = Text()
    position = 0
    while position < len(tokens):
        trained = mask[position]
        end = position + 1
        while end < len(tokens) and mask[end] == trained and end != kept:
            end += 1
        if position == kept:
            text.append(
                f"\n── cut here: {len(tokens) - kept:,} tokens go ──\n", style="bold red" if coloured else ""
            )
        run = _shown("".join(tokens[position:end]))
        if trained and not coloured:
            run = f"{OPEN}{run}{CLOSE}"
        style = " ".join([*([TRAINED] if trained else []), *([CUT] if position >= kept else [])])
        text.append(run, style=style if coloured else "")
        position = end
    return text


def _shown(text: str) -> str:
    from validators.findings import printable

    return "\n".join(printable(line) for line in text.split("\n"))
