"""The server backend, against a real HTTP server that misbehaves on purpose."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Reply
from tests.test_backends import QUESTIONS, answers, ask
from workbench.backends import BackendError, open_backend
from workbench.settings import OpenAIBackend

KEY = "sk-canary-0123456789"


def good(text: str = "fine") -> Reply:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    return (
        200,
        {},
        {
            "id": "1",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [choice],
            "usage": usage,
        },
    )


def remote(monkeypatch: pytest.MonkeyPatch, url: str, **changed: Any) -> Any:
    monkeypatch.setenv("TEST_KEY", KEY)
    settings = {
        "model": "m",
        "base_url": url,
        "api_key_env": "TEST_KEY",
        "concurrency": 1,
        "price": (1.0, 2.0),
    } | changed
    return open_backend(OpenAIBackend(kind="openai", **settings), base=Path())


@pytest.fixture
def few_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.backends.openai_server.ATTEMPTS", 2)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.01)


def test_a_server_answers(monkeypatch: pytest.MonkeyPatch, serve: Any) -> None:
    url, asked = serve(lambda body, _: good(body["messages"][-1]["content"].upper()))
    rows = answers(remote(monkeypatch, url, concurrency=4, max_new_tokens=9), [ask(q) for q in QUESTIONS])
    assert {k: v.prediction for k, v in rows.items()} == {q: q.upper() for q in QUESTIONS}
    row = rows["till"]
    assert (row.prompt_tokens, row.completion_tokens, row.usd, row.finish_reason) == (
        7,
        2,
        pytest.approx(11e-6),
        "stop",
    )
    assert {a["authorization"] for a in asked} == {f"Bearer {KEY}"}
    first = asked[0]
    assert (first["temperature"], first["max_completion_tokens"], first["model"]) == (0, 9, "m")
    assert "tools" not in first and "weight" not in str(first["messages"])


def test_a_busy_server_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, serve: Any, few_attempts: None
) -> None:
    url, asked = serve(
        lambda _, n: (429, {"Retry-After": "0"}, {"error": {"message": "slow down"}}) if n == 0 else good()
    )
    rows = answers(remote(monkeypatch, url), [ask("till")])
    assert rows["till"].prediction == "fine" and len(asked) == 2


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ((500, {}, {"error": {"message": f"boom {KEY}"}}), "InternalServerError"),
        ((400, {}, {"error": {"message": "context too long"}}), "context too long"),
        (
            (200, {}, {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": []}),
            "no message",
        ),
        ((200, {}, {"id": "1", "choices": [{"index": 0, "finish_reason": "stop"}]}), "no message"),
        ((200, {"Content-Type": "text/html"}, b"<html>The proxy is tired.</html>"), "no message"),
        ((200, {}, b'{"id": "1", "choices": ['), "no JSON"),
    ],
)
def test_a_failed_request_is_an_error_row(
    monkeypatch: pytest.MonkeyPatch, serve: Any, few_attempts: None, reply: Reply, words: str
) -> None:
    url, _ = serve(lambda body, _: reply if body["messages"][-1]["content"] == "till" else good())
    rows = answers(remote(monkeypatch, url), [ask("till"), ask("the pump")])
    assert words in (rows["till"].error or "") and rows["till"].prediction is None
    assert rows["the pump"].prediction == "fine"
    assert KEY not in str(rows)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_for_all_stops_the_run(monkeypatch: pytest.MonkeyPatch, serve: Any, status: int) -> None:
    """The first answer is kept, what was not sent yet is not sent, and the key is not repeated."""
    wrong = (status, {}, {"error": {"message": f"no: {KEY}"}})
    url, asked = serve(lambda _, n: good() if n == 0 else wrong)
    kept = []
    with pytest.raises(BackendError, match="TEST_KEY") as caught:
        for row in remote(monkeypatch, url).answer([ask(str(n)) for n in range(1000)]):
            kept.append(row)
    assert [r.prediction for r in kept] == ["fine"]
    assert len(asked) < 500
    assert KEY not in str(caught.value) and "[key]" in str(caught.value)


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch, few_attempts: None) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(BackendError, match="cannot be reached") as caught:
        answers(remote(monkeypatch, url), [ask(str(n)) for n in range(50)])
    assert url in str(caught.value) and KEY not in str(caught.value)


def test_a_slow_answer_is_one_error_row(
    monkeypatch: pytest.MonkeyPatch, serve: Any, few_attempts: None
) -> None:
    hold = threading.Event()
    monkeypatch.setattr("workbench.backends.openai_server.TIMEOUT_SECONDS", 0.8)

    def behave(body: dict[str, Any], _: int) -> Reply:
        if body["messages"][-1]["content"] == "till":
            hold.wait(3)
        return good()

    url, _ = serve(behave)
    rows = answers(remote(monkeypatch, url), [ask("till"), ask("the pump")])
    hold.set()
    assert "APITimeoutError" in (rows["till"].error or "") and rows["the pump"].prediction == "fine"


def test_done_requests_are_not_sent(monkeypatch: pytest.MonkeyPatch, serve: Any) -> None:
    url, asked = serve(lambda *_: good())
    rows = answers(remote(monkeypatch, url), [ask("till"), ask("the pump")], done=frozenset(["till"]))
    assert set(rows) == {"the pump"} and len(asked) == 1


def test_a_server_takes_no_adapter(monkeypatch: pytest.MonkeyPatch, serve_chat: str, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="cannot load a local adapter"):
        answers(remote(monkeypatch, serve_chat), [ask("till")], adapter=tmp_path)


def test_a_server_that_is_not_there_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendError, match=r"127.0.0.1:1/v1 cannot be reached .* Is the server running"):
        remote(monkeypatch, "http://127.0.0.1:1/v1")


def test_offline_and_keyless_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = OpenAIBackend(kind="openai", model="m", api_key_env="TEST_KEY")
    monkeypatch.delenv("TEST_KEY", raising=False)
    with pytest.raises(BackendError, match="set the variable TEST_KEY"):
        open_backend(settings, base=Path())
    with pytest.raises(BackendError, match="--offline"):
        open_backend(settings, base=Path(), offline=True)
