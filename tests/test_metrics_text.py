"""Values of the text metrics: the reference implementations', and tables a reader can check."""

import math
import random

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics import METRICS, compare_paired, measure, reducer, score
from tests.example_metrics import CASES

WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "sat",
    "on",
    "mat",
    "big",
    "red",
    "fox",
    "jumps",
    "over",
    "lazy",
    "don't",
    "U.S.",
    "3.5",
    "café",
    "naïve",
    "running",
    "runs,",
    "run!",
]
RANDOM = random.Random(7)


def sentence(low=0, high=14):
    return " ".join(RANDOM.choices(WORDS, k=RANDOM.randint(low, high)))


REFERENCES = [[sentence(4) for _ in range(1 + row % 3)] for row in range(120)]
PREDICTIONS = [many[0] if row % 9 == 0 else sentence() for row, many in enumerate(REFERENCES)]


def streams(references):
    return [[many[rank] if rank < len(many) else None for many in references] for rank in range(3)]


@pytest.mark.parametrize("size", [1, 2, 7, 120])
@pytest.mark.parametrize("options", [{}, {"tokenize": "char"}, {"lowercase": True}])
def test_bleu_equals_sacrebleu(size, options):
    from sacrebleu.metrics import BLEU

    expected = BLEU(**options).corpus_score(PREDICTIONS[:size], streams(REFERENCES[:size])).score
    assert score("bleu", PREDICTIONS[:size], REFERENCES[:size], **options).value == pytest.approx(
        expected, abs=1e-9
    )


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("the cat sat on", "the cat slept on a mat"),
        ("cat the on sat now", "the cat sat on the mat"),
        ("a b c d e f", "a b x d e y z w"),
        ("nothing shared here at all", "the cat sat on the mat"),
        ("", "the cat sat on the mat"),
        ("the cat sat", "the cat sat on the mat"),
    ],
)
def test_bleu_smooths_single_sentences_as_sacrebleu(answer, reference):
    from sacrebleu.metrics import BLEU

    expected = BLEU().corpus_score([answer], [[reference]]).score
    assert score("bleu", [answer], [reference]).value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("options", [{}, {"word_order": 2}, {"lowercase": True}])
def test_chrf_equals_sacrebleu(options):
    from sacrebleu.metrics import CHRF

    expected = CHRF(**options).corpus_score(PREDICTIONS, streams(REFERENCES)).score
    assert score("chrf", PREDICTIONS, REFERENCES, **options).value == pytest.approx(expected, abs=1e-9)
    assert score("chrf", ["a"], ["b"]).value == 0


def test_bleu_signature_is_sacrebleus():
    signature = score("bleu", ["a b c d"], ["a b c d"]).signature
    assert "tok:13a" in signature and "smooth:exp" in signature and "version:" in signature


@pytest.mark.parametrize("stem", [False, True])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("rouge1", "rouge1"), ("rouge2", "rouge2"), ("rouge_l", "rougeL"), ("rouge_lsum", "rougeLsum")],
)
def test_rouge_equals_rouge_score(ours, theirs, stem):
    from rouge_score.rouge_scorer import RougeScorer

    references = [[one.replace(" dog", "\n dog") for one in many] for many in REFERENCES]
    answers = [text.replace(" cat", "\ncat") for text in PREDICTIONS]
    scorer = RougeScorer([theirs], use_stemmer=stem)
    expected = [
        scorer.score_multi(many, text)[theirs].fmeasure
        for many, text in zip(references, answers, strict=True)
    ]
    rows = measure(ours, answers, references, stem=stem)
    assert rows.stats[:, 0].tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("text", ["Кот сидит на ковре", "猫坐在垫子上", "แมวนั่งบนเสื่อ", "القط على السجادة"])
@pytest.mark.parametrize("name", ["rouge1", "rouge2", "rouge_l", "rouge_lsum"])
def test_rouge_never_scores_a_script_it_erases_with_zero(name, text):
    erased = score(name, [text], [text])
    assert erased.value is None and "tokenize=" in erased.reason
    assert score(name, [text], [text], tokenize="characters").value == 1
    assert score(name, ["wrong"], [text], tokenize="words").value == 0


def test_rouge_measures_accented_latin_as_rouge_score_does():
    assert score("rouge1", ["le café naïf"], ["le café naïf"]).value == 1


SQUAD = [  # answer, references, F1 by the official rules
    ("the Eiffel Tower!", ["Eiffel tower"], 1.0),
    ("Eiffel", ["Eiffel Tower"], 2 / 3),
    ("in Paris, France", ["Paris", "Paris France"], 0.8),
    ("cat cat cat", ["cat dog"], 2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2)),
    ("a cat", ["the cat"], 1.0),
    ("state-of-the-art", ["stateoftheart"], 1.0),
    ("theme", ["me"], 0.0),
    ("", ["the"], 1.0),
    ("The", ["!"], 1.0),
    ("dog", ["the"], 0.0),
    ("", ["dog"], 0.0),
    ("the", ["the", "cat"], 0.0),
    ("Кот сидит", ["кот лежит"], 0.5),
]


