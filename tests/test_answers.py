"""Answers made elsewhere: files that the tools themselves wrote, files made to trouble the reader, runs over them."""

from __future__ import annotations

import contextlib
import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.judged_run import Answers as Marks
from tests.judged_run import jsonl, judged, run_it
from validators.reading import DataError
from workbench.answers import FORMATS, AnswersError, archive, fingerprint, read_all, read_answers
from workbench.answers_run import experiment_of
from workbench.pairing import PairingError

FILES = Path(__file__).parent / "answers"
DESKS = ("till", "post", "bench", "till", "post", "bench", "till", "post")
# What the answering models were told to say; the seventh question was made to fail where a server answers.
SAID = ("till", "post", "bench", "till", "post office", "bench", "post", "post")


def one(folder: str, pattern: str) -> Path:
    (found,) = (FILES / folder).glob(pattern)
    return found


# -- lm-evaluation-harness -----------------------------------------------------------------------


def test_a_folder_of_the_harness_holds_every_task_and_filter() -> None:
    found = {a.name: a for a in read_all(FILES / "lm_eval" / "table")}
    assert list(found) == ["desks_choice", "desks_story", "desks_words/whole", "desks_words/first-word"]
    whole, first = found["desks_words/whole"], found["desks_words/first-word"]
    assert [r.prediction for r in whole.rows] == ["till desk", *SAID[1:]]
    assert [r.prediction for r in first.rows] == [text.split()[0] for text in SAID]
    assert [r.references for r in whole.rows] == [(desk,) for desk in DESKS]
    # The harness's own scores, as its results file sums them up: 0.625 and 0.875.
    assert whole.scores["exact_match"] == (0, 1, 1, 1, 0, 1, 0, 1)
    assert first.scores["exact_match"] == (1, 1, 1, 1, 1, 1, 0, 1)
    assert [r.id for r in first.rows] == [str(i) for i in range(8)]
    assert first.rows[0].input == "Which desk takes a card charged twice?"


def test_multiple_choice_becomes_the_chosen_option() -> None:
    table = read_answers(f"{FILES / 'lm_eval' / 'table'}#desks_choice")
    assert [r.prediction for r in table.rows] == [
        "till",
        "post",
        "bench",
        "till",
        "post",
        "bench",
        "post",
        "post",
    ]
    assert [r.references[0] for r in table.rows] == list(DESKS)
    for answers in (table, read_answers(f"{FILES / 'lm_eval' / 'dummy'}#desks_choice")):
        right = [float(r.prediction in r.references) for r in answers.rows]
        assert answers.scores["acc"] == tuple(right)


def test_a_task_of_likelihoods_has_no_text() -> None:
    answers = read_answers(one("lm_eval/table", "samples_desks_story*"))
    first = answers.rows[0]
    assert (first.prediction, first.error, first.reference_nats, first.reference_bytes) == (
        None,
        None,
        10.0,
        43,
    )
    assert answers.scores == {}


@pytest.mark.parametrize(
    ("change", "prediction", "references"),
    [
        ({}, "b", ("a",)),
        ({"target": "a"}, "b", ("a",)),
        ({"target": "[0, 1]"}, "b", ("a", "b")),
        # As written before 0.4.4: requests as lists, no filter's name.
        ({"arguments": [["q", " a"], ["q", " b"]], "filter": None}, "b", ("a",)),
        # The options of acc_mutual_info are asked once more, without the question.
        (
            {"filtered_resps": [["-2.0", "False"], ["-1.0", "True"], ["-0.1", "True"], ["-9.0", "False"]],
             "acc_mutual_info": 0.0},
            "b",
            ("a",),
        ),
        # Two questions and one ending, as in Winogrande: options are told apart by their numbers.
        ({"arguments": [["q1", " e"], ["q2", " e"]]}, "1", ("0",)),
        ({"filtered_resps": ["said", "otherwise"], "target": "x"}, "said", ("x",)),
        ({"filtered_resps": [["said"]], "target": ["x", "y"]}, "said", ("x", "y")),
        ({"filtered_resps": ["7"], "target": "7"}, "7", ("7",)),
    ],
)  # fmt: skip
def test_shapes_that_the_harness_writes(
    tmp_path: Path, change: dict[str, Any], prediction: str, references: tuple[str, ...]
) -> None:
    row = {
        "doc_id": 3,
        "doc": {"q": "which?"},
        "target": "0",
        "arguments": {
            "gen_args_0": {"arg_0": "q", "arg_1": " a"},
            "gen_args_1": {"arg_0": "q", "arg_1": " b"},
        },
        "filtered_resps": [["-2.0", "False"], ["-1.0", "True"]],
        "filter": "none",
        "acc": 0.0,
        **change,
    }
    jsonl(tmp_path / "s.jsonl", [{k: v for k, v in row.items() if v is not None}])
    (answer,) = read_answers(tmp_path / "s.jsonl").rows
    assert (answer.prediction, answer.references, answer.id) == (prediction, references, "3")


