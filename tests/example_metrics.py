"""Every metric on three samples: perfect predictions, worse ones, references, options; and the perfect value."""

from typing import Any, NamedTuple


class Case(NamedTuple):
    right: list[Any]
    worse: list[Any]
    references: list[Any] | None
    perfect: float = 1.0
    options: dict[str, Any] = {}  # noqa: RUF012


TEXTS = ["the big cat sat on a mat", "red foxes jump over dogs", "one two three four"]
WORSE = ["the big cat sat on a log", "red foxes jump over dogs", "one two four"]
OBJECTS = ['{"a": 1, "b": "x"}', '{"a": [1, 2]}', '{"c": null}']
CALLS = ['[{"name": "f", "arguments": {"x": 1}}]', "[]", '[{"name": "g", "arguments": {}}]']
LIKELY, LESS = [(0.0, 2, 9), (0.0, 3, 9), (0.0, 4, 9)], [(2.0, 2, 9), (3.0, 3, 9), (5.0, 4, 9)]
RANKED, RANKED_WORSE, RELEVANT = (
    [["x", "y"], ["z"], ["w", "v"]],
    [["q", "x", "y"], ["z"], ["v"]],
    [["x", "y"], ["z"], ["w"]],
)
SCHEMA = {"type": "object"}

CASES = {
    **{
        name: Case(TEXTS, WORSE, TEXTS)
        for name in ("exact_match", "accuracy", "macro_f1", "micro_f1", "token_f1")
    },
    "field_f1": Case(OBJECTS, ['{"a": 1}', '{"a": [1, 3]}', "no"], OBJECTS),
    "bleu": Case(TEXTS, WORSE, TEXTS, 100),
    "chrf": Case(TEXTS, WORSE, TEXTS, 100),
    **{name: Case(TEXTS, WORSE, TEXTS) for name in ("rouge1", "rouge2", "rouge_l", "rouge_lsum")},
    "perplexity": Case(LIKELY, LESS, None),
    "bits_per_byte": Case(LIKELY, LESS, None, 0),
    "json_valid": Case(OBJECTS, ["{", "{}", "no"], None),
    "schema_match": Case(OBJECTS, ["[]", "{}", "no"], None, 1, {"schema": SCHEMA}),
    "tool_call_match": Case(CALLS, [CALLS[0], CALLS[0], "no"], CALLS),
    "recall_at_k": Case(RANKED, RANKED_WORSE, RELEVANT),
    "mrr": Case(RANKED, RANKED_WORSE, RELEVANT),
    "ndcg": Case(RANKED, RANKED_WORSE, RELEVANT),
    "judge": Case([1, 1, [1, 1]], [1, 0.5, [0, 1]], None),
    "human": Case([1, 1, [1, 1]], [1, 0.5, [0, 1]], None),
    "cost_of_error": Case(TEXTS, WORSE, TEXTS, 0, {"costs": {"*": {"*": 2.0}}}),
}
