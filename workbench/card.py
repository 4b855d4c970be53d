"""The decision card: the verdict in words and figures, the same in terminal, report and app.

Numbers are stored as data and become text here and only here.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence

from .records import ContenderSummary, SliceChange, Verdict

MINUS = "\N{MINUS SIGN}"
DOT = " · "

_HEADLINES = {"tune": "TUNE", "dont-tune": "DON'T TUNE", "cant-tell": "CAN'T TELL"}

# What stands after the headline, by reason code. {choice}, {tuned} and {metric} are filled in.
_REASONS = {
    "quality": "{choice} is worth it",
    "cheaper": "{choice} is as good and cheaper",
    "alternative-suffices": "{choice} is enough",
    "over-budget": "{tuned} is better, but over the budget",
    "retiring": "the model is being retired",
    "fix-data": "the data has errors",
    "invalid-comparison": "the comparison is not fair",
    "no-signal": "{metric} cannot tell the contenders apart",
    "no-alternative": "nothing untuned was scored",
    "no-tuned-contender": "nothing tuned was scored yet",
    "need-more-training-data": "more training data may settle it",
    "need-more-eval-data": "the test split is too small",
}

_LABELS = {
    "bleu": "BLEU",
    "chrf": "chrF",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rouge_l": "ROUGE-L",
    "rouge_lsum": "ROUGE-Lsum",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "token_f1": "token F1",
    "field_f1": "field F1",
    "recall_at_k": "recall@k",
    "mrr": "MRR",
    "ndcg": "nDCG",
    "json_valid": "JSON valid",
}
# How many slices the card names; the report has them all.
_MOST_SLICES = 3
_HUNDRED = ("bleu", "chrf")
_UNBOUNDED = ("perplexity", "bits_per_byte", "cost_of_error")


# -- numbers -------------------------------------------------------------------------------------


def number(value: float, metric: str, digits: int | None = None) -> str:
    """A value of a metric: one digit on 0–100, `digits` (two) on 0–1, three significant elsewhere."""
    if metric in _HUNDRED:
        return _fixed(value, 1)
    if metric in _UNBOUNDED:
        return _fixed(value, 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2)
    return _fixed(value, digits or 2)


def gap(value: float, metric: str, digits: int | None = None) -> str:
    """A difference, with its sign."""
    text = number(value, metric, digits)
    return text if text.startswith(MINUS) or not text.strip("0.,") else f"+{text}"


def interval(
    ends: Sequence[float] | None, metric: str, digits: int | None = None, *, signed: bool = False
) -> str:
    """`[low, high]`, or "" where there is none."""
    show = gap if signed else number
    return f"[{', '.join(show(end, metric, digits) for end in ends)}]" if ends else ""


def usd(value: float | None) -> str:
    """An amount of money; cents where they matter, two significant digits below one cent."""
    if value is None:
        return "unknown"
    sign, amount = MINUS if value < 0 else "", abs(value)
    if 0 < amount < 0.0001:
        return f"{sign}under $0.0001"
    if 0 < amount < 0.01:
        return f"{sign}${amount:.2g}"
    return f"{sign}${amount:,.{2 if 0 < amount < 1000 else 0}f}"


def percent(change: float, digits: int = 1) -> str:
    """A relative change, with its sign: `+0.4 %`."""
    text = _fixed(100 * change, digits)
    return f"{'' if text.startswith(MINUS) or not text.strip('0.,') else '+'}{text} %"


def seconds(value: float | None) -> str:
    """A time span, in the unit a person would use."""
    if value is None:
        return "unknown"
    if value < 1:
        return f"{value * 1000:.0f} ms" if value >= 0.001 or value == 0 else "under 1 ms"
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def count(value: float, noun: str = "", plural: str = "") -> str:
    """A whole number with thousands separators, and what it counts."""
    text = f"{value:,.0f}".replace("-", MINUS)
    return f"{text} {noun if text == '1' else plural or noun + 's'}" if noun else text


def months(value: float) -> str:
    """A payback time."""
    return "under a month" if value < 1 else count(round(value), "month")


def p_value(p: float | None) -> str:
    """A p-value with its name, or "" where there is none."""
    return "" if p is None else "p < 0.001" if p < 0.001 else f"p {p:.{2 if p >= 0.0095 else 3}f}"


def metric_label(metric: str, higher_is_better: bool = True) -> str:
    """A metric's name as people write it, marked where lower is better."""
    name = _LABELS.get(metric, metric.replace("_", " "))
    return name if higher_is_better else f"{name} (lower is better)"


def plain(text: str, *, lines: bool = False) -> str:
    """Text without control characters: breaks become spaces (`lines` keeps them), the rest U+FFFD.

    Data and model answers pass through here on their way to a terminal or a page: no escape sequence,
    no reversal of the reading direction and no lone surrogate survives.
    """

    def shown(c: str) -> str:
        if c in "\t\n\r":
            return c if lines else " "
        return "\ufffd" if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in _BIDI else c

    return "".join(map(shown, text))