def test_scores_that_are_no_numbers_are_none_with_a_note(tmp_path: Path) -> None:
    row = {"doc_id": 0, "doc": {}, "target": "x", "filtered_resps": ["x"], "bleu": ["x", "x"], "by": "hand"}
    rows = [
        row | {"f1": float("nan")},
        row | {"f1": 0.5, "doc_id": 1},
        row | {"f1": float("inf"), "doc_id": 2},
    ]
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    answers = read_answers(tmp_path / "s.jsonl")
    assert answers.scores == {"f1": (None, 0.5, None)}
    told = {note.split(":")[0]: note for note in answers.notes}
    assert set(told) == {"f1", "by", "bleu"} and "2 of 3 rows hold no finite number" in told["f1"]


# -- promptfoo -----------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["results.json", "results.jsonl"])
def test_each_provider_and_prompt_of_promptfoo_is_a_contender(file: str) -> None:
    found = {a.name: a for a in read_all(FILES / "promptfoo" / file)}
    assert list(found) == ["echo/1", "echo/2", "table/1", "table/2"]
    table, echo = found["table/1"], found["echo/2"]
    assert [r.prediction for r in table.rows] == [None if i == 6 else text for i, text in enumerate(SAID)]
    # A failed assertion is a wrong answer; only the provider's error is a failure.
    assert [r.error for r in table.rows] == [None] * 6 + ["HTTP 500", None]
    assert not any(r.error for r in echo.rows)
    assert table.scores["score"] == (1, 1, 1, 1, 0, 1, None, 1) == table.scores["pass"]
    assert {r.references for r in table.rows} == {("till",), ("post",), ("bench",)}
    first = table.rows[0]
    assert (first.prompt_tokens, first.completion_tokens, first.usd) == (12, 1, 0.00002)
    assert first.input == "Which desk takes a card charged twice?" and first.tags == {"customer": "c0"}
    assert [r.id for r in table.rows] == [r.id for r in echo.rows]


def promptfoo(folder: Path, *rows: dict[str, Any]) -> Path:
    plain = {"provider": {"id": "p"}, "vars": {"question": "q", "answer": "a"}, "response": {"output": "x"}}
    path = folder / "r.json"
    path.write_text(json.dumps({"version": 3, "results": {"results": [plain | row for row in rows]}}))
    return path


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({}, {"prediction": "x", "references": ("a",), "error": None}),
        ({"response": {"output": {"desk": "till"}}}, {"prediction": '{"desk": "till"}'}),
        ({"response": {"output": ""}}, {"prediction": "", "error": None}),
        ({"response": None, "error": "no key"}, {"prediction": None, "error": "no key"}),
        ({"error": "wrong", "failureReason": 1}, {"prediction": "x", "error": None}),
        ({"error": "broke", "failureReason": 2}, {"prediction": None, "error": "broke"}),
        ({"provider": "openai:gpt"}, {"prediction": "x"}),
        ({"vars": {"id": 7, "question": "q", "expected": ["a", "b"]}}, {"id": "7", "references": ("a", "b")}),
        ({"vars": {"doc": "d", "lang": "fr"}}, {"input": "doc: d\nlang: fr", "references": ()}),
        (
            {"testCase": {"assert": [{"type": "equals", "value": "the {{ answer }}"}, {"type": "is-json"}]}},
            {"references": ("the a",)},
        ),
        ({"testCase": {"assert": [{"type": "equals", "value": "file://x.txt"}]}}, {"references": ("a",)}),
        ({"latencyMs": 1500}, {"seconds": 1.5}),
        ({"latencyMs": 2, "response": {"output": "x", "cached": True}}, {"seconds": None}),
        ({"metadata": {"group": "g"}}, {"group": "g"}),
    ],
)
def test_shapes_that_promptfoo_writes(tmp_path: Path, row: dict[str, Any], expected: dict[str, Any]) -> None:
    (answer,) = read_answers(promptfoo(tmp_path, row)).rows
    assert {field: getattr(answer, field) for field in expected} == expected


