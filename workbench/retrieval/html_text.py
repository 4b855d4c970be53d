"""HTML as plain text that keeps its structure: headings as Markdown's, list items, table rows, paragraphs."""

from __future__ import annotations

import re

from validators.assets import require

_HEADINGS = {f"h{n}": "#" * n + " " for n in range(1, 7)}
_DROPPED = {"script", "style", "template"}
_BLOCKS = {
    *("address", "article", "aside", "blockquote", "body", "caption", "dd", "details", "div", "dl", "dt"),
    *(
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "header",
        "hr",
        "html",
        "li",
        "main",
        "nav",
        "ol",
    ),
    *("p", "pre", "section", "summary", "table", "tbody", "tfoot", "thead", "title", "tr", "ul"),
    *_HEADINGS,
}
# Neighbours of one of these kinds stand on lines of one paragraph.
_LINES = {"li", "tr"}


def html_text(html: str) -> str:
    """The text of a page in paragraphs; its title heads it where it has no first heading of its own.

    Scripts, styles and templates are dropped; markup that is broken is read as far as it goes.
    """
    if not html.strip():
        return ""
    etree = require("lxml.etree", "a corpus of HTML files", "rag")
    # Events and no tree: without the limits that stop at deep nesting, and leave out what comes after, in silence.
    text = _Text()
    parser = etree.HTMLParser(target=text, huge_tree=True, no_network=True)
    parser.feed(html)
    return str(parser.close())


class _Text:
    """Takes a parser's events."""

    def __init__(self) -> None:
        self._blocks: list[tuple[str, str]] = []  # (tag, text)
        self._parts: list[str] = []
        self._tag = "p"
        self._title = ""
        self._dropped = 0
        self._pre = 0

    def start(self, tag: str, attributes: object) -> None:
        """An element begins."""
        if tag in _DROPPED:
            self._dropped += 1
        elif tag in _BLOCKS:
            self._end_block()
            # A paragraph inside of a list item or a cell is still that item's or row's text.
            if not (tag in ("p", "div") and self._tag in _LINES):
                self._tag = tag
            self._pre += tag == "pre"
        elif tag in ("td", "th") and "".join(self._parts).strip():
            self._parts.append(" | ")
        elif tag == "br":
            self._parts.append("\n")

    def end(self, tag: str) -> None:
        """An element ends; the parser ends those that nobody closed."""
        if tag in _DROPPED:
            self._dropped = max(0, self._dropped - 1)
        elif tag in _BLOCKS:
            if not (tag in ("p", "div") and self._tag in _LINES):
                self._end_block()
                self._tag = "p"
            self._pre = max(0, self._pre - (tag == "pre"))

    def data(self, data: str) -> None:
        """Text, in pieces."""
        if not self._dropped:
            self._parts.append(data if self._pre else re.sub(r"\s+", " ", data))

    def _end_block(self) -> None:
        whole = "".join(self._parts)
        if not self._pre:
            whole = "\n".join(" ".join(line.split()) for line in whole.split("\n"))
        self._parts.clear()
        if not whole.strip():
            return
        if self._tag == "title":
            self._title = self._title or " ".join(whole.split())
        elif self._tag in _HEADINGS:
            self._blocks.append((self._tag, _HEADINGS[self._tag] + " ".join(whole.split())))
        else:
            self._blocks.append((self._tag, ("- " if self._tag == "li" else "") + whole.strip()))

    def close(self) -> str:
        """The page is over: all its text."""
        self._end_block()
        blocks = list(self._blocks)
        if self._title and not any(tag == "h1" for tag, _ in blocks):
            blocks.insert(0, ("h1", f"# {self._title}"))
        # A page's menu may stand before its first heading, which all the same is its title.
        first = next((i for i, (tag, _) in enumerate(blocks) if tag == "h1"), None)
        if first:
            blocks.insert(0, blocks.pop(first))
        text, before = "", ""
        for tag, block in blocks:
            text += ("\n" if tag == before and tag in _LINES else "\n\n") + block
            before = tag
        return text.strip()
