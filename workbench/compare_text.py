"""A comparison in words: what `workbench compare` prints."""

from __future__ import annotations

from validators.findings import printable

from .card import DOT, MINUS, count, metric_label, p_value
from .compare import Compared, Pair


def compared_text(compared: Compared) -> str:
    """A comparison for a terminal: a small table and a sentence for each pair."""
    label = metric_label(compared.metric, compared.higher_is_better)
    lines = [line for p in compared.pairs for line in _pair_lines(p, label, compared)]
    return "\n".join(map(printable, lines)) + "\n"


def _pair_lines(p: Pair, label: str, compared: Compared) -> list[str]:
    c = p.comparison
    parts = [label, count(c.n, "pair"), count(c.groups, "group") if c.groups else ""]
    names = (p.a_name, p.b_name, f"b {MINUS} a")
    width = max(len(name) for name in names)
    tested = DOT.join(filter(None, [p_value(c.p), c.method]))
    return [
        DOT.join(filter(None, parts)),
        f"  a  {p.a_name:<{width}}  {_value(p.a.value)} {_span(p.a.interval)}".rstrip(),
        f"  b  {p.b_name:<{width}}  {_value(p.b.value)} {_span(p.b.interval)}".rstrip(),
        f"     {names[2]:<{width}}  {_signed(c.difference)} {_span(c.interval, signed=True) or '(no interval)'}{DOT}{tested}",
        _sentence(p, compared),
    ]


def _sentence(p: Pair, compared: Compared) -> str:
    c, margin = p.comparison, compared.margin
    over = f" by more than {_value(margin)}" if margin else ""
    return {
        "better": f"{p.b_name} is better than {p.a_name}{over}.",
        "worse": f"{p.b_name} is worse than {p.a_name}{over}.",
        "equivalent": f"{p.b_name} and {p.a_name} are equivalent: the difference is under {_value(margin)} either way.",
        "inconclusive": f"Inconclusive: {c.reason or 'these samples do not settle which is better' + over}.",
    }[c.conclusion]


def _value(value: float | None) -> str:
    if value is None:
        return "no value"
    text = f"{value:.1f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) >= 10 else f"{value:.3f}"
    return text.replace("-", MINUS)


def _signed(value: float) -> str:
    text = _value(value)
    return text if text.startswith(MINUS) or not text.strip("0.") else f"+{text}"


def _span(ends: tuple[float, float] | None, *, signed: bool = False) -> str:
    show = _signed if signed else _value
    return f"[{show(ends[0])}, {show(ends[1])}]" if ends else ""
