"""A chat-completions server on loopback that fails on purpose, by a plan, and keeps count of what it served.

    plan = Plan(seed=7, faults=spread(0.3))            # 30 % of the calls fail, every kind alike
    with FaultyServer(plan, answer=str.upper) as server:
        ... server.url, server.key ...
    server.counts["till"]                              # → Count(asked=2, answered=1)

Or as a process of its own, which outlives a client that is killed; its counts lie in a file that is written
anew every half second and on SIGTERM:

    python -m tests.faulty_server --share 0.3 --seed 7 --key sk-… --counts counts.json     # prints its url

Good answers are whole chat completions as the openai package's types describe them. A call counts as
answered where its good answer was written out to the last byte: it is what a client must not ask again.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

# Every kind of fault there is. "429" comes bare, "429-seconds" and "429-date" with Retry-After.
FAULTS = (
    *("429", "429-seconds", "429-date", "500", "503"),
    *("truncated", "html", "no-choices", "null-message"),
    *("drop", "drop-halfway", "hang", "drip"),
)
# Seconds that a Retry-After asks for; a date knows whole seconds only.
RETRY_AFTER = 0.05


def spread(share: float, kinds: tuple[str, ...] = FAULTS) -> dict[str, float]:
    """Shares of calls by kind of fault: `share` in all, each kind alike."""
    return dict.fromkeys(kinds, share / len(kinds))


@dataclass(frozen=True)
class Plan:
    """What goes wrong: the share of each kind of fault, drawn by the call's number and the seed."""

    faults: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    seconds: float = 0.0
    """How long a good answer takes."""
    hang_seconds: float = 30.0
    """How long a call that hangs, or an answer that drips, is held."""

    def fault(self, call: int) -> str | None:
        """What befalls call number `call` (from 0); the same for the same plan."""
        draw = random.Random(f"{self.seed}/{call}").random()
        for kind, share in self.faults.items():
            draw -= share
            if draw < 0:
                return kind
        return None


@dataclass
class Count:
    """How often a question was asked, and how often its good answer went out whole."""

    asked: int = 0
    answered: int = 0


@dataclass
class _State:
    plan: Plan
    answer: Callable[[str], str]
    key: str
    model: str | None
    counts: dict[str, Count] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    paths: dict[str, int] = field(default_factory=dict)
    calls: int = 0
    tokens: tuple[int, int] = (0, 0)
    now: int = 0
    most_at_once: int = 0
    down: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)


