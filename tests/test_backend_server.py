"""The server backend, against real HTTP servers that misbehave on purpose."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from email.utils import formatdate
from pathlib import Path
from typing import Any

import msgspec
import pytest
from openai.types.chat import ChatCompletion

from tests.conftest import Reply
from tests.faulty_server import FAULTS, FaultyServer, Plan, completion, spread
from tests.test_backends import QUESTIONS, answers, ask
from validators.examples import Message, ToolCall
from workbench.backends import BackendError, Request
from workbench.backends.feeding import as_finished
from workbench.backends.openai_server import OpenAIBackend
from workbench.backends.pacing import Pace, Patience, backoff, retry_after
from workbench.files import read_rows
from workbench.records import Payment, Prediction, Prompt
from workbench.settings import OpenAIBackend as Settings

KEY = "sk-canary-0123456789"
QUICK = Patience(first_wait=0.01, longest_wait=0.05, longest_probe=0.05, away=8.0)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)


@pytest.fixture(params=["aiohttp", "httpx"])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to the server: the fast one and the client's own."""
    if request.param == "httpx":
        monkeypatch.setattr("workbench.backends.openai_server._fast_http", lambda: None)


def settings(url: str | None, **changed: Any) -> Settings:
    given: dict[str, Any] = {"model": "m", "base_url": url, "api_key_env": "TEST_KEY", "concurrency": 1}
    return Settings(kind="openai", **{**given, "price": (1.0, 2.0), **changed})


def remote(
    url: str, *, patience: Patience = QUICK, ledger: Path | None = None, **changed: Any
) -> OpenAIBackend:
    return OpenAIBackend(settings(url, **changed), patience=patience, ledger=ledger)


def patient(**changed: Any) -> Patience:
    return Patience(
        **{"first_wait": 0.01, "longest_wait": 0.05, "longest_probe": 0.05, "away": 8.0, **changed}
    )


def asked(count: int) -> list[Request]:
    return [ask(f"ticket {n}") for n in range(count)]


def said(text: str = "fine", **changed: Any) -> dict[str, Any]:
    whole = completion(text, {"messages": [{"role": "user", "content": "a b c d e f g"}]})
    return {**whole, **changed}


def good(text: str = "fine", **changed: Any) -> Reply:
    return 200, {}, said(text, **changed)


def refused(status: int, message: str, **more: Any) -> Reply:
    return status, {}, {"error": {"message": message, **more}}


def taken(
    backend: OpenAIBackend, requests: Sequence[Request], then: Callable[[int], None] = lambda _: None
) -> tuple[list[Prediction], str]:
    """The rows up to a stop, and why it stopped; `then` is told after each how many there are."""
    rows: list[Prediction] = []
    try:
        for row in backend.answer(requests):
            rows.append(row)
            then(len(rows))
    except BackendError as error:
        return rows, str(error)
    return rows, ""


# -- answers -----------------------------------------------------------------------------------------


def test_the_faulty_server_answers_as_the_client_types_it() -> None:
    ChatCompletion.model_validate(said(), strict=True)


def test_a_server_answers(serve: Any) -> None:
    url, bodies = serve(lambda body, _: good(body["messages"][-1]["content"].upper()))
    rows = answers(remote(url, concurrency=4, max_new_tokens=9), [ask(q) for q in QUESTIONS])
    assert {k: v.prediction for k, v in rows.items()} == {q: q.upper() for q in QUESTIONS}
    row = rows["till"]
    assert (row.prompt_tokens, row.completion_tokens, row.attempts) == (7, 1, 1)
    assert row.usd == pytest.approx(9e-6) and row.finish_reason == "stop"
    assert {a["authorization"] for a in bodies} == {f"Bearer {KEY}"}
    first = bodies[0]
    assert (first["temperature"], first["seed"], first["max_tokens"], first["model"]) == (0, 0, 9, "m")
    assert "tools" not in first and "weight" not in str(first["messages"])


