"""The sample data is what its data cards say: every figure there is recomputed here."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from validators import lint
from workbench.data import prepare, read_files
from workbench.experiment import Experiment

SAMPLES = Path(__file__).resolve().parent.parent / "sample_data"
TRIAGE, HANDBOOK = SAMPLES / "triage", SAMPLES / "handbook"


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


TICKETS = rows(TRIAGE / "tickets.jsonl")
QUESTIONS = rows(HANDBOOK / "questions.jsonl")
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted((HANDBOOK / "pages").glob("*.md"))}
GUIDE = {path.stem: path.read_text(encoding="utf-8") for path in sorted((TRIAGE / "guide").glob("*.md"))}


def asked(row: dict[str, Any]) -> str:
    """What the customer wrote, all turns."""
    return "\n".join(m["content"] for m in row["messages"] if m["role"] == "user")


def answer(row: dict[str, Any]) -> str:
    return row["messages"][-1]["content"]


def skeletons(text: str) -> set[str]:
    """Sentences of five words and more with names (capitals) and numbers masked: what a template leaves."""
    found = set()
    for sentence in re.split(r"[.!?\n]+", text):
        words = re.findall(r"\w+", sentence)
        if len(words) >= 5:
            found.add(" ".join("#" if w[0].isupper() or re.search(r"\d", w) else w.casefold() for w in words))
    return found


def shared_skeletons(texts: list[str]) -> float:
    """Share of texts with a sentence whose skeleton also stands in another text."""
    each = [skeletons(text) for text in texts]
    count = Counter(skeleton for found in each for skeleton in found)
    return sum(any(count[s] > 1 for s in found) for found in each) / len(texts)


def card(folder: Path) -> dict[str, str]:
    """The figures of a data card: every table row of two cells."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|$", text, flags=re.MULTILINE))


def listed(counts: Counter[str]) -> str:
    return ", ".join(
        f"{name} {n}" for name, n in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    )


# -- triage --------------------------------------------------------------------------------------------


def test_triage_is_large_and_varied_enough() -> None:
    classes = Counter(answer(row) for row in TICKETS)
    assert len(TICKETS) >= 500
    assert len(classes) >= 10 and min(classes.values()) >= 10
    assert set(classes) == {name.replace("-", "/", 1) for name in GUIDE}, "every desk has its page"
    assert sum(len(row["messages"]) > 3 for row in TICKETS) / len(TICKETS) > 0.15, "several turns"
    customers = Counter(row["metadata"]["customer"] for row in TICKETS)
    assert len(customers) >= 100 and max(customers.values()) >= 4, "groups"
    languages = Counter(row["metadata"]["language"] for row in TICKETS)
    assert len(languages) >= 5 and 0.05 < 1 - languages["en"] / len(TICKETS) < 0.3
    assert all(answer(row) not in asked(row) for row in TICKETS), "no ticket names its code"


def test_no_ticket_stands_twice() -> None:
    texts = Counter(" ".join(asked(row).casefold().split()) for row in TICKETS)
    assert not [text for text, n in texts.items() if n > 1]


def test_triage_was_not_made_from_templates() -> None:
    assert shared_skeletons([asked(row) for row in TICKETS]) < 0.02


@pytest.fixture(scope="module")
def bag_of_words() -> float:
    """Cross-validated accuracy of words and word pairs alone, no customer in two folds."""
    pytest.importorskip("sklearn")
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10, max_iter=1000)
    )
    desks = [answer(row) for row in TICKETS]
    guessed = cross_val_predict(
        model,
        [asked(row) for row in TICKETS],
        desks,
        groups=[row["metadata"]["customer"] for row in TICKETS],
        cv=StratifiedGroupKFold(5),
    )
    return sum(a == b for a, b in zip(guessed, desks, strict=True)) / len(desks)


def test_words_alone_help_but_do_not_do(bag_of_words: float) -> None:
    assert 0.40 <= bag_of_words <= 0.85