# Overrides, embeddings and isolates: the characters that make text read otherwise than it is.
_BIDI = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))


def _fixed(value: float, digits: int) -> str:
    text = f"{value:,.{digits}f}"
    return text.lstrip("-") if not text.strip("-0.,") else text.replace("-", MINUS)


# -- the card ------------------------------------------------------------------------------------


def headline(verdict: Verdict) -> str:
    """The verdict in one line: `DON'T TUNE · few-shot is enough`."""
    words = _REASONS.get(verdict.reason, verdict.reason.replace("-", " "))
    names = {
        "choice": verdict.choice or "one contender",
        "tuned": verdict.tuned or "the tuned model",
        "metric": metric_label(verdict.metric),
    }
    return plain(f"{_HEADLINES[verdict.headline]}{DOT}{words.format(**names)}")


def subtitle(verdict: Verdict) -> str:
    """What was measured: `triage · 100 test samples · 38 groups`."""
    parts = [verdict.experiment, count(verdict.n, "test sample")]
    return plain(DOT.join([*parts, count(verdict.groups, "group")] if verdict.groups else parts))


def card(verdict: Verdict) -> list[tuple[str, str]]:
    """The card's rows, label and text, in reading order; a row with nothing to say is left out."""
    rows = [
        (metric_label(verdict.metric, verdict.higher_is_better), _scores(verdict)),
        _difference(verdict),
        ("could detect", _detectable(verdict)),
        ("cost per 1,000", _costs(verdict)),
        ("harm", _harm(verdict)),
        ("odds of best", _odds(verdict)),
        ("caveats", DOT.join(caveats(verdict))),
        ("would flip it", DOT.join(verdict.flips)),
        ("next", verdict.next),
        ("ship it", verdict.export or ""),
    ]
    return [(plain(label), plain(text)) for label, text in rows if text]


def caveats(verdict: Verdict) -> list[str]:
    """The verdict's caveats; that it is exploratory comes first."""
    first = ["exploratory: the decision settings were changed after the test split was answered"]
    return [*(first if verdict.exploratory else []), *verdict.caveats]


def card_text(verdict: Verdict, width: int = 100, *, report: str | None = None) -> str:
    """The card for a terminal: aligned, wrapped to `width`, plain characters only; `report` says where it lies."""
    rows = card(verdict) + ([("report", report)] if report else [])
    column = max(len(label) for label, _ in rows) + 3
    head, what = headline(verdict), subtitle(verdict)
    space = width - len(head) - len(what)
    lines = [f"{head}{' ' * space}{what}"] if space >= 3 else [head, what]
    lines += textwrap.wrap(plain(verdict.sentence), width, break_on_hyphens=False)
    for label, text in rows:
        # A command or a path is to be copied: it stays on one line whatever the width.
        wrapped = [text] if label in ("next", "ship it", "report") else _wrap(text, max(20, width - column))
        lines += [f"{label if i == 0 else '':<{column}}{part}" for i, part in enumerate(wrapped)]
    return "\n".join(lines) + "\n"


def best_first(
    contenders: Sequence[ContenderSummary], higher_is_better: bool = True
) -> list[ContenderSummary]:
    """Contenders by score, the best first, those without one last; ties in the given order."""
    sign = -1.0 if higher_is_better else 1.0
    return sorted(contenders, key=lambda c: (c.score is None, sign * (c.score or 0.0)))


def digits_for(verdict: Verdict) -> int:
    """Digits on a 0–1 metric: three where the sample carries them or two would hide which side of the margin."""
    ends = [end for d in verdict.differences for end in (d.interval or ())]
    hidden = any(round(end, 2) == round(verdict.margin, 2) != end for end in ends)
    return 3 if verdict.n >= 1000 or hidden or round(verdict.margin, 2) != verdict.margin else 2


def _scores(verdict: Verdict) -> str:
    digits = digits_for(verdict)

    def one(c: ContenderSummary) -> str:
        failed = f" ({c.errors} failed)" if c.errors else ""
        if c.score is None:
            return f"{c.name}: no score, {c.reason or 'it was not scored'}{failed}"
        span = interval(c.interval, verdict.metric, digits)
        return " ".join(filter(None, [c.name, number(c.score, verdict.metric, digits), span])) + failed

    return DOT.join(one(c) for c in best_first(verdict.contenders, verdict.higher_is_better))


