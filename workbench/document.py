"""What a report is made of, and how it becomes HTML or Markdown.

Blocks hold plain text only. Each renderer escapes all of it in one place, so nothing that a data set or
a model wrote can become markup: no script, no link, no table border.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from html import escape
from importlib import resources
from typing import Any

from .card import DOT, plain


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph; `tone` note is set smaller, warning stands out."""

    text: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """A table cell with a second, quieter line."""

    text: str
    small: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the columns from `numeric` on are figures. `strong` names the row set in bold."""

    head: tuple[str, ...]
    rows: tuple[tuple[str | Cell, ...], ...]
    numeric: int = 1
    strong: str | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart: SVG text, which is ours and the only thing that is not escaped, and what it shows."""

    svg: str
    caption: str


@dataclass(frozen=True, slots=True)
class Beside:
    """Blocks next to each other where the page is wide enough."""

    blocks: tuple[Text | Table | Figure, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """One contender's answer to a sample: `mark` is right, wrong, failed or a figure."""

    contender: str
    mark: str
    text: str
    error: str = ""
    passages: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class SampleBlock:
    """One test sample with the answers of all contenders."""

    note: str
    question: str
    references: tuple[str, ...]
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Card:
    """The decision card. `tone` is the headline code, which colours it."""

    tone: str
    headline: str
    subtitle: str
    sentence: str
    rows: tuple[tuple[str, str], ...]


Block = Text | Table | Figure | Beside | SampleBlock | Card


@dataclass(frozen=True, slots=True)
class Section:
    """A titled part; `key` is its anchor."""

    key: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report: what comes first stands without a title."""

    title: str
    lead: tuple[Block, ...]
    sections: tuple[Section, ...]
    foot: str


def masked(document: Document, mask: Callable[[str], str]) -> Document:
    """The document with every text as `mask` gives it; charts are drawn from names and figures alone."""
    done: Document = _masked(document, mask)
    return done


def _masked(value: Any, mask: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, tuple):
        return tuple(_masked(one, mask) for one in value)
    if not is_dataclass(value) or isinstance(value, type):
        return value
    named = {f.name: getattr(value, f.name) for f in fields(value) if f.name != "svg"}
    return replace(value, **{name: _masked(one, mask) for name, one in named.items()})


# -- HTML ----------------------------------------------------------------------------------------


def html(document: Document) -> str:
    """One self-contained page: no script, no request to anywhere, its only style named by hash in the CSP."""
    style = resources.files(__package__).joinpath("report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    links = "".join(f'<a href="#{s.key}">{_h(s.title)}</a>' for s in document.sections)
    sections = "".join(
        f'<section id="{s.key}"><h2>{_h(s.title)}</h2>{"".join(map(_html_block, s.blocks))}</section>\n'
        for s in document.sections
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{_h(document.title)}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n"
        f"<header>{''.join(map(_html_block, document.lead))}</header>\n<nav>{links}</nav>\n{sections}"
        f"<footer>{_h(document.foot)}</footer>\n</main>\n</body>\n</html>\n"
    )


def _h(text: str) -> str:
    return escape(plain(text, lines=True), quote=True)


def _html_text(block: Text) -> str:
    return f'<p class="{block.tone}">{_h(block.text)}</p>' if block.tone else f"<p>{_h(block.text)}</p>"


def _html_table(block: Table) -> str:
    def cell(i: int, value: str | Cell) -> str:
        main, small = (value.text, value.small) if isinstance(value, Cell) else (value, "")
        more = f"<small>{_h(small)}</small>" if small else ""
        name = (
            ' class="n"' if i >= block.numeric else ' class="long"' if max(len(main), len(small)) > 28 else ""
        )
        return f"<td{name}>{_h(main)}{more}</td>"

    head = "".join(
        f'<th scope="col"{" class=n" if i >= block.numeric else ""}>{_h(h)}</th>'
        for i, h in enumerate(block.head)
    )
    rows = "".join(
        f"<tr{' class=strong' if block.strong is not None and row[0] == block.strong else ''}>"
        + "".join(cell(i, value) for i, value in enumerate(row))
        + "</tr>\n"
        for row in block.rows
    )
    kind = ' class="facts"' if len(block.head) == 2 and not block.head[1] else ""
    return f'<div class="scroll"><table{kind}><thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table></div>'


def _html_figure(block: Figure) -> str:
    drawing = re.sub(r' xmlns(:xlink)?="[^"]*"', "", block.svg)  # HTML knows what an svg element is
    drawing = drawing.replace("<svg ", f'<svg role="img" aria-label="{_h(block.caption)}" ', 1)
    return f"<figure>{drawing}<figcaption>{_h(block.caption)}</figcaption></figure>"


def _html_beside(block: Beside) -> str:
    return f'<div class="beside">{"".join(map(_html_block, block.blocks))}</div>'


def _html_sample(block: SampleBlock) -> str:
    wanted = " or ".join(f'<span dir="auto">{_h(r)}</span>' for r in block.references)
    return (
        f'<article><p class="note">{_h(block.note)}</p><p dir="auto" class="data question">{_h(block.question)}</p>'
        f'<p class="data reference"><span class="label">reference</span> {wanted}</p>'
        f'<div class="answers">{"".join(map(_html_answer, block.answers))}</div></article>'
    )


def _html_answer(answer: Answer) -> str:
    sign = {"right": "✓ ", "wrong": "✗ ", "failed": "! "}.get(answer.mark)
    mark = f'<span class="{answer.mark if sign else "figure"}">{sign or ""}{_h(answer.mark)}</span>'
    text = f'<p dir="auto" class="data">{_h(answer.text)}</p>' if answer.text else ""
    error = f'<p class="data error">{_h(answer.error)}</p>' if answer.error else ""
    found = "".join(f'<dt>{_h(d)}</dt><dd dir="auto">{_h(passage)}</dd>' for d, passage in answer.passages)
    count = f"{len(answer.passages)} passage{'s' if len(answer.passages) > 1 else ''} retrieved"
    details = f"<details><summary>{count}</summary><dl>{found}</dl></details>" if found else ""
    return f"<div><p><b>{_h(answer.contender)}</b> {mark}</p>{text}{error}{details}</div>"


def _html_card(block: Card) -> str:
    def text(label: str, value: str) -> str:
        if label == "next":
            return f"<code>{_h(value)}</code>"
        *first, last = [_h(part) for part in value.split(DOT)]
        dot = f'<span class="dot">{DOT}</span>'  # at the end of its part, so no line begins with it
        return "".join(f"<span>{part}{dot}</span>" for part in first) + f"<span>{last}</span>"

    rows = "".join(f"<dt>{_h(label)}</dt><dd>{text(label, value)}</dd>\n" for label, value in block.rows)
    what, *why = block.headline.split(DOT, 1)
    rest = f'<span class="dot">{DOT}</span><span class="why">{_h(why[0])}</span>' if why else ""
    return (
        f'<div class="card {_h(block.tone)}"><p class="subtitle">{_h(block.subtitle)}</p>'
        f'<h1>{_h(what)}{rest}</h1><p class="sentence">{_h(block.sentence)}</p><dl>{rows}</dl></div>'
    )


_HTML: Mapping[type, Callable[[Any], str]] = {
    Text: _html_text,
    Table: _html_table,
    Figure: _html_figure,
    Beside: _html_beside,
    SampleBlock: _html_sample,
    Card: _html_card,
}


def _html_block(block: Block) -> str:
    return _HTML[type(block)](block) + "\n"


# -- Markdown ------------------------------------------------------------------------------------


def markdown(document: Document) -> str:
    """The same in Markdown, charts left out: one file, tables only."""
    parts = [f"# {_m(document.title)}", *map(_md_block, document.lead)]
    for section in document.sections:
        blocks = [_md_block(block) for block in section.blocks]
        if any(blocks):
            parts += [f"## {_m(section.title)}", *blocks]
    return "\n\n".join(filter(None, [*parts, _m(document.foot)])) + "\n"


def _m(text: str) -> str:
    """Text as Markdown text: no emphasis, code, link, image, HTML, table border or automatic link."""
    safe = re.sub(r"([\\`*_\[\]#|~$])", r"\\\1", plain(text, lines=True))
    safe = safe.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    safe = re.sub(r"(?i)\bwww\.", lambda m: m.group()[:-1] + r"\.", safe.replace("://", r":\//"))
    return re.sub(r"\s*\n\s*", "<br>", safe.strip())


def _md_table(head: Sequence[str], rows: Sequence[Sequence[str]], numeric: int) -> str:
    rule = [" --: " if i >= numeric else " --- " for i in range(len(head))]
    lines = [f"| {' | '.join(map(_m, head))} |", f"|{'|'.join(rule)}|"]
    return "\n".join([*lines, *(f"| {' | '.join(map(_m, row))} |" for row in rows)])


def _md_cells(block: Table) -> str:
    def flat(value: str | Cell) -> str:
        return value if isinstance(value, str) else " ".join(filter(None, [value.text, value.small]))

    return _md_table(block.head, [[flat(value) for value in row] for row in block.rows], block.numeric)


def _md_sample(block: SampleBlock) -> str:
    rows = [[a.contender, a.mark, a.text, a.error] for a in block.answers]
    asked = f"*{_m(block.note)}.* {_m(block.question)}"
    wanted = f"Reference: {' or '.join(map(_m, block.references))}"
    return f"{asked}\n\n{wanted}\n\n" + _md_table(["contender", "", "answer", "error"], rows, numeric=4)


def _md_card(block: Card) -> str:
    head = f"**{_m(block.headline)}**\n\n{_m(block.subtitle)}\n\n{_m(block.sentence)}"
    return f"{head}\n\n{_md_table(['', ''], block.rows, numeric=2)}" if block.rows else head


_MARKDOWN: Mapping[type, Callable[[Any], str]] = {
    Text: lambda block: _m(block.text),
    Table: _md_cells,
    Figure: lambda _: "",
    Beside: lambda block: "\n\n".join(filter(None, map(_md_block, block.blocks))),
    SampleBlock: _md_sample,
    Card: _md_card,
}


def _md_block(block: Block) -> str:
    return _MARKDOWN[type(block)](block)