def test_triage_card(bag_of_words: float) -> None:
    turns = Counter(sum(m["role"] == "user" for m in row["messages"]) for row in TICKETS)
    words = [len(asked(row).split()) for row in TICKETS]
    customers = Counter(row["metadata"]["customer"] for row in TICKETS)
    assert (
        card(TRIAGE).items()
        >= {
            "conversations": f"{len(TICKETS)}",
            "customers": f"{len(customers)}, with 1 to {max(customers.values())} conversations",
            "desks": listed(Counter(answer(row) for row in TICKETS)),
            "languages": listed(Counter(row["metadata"]["language"] for row in TICKETS)),
            "channels": listed(Counter(row["metadata"]["channel"] for row in TICKETS)),
            "customer turns": ", ".join(f"{n} in {count}" for n, count in sorted(turns.items())),
            "words of the customer": f"{min(words)} to {max(words)}, mean {sum(words) / len(words):.0f}",
            "share of rows with a shared skeleton": f"{100 * shared_skeletons([asked(r) for r in TICKETS]):.1f} %",
            "accuracy of a bag of words": f"{100 * bag_of_words:.0f} %",
        }.items()
    )


# -- handbook ------------------------------------------------------------------------------------------


def test_handbook_is_large_enough() -> None:
    kinds = Counter(row["metadata"]["kind"] for row in QUESTIONS)
    assert len(PAGES) >= 50
    assert len(QUESTIONS) >= 250
    assert kinds["unanswerable"] >= 20
    assert set(kinds) == {"fact", "two-step", "unanswerable"}
    assert {row["metadata"]["page"] for row in QUESTIONS} >= set(PAGES), "every page is asked about"


def test_every_answer_stands_on_its_page() -> None:
    for line, row in enumerate(QUESTIONS, 1):
        data = row["metadata"]
        assert data["answers"][0] == answer(row), line
        if data["kind"] == "unanswerable":
            assert (data["page"], data["answers"]) == (None, ["not in the handbook"]), line
        else:
            assert answer(row).casefold() in PAGES[data["page"]].casefold(), line


def test_no_question_stands_twice_or_shares_a_skeleton() -> None:
    texts = [asked(row) for row in QUESTIONS]
    assert len({" ".join(text.casefold().split()) for text in texts}) == len(texts)
    assert shared_skeletons(texts) < 0.02


def test_handbook_card() -> None:
    words = [len(page.split()) for page in PAGES.values()]
    assert (
        card(HANDBOOK).items()
        >= {
            "pages": f"{len(PAGES)}, of {min(words)} to {max(words)} words",
            "questions": f"{len(QUESTIONS)}",
            "kinds": listed(Counter(row["metadata"]["kind"] for row in QUESTIONS)),
            "accepted wordings": f"{sum(len(row['metadata']['answers']) for row in QUESTIONS)}",
            "share of rows with a shared skeleton": f"{100 * shared_skeletons([asked(r) for r in QUESTIONS]):.1f} %",
        }.items()
    )


# -- both ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", [TRIAGE / "tickets.jsonl", HANDBOOK / "questions.jsonl"], ids=lambda p: p.stem
)
def test_sample_data_is_clean(path: Path) -> None:
    report = lint(path)
    assert [f for f in report.findings if f.severity != "info"] == []


@pytest.mark.parametrize(("folder", "least"), [(TRIAGE, 100), (HANDBOOK, 75)])
def test_the_test_split_is_large_enough_and_apart(folder: Path, least: int) -> None:
    experiment = Experiment.load(folder / "experiment.yaml")
    found = prepare(experiment, *read_files(experiment))
    assert len(found.test) >= least
    groups = [{s.group for s in part} - {None} for part in (found.train, found.dev, found.test)]
    assert not groups[0] & groups[2] and not groups[0] & groups[1] and not groups[1] & groups[2]
    if folder == TRIAGE:
        assert {s.references[0] for s in found.test} == {s.references[0] for s in found.train}


@pytest.mark.parametrize("folder", [TRIAGE, HANDBOOK], ids=lambda p: p.name)
def test_a_card_tells_origin_licence_and_limits(folder: Path) -> None:
    text = (folder / "README.md").read_text(encoding="utf-8")
    for word in (
        "language model",
        "Apache-2.0",
        "no templates",
        "no second annotator",
        "fictional",
        "production",
    ):
        assert word in text
