"""Contenders: what each sends, what it may see, and the answers and adapters brought along."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from tests.judged_run import NOW, TODAY, Silent, jsonl
from tests.test_backends import make_adapter
from tests.test_retrieval import WordEmbedder
from validators.examples import Example, Message, ToolCall
from workbench.backends import Request
from workbench.backends.echo import EchoBackend
from workbench.backends.hf import HfBackend
from workbench.contenders import (
    ContenderError,
    Fitted,
    Setting,
    fit,
    is_tuned,
    plain_prompt,
    question,
    with_system,
)
from workbench.contenders.fine_tuned import training_rows
from workbench.experiment import Experiment
from workbench.records import Prediction, Prompt, Sample
from workbench.retrieval import CorpusError
from workbench.runner import Session, run
from workbench.runs import Run
from workbench.settings import HfBackend as HfSettings

CANARY = "canary-7f3a"
ROUTES = ["bench", "water", "till"]


def sample(number: int, text: str, answer: str, system: str | None = "Be brief.") -> Sample:
    messages = (*((Message("system", system),) if system else ()), Message("user", text))
    return Sample(
        id=f"id{number}", messages=messages, references=(answer,), group=f"{answer} group", line=number
    )


TRAIN = tuple(
    sample(n, text, ROUTES[n % 3] if n < 9 else "bench")
    for n, text in enumerate(
        [
            "the pump is silent",
            "the tank leaks water",
            "the till charges twice",
            "pump noise",
            "tank smell",
            "card at the till",
            "cold pump",
            "full tank",
            "till drawer stuck",
            "handle broken",
            "button broken",
        ]
    )
)
DEV = (sample(50, "dev question", f"{CANARY}-dev"),)
TEST = tuple(
    sample(100 + n, t, CANARY)
    for n, t in enumerate(["is the pump silent", "water leaks", "the drawer is stuck"])
)


def setting(
    folder: Path, contender: dict[str, Any], *, sources: bool = False, **changed: Any
) -> tuple[Any, Setting]:
    tree = {
        "name": "e",
        "data": {"path": "rows.jsonl", "corpus": "corpus"}
        | ({"sources": "metadata.page"} if sources else {}),
        "backends": {"local": {"kind": "hf", "model": "tiny"}},
        "contenders": [{"name": "c", **contender}],
    }
    (folder / "corpus").mkdir(exist_ok=True)
    (folder / "corpus" / "pump.md").write_text("# Pump\n\nA silent pump is cold.")
    (folder / "corpus" / "tank.md").write_text("# Tank\n\nA tank that leaks water is full.")
    experiment = Experiment.parse(yaml.safe_dump(tree), path=folder / "experiment.yaml")
    embedder = WordEmbedder()
    plain: dict[str, Any] = {
        "experiment": experiment,
        "train": TRAIN,
        "dev": DEV,
        "conversations": {},
        "run": Run(folder / "run"),
        "backend": EchoBackend(),
        "embedder": lambda: embedder,
        "progress": lambda *_: None,
    }
    return experiment.contenders[0], Setting(**(plain | changed))


def fitted(folder: Path, contender: dict[str, Any], **changed: Any) -> Fitted:
    return fit(*setting(folder, contender, **changed))


def texts(prompt: Prompt) -> list[tuple[str, str]]:
    return [(m.role, m.text) for m in prompt.messages]


def shots(prompt: Prompt) -> list[tuple[str, str]]:
    """The (question, answer) pairs shown before the question."""
    turns = [m for m in prompt.messages if m.role != "system"][:-1]
    return [(a.text, b.text) for a, b in zip(turns[::2], turns[1::2], strict=True)]


# -- prompting -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        (None, [("system", "old"), ("user", "q"), ("assistant", "a")]),
        ("new", [("system", "new"), ("user", "q"), ("assistant", "a")]),
        ("", [("system", ""), ("user", "q"), ("assistant", "a")]),
    ],
)
def test_a_system_prompt_replaces_the_one_there_is(
    system: str | None, expected: list[tuple[str, str]]
) -> None:
    messages = (Message("system", "old"), Message("user", "q"), Message("assistant", "a"))
    assert [(m.role, m.text) for m in with_system(messages, system)] == expected
    assert with_system(messages[1:], "new")[0] == Message("system", "new")


def test_zero_shot_sends_the_messages_as_they_are(tmp_path: Path) -> None:
    prompts = fitted(tmp_path, {"kind": "prompting"}).prompts(TEST)
    assert prompts == [Prompt(id=s.id, messages=s.messages) for s in TEST]
    (changed, *_) = fitted(tmp_path, {"kind": "prompting", "system": "Only the route."}).prompts(TEST)
    assert texts(changed) == [("system", "Only the route."), ("user", "is the pump silent")]


def test_the_question_is_the_sample_without_its_answer() -> None:
    asked = question(TEST[0])
    assert (asked.references, asked.group, asked.id, asked.messages) == (
        (),
        None,
        TEST[0].id,
        TEST[0].messages,
    )
    assert plain_prompt(asked).messages == TEST[0].messages


# -- few-shot ------------------------------------------------------------------------------------

KNOWN = {(s.question, s.references[0]) for s in TRAIN}


@pytest.mark.parametrize("choose", ["random", "stratified", "similar"])
@pytest.mark.parametrize("count", [1, 4, 11])
def test_examples_come_from_train_each_once(tmp_path: Path, choose: str, count: int) -> None:
    make = fitted(tmp_path, {"kind": "few-shot", "choose": choose, "examples": count}).prompts
    prompts = make([question(s) for s in TEST])
    for prompt, asked in zip(prompts, TEST, strict=True):
        shown = shots(prompt)
        assert len(shown) == len(set(shown)) == count and set(shown) <= KNOWN
        assert texts(prompt)[0] == ("system", "Be brief.")
        assert texts(prompt)[-1] == ("user", asked.question)
        assert sum(m.role == "system" for m in prompt.messages) == 1
    assert prompts == fitted(tmp_path, {"kind": "few-shot", "choose": choose, "examples": count}).prompts(
        TEST
    )
    assert make([]) == []


def test_stratified_shows_every_answer_the_commonest_first(tmp_path: Path) -> None:
    (prompt, *_) = fitted(tmp_path, {"kind": "few-shot", "choose": "stratified", "examples": 7}).prompts(TEST)
    answers = [a for _, a in shots(prompt)]
    # Five of bench, three each of water and till.
    assert answers[0] == "bench" and set(answers[:3]) == set(ROUTES) == set(answers[3:6])
    assert answers[6] == "bench"


def test_similar_puts_the_nearest_last(tmp_path: Path) -> None:
    near, water, _ = fitted(tmp_path, {"kind": "few-shot", "choose": "similar", "examples": 3}).prompts(TEST)
    assert shots(near)[-1] == ("the pump is silent", "bench")
    assert shots(water)[-1] == ("the tank leaks water", "water")
    embedder = WordEmbedder()
    known = embedder.embed([s.question for s in TRAIN])
    for prompt in (near, water):
        scores = dict(
            zip([s.question for s in TRAIN], known @ embedder.embed([texts(prompt)[-1][1]])[0], strict=True)
        )
        shown = [float(scores[q]) for q, _ in shots(prompt)]
        assert shown == sorted(shown) and shown[-1] == max(scores.values())


def test_more_examples_than_train_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ContenderError, match=r"'c' shows 12 examples, the training split has 11"):
        fitted(tmp_path, {"kind": "few-shot", "examples": 12})


# -- rag -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("retriever", ["bm25", "dense", "hybrid"])
def test_passages_stand_before_the_last_user_message_and_are_recorded(tmp_path: Path, retriever: str) -> None:
    made = fitted(tmp_path, {"kind": "rag", "top_k": 1, "retriever": retriever})
    asked = Sample(
        id="x",
        messages=(
            Message("user", "hello"),
            Message("assistant", "yes?"),
            Message("user", "water leaks", name="ann"),
        ),
        references=("r",),
    )
    (prompt,) = made.prompts([asked])
    passage = "# Tank\n\nA tank that leaks water is full."
    assert texts(prompt) == [
        ("user", "hello"),
        ("assistant", "yes?"),
        ("user", f"Use these passages to answer.\n\n{passage}\n\nQuestion: water leaks\n\nAnswer:"),
    ]
    assert prompt.messages[-1].name == "ann"
    assert [(p.document, p.text) for p in prompt.passages] == [("tank.md", passage)]
    assert made.notes == {"documents": 2, "chunks": 2}


def test_rag_examples_bring_their_own_passages_and_answers(tmp_path: Path) -> None:
    made = fitted(tmp_path, {"kind": "rag", "top_k": 1, "retriever": "bm25", "examples": 2})
    (prompt,) = made.prompts([question(TEST[0])])
    asked = [m for m in prompt.messages if m.role != "system"]
    assert [m.role for m in asked] == ["user", "assistant"] * 2 + ["user"]
    by_question = {s.question: s for s in TRAIN}
    for user, reply in zip(asked[0:4:2], asked[1:4:2], strict=True):
        shown = next(s for q, s in by_question.items() if q in user.text)
        assert reply.text == shown.references[0]
    with pytest.raises(ContenderError, match="Lower `examples`"):
        fitted(tmp_path, {"kind": "rag", "retriever": "bm25", "examples": 60})


def test_a_question_that_finds_nothing_is_sent_bare(tmp_path: Path) -> None:
    made = fitted(tmp_path, {"kind": "rag", "retriever": "bm25", "system": "New."})
    nothing = Sample(id="x", messages=(Message("user", "elephants"),), references=("r",))
    unasked = Sample(id="y", messages=(Message("assistant", "Welcome"),), references=("r",))
    bare, odd = made.prompts([nothing, unasked])
    assert texts(bare) == [("system", "New."), ("user", "elephants")] and bare.passages == ()
    assert texts(odd) == [("system", "New."), ("assistant", "Welcome")] and odd.passages == ()


def test_an_unreadable_corpus_stops_rag(tmp_path: Path) -> None:
    contender, ready = setting(tmp_path, {"kind": "rag"})
    (tmp_path / "corpus" / "x.pdf").write_bytes(b"%PDF")
    with pytest.raises(CorpusError, match=r"x\.pdf"):
        fit(contender, ready)


# -- rag: other contexts, no answer, citations ---------------------------------------------------------

WET = sample(200, "water leaks everywhere", "water")


def with_sources(of: Sample, *names: str) -> Sample:
    return msgspec.structs.replace(of, sources=names)


def test_the_oracle_shows_the_documents_that_answer_and_nothing_else(tmp_path: Path) -> None:
    made = fitted(
        tmp_path, {"kind": "rag", "context": "oracle", "top_k": 1, "retriever": "bm25"}, sources=True
    )
    right, none = made.prompts([with_sources(WET, "pump.md"), with_sources(WET)])
    assert [p.document for p in right.passages] == ["pump.md"] and "A silent pump" in texts(right)[-1][1]
    assert none.passages == () and texts(none)[-1] == ("user", WET.question)
    with pytest.raises(
        ContenderError, match=r"data.sources names documents.*pmup\.md.*for example: pump.md, tank.md"
    ):
        made.prompts([with_sources(WET, "pmup.md")])


def test_the_oracle_takes_what_is_nearest_of_a_long_document(tmp_path: Path) -> None:
    contender, ready = setting(tmp_path, {"kind": "rag", "context": "oracle", "top_k": 2}, sources=True)
    parts = [f"Part {n} tells of {word}. " + "filler " * 90 for n, word in enumerate("abcdefghijklm")]
    (tmp_path / "corpus" / "long.md").write_text("\n\n".join(parts) + "\n\nOf leaks and water here.")
    (prompt,) = fit(contender, ready).prompts([with_sources(WET, "long.md")])
    assert len(prompt.passages) == 8 and "leaks and water" in prompt.passages[-1].text
    order = [parts.index(p.text) for p in prompt.passages if p.text in parts]
    assert order == sorted(order), "in the document's order"


def test_without_context_nothing_of_the_corpus_is_shown(tmp_path: Path) -> None:
    made = fitted(
        tmp_path, {"kind": "rag", "context": "none", "no_answer": "unknown", "citations": True, "examples": 2}
    )
    (prompt,) = made.prompts([WET])
    assert prompt.passages == () and texts(prompt)[-1] == ("user", WET.question)
    assert len(shots(prompt)) == 2 and "assages" not in repr(prompt.messages)


def test_contexts_that_explain_are_no_contenders_to_win(tmp_path: Path) -> None:
    for context, diagnostic in (("retrieved", False), ("oracle", True), ("none", True)):
        settings, _ = setting(tmp_path, {"kind": "rag", "context": context}, sources=True)
        assert settings.diagnostic is diagnostic


def test_no_answer_is_said_where_nothing_was_found_and_taught_where_it_is_missing(tmp_path: Path) -> None:
    contender = {"kind": "rag", "top_k": 1, "retriever": "bm25", "no_answer": "ask a person"}
    asked, nothing = fitted(tmp_path, contender).prompts([WET, sample(201, "elephants", "x")])
    told = "Use these passages to answer.\nIf they do not hold the answer, say exactly: ask a person\n\n"
    assert texts(asked)[-1][1].startswith(f"{told}# Tank")
    assert texts(nothing)[-1][1] == f"{told}(no passage was found)\n\nQuestion: elephants\n\nAnswer:"
    train = (with_sources(TRAIN[1], "tank.md"), with_sources(TRAIN[4], "pump.md"))
    (shown,) = fitted(tmp_path, {**contender, "examples": 2}, train=train).prompts([WET])
    # The tank's page was found for both: for the one whose page is the pump's, the answer is not there.
    assert {a for _, a in shots(shown)} == {"water", "ask a person"}


CITED: list[tuple[str, str, tuple[str, ...]]] = [
    ("full [2]", "full", ("tank.md",)),
    ("full[1][2].", "full.", ("pump.md", "tank.md")),
    ("a [1, 2] b [1]", "a b", ("pump.md", "tank.md")),
    ("see [7]", "see [7]", ()),
    ("see [0] or [x] or []", "see [0] or [x] or []", ()),
    ("none", "none", ()),
    ("[1]", "", ("pump.md",)),
]


@pytest.mark.parametrize(("answer", "text", "documents"), CITED, ids=[c[0] for c in CITED])
def test_citations_are_taken_out_of_the_answer_and_kept(
    tmp_path: Path, answer: str, text: str, documents: tuple[str, ...]
) -> None:
    made = fitted(tmp_path, {"kind": "rag", "retriever": "dense", "citations": True})
    (prompt,) = made.prompts([sample(1, "is the pump silent", "x")])
    assert "[1] # Pump" in texts(prompt)[-1][1] and "[2] # Tank" in texts(prompt)[-1][1]
    read = made.read(prompt, Prediction(id="id1", references=("full",), prediction=answer))
    assert (read.prediction, read.citations) == (text, documents)
    failed = Prediction(id="id1", references=("full",), error="no")
    assert made.read(prompt, failed) == failed


def test_examples_cite_what_answers_them(tmp_path: Path) -> None:
    train = (with_sources(TRAIN[1], "tank.md"), TRAIN[2])
    contender = {"kind": "rag", "retriever": "dense", "citations": True, "examples": 2}
    (prompt,) = fitted(tmp_path, contender, train=train).prompts([WET])
    assert {a for _, a in shots(prompt)} == {"water [1]", "till"}


# -- labels --------------------------------------------------------------------------------------------


def test_answers_are_held_to_the_labels_of_train(tmp_path: Path) -> None:
    for kind in ("prompting", "few-shot"):
        assert fitted(tmp_path, {"kind": kind, "constrain": "labels"}).choices == ("bench", "till", "water")
        assert fitted(tmp_path, {"kind": kind}).choices == ()


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([f"a text of its own, {n}" for n in range(9)], r"no labels \(9 different in 9 rows\)"),
        (["same"] * 5, r"\(1 different in 5 rows\)"),
        ([], r"\(no rows\)"),
    ],
)
def test_free_text_is_no_label(tmp_path: Path, answers: list[str], words: str) -> None:
    train = tuple(sample(n, f"q{n}", a) for n, a in enumerate(answers))
    with pytest.raises(ContenderError, match=rf"'c': constrain: labels .*{words}\. Leave out constrain"):
        fitted(tmp_path, {"kind": "prompting", "constrain": "labels"}, train=train)


# -- tools -----------------------------------------------------------------------------------------------

TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object", "properties": {}}}}
CALLS = json.dumps([{"name": "find", "arguments": {"what": "pump"}}])


def test_examples_of_tool_calls_are_tool_calls(tmp_path: Path, local: HfBackend) -> None:
    train = (msgspec.structs.replace(TRAIN[0], references=(CALLS,), tools=(TOOL,)), TRAIN[1])
    asked = msgspec.structs.replace(TEST[0], tools=(TOOL,))
    contender = {"kind": "few-shot", "choose": "random", "examples": 2}
    (prompt,) = fitted(tmp_path, contender, train=train).prompts([asked])
    assert prompt.tools == (TOOL,)
    called = [m for m in prompt.messages if m.tool_calls]
    assert [(c.name, json.loads(c.arguments)) for m in called for c in m.tool_calls] == [
        ("find", {"what": "pump"})
    ]
    assert [m.content for m in called] == [None]
    # The tiny model's template knows no tool calls: it is shown them as text, not an empty turn.
    (plain,) = fitted(tmp_path, contender, train=train, backend=local).prompts([asked])
    assert CALLS in [m.content for m in plain.messages]
    (rag, *_) = fitted(tmp_path, {"kind": "rag", "retriever": "bm25", "examples": 2}, train=train).prompts(
        [asked]
    )
    assert rag.tools == (TOOL,) and any(m.tool_calls for m in rag.messages)


@pytest.mark.parametrize(("backend", "right"), [("recorded", 1.0), ("echo", 0.0)])
def test_a_run_over_tool_calls(tmp_path: Path, backend: str, right: float) -> None:
    """Tools and calls of the data come through prompts, references, scores and verdict."""

    def row(number: int) -> dict[str, Any]:
        arguments = json.dumps({"part": f"pump {number}"})
        call = {"id": "a", "type": "function", "function": {"name": "find", "arguments": arguments}}
        asked = {"role": "user", "content": f"Where is pump {number}, in row {number * 7919 % 101}?"}
        return {"messages": [asked, {"role": "assistant", "tool_calls": [call]}], "tools": [TOOL]}

    def called(number: int) -> str:
        return json.dumps([{"name": "find", "arguments": {"part": f"pump {number}"}}])

    rows = [row(n) for n in range(30)]
    jsonl(tmp_path / "rows.jsonl", rows)
    recorded = [{"input": r["messages"][0]["content"], "answer": called(n)} for n, r in enumerate(rows)]
    jsonl(tmp_path / "recorded.jsonl", recorded)
    tree = {
        "name": "calls",
        "task": "tools",
        "data": {"path": "rows.jsonl", "split": {"dev": 0.2, "test": 0.3}},
        "backends": {"recorded": {"kind": "replay", "path": "recorded.jsonl"}, "echo": {"kind": "echo"}},
        "contenders": [
            {"name": "zero-shot", "kind": "prompting", "backend": backend},
            {
                "name": "few-shot",
                "kind": "few-shot",
                "examples": [1, 2],
                "choose": "random",
                "backend": backend,
            },
        ],
    }
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(tree))
    made, _ = run(
        Session(
            Experiment.load(path), path, path.read_text(), tmp_path / "runs", Silent(), lambda: NOW, TODAY
        )
    )
    for name in ("zero-shot", "few-shot"):
        score = (made.scores(name) or {})["metrics"]["tool_call_match"]
        assert (score["value"], score["n"]) == (right, 9)
        assert all(p.tools == (TOOL,) for p in made.prompts(name))
    for prompt in made.prompts("few-shot"):
        shown = [c for m in prompt.messages for c in m.tool_calls]
        assert len(shown) == 1 and shown[0].name == "find", "of equal options the cheaper: one example"


# -- predictions ---------------------------------------------------------------------------------


def brought(folder: Path, rows: list[dict[str, Any]], **changed: Any) -> Fitted:
    (folder / "answers.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return fitted(folder, {"kind": "predictions", "path": "answers.jsonl", **changed}, backend=None)


def given(made: Fitted) -> dict[str, Any]:
    prompts = made.prompts([question(s) for s in TEST])
    requests = [Request(prompt=p, references=s.references) for p, s in zip(prompts, TEST, strict=True)]
    return {p.id: p for p in made.backend.answer(requests)}


def test_answers_are_found_by_id_or_by_input(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "id100", "prediction": "bench", "prompt_tokens": 5, "seconds": 0.5, "finish_reason": "stop"},
        {"id": None, "input": "water leaks", "prediction": 7, "usd": 0.25},
        {"id": "id102", "prediction": None},
    ]
    answers = given(brought(tmp_path, rows, usd_per_1000=2.0))
    assert [answers[s.id].prediction for s in TEST] == ["bench", "7", None]
    assert [answers[s.id].usd for s in TEST] == [0.002, 0.25, 0.002]
    assert [answers[s.id].error for s in TEST] == [None, None, "the file gives null"]
    first = answers["id100"]
    assert (first.prompt_tokens, first.seconds, first.finish_reason, first.references) == (
        5,
        0.5,
        "stop",
        (CANARY,),
    )


def test_an_id_goes_before_an_input(tmp_path: Path) -> None:
    rows = [{"id": s.id, "prediction": "by id"} for s in TEST] + [
        {"input": "water leaks", "prediction": "by input"}
    ]
    assert {p.prediction for p in given(brought(tmp_path, rows)).values()} == {"by id"}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"id": "id100", "prediction": "x"}], r"answers 1 of 3 test samples; missing ids: id101, id102\."),
        (
            [{"id": "a", "prediction": "x"}, {"id": "a", "prediction": "y"}],
            "answers.jsonl:2: id 'a' stands twice",
        ),
        (
            [{"input": "a", "prediction": "x"}, {"input": "a", "prediction": "x"}],
            "'a' stands twice: keep one, or",
        ),
        ([{"id": "a", "answer": "x"}], "a row needs `prediction`.* it has: id, answer"),
        ([{"prediction": "x"}], "`id` or `input`"),
        ([{"id": "a", "prediction": "x", "usd": -1}], "usd is -1"),
        ([], "no rows"),
    ],
)
def test_a_faulty_file_of_answers_is_refused(tmp_path: Path, rows: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(ContenderError, match=words):
        given(brought(tmp_path, rows))


def test_a_missing_file_of_answers_is_named(tmp_path: Path) -> None:
    with pytest.raises(ContenderError, match=r"nowhere\.jsonl"):
        fitted(tmp_path, {"kind": "predictions", "path": "nowhere.jsonl"}, backend=None)


# -- fine-tuned ----------------------------------------------------------------------------------


@pytest.fixture
def local(tiny_model: Path) -> HfBackend:
    return HfBackend(HfSettings(kind="hf", model=str(tiny_model), device="cpu", dtype="float32"), tiny_model)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "holds no adapter_config.json"),
        ({"adapter_config.json": "{"}, "is damaged"),
        ({"adapter_config.json": '{"peft_type": "LORA"}'}, "holds no adapter_model.safetensors"),
        (
            {"adapter_config.json": '{"peft_type": "LORA"}', "adapter_model.bin": ""},
            "other weight formats are not read",
        ),
        (
            {"adapter_config.json": '{"peft_type": "IA3"}', "adapter_model.safetensors": ""},
            "kind IA3, LORA is supported",
        ),
        ({"adapter_config.json": "[]", "adapter_model.safetensors": ""}, "LORA is supported"),
    ],
)
def test_a_brought_adapter_is_checked(
    tmp_path: Path, local: HfBackend, files: dict[str, str], words: str
) -> None:
    (tmp_path / "adapter").mkdir()
    for name, content in files.items():
        (tmp_path / "adapter" / name).write_text(content)
    with pytest.raises(ContenderError, match=words):
        fitted(tmp_path, {"kind": "fine-tuned", "adapter": "adapter"}, backend=local)


def test_tuning_needs_a_local_model(tmp_path: Path) -> None:
    with pytest.raises(ContenderError, match="needs a local backend"):
        fitted(tmp_path, {"kind": "fine-tuned"})


def conversation(of: Sample) -> Example:
    return Example((*of.messages, Message("assistant", of.references[0])), line=of.line)


def test_training_sees_train_and_dev_and_no_test(
    tmp_path: Path, local: HfBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    class Done:
        def as_dict(self) -> dict[str, Any]:
            return {"steps": 1}

    def train(settings: Any, rows: Any, dev: Any, *_: Any) -> Done:
        seen.extend([settings, dict(rows), dict(dev)])
        return Done()

    monkeypatch.setattr("workbench.contenders.fine_tuned.fine_tune", train)
    everything = {s.id: conversation(s) for s in (*TRAIN, *DEV, *TEST)}
    made = fitted(tmp_path, {"kind": "fine-tuned", "rank": 3}, backend=local, conversations=everything)
    assert set(seen[1]) == {s.id for s in TRAIN} and set(seen[2]) == {s.id for s in DEV}
    assert (seen[0].rank, seen[0].name, seen[0].dtype) == (3, "c", "float32")
    assert made.training == {"steps": 1} and made.adapter == Run(tmp_path / "run").adapter_folder("c")


def test_a_model_trained_whole_answers_in_the_place_of_the_base(tmp_path: Path, local: HfBackend) -> None:
    everything = {s.id: conversation(s) for s in (*TRAIN[:4], *DEV[:1])}
    options = {"kind": "fine-tuned", "method": "full", "epochs": 3, "batch_size": 4, "learning_rate": 0.01}
    made = fitted(tmp_path, options, backend=local, conversations=everything, train=TRAIN[:4], dev=DEV[:1])
    assert made.adapter == Run(tmp_path / "run").contender_folder("c") / "model" and made.backend is local
    assert (made.adapter / "tokenizer.json").exists()
    requests = [Request(prompt=prompt, references=("a",)) for prompt in made.prompts(TEST[:1])]
    before, tuned, after = (list(local.answer(requests, adapter=a)) for a in (None, made.adapter, None))
    assert tuned[0].error is None and tuned[0].reference_nats != before[0].reference_nats
    assert before[0].reference_nats == after[0].reference_nats


CONTEXTS: list[tuple[dict[str, Any], int]] = [
    ({}, 4),
    ({"distractors": 1}, 2),
    ({"distractors": 0}, 1),
    ({"top_k": 2}, 2),
]


@pytest.mark.parametrize(("options", "size"), CONTEXTS, ids=[str(c[0]) for c in CONTEXTS])
def test_tuning_with_rag_trains_on_the_right_passage_among_others(
    tmp_path: Path, local: HfBackend, options: dict[str, Any], size: int
) -> None:
    train = tuple(with_sources(sample(n, f"water leaks, case {n}", "water"), "tank.md") for n in range(60))
    dev = (sample(300, "a cold pump", "bench"),)
    conversations = {s.id: conversation(s) for s in (*train, *dev)}
    contender = {
        "kind": "fine-tuned",
        "with": "rag",
        "no_answer": "ask a person",
        "citations": True,
        **options,
    }
    settings, ready = setting(
        tmp_path, contender, backend=local, train=train, dev=dev, conversations=conversations
    )
    for n in range(6):
        (tmp_path / "corpus" / f"other{n}.md").write_text(f"# Other {n}\n\nWater leaks in house {n}.")
    rows, dev_rows = training_rows(settings, ready)
    again, _ = training_rows(settings, ready)
    assert rows == again and set(rows) == {s.id for s in train} and set(dev_rows) == {"id300"}
    lacking, places = 0, set()
    for row in rows.values():
        asked, reply = row.messages[-2].text, row.messages[-1].text
        assert len(re.findall(r"\[\d\] # ", asked)) == size
        if "# Tank" not in asked:
            lacking += 1
            assert reply == "ask a person"
        else:
            place = re.search(r"\[(\d)\] # Tank", asked)
            assert place and reply == f"water [{place[1]}]"
            places.add(place[1])
    assert 3 <= lacking <= 24 and len(places) == size, "a fifth lacks it; it stands in any place"
    top_k = settings.top_k
    assert dev_rows["id300"].messages[-2].text.count("] # ") == top_k, (
        "dev has what a test question will have"
    )
    (prompt,) = _asked(settings, ready)
    assert len(prompt.passages) == top_k and dict(texts(prompt))["user"].endswith(
        "Question: water leaks\n\nAnswer:"
    )


def _asked(settings: Any, ready: Setting) -> list[Prompt]:
    """The tuned contender's prompt for a question, its adapter brought along."""
    adapter_in(ready.experiment.folder, ready.backend.folder)  # type: ignore[union-attr]
    return fit(settings.model_copy(update={"adapter": "adapter"}), ready).prompts([question(TEST[1])])


