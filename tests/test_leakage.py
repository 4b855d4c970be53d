"""Leakage and duplicates: every near pair is found, no other is told, in files and between them."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from validators import lint, lint_rows
from validators.leakage import (
    COMMON_LEAST,
    COMMON_SHARE,
    FEWEST,
    THRESHOLD,
    Asked,
    Index,
    near_duplicates,
    near_matches,
    triples,
    verbatim_answers,
    words_of,
)
from validators.rows import Row

LONG = (
    "The pump of my Sprig Duo has been humming all night since I refilled the tank on Monday and the {} beside the "
    "window droops; what should I look at first, and must I really empty it?"
)


def row(prompt: str, reply: str = "Fine.", system: str | None = None) -> dict[str, Any]:
    turns = [("system", system)] if system is not None else []
    turns += [("user", prompt), ("assistant", reply)]
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    return path


def told(report: Any) -> list[tuple[str, int | None]]:
    return [(finding.code, finding.line) for finding in report.findings]


# -- the join ----------------------------------------------------------------------------------------


def brute(small: list[str], big: list[str], threshold: float) -> set[tuple[int, int]]:
    """All pairs over the threshold by comparing all with all, the common triples of `small` left out."""
    held = [triples(text) for text in small]
    held = [found if len(found) >= FEWEST else set() for found in held]
    count: dict[int, int] = {}
    for found in held:
        for each in found:
            count[each] = count.get(each, 0) + 1
    documents = sum(bool(found) for found in held)
    common = {t for t, n in count.items() if n > COMMON_LEAST and n > COMMON_SHARE * documents}
    pairs = set()
    for i, text in enumerate(big):
        one = triples(text) - common
        for j, found in enumerate(held):
            other = found - common
            if min(len(one), len(other)) >= FEWEST and len(one & other) / len(one | other) >= threshold:
                pairs.add((i, j))
    return pairs


def mutated(rng: random.Random, words: list[str], vocabulary: list[str]) -> str:
    words = list(words)
    for _ in range(rng.randint(0, 3)):
        words[rng.randrange(len(words))] = rng.choice(vocabulary)
    return " ".join(words)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.95])
def test_recall_and_precision_are_one(seed: int, threshold: float) -> None:
    rng = random.Random(seed)
    vocabulary = [f"{a}{b}" for a in "bdfgklmn" for b in "aeiou"]
    form = "please answer this question for our customer in two sentences "
    base = [rng.choices(vocabulary, k=rng.randint(3, 40)) for _ in range(60)]
    small = [(form if seed % 2 else "") + " ".join(words) for words in base]
    big = [(form if seed % 2 else "") + mutated(rng, rng.choice(base), vocabulary) for _ in range(300)]
    found = {(m.key, m.other) for m in near_matches(enumerate(small), enumerate(big), threshold)}
    assert found == brute(small, big, threshold)
    assert len(found) > 20


@settings(max_examples=80)
@given(st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=14), min_size=1, max_size=14))
def test_near_duplicates_leave_no_two_alike(documents: list[list[str]]) -> None:
    texts = [" ".join(words) for words in documents]
    found = {m.key: m for m in near_duplicates(enumerate(texts))}
    pairs = {(i, j) for i, j in brute(texts, texts, THRESHOLD) if j < i}
    assert all((key, match.other) in pairs for key, match in found.items())
    assert all(match.other not in found for match in found.values())
    assert not {(i, j) for i, j in pairs if i not in found and j not in found}


def test_many_near_copies_cost_no_more_than_many_rows() -> None:
    texts = [f"{LONG.format(n % 5)} {n}" for n in range(2000)]
    other = [" ".join(f"w{n}x{k}" for k in range(20)) for n in range(9000)]
    found = list(near_duplicates(enumerate([*texts, *other])))
    assert len(found) == 1999
    assert {match.other for match in found} == {0}


def test_a_similarity_of_just_the_threshold_counts() -> None:
    index = Index([(7, set(range(5)))], 0.8)
    assert list(index.matches(set(range(4)) | {99})) == []  # 4 of 6
    assert list(Index([(7, {*range(8), 50})], 0.8).matches({*range(8), 51})) == [(7, 0.8)]  # 8 of 10


def test_words_without_case_width_and_signs() -> None:
    assert words_of("Don't  STOP, it's_a—Straße！") == ["don", "t", "stop", "it", "s_a", "strasse"]
    assert words_of("薄荷 mint") == ["薄", "荷", "mint"]


# -- in one file -------------------------------------------------------------------------------------


def test_near_duplicates_in_a_file(tmp_path: Path) -> None:
    rows = [row(LONG.format("mint"), "a"), row("Hello?"), row(LONG.format("dill"), "b"), row("Hello there?")]
    report = lint(write(tmp_path / "a.jsonl", *rows), select=["DUP"])
    assert told(report) == [("DUP002", 3)]
    assert report.findings[0].message == "84% the same as line 1"


def test_a_copy_is_told_once_and_as_a_copy(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", row(LONG.format("mint")), row(LONG.format("MINT ")))
    assert told(lint(path, select=["DUP"])) == [("DUP001", 2)]


def test_what_all_rows_share_is_the_form(tmp_path: Path) -> None:
    form = "You see a ticket of a customer of ours. Say which desk it goes to, in one word and nothing else. Ticket: "
    rng = random.Random(5)
    texts = [" ".join(rng.choices(["pump", "leaf", "tank", "mint", "lamp", "box"], k=6)) for _ in range(40)]
    rows = [row(f"{form}{n} {text} {n}", f"d{n}") for n, text in enumerate(texts)]
    assert told(lint(write(tmp_path / "a.jsonl", *rows), select=["DUP"])) == []


def test_short_questions_that_differ_in_the_word_that_counts_are_not_near(tmp_path: Path) -> None:
    plants = ("basil", "mint", "dill", "chives")
    rows = [row(f"How often should I water the {plant} in summer on the balcony?") for plant in plants]
    assert told(lint(write(tmp_path / "a.jsonl", *rows), select=["DUP"])) == []


def test_conflicting_answers(tmp_path: Path) -> None:
    rows = [row("How tall is dill?", "60 cm"), row("hi", "Hello"), row("hi", "Yes?")]
    rows += [
        row("how tall is  DILL?", "a metre"),
        row("How tall is dill?", "60 CM"),
        row("How tall is it?", "1"),
    ]
    report = lint(write(tmp_path / "a.jsonl", *rows), select=["DUP005"])
    assert told(report) == [("DUP005", 4)]
    other_system = [
        row("How tall is dill?", "60 cm", "Metric."),
        row("How tall is dill?", "2 feet", "Imperial."),
    ]
    assert told(lint(write(tmp_path / "b.jsonl", *other_system), select=["DUP005"])) == []


def test_preferences_may_share_a_prompt(tmp_path: Path) -> None:
    rows = [{"prompt": "How tall is dill?", "chosen": f"{n} cm", "rejected": "No."} for n in (50, 60)]
    assert told(lint(write(tmp_path / "a.jsonl", *rows), select=["DUP005"])) == []


# -- between files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [0, 30])
def test_near_leaks_are_told_at_the_linted_row_whichever_file_is_larger(more: int, tmp_path: Path) -> None:
    filler = [row(f"Entirely other words stand in row {n}, {n * 7}.", str(n)) for n in range(30)]
    train = write(tmp_path / "train.jsonl", row("Hi there?"), row(LONG.format("mint"), "a"), *filler[:more])
    test = write(tmp_path / "test.jsonl", row(LONG.format("dill"), "b"), *filler[more:])
    for report in (lint([train, test], select=["DUP"]), lint(test, against=train, select=["DUP"])):
        (finding,) = report.findings
        assert (finding.code, finding.path, finding.line) == ("DUP004", str(test), 1)
        assert f"({train}:2)" in finding.message
    (finding,) = lint(train, against=test, select=["DUP"]).findings
    assert (finding.code, finding.path, finding.line) == ("DUP004", str(train), 2)


def test_an_exact_leak_is_not_told_again_as_a_near_one(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", row(LONG.format("mint"), "a"))
    test = write(tmp_path / "test.jsonl", row(LONG.format("MINT"), "a"), row(LONG.format("mint"), "b"))
    assert told(lint([train, test], select=["DUP003", "DUP004"])) == [("DUP003", 1), ("DUP003", 2)]


def test_files_of_other_kinds_are_compared_as_well(tmp_path: Path) -> None:
    packed = tmp_path / "train.jsonl.gz"
    packed.write_bytes(gzip.compress((json.dumps(row(LONG.format("mint"))) + "\n").encode()))
    array = tmp_path / "test.json"
    array.write_text(json.dumps([row(LONG.format("dill"))]), encoding="utf-8")
    assert [code for code, _ in told(lint([packed, array], select=["DUP"]))] == ["DUP004"]


def test_broken_rows_do_not_hide_the_others(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", row(LONG.format("mint")))
    test = tmp_path / "test.jsonl"
    test.write_text('{"messages": [\n\n"x"\n' + json.dumps(row(LONG.format("dill"))) + "\n", encoding="utf-8")
    assert told(lint([train, test], select=["DUP"])) == [("DUP004", 4)]


def test_rows_in_memory_are_compared_as_well() -> None:
    rows = [Row(3, row(LONG.format("mint"))), Row(9, row(LONG.format("dill")))]
    assert told(lint_rows(rows, "table", select=["DUP"])) == [("DUP002", 9)]


# -- corpus ------------------------------------------------------------------------------------------


def test_question_and_answer_must_stand_in_one_document() -> None:
    asked = [
        Asked(1, "How big is the tank?", "2.3 litres"),
        Asked(2, "How big?", "2"),
        Asked(3, "Who ate my leaf", "A"),
    ]
    documents = [
        (1, "Q: how BIG is the tank?"),
        (2, "2.3 litres"),
        (3, "How big is the tank? It is 2.3 litres."),
    ]
    assert list(verbatim_answers(asked, documents)) == [(1, 3)]


def test_training_rows_and_rows_of_the_corpus_are_not_asked_for(tmp_path: Path) -> None:
    question = {"prompt": "How big is the tank?", "completion": "2.3 litres"}
    corpus = write(tmp_path / "corpus.jsonl", {"text": "How big is the tank? 2.3 litres."})
    train, test = write(tmp_path / "train.jsonl", question), write(tmp_path / "test.jsonl", question)
    assert told(lint(train, against=corpus, select=["DUP007"])) == []
    assert told(lint(test, against=corpus, select=["DUP007"])) == [("DUP007", 1)]
    assert told(lint([test, corpus], select=["DUP007"])) == [("DUP007", 1)]
