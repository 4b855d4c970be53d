"""Findings past a number go to disk, and nothing of what a lint says changes by that."""

import copy
import random
from pathlib import Path

import pytest

from validators import lint
from validators.findings import Finding
from validators.kept import Findings, Kept, in_file


def found(line: int | None, code: str = "MSG001", column: int | None = None, help: str = "") -> Finding:
    return Finding(code, "x", "error", "a.jsonl", line, column, "$", "wrong", help, code == "MSG001")


def filled(findings: list[Finding], limit: int = 0) -> Kept:
    kept = Kept(limit)
    for each in findings:
        kept.add(each)
    return kept


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("validators.kept.HELD", 10)
    monkeypatch.setattr("validators.kept._PACKED", 3)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("spread", [0, 3, 200])
def test_what_goes_to_disk_comes_back_in_order(seed: int, spread: int) -> None:
    """Those at one place keep the order in which they came."""
    chance = random.Random(seed)
    lines = [max(1, n // 3 + chance.randint(-spread, spread)) for n in range(207)]
    given = [found(line, chance.choice(("MSG001", "FMT001")), help=str(n)) for n, line in enumerate(lines)]
    kept = filled(given)
    assert kept.disk is not None and len(kept.findings) < 10 and len(kept) == 207
    assert list(kept.in_order()) == list(kept.in_order()) == sorted(given, key=in_file)
    assert (kept.counts["error"], kept.fixable) == (207, sum(each.fixable for each in given))
    sent = copy.copy(kept)
    assert list(sent.in_order()) == sorted(given, key=in_file) and sent.counts == kept.counts
    whole = filled([found(1)])
    whole.join(kept, lines=1000)
    assert [each.line for each in whole.in_order()] == [1, *sorted(line + 1000 for line in lines)]


@pytest.mark.usefixtures("few")
def test_a_limit_keeps_all_in_memory() -> None:
    kept = filled([found(n) for n in range(1, 100)], limit=30)
    assert kept.disk is None and [each.line for each in kept.in_order()] == list(range(1, 31))
    assert kept.counts["error"] == 99


@pytest.mark.usefixtures("few")
def test_findings_on_disk_are_a_sequence() -> None:
    one, other = filled([found(n) for n in range(1, 40)]), filled([found(n, "FMT001") for n in range(1, 4)])
    both = Findings([one, other], in_file)
    assert len(both) == len(list(both)) == 42
    assert [(each.line, each.code) for each in both[:4]] == [
        (1, "FMT001"),
        (1, "MSG001"),
        (2, "FMT001"),
        (2, "MSG001"),
    ]
    assert (both[0].code, both[-1].line, both[5:7]) == ("FMT001", 39, tuple(both)[5:7])
    with pytest.raises(IndexError):
        both[42]


def test_a_lint_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults of lines, of copies and of two files."""
    rows = ['{"messages": [{"role": "user", "content": "q%d"}, {"role": "human", "content": 1}]}', "{", ""]
    for name, seed in (("a", 1), ("b", 2)):
        chance = random.Random(seed)
        lines = [chance.choice(rows).replace("%d", str(chance.randrange(60))) for _ in range(400)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    plain = lint(files)
    monkeypatch.setattr("validators.kept.HELD", 16)
    spilled = lint(files)
    assert isinstance(plain.findings, tuple) and isinstance(spilled.findings, Findings)
    assert spilled.as_dict() == plain.as_dict() and spilled.as_dict(7) == plain.as_dict(7)