def test_a_seed_draws_and_azure_has_its_own_address() -> None:
    with FaultyServer() as server:
        azure = remote(server.url.removesuffix("/v1"), api_version="2024-10-21", model="my-deployment")
        rows = answers(azure, [msgspec.structs.replace(ask("till"), seed=3)])
        path = "/openai/deployments/my-deployment/chat/completions?api-version=2024-10-21"
        assert rows["till"].prediction == "till" and server.summary["paths"] == {path: 1}


@pytest.mark.parametrize(
    ("content", "sent"),
    [
        (({"type": "text", "text": "a "}, {"type": "text", "text": "b"}), "a b"),
        (
            (
                {"type": "text", "text": "what?"},
                {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
            ),
            [
                {"type": "text", "text": "what?"},
                {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
            ],
        ),
    ],
)
def test_content_parts_are_sent_as_they_are(serve: Any, content: Any, sent: Any) -> None:
    url, bodies = serve(lambda *_: good())
    prompt = Prompt(id="x", messages=(Message("user", content, weight=1),))
    answers(remote(url), [Request(prompt=prompt, references=("",))])
    assert bodies[0]["messages"] == [{"role": "user", "content": sent}]


def test_tools_go_out_and_calls_come_back(serve: Any) -> None:
    """Also from servers that leave out the id, or send arguments as an object."""
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"id": 1}'}},
        {"function": {"name": "find", "arguments": {"id": 2}}},
    ]
    choice = {"index": 0, "finish_reason": "tool_calls", "message": {"content": None, "tool_calls": calls}}
    url, bodies = serve(lambda *_: good(choices=[choice]))
    tool = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
    told = (
        Message("user", "find 1"),
        Message("assistant", None, tool_calls=(ToolCall("c0", "find", "{}"),)),
        Message("tool", "none", tool_call_id="c0"),
    )
    prompt = Prompt(id="x", messages=told, tools=(tool,))
    (row,) = remote(url).answer([Request(prompt=prompt, references=("",))])
    assert bodies[0]["tools"] == [tool]
    assert bodies[0]["messages"][1]["content"] is None and bodies[0]["messages"][2]["tool_call_id"] == "c0"
    assert row.prediction == "" and row.finish_reason == "tool_calls"
    assert [(c["id"], c["function"]["arguments"]) for c in row.tool_calls] == [
        ("c1", '{"id": 1}'),
        ("call_1", '{"id": 2}'),
    ]


def test_logprobs_are_asked_for_and_kept_as_their_mean(serve: Any) -> None:
    tokens = {"content": [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -1.5}]}
    choice = {**said()["choices"][0], "logprobs": tokens}
    url, bodies = serve(lambda *_: good(choices=[choice]))
    assert answers(remote(url, logprobs=True), [ask("till")])["till"].logprob == -1.0
    assert bodies[0]["logprobs"] is True


def test_done_requests_are_not_sent(serve: Any) -> None:
    url, bodies = serve(lambda *_: good())
    rows = answers(remote(url), [ask("till"), ask("the pump")], done=frozenset(["till"]))
    assert set(rows) == {"the pump"} and len(bodies) == 1


# -- held to labels and schemas ------------------------------------------------------------------------

LABELS = ("till/charge", "bench/water")


def held(question: str = "till/charge") -> Request:
    return msgspec.structs.replace(ask(question), choices=LABELS)


def test_labels_come_out_of_a_schema() -> None:
    with FaultyServer() as server:
        rows = answers(remote(server.url), [held("bench/water"), held("what else")])
    assert {k: v.prediction for k, v in rows.items()} == {
        "bench/water": "bench/water",
        "what else": "till/charge",
    }


