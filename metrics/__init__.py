"""Metrics whose every value comes with an interval and a paired test.

*Measure* a sample → rows of sufficient statistics → *reduce*. Because the reduction works on means of
rows, resampling the samples (or their groups) is a matrix product: intervals, paired tests and odds of
being best come free for every metric, corpus metrics too.

| metric | predictions; references (options) | scale | better |
|---|---|---|---|
| `exact_match` | answer; one or several references | 0–1 | higher |
| `accuracy`, `macro_f1`, `micro_f1` | label; one or several accepted labels (`labels=`, `mapping=`) | 0–1 | higher |
| `token_f1` | answer; one or several references (`tokenize=`) | 0–1 | higher |
| `field_f1` | JSON text; JSON text, a dict or several texts (`entities=`, `fenced=`) | 0–1 | higher |
| `bleu` | text; one or several references (`tokenize=`, `lowercase=`) | 0–100 | higher |
| `chrf` | text; one or several references (`word_order=`, `lowercase=`) | 0–100 | higher |
| `rouge1`, `rouge2`, `rouge_l`, `rouge_lsum` | text; one or several references (`tokenize=`, `stem=`) | 0–1 | higher |
| `perplexity` | (nats, tokens, bytes) of the reference; none (`tokenizer=`) | from 1 | lower |
| `bits_per_byte` | (nats, tokens, bytes) of the reference; none | from 0 | lower |
| `json_valid` | text; none (`fenced=`) | 0–1 | higher |
| `schema_match` | text; none (`schema=`, needed; `fenced=`) | 0–1 | higher |
| `tool_call_match` | calls or JSON text of them; the same (`ordered=`, `arguments=`) | 0–1 | higher |
| `recall_at_k`, `ndcg` | ranked ids; relevant ids or ids and gains (`k=`, 10) | 0–1 | higher |
| `mrr` | ranked ids; relevant ids or ids and gains (`k=`, whole ranking) | 0–1 | higher |
| `judge`, `human` | a rating from 0 to 1 or repeated ones; none (`by=`) | 0–1 | higher |
| `cost_of_error` | label; accepted labels (`costs=`, needed; `labels=`, `mapping=`) | USD, from 0 | lower |
| `own_metric(name, path)` | text; one or several references | as stated | as stated |

Laws: a prediction of None is a failure, counted apart and never a wrong answer; no value is None with
a reason, never 0 or NaN; scores with different signatures do not rank against each other.

    from metrics import compare_paired, measure, score

    score("bleu", predictions, references).interval
    a, b = (measure("bleu", answers, references) for answers in (before, after))
    both = a.scored & b.scored
    compare_paired(a.stats[both], b.stats[both], reduce=a.reduce, margin=1.0).conclusion
"""

from .bootstrap import bootstrap_values, paired_bootstrap
from .calibration import Correction, judge_correction
from .catalogue import METRICS, UnknownMetric, measure, reducer
from .comparison import compare_paired
from .confusion_matrix import ClassScore, Confusion, confusion
from .hub import hub_path
from .learning_curve import Curve, Forecast, fit_curve
from .multiple import Contrast, holm, simultaneous
from .own import own_metric
from .power import (
    power_under_rule,
    smallest_detectable_effect,
    smallest_detectable_effect_from_sd,
    smallest_gain_under_rule,
    test_size_for,
)
from .raters import Agreement, PositionBias, SelfAgreement, agreement, position_bias, self_agreement
from .scoring import score, score_rows
from .seeds import compare_seeds
from .types import Comparison, Metric, Rows, Score

__all__ = [
    "METRICS",
    "Agreement",
    "ClassScore",
    "Comparison",
    "Confusion",
    "Contrast",
    "Correction",
    "Curve",
    "Forecast",
    "Metric",
    "PositionBias",
    "Rows",
    "Score",
    "SelfAgreement",
    "UnknownMetric",
    "agreement",
    "bootstrap_values",
    "compare_paired",
    "compare_seeds",
    "confusion",
    "fit_curve",
    "holm",
    "hub_path",
    "judge_correction",
    "measure",
    "own_metric",
    "paired_bootstrap",
    "position_bias",
    "power_under_rule",
    "reducer",
    "score",
    "score_rows",
    "self_agreement",
    "simultaneous",
    "smallest_detectable_effect",
    "smallest_detectable_effect_from_sd",
    "smallest_gain_under_rule",
    "test_size_for",
]
