"""Metrics whose every value comes with an interval and a paired test.

*Measure* a sample → rows of sufficient statistics → *reduce*. Because the reduction works on means of
rows, resampling the samples (or their groups) is a matrix product: intervals, paired tests and odds of
being best come free for every metric, corpus metrics too.

| metric | input | scale | better |
|---|---|---|---|
| `exact_match` | answer; one or several references | 0–1 | higher |
| `accuracy` | label; one or several accepted labels (`labels=`) | 0–1 | higher |
| `macro_f1`, `micro_f1` | label; one or several accepted labels (`labels=`) | 0–1 | higher |
| `token_f1` | answer; one or several references | 0–1 | higher |
| `bleu` | text; references (`tokenize=`, `lowercase=`) | 0–100 | higher |
| `chrf` | text; references (`word_order=`, `lowercase=`) | 0–100 | higher |
| `rouge1`, `rouge2`, `rouge_l`, `rouge_lsum` | text; references (`tokenize=`, `stem=`) | 0–1 | higher |
| `perplexity` | (nats, tokens, bytes) of each reference (`tokenizer=`) | from 1 | lower |
| `bits_per_byte` | (nats, tokens, bytes) of each reference | from 0 | lower |

Laws: a prediction of None is a failure, counted apart and never a wrong answer; no value is None with
a reason, never 0 or NaN; scores with different signatures do not rank against each other.

    from metrics import compare_paired, measure, score

    score("bleu", predictions, references).interval
    a, b = (measure("bleu", answers, references) for answers in (before, after))
    both = a.scored & b.scored
    compare_paired(a.stats[both], b.stats[both], reduce=a.reduce, margin=1.0).conclusion
"""

from .bootstrap import bootstrap_values, paired_bootstrap
from .catalogue import METRICS, UnknownMetric, measure, reducer
from .comparison import compare_paired
from .hub import hub_path
from .power import smallest_detectable_effect, smallest_detectable_effect_from_sd
from .scoring import score, score_rows
from .types import Comparison, Metric, Rows, Score

__all__ = [
    "METRICS",
    "Comparison",
    "Metric",
    "Rows",
    "Score",
    "UnknownMetric",
    "bootstrap_values",
    "compare_paired",
    "hub_path",
    "measure",
    "paired_bootstrap",
    "reducer",
    "score",
    "score_rows",
    "smallest_detectable_effect",
    "smallest_detectable_effect_from_sd",
]