@pytest.mark.parametrize(("answer", "references", "expected"), SQUAD)
def test_token_f1_follows_squad(answer, references, expected):
    assert score("token_f1", [answer], [references]).value == pytest.approx(expected)


EXACT = [
    ("yes", "yes", 1),
    (" yes\n", "yes", 1),
    ("Yes", "yes", 0),
    ("cafe\u0301", "caf\u00e9", 1),
    ("a  b", "a b", 0),
    ("b", ["a", "b"], 1),
    ("", "a", 0),
]


@pytest.mark.parametrize(("answer", "reference", "expected"), EXACT)
def test_exact_match_compares_after_nfc_and_strip(answer, reference, expected):
    assert score("exact_match", [answer], [reference]).value == expected


def test_perplexity_and_bits_are_ratios_of_sums():
    triples = [(2.0, 4, 10), None, (4.0, 2, 20)]
    assert score("perplexity", triples).value == pytest.approx(math.e)
    bits = score("bits_per_byte", triples)
    assert bits.value == pytest.approx(6 / (math.log(2) * 30))
    assert (bits.n, bits.unscored, bits.higher_is_better) == (2, 1, False)


def test_language_model_metrics_refuse_what_has_no_value():
    assert score("perplexity", [(0.0, 0, 0)]).reason == "the scored references have no tokens"
    assert "too large" in score("perplexity", [(1e6, 1, 4)]).reason
    with pytest.raises(ValueError, match=r"predictions\[1\].*negative log-likelihood"):
        score("perplexity", [(1.0, 2, 3), (-1.0, 2, 3)])


def test_bleu_without_four_tokens_has_a_reason_not_a_zero():
    undefined = score("bleu", ["yes", "no"], ["yes", "no"])
    assert undefined.value is None and "chrf" in undefined.reason


@settings(max_examples=15)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2)), min_size=2, max_size=12), st.randoms())
@pytest.mark.parametrize("name", list(METRICS))
def test_order_of_samples_does_not_matter(name, picks, shuffler):
    case = CASES[name]
    values = []
    for order in (picks, shuffler.sample(picks, len(picks))):
        said = [(case.right if right else case.worse)[row] for right, row in order]
        wanted = None if case.references is None else [case.references[row] for _, row in order]
        values.append(score(name, said, wanted, **case.options).value)
    assert values[0] == pytest.approx(values[1], abs=1e-9)


@pytest.mark.parametrize("name", list(METRICS))
def test_the_reference_itself_scores_perfectly_and_the_worse_is_worse(name):
    right, worse, references, perfect, options = CASES[name]
    assert score(name, right, references, **options).value == pytest.approx(perfect)
    lower = score(name, worse, references, **options).value
    assert lower < perfect if METRICS[name].higher_is_better else lower > perfect


@pytest.mark.parametrize("name", list(METRICS))
def test_columns_arrays_and_lists_are_the_same(name):
    _, worse, references, _, options = CASES[name]
    plain = score(name, worse, references, **options)
    array = np.empty(3, dtype=object)
    array[:] = worse
    assert (
        score(name, array, None if references is None else np.array(references, object), **options) == plain
    )
    if name not in ("judge", "human"):  # one column holds numbers or lists, not both
        column = pl.Series(worse)
        assert score(name, column, None if references is None else pl.Series(references), **options) == plain


@pytest.mark.parametrize("name", list(METRICS))
def test_swapping_the_sides_flips_the_sign_and_keeps_p(name):
    right, worse, references, _, options = CASES[name]
    a, b = (
        measure(name, said * 12, None if references is None else references * 12, **options)
        for said in (worse, right)
    )
    there, back = (compare_paired(x.stats, y.stats, reduce=a.reduce) for x, y in ((a, b), (b, a)))
    assert back.difference == pytest.approx(-there.difference) and back.p == there.p
    assert (there.difference > 0) == METRICS[name].higher_is_better


@pytest.mark.parametrize("name", list(METRICS))
def test_rows_reduce_again_from_their_columns(name):
    _, worse, references, _, options = CASES[name]
    rows = measure(name, worse, references, **options)
    again = reducer(name, list(rows.columns))
    stacked = np.stack([rows.stats, rows.stats[::-1]])
    assert again(rows.stats.mean(axis=0)) == rows.reduce(rows.stats.mean(axis=0))
    assert rows.reduce(stacked).shape == (2, 3)
    with pytest.raises(ValueError):
        reducer(name, ["nonsense", "columns"])