class FaultyServer:
    """The server, running in threads from `with` to its end.

    `answer` maps the last user message to the reply. Tokens are words. A call with another key than `key`
    is a 401, one for another model than `model` (where given) a 404.
    """

    def __init__(
        self,
        plan: Plan = Plan(),
        *,
        answer: Callable[[str], str] = lambda question: question,
        key: str = "sk-canary-0123456789",
        model: str | None = None,
        port: int = 0,
    ) -> None:
        self._state = _State(plan, answer, key, model)
        handler = type("Handler", (_Handler,), {"state": self._state})
        self._server = _Server(("127.0.0.1", port), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def key(self) -> str:
        """The key it wants; set it to change the key in the middle of a run."""
        return self._state.key

    @key.setter
    def key(self, key: str) -> None:
        self._state.key = key

    @property
    def down(self) -> bool:
        """Whether there is an outage: every connection is cut at once; set it to begin or end one."""
        return self._state.down

    @down.setter
    def down(self, down: bool) -> None:
        self._state.down = down

    @property
    def counts(self) -> dict[str, Count]:
        """By question (the last user message): how often it was asked and answered."""
        with self._state.lock:
            return {question: dataclasses.replace(count) for question, count in self._state.counts.items()}

    @property
    def summary(self) -> dict[str, Any]:
        """Everything it counted, as JSON: calls, faults by kind, paths asked, tokens billed, most calls at once, counts."""
        state = self._state
        return {
            "calls": state.calls,
            "faults": dict(state.faults),
            "paths": dict(state.paths),
            "prompt_tokens": state.tokens[0],
            "completion_tokens": state.tokens[1],
            "most_at_once": state.most_at_once,
            "counts": {question: dataclasses.asdict(count) for question, count in self.counts.items()},
        }

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._state.over.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, *_: Any) -> None:
        """A client that left is no noise."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    state: _State

    def do_GET(self) -> None:
        state, name = self.state, self.path.partition("/models")[2].strip("/")
        if state.down:
            self._cut()
        elif not self._knows_key():
            return
        elif "/models" not in self.path:
            self._send(404, _error(f"there is no {self.path}"))
        elif name and state.model not in (None, name):
            self._send(404, _error(f"The model '{name}' does not exist", "model_not_found"))
        else:
            about = {"id": name or state.model or "m", "object": "model", "created": 1, "owned_by": "nobody"}
            self._send(200, about if name else {"object": "list", "data": [about]})

    def _knows_key(self) -> bool:
        """Whether the key is right; a wrong one is told, as some servers do."""
        sent = (self.headers["Authorization"] or "").removeprefix("Bearer "), self.headers["api-key"]
        if self.state.key not in sent:
            self._send(401, _error(f"Incorrect API key provided: {sent[1] or sent[0]}", "invalid_api_key"))
        return self.state.key in sent

    def do_POST(self) -> None:
        state = self.state
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = _question(body)
        if state.down:
            self._cut()
            return
        if not self._knows_key():
            return
        if state.model not in (None, body.get("model")):
            told = f"The model {body.get('model')!r} does not exist"
            self._send(404, _error(told, "model_not_found"))
            return
        with state.lock:
            call, state.calls = state.calls, state.calls + 1
            state.paths[self.path] = state.paths.get(self.path, 0) + 1
            state.now += 1
            state.most_at_once = max(state.most_at_once, state.now)
            state.counts.setdefault(question, Count()).asked += 1
            fault = state.plan.fault(call)
            if fault:
                state.faults[fault] = state.faults.get(fault, 0) + 1
        try:
            self._answer(question, body, fault)
        finally:
            with state.lock:
                state.now -= 1

    def _answer(self, question: str, body: dict[str, Any], fault: str | None) -> None:
        state = self.state
        if fault is None:
            time.sleep(state.plan.seconds)
            whole = completion(state.answer(question), body)
            self._send(200, whole)
            self.wfile.flush()
            with state.lock:
                state.counts[question].answered += 1
                usage = whole["usage"]
                state.tokens = (
                    state.tokens[0] + usage["prompt_tokens"],
                    state.tokens[1] + usage["completion_tokens"],
                )
        elif fault.startswith("429"):
            after = {
                "429-seconds": {"Retry-After": str(RETRY_AFTER)},
                "429-date": {"Retry-After": formatdate(time.time() + RETRY_AFTER, usegmt=True)},
            }
            self._send(429, _error("Rate limit reached", "rate_limit_exceeded"), after.get(fault, {}))
        elif fault in ("500", "503"):
            self._send(int(fault), _error("The server had an error"))
        elif fault == "html":
            self._send(200, b"<html><body>The proxy is tired.</body></html>", {"Content-Type": "text/html"})
        elif fault in ("no-choices", "null-message"):
            whole = completion("", body)
            broken = [] if fault == "no-choices" else [whole["choices"][0] | {"message": None}]
            self._send(200, whole | {"choices": broken})
        elif fault == "truncated":
            whole = completion(state.answer(question), body)
            self._send(200, json.dumps(whole).encode()[: len(json.dumps(whole)) // 2])
        elif fault == "drop":
            self._cut()
        elif fault == "drop-halfway":
            blob = json.dumps(completion(state.answer(question), body)).encode()
            self._head(200, {"Content-Length": str(len(blob))})
            self.wfile.write(blob[: len(blob) // 2])
            self._cut()
        elif fault == "hang":
            state.over.wait(state.plan.hang_seconds)
            self._cut()
        elif fault == "drip":
            self._drip(json.dumps(completion(state.answer(question), body)).encode())

    def _drip(self, blob: bytes) -> None:
        """Send an answer in chunks of one byte that never come to the end while the client waits."""
        self._head(200, {"Transfer-Encoding": "chunked"})
        pause = self.state.plan.hang_seconds / len(blob)
        for byte in blob[:-1]:
            self.wfile.write(b"1\r\n" + bytes([byte]) + b"\r\n")
            self.wfile.flush()
            if self.state.over.wait(pause):
                break
        self._cut()

    def _send(self, status: int, answer: Any, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        blob = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self._head(status, {"Content-Length": str(len(blob)), **headers})
        self.wfile.write(blob)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(key, value)
        self.end_headers()

    def _cut(self) -> None:
        """Close the connection without another word."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: Any) -> None:
        """It keeps counts, no log."""


def completion(text: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """A whole chat completion of `text`, as the request wants it; words stand for tokens."""
    schema = (body.get("response_format") or {}).get("json_schema")
    if schema:
        properties = schema["schema"]["properties"]
        name = next(iter(properties))
        allowed = properties[name].get("enum", [text])
        text = json.dumps({name: text if text in allowed else allowed[0]})
    asked = sum(len(str(message.get("content") or "").split()) for message in body["messages"])
    answered = len(text.split())
    message = {"role": "assistant", "content": text, "refusal": None}
    usage = {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_750_000_000,
        "model": body.get("model") or "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message, "logprobs": None}],
        "usage": usage,
    }


def _error(message: str, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "error", "param": None, "code": code}}


def _question(body: Mapping[str, Any]) -> str:
    said = next((m.get("content") for m in reversed(body["messages"]) if m["role"] == "user"), "")
    return said if isinstance(said, str) else json.dumps(said)


def main() -> None:
    """Serve until SIGTERM; the counts are written every half second and at the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--share", type=float, default=0.0, help="share of calls that fail")
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.0, help="how long a good answer takes")
    parser.add_argument("--hang-seconds", type=float, default=30.0)
    parser.add_argument("--key", default="sk-canary-0123456789")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--counts", type=Path, help="where the counts are kept, as JSON")
    given = parser.parse_args()
    plan = Plan(spread(given.share, tuple(given.faults)), given.seed, given.seconds, given.hang_seconds)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with FaultyServer(plan, key=given.key, port=given.port) as server:
        print(server.url, flush=True)
        while True:
            last = ended.wait(0.5)
            if given.counts:
                part = given.counts.with_suffix(".part")
                part.write_text(json.dumps(server.summary), encoding="utf-8")
                part.replace(given.counts)
            if last:
                sys.exit(0)


if __name__ == "__main__":
    main()
