"""The table of metrics. A new one is a measuring function, a line here, and its test."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Sequence
from typing import Any

from . import (
    bleu,
    business,
    classification,
    extraction,
    language_model,
    ratings,
    retrieval,
    rouge,
    structure,
    text,
)
from .types import Metric, Reduce, Rows

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("exact_match", "0-1", True, "text", "Share of answers equal to a reference after NFC and strip.",
               text.exact_match, text.mean_reducer),
        Metric("accuracy", "0-1", True, "text", "Share of answers that are the right label.",
               classification.accuracy, text.mean_reducer),
        Metric("macro_f1", "0-1", True, "text", "F1 of each label, averaged with equal weight.",
               classification.macro_f1, classification.macro_reducer),
        Metric("micro_f1", "0-1", True, "text", "F1 of all labels counted together.",
               classification.micro_f1, classification.micro_reducer),
        Metric("token_f1", "0-1", True, "text", "Overlap of words with the best reference under SQuAD's rules.",
               text.token_f1, text.mean_reducer),
        Metric("field_f1", "0-1", True, "text", "F1 of the fields of JSON, path and value, counted together.",
               extraction.field_f1, classification.micro_reducer),
        Metric("bleu", "0-100", True, "text", "Corpus precision of runs of one to four tokens, as sacrebleu.",
               bleu.bleu, bleu.bleu_reducer),
        Metric("chrf", "0-100", True, "text", "Corpus F2 of runs of one to six characters, as sacrebleu.",
               bleu.chrf, bleu.chrf_reducer),
        Metric("rouge1", "0-1", True, "text", "F-measure of shared words, as rouge-score.",
               rouge.rouge1, text.mean_reducer),
        Metric("rouge2", "0-1", True, "text", "F-measure of shared pairs of words, as rouge-score.",
               rouge.rouge2, text.mean_reducer),
        Metric("rouge_l", "0-1", True, "text", "F-measure of the longest common subsequence, as rouge-score.",
               rouge.rouge_l, text.mean_reducer),
        Metric("rouge_lsum", "0-1", True, "text", "ROUGE-L over sentences parted by newlines, as rouge-score.",
               rouge.rouge_lsum, text.mean_reducer),
        Metric("perplexity", "nats exponentiated, from 1", False, "likelihood",
               "exp of the mean nats a reference token; ranks only within one tokenizer.",
               language_model.perplexity, language_model.perplexity_reducer),
        Metric("bits_per_byte", "bits, from 0", False, "likelihood",
               "Bits to encode a byte of the references; compares across tokenizers.",
               language_model.bits_per_byte, language_model.bits_reducer),
        Metric("json_valid", "0-1", True, "text", "Share of answers that are JSON.",
               structure.json_valid, text.mean_reducer),
        Metric("schema_match", "0-1", True, "text", "Share of answers that are JSON of a given schema.",
               structure.schema_match, text.mean_reducer),
        Metric("tool_call_match", "0-1", True, "text", "Share of answers that make exactly the right tool calls.",
               structure.tool_call_match, text.mean_reducer),
        Metric("recall_at_k", "0-1", True, "ranking", "Share of the relevant documents among the first k.",
               retrieval.recall_at_k, text.mean_reducer),
        Metric("mrr", "0-1", True, "ranking", "One over the place of the first relevant document.",
               retrieval.mrr, text.mean_reducer),
        Metric("ndcg", "0-1", True, "ranking", "Gain of the first k documents over that of the best order.",
               retrieval.ndcg, text.mean_reducer),
        Metric("judge", "0-1", True, "rating", "Mean rating by a judge model.",
               ratings.judge, text.mean_reducer),
        Metric("human", "0-1", True, "rating", "Mean rating by people.",
               ratings.human, text.mean_reducer),
        Metric("cost_of_error", "USD, from 0", False, "text", "What the answers' errors cost, in USD a request.",
               business.cost_of_error, text.mean_reducer),
    )
}  # fmt: skip


class UnknownMetric(ValueError):
    """A metric's name that is not in the table."""


def metric_named(name: str | Metric) -> Metric:
    """Return the metric of this name (or the metric itself); UnknownMetric suggests the nearest name."""
    if isinstance(name, Metric):
        return name
    if name in METRICS:
        return METRICS[name]
    near = difflib.get_close_matches(str(name).lower().replace("-", "_"), METRICS, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UnknownMetric(f"unknown metric {name!r}: {hint}Known are {', '.join(METRICS)}.")


def measure(
    name: str | Metric, predictions: Iterable[Any], references: Iterable[Any] | None = None, **options: Any
) -> Rows:
    """Measure n predictions (None = failed) against n references: `Rows`, one of statistics a sample.

    UnknownMetric for a wrong name; ValueError for an unknown option or a row of the wrong shape.
    """
    metric = metric_named(name)
    parameters = inspect.signature(metric.measure).parameters.values()
    known = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise ValueError(f"{metric.name} has no option {option!r}: it takes {', '.join(known) or 'none'}")
    return metric.measure(predictions, references, **options)


def reducer(name: str | Metric, columns: Sequence[str]) -> Reduce:
    """Return what turns means of rows with these columns into values: for rows read back from a file."""
    return metric_named(name).reducer(columns)
