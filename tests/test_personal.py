"""What is personal in a text, found whole and without false alarms; and no message that tells it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from validators.conversion import convert_file
from validators.examples import ExampleError, parse_example
from validators.findings import quoted
from validators.linter import lint_rows
from validators.personal import find_personal, without_personal
from validators.reading import DataError, read_rows, to_chat
from validators.rows import Row

KEY = "sk-proj-Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zAb3dEf6h"
MAIL = "jürgen.maier@firma.de"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("jürgen@firma.de", "jürgen@firma.de"),
        ("Bitte an jürgen.müßig@bücher-straße.de, danke", "jürgen.müßig@bücher-straße.de"),
        ("josé+x@correo.es.", "josé+x@correo.es"),
        ("jose\u0301@correo.es", "jose\u0301@correo.es"),
        ("иван@почта.рф", "иван@почта.рф"),
        ("ὀδυσσεύς@ithaki.gr", "ὀδυσσεύς@ithaki.gr"),
        ("अजय@डाटा.भारत", "अजय@डाटा.भारत"),
        # Scripts without blanks between words: the address ends where they begin.
        ("请发邮件到jane@corp.com谢谢", "jane@corp.com"),
        ("jane@corp.com으로", "jane@corp.com"),
        ("0171-8345612", "0171-8345612"),
        ("Tel. 0171/8345612", "0171/8345612"),
        ("0171 8345612", "0171 8345612"),
        ("0151-23457789", "0151-23457789"),
        ("0171-834 5612", "0171-834 5612"),
        ("030/9018200", "030/9018200"),
        ("0221/123456", "0221/123456"),
        ("(0171) 8345612", "(0171) 8345612"),
        ("(030) 9018200", "(030) 9018200"),
    ],
)
def test_the_whole_of_it_is_found(text: str, found: str) -> None:
    assert [text[each.start : each.end] for each in find_personal(text)] == [found]


@pytest.mark.parametrize(
    "text",
    [
        *("2024-05-12", "01-02-2024", "01/02/2024", "12.05.2024", "09:30-10:30", "0930/1030"),
        *("0,50 EUR", "1.299,00 EUR", "0815-4711", "0815-4711000", "ORD-0171-8345612", "#0171-8345612"),
        *("ISBN 0-306-40615-2", "ISBN 978-3-16-148410-0", "ISSN 0317-8471", "EAN 4006381333931"),
        *("Az. 0234/2019", "INV 0151/2024", "0123/456789-01", "0171-8345612-3", "00171-8345612", "0171-83"),
        *("192.168.0.171", "v0.17.1", "01234 Dresden", "https://x.de/0171/8345612", "0171_8345612"),
        *("3@4.50", "foo@bar", "x = m@self.weight", "@jürgen", "jürgen@", "git@github.com", "a@b.c"),
        *("jürgen@example.com", "jane@corp.Спасибо"),
    ],
)
def test_ids_dates_prices_and_orders_are_not_personal(text: str) -> None:
    assert find_personal(text) == []


def test_a_mark_stands_for_each() -> None:
    assert without_personal(f"a '{MAIL}' b {KEY}") == "a '<e-mail address>' b <OpenAI API key>"
    # Masked before it is cut: half an npm token is known for none.
    token = "npm_" + "aB3dE5gH7" * 4
    assert quoted("x" * 20 + " " + token) == f"'{'x' * 20} <npm token>'"
    assert quoted("y" * 60) == f"'{'y' * 40}…'"
    assert len(quoted(10**300)) < 50


ROWS: list[Any] = [
    {"messages": [{"role": KEY, "content": "x"}, {"role": MAIL, "content": "x"}]},
    {"prompt": "a", "completion": "b", MAIL: 1, KEY: 2},
    {"conversations": [{"from": "human", "value": "a", MAIL: 1, KEY: 2}, {"from": KEY, "value": "b"}]},
    {"contents": [{"role": MAIL, "parts": [{KEY: 1}]}]},
    {"messages": [{"role": "user", "content": "a"}, {"role": "tool", "tool_call_id": KEY, "content": "x"}]},
    {MAIL: 1, KEY: 2},
    {"messages": [{"role": "user", "content": [{"type": KEY, MAIL: 1}]}, {"role": "assistant", "content": "b"}]},
]  # fmt: skip


def test_no_error_or_finding_tells_it(tmp_path: Path) -> None:
    path, said = tmp_path / "a.jsonl", []
    for row in ROWS:
        path.write_text(json.dumps(row, ensure_ascii=False) + "\n")
        for to in ("sharegpt", "gemini", "together", "chat"):
            try:
                convert_file(path, tmp_path / "b.jsonl", to)
            except DataError as error:
                said.append(str(error))
        for target in ("together", "mistral"):
            findings = lint_rows(
                [Row(1, row)], "a.jsonl", target=target, select=["FMT", "MSG", "TOOL", "PART"]
            )
            said.append(json.dumps(findings.as_dict(), ensure_ascii=False))
        with pytest.raises(ExampleError) as caught:
            parse_example({"messages": [], **row} if "messages" not in row else {"messages": [{MAIL: KEY}]})
        said.append(str(caught.value))
    path.write_text(f'{{"{MAIL}": 1, "{MAIL}": 2}}\n')
    with pytest.raises(DataError, match=r"the key .*e-mail address.* is there already") as repeated:
        list(read_rows(path))
    with pytest.raises(DataError, match="there is no column") as missing:
        to_chat({MAIL: "a"}, input=MAIL[1:], output=None, template=None)
    said += [str(repeated.value), str(missing.value)]
    assert len(said) > 20
    assert not [text for text in said if KEY[:16] in text or "firma" in text.replace(MAIL[1:], "")]