def _difference(verdict: Verdict) -> tuple[str, str]:
    d, tuned, digits = verdict.difference, verdict.tuned, digits_for(verdict)
    if d is None or tuned is None:
        return "", ""
    # Positive means the tuned one is better, so the subtraction turns round where lower is better.
    first, second = (tuned, d.against) if verdict.higher_is_better else (d.against, tuned)
    span = interval(d.interval, verdict.metric, digits, signed=True) or "(no interval)"
    worth = f"worth it from {gap(verdict.margin, verdict.metric, digits)}"
    text = f"{gap(d.estimate, verdict.metric, digits)} {span}"
    return f"{first} {MINUS} {second}", DOT.join(filter(None, [text, worth, p_value(d.p)]))


def _detectable(verdict: Verdict) -> str:
    effect = verdict.smallest_detectable_effect
    if verdict.headline != "cant-tell" or effect is None:
        return ""
    digits = digits_for(verdict)
    worth = gap(verdict.margin, verdict.metric, digits)
    return f"{gap(effect, verdict.metric, digits)} or more with these {count(verdict.n, 'sample')}; worth it from {worth}"


def _costs(verdict: Verdict) -> str:
    pair = (verdict.tuned, verdict.difference.against) if verdict.difference else ()
    named = [c for c in verdict.contenders if c.name in pair]
    shown = named or list(verdict.contenders)
    if all(c.usd_per_1000 is None for c in shown):
        times = [(c.name, c.seconds_per_request) for c in shown if c.seconds_per_request is not None]
        took = DOT.join(f"{name} {seconds(time * 1000)}" for name, time in times)
        here = "" if any(c.kind == "predictions" for c in shown) else " on this machine"
        return f"no prices known{DOT}{took}{here}" if took else "no prices known"
    parts = [f"{c.name} {usd(c.usd_per_1000)}" for c in shown]
    volume = verdict.costs.get("requests_per_month")
    at = f" at {count(volume)} a month" if volume is not None else ""
    if verdict.payback_months is not None:
        parts.append(f"pays back in {months(verdict.payback_months)}{at}{_surety(verdict)}")
    elif named and all(c.usd_per_1000 is not None for c in named):
        parts.append(f"never pays back{at}{_surety(verdict)}")
    if verdict.usd_per_point is not None:
        parts.append(f"each point costs {usd(verdict.usd_per_point)} a month")
    return DOT.join(parts)


def _surety(verdict: Verdict) -> str:
    """How likely tuning pays back inside the horizon."""
    probability, horizon = (verdict.costs.get(key) for key in ("payback_probability", "horizon_months"))
    if probability is None or horizon is None:
        return ""
    span = f"{horizon:g} month{'' if horizon == 1 else 's'}"
    return f" (within {span}: probability {_fixed(probability, 2)})"


def _harm(verdict: Verdict) -> str:
    """Slices that got surely worse, the worst first, and what was forgotten."""
    harm = verdict.harm
    if harm is None:
        return ""
    worst = sorted(harm.worse, key=lambda s: s.estimate)
    parts = [f"worse on {', '.join(_slice(s, verdict) for s in worst[:_MOST_SLICES])}"] if worst else []
    if len(worst) > _MOST_SLICES:
        parts.append(f"and {count(len(worst) - _MOST_SLICES, 'more slice')}")
    told = sum(s.interval is not None for s in harm.slices)
    if harm.slices and not worst:
        parts.append("no slice worse" if told else "no slice is large enough to tell")
    if told and told < len(harm.slices):
        parts.append(f"{len(harm.slices) - told} of {count(len(harm.slices), 'slice')} too small to tell")
    if harm.forgetting is not None:
        parts.append(f"forgetting {percent(harm.forgetting.change)} bits per byte")
    return DOT.join(parts)


def _slice(change: SliceChange, verdict: Verdict) -> str:
    digits = digits_for(verdict)
    name = textwrap.shorten(change.slice, 40, placeholder="…")
    span = interval(change.interval, verdict.metric, digits, signed=True)
    return f"{name} {gap(change.estimate, verdict.metric, digits)} {span}"


def _odds(verdict: Verdict) -> str:
    ranked = sorted(verdict.if_you_must.items(), key=lambda item: -item[1]["probability_best"])
    if not ranked:
        return ""
    about = verdict.choice if verdict.choice in verdict.if_you_must else ranked[0][0]
    regret = number(verdict.if_you_must[about]["expected_regret"], verdict.metric, digits_for(verdict))
    odds = DOT.join(f"{name} {_fixed(row['probability_best'], 2)}" for name, row in ranked)
    return f"{odds} (expected regret of {about} {regret})"


def _wrap(text: str, width: int) -> list[str]:
    """Wrap at the dots between parts; inside a part only where it alone is too long."""
    lines: list[str] = []
    for part in text.split(DOT):
        if lines and len(lines[-1]) + len(DOT) + len(part) <= width:
            lines[-1] += DOT + part
        else:
            lines += textwrap.wrap(part, width, break_on_hyphens=False) or [""]
    return lines