@pytest.mark.parametrize(
    ("by", "key", "value"),
    [
        ("structured_outputs", "structured_outputs", {"choice": list(LABELS)}),
        ("guided_choice", "guided_choice", list(LABELS)),
    ],
)
def test_labels_by_the_servers_own_means(serve: Any, by: str, key: str, value: Any) -> None:
    url, bodies = serve(lambda *_: good("bench/water"))
    assert answers(remote(url, labels_by=by), [held()])["till/charge"].prediction == "bench/water"
    assert bodies[0][key] == value and "response_format" not in bodies[0]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (refused(400, "response_format: json_schema is not supported"), "try another `labels_by`"),
        (good("It is about the till."), "does not do what `labels_by` asks for"),
        (good('{"answer": "garden"}'), "does not do what `labels_by` asks for"),
    ],
)
def test_a_server_that_holds_no_model_to_labels_is_told_with_the_cure(
    serve: Any, reply: Reply, words: str
) -> None:
    url, bodies = serve(lambda *_: reply)
    _, why = taken(remote(url), [held(), held("b"), held("c")])
    assert words in why and "`constrain: labels`" in why and len(bodies) == 1


def test_a_cut_or_declined_label_stays_as_it_is(serve: Any) -> None:
    def reply(body: dict[str, Any], _: int) -> Reply:
        choice = said('{"answer": "ti')["choices"][0] | {"finish_reason": "length"}
        declined = {
            "index": 0,
            "finish_reason": "stop",
            "message": {"content": None, "refusal": "I will not."},
        }
        return good(choices=[declined if body["messages"][-1]["content"] == "bad" else choice])

    url, _ = serve(reply)
    rows = answers(remote(url), [held(), held("bad")])
    assert (
        rows["till/charge"].prediction == '{"answer": "ti' and rows["till/charge"].finish_reason == "length"
    )
    assert rows["bad"].prediction == "I will not."


def test_a_response_schema_is_sent_and_is_part_of_what_answers(serve: Any, tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"desk": {"type": "string"}}}
    (tmp_path / "desk.json").write_text(json.dumps(schema))
    url, bodies = serve(lambda *_: good("{}"))
    backend = OpenAIBackend(settings(url, response_schema="desk.json"), tmp_path, patience=QUICK)
    answers(backend, [ask("till")])
    assert bodies[0]["response_format"]["json_schema"]["schema"] == schema
    assert backend.identity().template is not None


# -- parameters that a model refuses ---------------------------------------------------------------------


