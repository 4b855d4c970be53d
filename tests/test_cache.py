"""Kept answers of servers: nothing finished is asked again, by this run or another, and the bill tells them apart."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.benchmarks import survival
from tests.commands import SERVER, die_at_write, interrupt_at_append, workbench
from tests.judged_run import chat, jsonl, label, question
from validators.examples import Message
from workbench.backends import BackendError, Identity, Request, open_backend
from workbench.backends.cached import FILE, Answers, CachedBackend, kept
from workbench.cli.run import bill_text
from workbench.records import Prediction, Prompt
from workbench.runs import Run
from workbench.settings import EchoBackend, OpenAIBackend
from workbench.spending import Bill, bill_of


def near(value: float) -> Any:
    """A sum of money, less the last digits."""
    return pytest.approx(value)


SETTINGS = OpenAIBackend(kind="openai", model="m", base_url="http://127.0.0.1:1/v1", price=(1.0, 2.0))


class Server:
    """A backend that counts what it is asked; `ends` says how the answer to a question ends."""

    def __init__(self, **ends: str) -> None:
        self.asked: list[str] = []
        self.ends = ends

    def identity(self) -> Identity:
        return Identity(model="m")

    def answer(self, requests: Sequence[Request], **_: Any) -> Iterator[Prediction]:
        for request in requests:
            text = request.prompt.messages[-1].text
            self.asked.append(text)
            known: dict[str, Any] = {
                "id": request.prompt.id,
                "references": request.references,
                "group": request.group,
            }
            if self.ends.get(text) == "error":
                yield Prediction(**known, error="HTTP 500")
            else:
                told: dict[str, Any] = {
                    "prompt_tokens": 10,
                    "completion_tokens": 2,
                    "seconds": 0.5,
                    "usd": 14e-6,
                }
                end = self.ends.get(text, "stop")
                yield Prediction(**known, prediction=f"to {text}", finish_reason=end, **told)

    def release(self) -> None: ...

    def close(self) -> None: ...


def ask(text: str, identity: str | None = None, **changed: Any) -> Request:
    prompt = Prompt(id=identity or text, messages=(Message("user", text),), tools=changed.pop("tools", ()))
    return Request(prompt=prompt, **{"references": ("x",), "group": "g", **changed})


def cached(server: Server, folder: Path, settings: OpenAIBackend = SETTINGS, after: int = 0) -> CachedBackend:
    return CachedBackend(server, settings, Answers(folder, after=after))


def test_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    first, second = Server(), Server()
    (fresh,) = cached(first, tmp_path).answer([ask("till")])
    again, other = cached(second, tmp_path).answer([ask("till", "other", references=("y",)), ask("pump")])
    assert (first.asked, second.asked) == (["till"], ["pump"])
    assert fresh.reused is None and again.reused is True and other.reused is None
    assert (again.id, again.references, again.prediction) == ("other", ("y",), "to till")
    assert (again.seconds, again.usd, again.prompt_tokens) == (fresh.seconds, near(14e-6), 10)
    assert b"to till" in (tmp_path / FILE).read_bytes() + (tmp_path / f"{FILE}-wal").read_bytes()


def test_a_kept_answer_costs_what_the_prices_say_today(tmp_path: Path) -> None:
    list(cached(Server(), tmp_path).answer([ask("till")]))
    for price, usd in (((3.0, 5.0), 40e-6), (None, None)):
        dearer = SETTINGS.model_copy(update={"price": price, "concurrency": 2, "api_key_env": "OTHER"})
        (row,) = cached(Server(), tmp_path, dearer).answer([ask("till")])
        assert row.reused and row.usd == (usd and near(usd))


@pytest.mark.parametrize(
    ("request_changes", "settings_changes"),
    [
        ({"seed": 1}, {}),
        ({"choices": ("till", "pump")}, {}),
        ({"tools": ({"type": "function", "function": {"name": "f"}},)}, {}),
        ({}, {"model": "n"}),
        ({}, {"base_url": "http://127.0.0.1:2/v1"}),
        ({}, {"max_new_tokens": 65}),
    ],
)
def test_another_request_is_another_answer(
    request_changes: dict[str, Any], settings_changes: dict[str, Any], tmp_path: Path
) -> None:
    list(cached(Server(), tmp_path).answer([ask("till")]))
    server = Server()
    settings = SETTINGS.model_copy(update=settings_changes)
    (row,) = cached(server, tmp_path, settings).answer([ask("till", **request_changes)])
    assert server.asked == ["till"] and row.reused is None


@pytest.mark.parametrize("end", ["error", "length", "content_filter"])
def test_errors_and_cut_answers_are_not_kept(end: str, tmp_path: Path) -> None:
    list(cached(Server(till=end), tmp_path).answer([ask("till")]))
    server = Server()
    (row,) = cached(server, tmp_path).answer([ask("till")])
    assert server.asked == ["till"] and row.prediction == "to till"


def test_equal_requests_are_asked_once(tmp_path: Path) -> None:
    server = Server(pump="error")
    rows = list(
        cached(server, tmp_path).answer([ask(t, f"{t}{n}") for n in range(3) for t in ("till", "pump")])
    )
    assert server.asked == ["till", "pump"] and len(rows) == 6
    assert [r.reused for r in rows if r.id.startswith("till")] == [None, True, True]
    assert all(r.error == "HTTP 500" and r.reused is None for r in rows if r.id.startswith("pump"))
    server = Server()
    done = frozenset(["till0", "pump0"])
    rows = list(cached(server, tmp_path).answer([ask("till", "till0"), ask("pump", "pump0")], done=done))
    assert rows == [] and server.asked == []


def test_a_fresh_start_reads_nothing_old(tmp_path: Path) -> None:
    list(cached(Server(), tmp_path).answer([ask("till")]))
    last = Answers(tmp_path).last
    server = Server()
    for _ in range(2):  # asked once, then found under its new number
        list(cached(server, tmp_path, after=last).answer([ask("till")]))
    assert server.asked == ["till"] and Answers(tmp_path).last > last
    assert sqlite3.connect(tmp_path / FILE).execute("SELECT count(*) FROM answers").fetchone() == (1,)


def test_only_servers_answers_are_kept(tmp_path: Path) -> None:
    echo = open_backend(EchoBackend(kind="echo"), base=tmp_path)
    assert kept(echo, EchoBackend(kind="echo"), Answers(tmp_path)) is echo
    assert kept(echo, SETTINGS, None) is echo


def test_odd_text_is_kept(tmp_path: Path) -> None:
    answers = Answers(tmp_path)
    answers.put("k", Prediction(id="1", references=(), prediction="a \ud800 \x00 é", finish_reason="stop"))
    assert (answers.get("k") or Prediction(id="", references=())).prediction == "a ? \x00 é"
    list(cached(Server(), tmp_path).answer([ask("half \ud83d")]))


def test_a_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database, but long enough to be looked at " * 40)
    with pytest.raises(BackendError, match=rf"{FILE}: the kept answers cannot be used .*remove it"):
        Answers(tmp_path)


def write_many(folder: Path, start: int) -> None:
    answers = Answers(folder)
    for number in range(start, start + 200):
        answers.put(str(number % 300), Prediction(id="", references=(), prediction=str(number)))


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    workers = [SERVER.Process(target=write_many, args=(tmp_path, 100 * n)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [w.exitcode for w in workers] == [0] * 4
    answers = Answers(tmp_path)
    assert all(answers.get(str(n)) for n in range(300)) and answers.last == 800


# -- whole runs --------------------------------------------------------------------------------------


def write_experiment(folder: Path, url: str, **changes: Any) -> None:
    jsonl(folder / "data.jsonl", [chat(question(i), label(i)) for i in range(30)])
    tree = {
        "name": "kept",
        "task": "classification",
        "data": {"path": "data.jsonl", "split": {"dev": 0.1, "test": 0.4}},
        "backends": {
            "api": {"kind": "openai", "model": "m", "base_url": url, "api_key_env": "CANARY", "price": [1, 2]}
        },
        "contenders": [
            {"name": "zero-shot", "kind": "prompting"},
            {"name": "few-shot", "kind": "few-shot", "examples": 2, "choose": "random"},
        ],
        "metrics": {"primary": "exact_match", "also": []},
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(tree | changes, sort_keys=False))


def a_server(serve: Any) -> tuple[str, list[dict[str, Any]]]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "till"}}
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    about = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    return serve(lambda *_: (200, {}, {**about, "choices": [choice], "usage": usage}))  # type: ignore[no-any-return]


def test_runs_share_what_was_answered(tmp_path: Path, serve: Any) -> None:
    url, asked = a_server(serve)
    write_experiment(tmp_path, url)
    assert workbench(tmp_path, "run", "experiment.yaml").returncode in (0, 1)
    assert len(asked) == 24
    (first,) = Run.all(tmp_path / "runs")
    paid = 24 * (10 * 1 + 2 * 2) / 1e6
    assert bill_of(first) == Bill(requests=24, usd=near(paid))
    costs = {c.name: c.usd_per_1000 for c in first.verdict().contenders}  # type: ignore[union-attr]

    # The same questions in another run: another name, another margin, and a contender more.
    more = {"name": "zero-too", "kind": "prompting"}
    contenders = yaml.safe_load((tmp_path / "experiment.yaml").read_text())["contenders"]
    write_experiment(tmp_path, url, name="other", contenders=[*contenders, more])
    done = workbench(tmp_path, "run", "experiment.yaml")
    assert len(asked) == 24, done.stderr
    other = next(run for run in Run.all(tmp_path / "runs") if run.name.startswith("other"))
    assert bill_of(other) == Bill(kept=36, kept_usd=near(1.5 * paid))
    assert "bill: 36 answers known from before, worth $0.0005" in done.stderr
    assert other.meta()["bill"]["kept"] == 36
    assert {c.name: c.usd_per_1000 for c in other.verdict().contenders} == {  # type: ignore[union-attr]
        **costs,
        "zero-too": costs["zero-shot"],
    }


def test_a_fresh_start_asks_again_and_stays_fresh_when_interrupted(tmp_path: Path, serve: Any) -> None:
    url, asked = a_server(serve)
    write_experiment(tmp_path, url)
    workbench(tmp_path, "run", "experiment.yaml")
    (run,) = Run.all(tmp_path / "runs")
    write_experiment(tmp_path, "http://127.0.0.1:1/v1")
    assert workbench(tmp_path, "run", "experiment.yaml", "--fresh").returncode == 2
    assert run.predictions("zero-shot") and "answers_after" not in run.meta(), (
        "what cannot start forgets nothing"
    )
    write_experiment(tmp_path, url)
    broken = workbench(tmp_path, "run", "experiment.yaml", "--fresh", prepare=interrupt_at_append)
    assert broken.returncode == 130
    between = len(asked)
    assert 24 < between <= 36
    workbench(tmp_path, "run", "experiment.yaml")
    # Of the old answers none is used; of the fresh ones those that came before the interruption may be.
    bill = bill_of(run)
    assert bill.kept <= between - 24
    assert 48 <= len(asked) <= bill.requests  # what was forgotten was paid for too
    assert "answers_after" not in run.meta()


def test_the_judge_is_not_asked_twice(tmp_path: Path, serve: Any) -> None:
    def reply(body: dict[str, Any], _: int) -> Any:
        text = "Good.\nRating: 4" if "You judge" in str(body["messages"]) else "till"
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
        about = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
        return 200, {}, {**about, "choices": [choice], "usage": usage}

    url, asked = serve(reply)
    judged = {"judge": {"backend": "api"}, "metrics": {"primary": "exact_match", "also": ["judge"]}}
    write_experiment(tmp_path, url, **judged)
    assert workbench(tmp_path, "run", "experiment.yaml").returncode in (0, 1)
    calls = len(asked)
    assert 24 < calls <= 48  # the same answer to the same question is judged once
    write_experiment(tmp_path, url, name="other", **judged)
    assert workbench(tmp_path, "run", "experiment.yaml").returncode in (0, 1)
    assert len(asked) == calls
    other = next(run for run in Run.all(tmp_path / "runs") if run.name.startswith("other"))
    assert bill_of(other).requests == 0 and bill_of(other).kept == 48


def test_a_bill_in_words() -> None:
    assert bill_text(Bill()) == ""
    told = bill_text(Bill(requests=1, usd=0.0123456, kept=2000, kept_usd=None))
    assert told == (
        "$0.01 for 1 request in this run · 2,000 answers known from before, "
        "worth an unknown sum (a backend has no price)"
    )


# -- killed over a server that fails -------------------------------------------------------------------


def dying(number: int | None) -> None:
    """The key, and a SIGKILL at a write: half a row stands on disk then."""
    os.environ["CANARY"] = survival.KEY
    if number is not None:
        die_at_write(number)


def forked(folder: Path, row: int | None, _: Any) -> subprocess.CompletedProcess[str]:
    # The first writes are those of the run's own files.
    return workbench(folder, "run", "experiment.yaml", prepare=partial(dying, row and row + 12))


def test_killed_twice_over_a_server_that_fails(tmp_path: Path) -> None:
    told = survival.trial(tmp_path, forked, samples=20, kills=2, seed=3, answer_seconds=0.0)
    assert len(told.kills) == 2 and told.kills[1] > told.kills[0] and told.faults > 5
    assert told.again <= 2 * 2 * 8