def test_only_the_asked_turn_trains_with_passages(tmp_path: Path, local: HfBackend) -> None:
    messages = (Message("user", "hello"), Message("assistant", "yes?"), Message("user", "water leaks"))
    of = Sample(id="x", messages=messages, references=("water",), line=3)
    call = Message("assistant", None, tool_calls=(ToolCall("1", "find", "{}"),))
    whole = Example((*messages, call), line=3)
    settings, ready = setting(
        tmp_path,
        {"kind": "fine-tuned", "with": "rag", "top_k": 1},
        backend=local,
        train=(of,),
        conversations={"x": whole},
    )
    (row,) = training_rows(settings, ready)[0].values()
    assert [m.weight for m in row.messages] == [None, 0, None, None] and row.messages[-1] == call
    assert "A tank that leaks" in row.messages[2].text


# -- all kinds -----------------------------------------------------------------------------------


def adapter_in(folder: Path, model: Path) -> None:
    make_adapter(model, folder / "adapter")


def answers_in(folder: Path, _: Path) -> None:
    (folder / "answers.jsonl").write_text(
        "".join(json.dumps({"id": s.id, "prediction": "x"}) + "\n" for s in TEST)
    )


KINDS: list[tuple[dict[str, Any], Callable[[Path, Path], None] | None, bool]] = [
    ({"kind": "prompting"}, None, False),
    ({"kind": "prompting", "system": "Only the route."}, None, False),
    ({"kind": "few-shot", "choose": "random", "examples": 5}, None, False),
    ({"kind": "few-shot", "choose": "stratified", "examples": 5}, None, False),
    ({"kind": "few-shot", "choose": "similar", "examples": 5}, None, False),
    ({"kind": "rag", "retriever": "bm25"}, None, False),
    ({"kind": "rag", "retriever": "dense"}, None, False),
    ({"kind": "rag", "retriever": "hybrid"}, None, False),
    ({"kind": "rag", "retriever": "bm25", "examples": 3}, None, False),
    ({"kind": "rag", "retriever": "bm25", "citations": True, "no_answer": "no"}, None, False),
    ({"kind": "rag", "context": "none", "examples": 3}, None, False),
    ({"kind": "few-shot", "choose": "random", "constrain": "labels"}, None, False),
    ({"kind": "fine-tuned", "with": "rag", "adapter": "adapter"}, adapter_in, True),
    ({"kind": "fine-tuned", "adapter": "adapter"}, adapter_in, True),
    ({"kind": "predictions", "path": "answers.jsonl"}, answers_in, False),
    ({"kind": "predictions", "path": "answers.jsonl", "tuned": True}, answers_in, True),
]


@pytest.mark.parametrize(
    ("contender", "prepare", "tuned"), KINDS, ids=[" ".join(map(str, k[0].values())) for k in KINDS]
)
def test_no_prompt_holds_a_test_answer(
    tmp_path: Path,
    local: HfBackend,
    contender: dict[str, Any],
    prepare: Callable[[Path, Path], None] | None,
    tuned: bool,
) -> None:
    """Neither of the questions contenders are handed, nor if a sample came whole; nor of dev."""
    if prepare is not None:
        prepare(tmp_path, local.folder)
    conversations = {s.id: conversation(s) for s in (*TRAIN, *DEV, *TEST)}
    settings, ready = setting(tmp_path, contender, backend=local, conversations=conversations)
    assert is_tuned(settings) is tuned
    made = fit(settings, ready)
    stripped, whole = made.prompts([question(s) for s in TEST]), made.prompts(TEST)
    assert stripped == whole
    assert [p.id for p in whole] == [s.id for s in TEST]
    assert CANARY not in repr(whole)
    assert all(s.question in texts(p)[-1][1] for p, s in zip(whole, TEST, strict=True))