def test_refused_parameters_are_learned_once(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Each is refused to whoever is under way, then to nobody; what was done stands in the identity."""

    def picky(body: dict[str, Any], _: int) -> Reply:
        if "max_tokens" in body:
            told = "Unsupported parameter: 'max_tokens' is not supported with this model."
            return refused(400, told, param="max_tokens", code="unsupported_parameter")
        if "temperature" in body:
            return refused(400, "Unsupported value: 'temperature' does not support 0.", param="temperature")
        if "seed" in body:
            return 422, {}, {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"]}]}
        return good()

    url, bodies = serve(picky)
    backend = remote(url)
    rows = answers(backend, asked(6))
    assert {r.prediction for r in rows.values()} == {"fine"} and len(bodies) == 6 + 3
    assert bodies[-1]["max_completion_tokens"] == 64
    adapted = {"max_tokens": "max_completion_tokens", "temperature": "left out", "seed": "left out"}
    assert backend.notes() == {"refused by the server": adapted}
    assert sum("left out from now on" in m for m in caplog.messages) == 2


def test_a_limit_that_no_name_sets_stops(serve: Any) -> None:
    """Never without a limit: it bounds the bill."""
    url, _ = serve(
        lambda body, _: refused(400, f"{'max_tokens' if 'max_tokens' in body else 'max_completion_tokens'}?")
    )
    assert "refused model 'm'" in taken(remote(url), asked(2))[1]


# -- failures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "words", "sent"),
    [
        (refused(500, f"boom {KEY}"), "HTTP 500: boom [key]", 10),
        (refused(400, "the picture is broken"), "the picture is broken", 1),
        (refused(400, "x", code="context_length_exceeded"), "too long for this model", 1),
        (refused(400, "max_tokens: maximum context length is 8 tokens"), "no sample is cut", 1),
        (refused(429, "Request too large for m on tokens per min"), "too long for this model", 1),
        ((413, {}, b"<html>Too much</html>"), "too long for this model", 1),
        (good(choices=[]), "holds no message", 10),
        ((200, {}, {"choices": [{"index": 0, "finish_reason": "stop"}]}), "holds no message", 10),
        ((200, {}, {"choices": [{"message": None}]}), "holds no message", 10),
        ((200, {}, {"error": {"message": "no provider"}}), "is an error: no provider", 10),
        ((200, {"Content-Type": "text/html"}, b"<html>The proxy is tired.</html>"), "<html>The proxy", 10),
        ((200, {}, b'{"id": "1", "choices": ['), "no chat completion", 10),
    ],
)
def test_a_failed_sample_is_an_error_row(serve: Any, reply: Reply, words: str, sent: int) -> None:
    """After ten attempts where another may help; the others are answered, and no row holds the key."""
    url, bodies = serve(lambda body, _: reply if body["messages"][-1]["content"] == "till" else good())
    rows = answers(remote(url, max_new_tokens=5), [ask("the pump"), ask("till"), *asked(12)])
    row = rows.pop("till")
    assert words in (row.error or "") and row.prediction is None and row.attempts == sent
    assert {r.prediction for r in rows.values()} == {"fine"}
    assert KEY not in str(row) and len(bodies) == 13 + sent


@pytest.mark.parametrize(
    "reply",
    [
        refused(429, "You exceeded your current quota", code="insufficient_quota"),
        refused(402, "Insufficient credit"),
        refused(404, f"no such model {KEY}"),
    ],
)
def test_what_no_other_sample_would_survive_stops_the_run(serve: Any, reply: Reply) -> None:
    """The first answer is kept, what was not sent yet is not sent, and the key is not repeated."""
    url, bodies = serve(lambda _, n: good() if n == 0 else reply)
    rows, why = taken(remote(url), asked(50))
    assert [r.prediction for r in rows] == ["fine"] and len(bodies) == 2
    assert "Finished answers are kept" in why and KEY not in why


def test_a_server_that_only_fails_stops_the_run(serve: Any) -> None:
    url, bodies = serve(lambda *_: refused(500, "boom"))
    rows, why = taken(remote(url), asked(50))
    assert len(rows) == 4 and "5 samples in a row failed" in why and len(bodies) < 100


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_a_request_ends_in_time_however_slowly_it_drips(fault: str) -> None:
    """The limit is on the whole request; there are no threads left that read on."""
    plan = Plan({fault: 1.0}, hang_seconds=20)
    with FaultyServer(plan) as server:
        backend = remote(server.url, timeout_seconds=0.1, patience=patient(attempts=2))
        rows, _ = taken(backend, asked(2))
        assert [r.error for r in rows] == ["2 attempts, the last: no whole answer in time"] * 2
    assert not [t for t in threading.enumerate() if t.name == "server"]


@pytest.mark.usefixtures("transport")
def test_every_sample_is_answered_once_when_a_third_of_all_calls_fail(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No error rows, the right bill, no key in any file or log."""
    caplog.set_level(logging.DEBUG)
    slow = ("hang", "drip")  # fewer of these: each takes the whole time limit
    quick = spread(0.28, tuple(kind for kind in FAULTS if kind not in slow))
    plan = Plan({**quick, **spread(0.02, slow)}, seed=4, hang_seconds=10)
    with FaultyServer(plan) as server:
        backend = remote(server.url, concurrency=8, timeout_seconds=2, ledger=tmp_path / "ledger.jsonl")
        rows = list(backend.answer(asked(150)))
        served = server.summary
    assert sorted(r.id for r in rows) == sorted(r.prompt.id for r in asked(150))
    assert not [r.error for r in rows if r.error] and len(served["faults"]) > len(FAULTS) // 2
    assert {c["answered"] for c in served["counts"].values()} == {1}
    assert sum(r.usd or 0 for r in rows) == pytest.approx(
        (served["prompt_tokens"] + 2 * served["completion_tokens"]) / 1e6
    )
    assert sum(r.attempts or 0 for r in rows) == served["calls"]
    paid = list(read_rows(tmp_path / "ledger.jsonl", Payment))
    assert sum(p.prompt_tokens for p in paid if not p.lost and p.completion_tokens) == served["prompt_tokens"]
    told = caplog.text + (tmp_path / "ledger.jsonl").read_text() + str(rows)
    assert KEY not in told


# -- the pace ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "3600"}, 120.0),
        ({"retry-after": "inf"}, 120.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Sat, 21 Nov 1999 14:36:09 GMT"}, 0.0),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, Patience()) == seconds


def test_retry_after_as_a_date() -> None:
    found = retry_after({"retry-after": formatdate(time.time() + 30, usegmt=True)}, Patience())
    assert found is not None and 28 < found <= 30


def test_backoff_doubles_with_jitter_up_to_its_limit() -> None:
    patience = Patience()
    for failures, whole in [(1, 0.5), (2, 1.0), (5, 8.0), (7, 30.0), (10_000, 30.0)]:
        waits = [backoff(failures, patience) for _ in range(200)]
        assert whole / 2 <= min(waits) < max(waits) <= whole


def test_a_429_halves_once_a_burst_and_success_adds_one_a_round() -> None:
    async def play() -> list[float]:
        pace = Pace(16, QUICK)
        sent = pace.now()
        for _ in range(5):
            pace.busy(sent, None)
        seen = [pace.limit]
        for _ in range(8):
            pace.good()
        seen.append(pace.limit)
        pace.busy(pace.now(), None)
        seen.append(pace.limit)
        return seen

    halved, grown, again = asyncio.run(play())
    assert halved == 8 and 8.9 < grown < 9 and again == grown / 2


def test_turns_are_taken_in_order_and_none_is_lost() -> None:
    async def play() -> tuple[list[int], int]:
        pace, order, most = Pace(2, QUICK), [], 0
        running = 0

        async def one(number: int) -> None:
            nonlocal running, most
            async with pace.turn():
                order.append(number)
                running, most = running + 1, max(most, running + 1)
                await asyncio.sleep(0.002)
                running -= 1

        tasks = [asyncio.create_task(one(n)) for n in range(12)]
        await asyncio.sleep(0.003)
        tasks[5].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return order, most

    order, most = asyncio.run(play())
    assert order == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11] and most == 2


def test_a_retry_after_holds_everyone_back() -> None:
    async def play() -> list[float]:
        pace = Pace(4, QUICK)
        begun = pace.now()
        pace.busy(begun, 0.1)

        async def one() -> float:
            async with pace.turn() as sent:
                return sent - begun

        return await asyncio.gather(*(one() for _ in range(4)))

    assert min(asyncio.run(play())) >= 0.1


def test_a_busy_server_is_asked_again_with_fewer_at_once(serve: Any) -> None:
    url, bodies = serve(
        lambda _, n: (429, {"Retry-After": "0.01"}, {"error": {"message": "slow"}}) if n == 0 else good()
    )
    backend = remote(url, concurrency=8)
    rows = list(backend.answer(asked(6)))
    assert {r.prediction for r in rows} == {"fine"} and len(bodies) == 7
    assert sorted(r.attempts or 0 for r in rows) == [1, 1, 1, 1, 1, 2] and backend._learned.limit < 8


# -- outages and keys ----------------------------------------------------------------------------------


@pytest.fixture
def flaky() -> Iterator[FaultyServer]:
    with FaultyServer(Plan(seconds=0.005)) as server:
        yield server


@pytest.mark.usefixtures("transport")
def test_an_outage_pauses_and_resumes(flaky: FaultyServer, caplog: pytest.LogCaptureFixture) -> None:
    def fail(done: int) -> None:
        if done == 10:
            flaky.down = True
            threading.Timer(0.6, lambda: setattr(flaky, "down", False)).start()

    rows, why = taken(remote(flaky.url, concurrency=4), asked(40), fail)
    assert not why and len(rows) == 40 and not [r.error for r in rows if r.error]
    assert {c.answered for c in flaky.counts.values()} == {1}
    assert any("Waiting: next try in" in m for m in caplog.messages) and "answers again" in caplog.text


def test_an_outage_that_lasts_stops_and_keeps_what_is_finished(flaky: FaultyServer) -> None:
    url = flaky.url

    def fail(done: int) -> None:
        if done == 5:
            flaky.down = True
            flaky.__exit__()

    rows, why = taken(remote(url, patience=patient(away=0.4)), asked(40), fail)
    assert 5 <= len(rows) < 40 and "Finished answers are kept: run again" in why


def test_a_changed_key_is_read_again(
    tmp_path: Path, flaky: FaultyServer, caplog: pytest.LogCaptureFixture
) -> None:
    file, fresh = tmp_path / "key", "sk-canary-fresh"
    file.write_text(f"{KEY}\n")

    def change(done: int) -> None:
        if done == 10:
            flaky.key = fresh
            threading.Timer(0.4, lambda: file.write_text(f"{fresh}\n")).start()

    backend = OpenAIBackend(settings(flaky.url, api_key_file="key", concurrency=4), tmp_path, patience=QUICK)
    rows, why = taken(backend, asked(40), change)
    assert not why and len(rows) == 40 and not [r.error for r in rows if r.error]
    assert "HTTP 401" in caplog.text and KEY not in caplog.text and fresh not in caplog.text


def test_one_question_that_a_server_will_not_have_is_no_outage(serve: Any) -> None:
    url, _ = serve(
        lambda body, _: refused(403, "flagged") if body["messages"][-1]["content"] == "till" else good()
    )
    rows = answers(remote(url), [ask("the pump"), ask("till"), *asked(12)])
    assert "flagged" in (rows.pop("till").error or "") and {r.prediction for r in rows.values()} == {"fine"}


# -- the first look --------------------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_told_at_once() -> None:
    with pytest.raises(BackendError, match=r"127.0.0.1:1/v1 cannot be reached.* Is the server running"):
        remote("http://127.0.0.1:1/v1")


def test_a_wrong_key_and_an_unknown_model_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultyServer(model="little-model") as server:
        with pytest.raises(BackendError, match=r"has no model 'm' .*does not exist.*Check `model`"):
            remote(server.url)
        monkeypatch.setenv("TEST_KEY", "sk-wrong")
        with pytest.raises(BackendError, match=r"refuses the key .*set the variable TEST_KEY") as caught:
            remote(server.url, model="little-model")
    assert "sk-wrong" not in str(caught.value)


def test_a_wrong_key_is_told_by_the_first_question_where_a_look_tells_nothing(serve: Any) -> None:
    url, bodies = serve(lambda *_: refused(401, f"wrong: {KEY}"))
    rows, why = taken(remote(url), asked(30))
    assert not rows and len(bodies) == 1 and "refuses the key" in why and KEY not in why


def test_offline_and_keyless_are_refused_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="--offline"):
        OpenAIBackend(settings(None), offline=True)
    monkeypatch.delenv("TEST_KEY")
    with pytest.raises(BackendError, match="set the variable TEST_KEY"):
        OpenAIBackend(settings(None))
    with pytest.raises(BackendError, match=r"api_key_file nowhere cannot be read: No such file"):
        OpenAIBackend(settings(None, api_key_file="nowhere"), tmp_path)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"api_key_env": KEY}, "never the key itself"),
        ({"base_url": "https://me:secret@host/v1"}, "holds a name or key"),
        ({"base_url": "127.0.0.1:8000/v1"}, "is no address: write http://HOST:PORT"),
        ({"budget_usd": 1.0, "price": None}, "budget_usd needs price"),
    ],
)
def test_settings_hold_no_secret(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        settings(**{"url": None, **given} if "base_url" not in given else {"url": given["base_url"]})


def test_a_server_takes_no_adapter(serve_chat: str, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="cannot load a local adapter"):
        answers(remote(serve_chat), [ask("till")], adapter=tmp_path)


# -- budgets -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [{"budget_tokens": 1_000}, {"budget_usd": 2e-3}])
def test_a_budget_stops_before_it_is_crossed_and_goes_on_when_raised(
    tmp_path: Path, limit: dict[str, Any]
) -> None:
    """Whatever is under way at once; what was spent before counts, in a new process too."""
    ledger, (name, value) = tmp_path / "ledger.jsonl", next(iter(limit.items()))
    with FaultyServer(answer=lambda q: "word " * 20) as server:
        rows, why = taken(
            remote(server.url, concurrency=8, max_new_tokens=20, ledger=ledger, **limit), asked(80)
        )
        spent = {
            "budget_tokens": server.summary["prompt_tokens"] + server.summary["completion_tokens"],
            "budget_usd": sum(r.usd or 0 for r in rows),
        }
        assert value * 0.85 < spent[name] <= value and 0 < len(rows) < 80
        assert f"{name} of the backend of model 'm' would be crossed" in why and f"raise {name}" in why
        again, told = taken(remote(server.url, max_new_tokens=20, ledger=ledger, **limit), asked(80))
        assert not again and "would be crossed" in told
        done = frozenset(r.id for r in rows)
        rich = remote(server.url, max_new_tokens=20, ledger=ledger, **{name: value * 100})
        assert len(list(rich.answer(asked(80), done=done))) == 80 - len(rows)
        assert {c.asked for c in server.counts.values()} == {1}


def test_an_answer_that_was_lost_counts_as_its_worst_case(tmp_path: Path) -> None:
    with FaultyServer(Plan({"drop-halfway": 0.5}, seed=1)) as server:
        backend = remote(
            server.url, ledger=tmp_path / "ledger.jsonl", budget_tokens=100_000, max_new_tokens=10
        )
        assert len(list(backend.answer(asked(10)))) == 10
        lost = [r for r in read_rows(tmp_path / "ledger.jsonl", Payment) if r.lost]
        assert len(lost) == server.summary["faults"]["drop-halfway"]
        assert all(r.completion_tokens == 10 and r.prompt_tokens > 2 for r in lost)


@pytest.mark.parametrize("limit", [{"budget_usd": 0}, {"budget_tokens": 0}])
def test_a_budget_of_nothing_is_refused(limit: dict[str, Any]) -> None:
    with pytest.raises(BackendError, match=f"{next(iter(limit))} is 0, so nothing may be asked"):
        remote("http://127.0.0.1:1/v1", **limit)


# -- feeding -------------------------------------------------------------------------------------------


def echo_session(log: list[str]) -> Any:
    @contextlib.asynccontextmanager
    async def session() -> Any:
        async def one(item: int) -> int:
            await asyncio.sleep(0.001)
            if item < 0:
                raise ValueError("a bad item")
            return item

        log.append("open")
        try:
            yield one
        finally:
            log.append("closed")

    return session


def test_items_are_taken_as_they_are_consumed() -> None:
    log: list[str] = []
    ahead: list[int] = []
    consumed = 0

    def items() -> Iterator[int]:
        for n in range(300):
            ahead.append(n - consumed)
            yield n

    for _ in as_finished(echo_session(log), items(), 5):
        consumed += 1
    assert consumed == 300 and max(ahead) <= 6 and log == ["open", "closed"]


def test_a_failure_ends_the_taking_and_comes_last() -> None:
    log: list[str] = []
    got = []
    with pytest.raises(ValueError, match="a bad item"):
        for item in as_finished(echo_session(log), [1, 2, -1, 3, *range(100, 1000)], 4):
            got.append(item)
    assert {1, 2} <= set(got) and len(got) < 30 and log == ["open", "closed"]


def test_an_iterator_that_is_left_leaves_nothing_behind() -> None:
    log: list[str] = []
    left = as_finished(echo_session(log), range(10_000), 4)
    assert isinstance(next(left), int)
    left.close()  # type: ignore[attr-defined]
    assert log == ["open", "closed"] and not [t for t in threading.enumerate() if t.name == "server"]