def test_repeats_are_numbered_and_grouped(tmp_path: Path) -> None:
    answers = read_answers(promptfoo(tmp_path, {}, {}, {"vars": {"id": "other", "question": "r"}}))
    ids = [r.id for r in answers.rows]
    assert ids[0] is not None and ids[0].endswith("#1") and ids[1] == ids[0][:-1] + "2"
    assert answers.rows[0].group == answers.rows[1].group == ids[0][:-2] != answers.rows[2].group


# -- Inspect -------------------------------------------------------------------------------------


def test_a_log_of_inspect_with_epochs() -> None:
    first, table = (read_answers(FILES / "inspect" / name) for name in ("first.eval", "table.json"))
    assert first.name == table.name == "desks/mockllm/model" and first.model == "mockllm/model"
    assert {r.id for r in first.rows} == {f"t{i}#{epoch}" for i in range(1, 9) for epoch in (1, 2)}
    assert [r.group for r in first.rows] == [str(r.id).split("#")[0] for r in first.rows]
    # Twice six of eight were right: accuracy 0.750 in the log.
    assert sum(v or 0 for v in first.scores["match"]) == 12
    failed = [r for r in table.rows if r.error]
    assert [r.group for r in failed] == ["t7", "t7"] and "hung up" in str(failed[0].error)
    assert table.scores["match"].count(None) == 2
    row = table.rows[0]
    assert (row.input, row.prediction, row.references) == (
        "Which desk takes a card charged twice?",
        "till",
        ("till",),
    )
    assert (row.prompt_tokens, row.completion_tokens, row.finish_reason) == (12, 1, "stop")


def inspect_log(**change: Any) -> dict[str, Any]:
    sample = {
        "id": 1,
        "epoch": 1,
        "input": "q",
        "target": "a",
        "output": {"choices": [{"message": {"content": "x"}, "stop_reason": "stop"}], "completion": "x"},
        "scores": {"match": {"value": "I"}},
        **change,
    }
    return {"version": 2, "status": "success", "eval": {"task": "t", "model": "m"}, "samples": [sample]}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {"id": "1", "prediction": "x", "references": ("a",), "input": "q"}),
        ({"target": ["a", "b"]}, {"references": ("a", "b")}),
        (
            {"input": [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "u"}]}]},
            {"input": "u"},
        ),
        (
            {"output": {"choices": [{"message": {"content": [{"type": "reasoning", "reasoning": "hm"},
                                                             {"type": "text", "text": "y"}]}}]}},
            {"prediction": "y"},
        ),
        ({"output": {"choices": [], "completion": ""}}, {"prediction": None, "error": "the model gave no output"}),
        ({"output": {"choices": [{"message": {"content": ""}}]}}, {"prediction": "", "error": None}),
        ({"error": {"message": "boom"}}, {"prediction": None, "error": "boom"}),
        ({"invalidation": {"author": "ann"}}, {"error": "the sample was invalidated"}),
        (
            {"output": {"choices": [{"message": {"content": "x"}, "stop_reason": "max_tokens"}]}},
            {"finish_reason": "length"},
        ),
        (
            {"output": {"choices": [{"message": {"content": ""}}], "completion": "attachment://h"},
             "attachments": {"h": "long"}},
            {"prediction": "long"},
        ),
        ({"model_usage": {"m": {"input_tokens": 5, "output_tokens": 2, "total_cost": 0.5}, "grader": {}}},
         {"prompt_tokens": 5, "completion_tokens": 2, "usd": 0.5}),
        ({"metadata": {"group": 3, "shop": "s"}}, {"group": "3", "tags": {"shop": "s"}}),
        (
            {"output": {"choices": [{"message": {"content": "", "tool_calls":
                [{"id": "c", "function": "f", "arguments": {"x": 1}}]}}]}},
            {"tool_calls": ({"id": "c", "name": "f", "arguments": {"x": 1}},)},
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("packed", [False, True])
def test_shapes_that_inspect_writes(
    tmp_path: Path, change: dict[str, Any], expected: dict[str, Any], packed: bool
) -> None:
    log = inspect_log(**change)
    path = tmp_path / "log"
    if packed:
        samples = log.pop("samples")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("header.json", json.dumps(log))
            file.writestr("samples/1_epoch_1.json", json.dumps(samples[0]))
            file.writestr("../../outside.json", "{}")
    else:
        path.write_text(json.dumps(log))
    (answer,) = read_answers(path).rows
    assert {field: getattr(answer, field) for field in expected} == expected
    assert [p.name for p in tmp_path.rglob("*")] == ["log"]


@pytest.mark.parametrize(
    ("value", "scores"),
    [
        ("C", {"s": 1.0}), ("P", {"s": 0.5}), ("N", {"s": 0.0}), (True, {"s": 1.0}), ("yes", {"s": 1.0}),
        ("0.25", {"s": 0.25}), (7, {"s": 7.0}), ({"x": "I", "y": 2}, {"s.x": 0.0, "s.y": 2.0}),
        (float("nan"), {}), ("fine", {}), ([1, 2], {}),
    ],
)  # fmt: skip
def test_scores_of_inspect_become_numbers(tmp_path: Path, value: Any, scores: dict[str, float]) -> None:
    (tmp_path / "log.json").write_text(json.dumps(inspect_log(scores={"s": {"value": value}})))
    answers = read_answers(tmp_path / "log.json")
    assert {name: column[0] for name, column in answers.scores.items()} == scores
    assert bool(answers.notes) == (not scores)


# -- rows and runs of ours -----------------------------------------------------------------------


def test_plain_rows_in_three_dresses(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "prediction": "x", "reference": "x", "group": "g", "seconds": 0.5, "quality": 3},
        {"id": "b", "prediction": "", "reference": "y", "group": "g", "seconds": 1, "quality": 4.5},
        {"id": "c", "prediction": "z", "reference": "z", "group": "h", "seconds": 2, "quality": 1},
    ]
    jsonl(tmp_path / "r.jsonl", rows)
    (tmp_path / "r.json").write_text(json.dumps(rows, indent=2))
    lines = [",".join(rows[0]), *(",".join(str(v) for v in row.values()) for row in rows)]
    (tmp_path / "r.csv").write_text("\n".join(lines))
    by_line, array, table = (read_answers(tmp_path / name) for name in ("r.jsonl", "r.json", "r.csv"))
    for answers in (by_line, array, table):
        assert [r.prediction for r in answers.rows] == ["x", "", "z"]
        assert [r.references for r in answers.rows] == [("x",), ("y",), ("z",)]
        assert [(r.group, r.seconds) for r in answers.rows] == [("g", 0.5), ("g", 1), ("h", 2)]
        assert answers.scores == {"quality": (3, 4.5, 1)}


def test_a_run_folder_and_its_contenders(tmp_path: Path) -> None:
    run, _ = judged(tmp_path, {"few-shot": Marks("+-!+"), "lora": Marks("++++", tuned=True)})
    assert [a.name for a in read_all(run.folder)] == ["few-shot", "lora"]
    by_name = read_answers(f"{run.folder}#few-shot")
    assert by_name == read_answers(run.folder / "contenders" / "few-shot")
    assert [r.error for r in by_name.rows] == [None, None, "HTTP 500", None]
    assert by_name.rows[0].input and by_name.rows[0].input.startswith("Ticket number 0000")
    assert by_name.scores["exact_match"] == (1, 0, None, 1)
    with pytest.raises(AnswersError, match=r"holds 2 contenders: few-shot, lora. Name one: .*#few-shot"):
        read_answers(run.folder)
    with pytest.raises(AnswersError, match=r"no contender is called 'fewshot'. Did you mean 'few-shot'"):
        read_answers(f"{run.folder}#fewshot")


def test_formats_are_told_apart_by_content_not_by_name(tmp_path: Path) -> None:
    for source, format in {
        one("lm_eval/dummy", "samples_desks_words*"): "lm-eval",
        FILES / "promptfoo" / "results.json": "promptfoo",
        FILES / "inspect" / "first.eval": "inspect",
        FILES / "inspect" / "table.json": "inspect",
    }.items():
        (tmp_path / "nameless").write_bytes(source.read_bytes())
        assert {a.format for a in read_all(tmp_path / "nameless")} == {format}
    assert len({f.name for f in FORMATS}) == len(FORMATS)


def test_a_hash_sign_may_belong_to_the_path(tmp_path: Path) -> None:
    jsonl(tmp_path / "run#2" / "a#b.jsonl", [{"id": "1", "prediction": "x"}])
    assert read_answers(tmp_path / "run#2" / "a#b.jsonl").rows[0].id == "1"
    assert read_answers(f"{tmp_path / 'run#2' / 'a#b.jsonl'}#a#b").name == "a#b"


def test_a_fingerprint_follows_the_content(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", [{"id": "1", "prediction": "x"}])
    before = fingerprint(tmp_path / "a.jsonl"), fingerprint(tmp_path)
    assert fingerprint(f"{tmp_path / 'a.jsonl'}#a") == before[0]
    jsonl(tmp_path / "a.jsonl", [{"id": "1", "prediction": "y"}])
    assert before[0] != fingerprint(tmp_path / "a.jsonl") and before[1] != fingerprint(tmp_path)


# -- bad input -----------------------------------------------------------------------------------


def text(content: str) -> Callable[[Path], None]:
    return blob(content.encode())


def blob(content: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(content)

    return make


def folder(**files: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.mkdir()
        for name, content in files.items():
            (path / name).write_text(content)

    return make


def packed(**members: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in members.items():
                file.writestr(name.replace("__", "/") + ".json", content)

    return make


def torn(path: Path) -> None:
    packed(header="{}", samples__1=json.dumps({"id": 1}))(path)
    data = bytearray(path.read_bytes())
    data[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(data)


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "nothing there": (lambda path: None, "there is no such file"),
    "empty": (text(""), "no rows"),
    "binary": (blob(b"\x7fELF\x00\x01\x02"), "binary data"),
    "not UTF-8": (blob(b'{"id": "\xff\xfe"}\n{"id": 2}\n'), "not JSON"),
    "prose": (text("Dear all,\n"), "a value is expected"),
    "broken JSON": (text('{"a": 1,\n'), "not JSON"),
    "numbers": (text("[1, 2]"), "a row must be a JSON object"),
    "an object of another kind": (text('{"metrics": {"f1": 0.5}}'), "it has: metrics. Read are: a run folder"),
    "rows of another kind": (text('{"text": "x"}\n' * 2), ":1: a row needs `prediction`.* it has: text"),
    "a mistyped column": (text('{"id": 1, "predicton": "x"}\n' * 2), "Did you mean 'prediction'"),
    "a row without id": (text('{"id": 1, "prediction": "x"}\n{"prediction": "x"}\n'), ":2: a row needs"),
    "a null prediction is a failure, a bad time is not": (
        text('{"id": 1, "prediction": null, "seconds": "fast"}\n'), "seconds is 'fast'"),
    "NaN in a row": (text('{"id": 1, "prediction": "x", "score": NaN}\n'), "NaN is not a JSON number"),
    "a folder of nothing": (folder(), "a folder without answers"),
    "a folder without logs": (folder(notes="hello", data='{"text": 1}\n{"text": 2}'), "It holds: data, notes. Read are"),
    "a zip of another kind": (packed(a="{}"), "found a zip archive with a.json. Read are"),
    "a zip that ends early": (blob(b"PK\x03\x04" + b"\x00" * 90), "damaged zip archive"),
    "a torn member": (torn, "damaged"),
    "a log without samples": (packed(header='{"eval": {}, "status": "error"}'), "holds no samples .status error."),
    "a sample without id": (packed(header='{"eval": {}}', samples__1="{}"), "sample 1 has no id"),
    "a sample that is no object": (packed(header='{"eval": {}}', samples__1="[]"), "is no JSON object"),
    "promptfoo without variables": (
        text('{"results": {"results": [{"provider": "p", "vars": null}]}}'), "result 1 .* no `vars`"),
    "a sample of the harness cut short": (
        text('{"doc_id": 1, "doc": {}, "filtered_resps": []}\n' * 2), "lacks target"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_says_what_was_found(tmp_path: Path, case: str) -> None:
    make, words = BAD[case]
    path = tmp_path / "answers"
    make(path)
    with pytest.raises((AnswersError, DataError), match=words) as told:
        read_answers(path)
    assert str(path) in str(told.value)


def test_one_contender_twice_in_a_folder_is_refused() -> None:
    with pytest.raises(AnswersError, match=r"both hold desks_choice. Name one of the files"):
        read_all(FILES / "lm_eval")


def zeros(path: Path, size: int, claimed: int | None) -> Path:
    """A log whose sample unpacks to `size` zeros and claims to be `claimed` long."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("header.json", '{"eval": {}}')
        file.writestr("samples/1_epoch_1.json", b"0" * size)
    if claimed is not None:
        data = path.read_bytes()
        path.write_bytes(data.replace(size.to_bytes(4, "little"), claimed.to_bytes(4, "little")))
    return path


@pytest.mark.parametrize(
    ("size", "claimed", "words"),
    [
        (20_000, None, "would unpack to more than"),
        (20_000, 100, "would unpack to more than"),
        (900, 100, "damaged"),
    ],
)
def test_a_bomb_is_refused_whatever_it_claims(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, claimed: int | None, words: str
) -> None:
    monkeypatch.setattr(archive, "MEMBER_BYTES", 1000)
    with pytest.raises(AnswersError, match=words):
        read_answers(zeros(tmp_path / "bomb.eval", size, claimed))


def test_many_members_are_a_bomb_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "TOTAL_BYTES", 1000)
    with pytest.raises(AnswersError, match="all members to more than"):
        read_answers(zeros(tmp_path / "bomb.eval", 1500, None))


def test_unpacking_stops_at_the_limit() -> None:
    packed_ = zlib.compressobj(wbits=-15)
    data = packed_.compress(b"0" * 10_000_000) + packed_.flush()
    assert len(archive._unpack(zipfile.ZIP_DEFLATED, data, 1000, "x")) == 1000


# -- answers as contenders -----------------------------------------------------------------------


def chats(path: Path) -> list[dict[str, Any]]:
    questions = [r.input or "" for r in read_answers(f"{FILES / 'lm_eval' / 'table'}#whole").rows]
    rows = [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}
        for q, a in zip(questions, DESKS, strict=True)
    ]
    jsonl(path, rows)
    return rows


def test_files_of_other_tools_are_contenders_of_an_experiment(tmp_path: Path) -> None:
    """Matched by the question's text, wherever the tool keeps it."""
    chats(tmp_path / "test.jsonl")
    named = {
        "harness": f"{FILES / 'lm_eval' / 'table'}#whole",
        "foo": f"{FILES / 'promptfoo' / 'results.json'}#table/2",
        "choice": str(one("lm_eval/dummy", "samples_desks_choice*")),
    }
    tree = {
        "name": "e",
        "data": {"test": "test.jsonl"},
        "backends": {"none": {"kind": "echo"}},
        "contenders": [
            {"name": name, "kind": "predictions", "path": path, "tuned": name == "harness"}
            for name, path in named.items()
        ],
        "metrics": {"primary": "exact_match", "also": []},
    }
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(tree))
    run, verdict = run_it(tmp_path / "e.yaml", tmp_path / "runs")
    assert {c.name: (c.score, c.errors) for c in verdict.contenders} == {
        "harness": (5 / 8, 0), "foo": (6 / 7, 1), "choice": (1 / 4, 0)
    }  # fmt: skip
    assert [p.prediction for p in run.predictions("harness")] == ["till desk", *SAID[1:]]
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(tree).replace("#whole", "#desks_story"))
    with pytest.raises(ValueError, match=r"'harness'.* hold no text, only scores or likelihoods"):
        run_it(tmp_path / "e.yaml", tmp_path / "runs")


# -- a verdict over answers made elsewhere -------------------------------------------------------


def plain(folder: Path, name: str, right: int, n: int = 60, **more: Any) -> Any:
    rows = [
        {"id": f"q{i}", "input": f"Question {i}?", "prediction": "yes" if i < right else "no", "reference": "yes",
         "group": f"g{i // 2}", **more}
        for i in range(n)
    ]  # fmt: skip
    jsonl(folder / f"{name}.jsonl", rows)
    return read_answers(folder / f"{name}.jsonl")


def test_answers_made_elsewhere_become_a_run_with_a_verdict(tmp_path: Path) -> None:
    answers = {
        "base": plain(tmp_path, "base", 20),
        "lora": plain(tmp_path, "lora", 50, usd=0.001, seconds=0.5),
    }
    path = experiment_of(answers, ["lora"], None, {"worth_it": 0.1}, tmp_path / "out")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"experiment.yaml", "test.jsonl", "answers"}
    run, verdict = run_it(path, tmp_path / "runs")
    assert (verdict.headline, verdict.reason, verdict.choice) == ("tune", "quality", "lora")
    assert (verdict.n, verdict.groups, verdict.margin) == (60, 30, 0.1)
    assert {c.name: c.score for c in verdict.contenders} == {"base": 1 / 3, "lora": 5 / 6}
    assert {c.usd_per_1000 for c in verdict.contenders} == {None, 1.0}
    assert [s.question for s in run.samples()] == [f"Question {i}?" for i in range(60)]


def test_epochs_and_questions_without_text_keep_their_samples(tmp_path: Path) -> None:
    answers = {
        name: read_answers(FILES / "inspect" / f"{name}.{end}")
        for name, end in (("first", "eval"), ("table", "json"))
    }
    path = experiment_of(answers, ["table"], "token_f1", {}, tmp_path / "out")
    run, verdict = run_it(path, tmp_path / "runs")
    assert (verdict.n, verdict.groups) == (16, 8) and len({s.id for s in run.samples()}) == 16
    for name in ("x", "y"):
        jsonl(
            tmp_path / f"{name}.jsonl",
            [{"id": f"q{i}", "prediction": name, "references": ["x", "z"]} for i in range(3)],
        )
    path = experiment_of(
        {name: read_answers(tmp_path / f"{name}.jsonl") for name in ("x", "y")},
        [],
        None,
        {},
        tmp_path / "more",
    )
    run, verdict = run_it(path, tmp_path / "runs")
    assert [s.question for s in run.samples()] == ["q0", "q1", "q2"]
    assert run.samples()[0].references == ("x", "z")


def test_likelihoods_alone_reach_a_verdict(tmp_path: Path) -> None:
    answers = {name: read_answers(f"{FILES / 'lm_eval' / name}#desks_story") for name in ("table", "dummy")}
    path = experiment_of(answers, ["dummy"], "bits_per_byte", {}, tmp_path)
    _, verdict = run_it(path, tmp_path / "runs")
    assert verdict.headline == "tune" and not verdict.higher_is_better
    with pytest.raises(AnswersError, match="table: 8 rows hold no text to measure exact_match on: 0, 1"):
        experiment_of(answers, [], "exact_match", {}, tmp_path)


def test_what_makes_no_run_says_why(tmp_path: Path) -> None:
    a, b = plain(tmp_path, "a", 3, 6, quality=1), plain(tmp_path, "b", 3, 7, quality=2)
    with pytest.raises(AnswersError, match=r"'loar' is said to be tuned.*Did you mean 'lora'"):
        experiment_of({"base": a, "lora": a}, ["loar"], None, {}, tmp_path)
    with pytest.raises(AnswersError, match="names no contender"):
        experiment_of({"base": a, "../lora": a}, [], None, {}, tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with pytest.raises(AnswersError, match=r"'exact_mach' is unknown here. Did you mean 'exact_match'"):
        experiment_of({"base": a, "lora": a}, [], "exact_mach", {}, tmp_path)
    with pytest.raises(AnswersError, match="'quality' is a score that the files hold"):
        experiment_of({"base": a, "lora": a}, [], "quality", {}, tmp_path)
    with pytest.raises(PairingError, match="1 id only in lora: q6"):
        experiment_of({"base": a, "lora": b}, [], None, {}, tmp_path)
    assert not (tmp_path / "experiment.yaml").exists()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_damage_to_a_file_is_a_traceback(tmp_path: Path, data: st.DataObject) -> None:
    source = data.draw(st.sampled_from(sorted(p for p in FILES.rglob("*") if p.is_file())))
    content = bytearray(source.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "damaged").write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(AnswersError, DataError):
        read_all(tmp_path / "damaged")
