"""A provider on loopback: files, fine-tuning jobs and chat, in the URLs of OpenAI and of Azure OpenAI.

Every answer is checked by the openai package's own types before it goes out, strictly, and every job that is
asked for by the package's own parameter types; what they do not hold is a fault of the test, kept in `faults`.
A job moves on by one state each time it is looked at.
"""

from __future__ import annotations

import contextlib
import email.parser
import email.policy
import hashlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from openai.types import FileObject
from openai.types.chat import ChatCompletion
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from openai.types.fine_tuning.job_create_params import JobCreateParams
from pydantic import BaseModel, TypeAdapter

KEY = "sk-canary-fine-tuning-0123456789"
BOM = b"\xef\xbb\xbf"
STATES = ("validating_files", "queued", "running", "running", "succeeded")
TOTAL_STEPS = 6

# What goes wrong with a request: an HTTP status, "drop" (no answer, but carried out), "lose" (nothing done),
# "html" (a proxy's page instead of the answer).
Trouble = Callable[[str, str, int], int | str | None]


def no_trouble(method: str, path: str, number: int) -> None:
    """Nothing goes wrong."""


@dataclass
class Provider:
    """The account's state. `answer` gives the tuned model's answer, others say "no idea"."""

    azure: bool = False
    answer: Callable[[str], str] = str
    fails: tuple[str, str] | None = None
    """Code and message of the error that every job ends with."""
    cancelled: bool = False
    hold: bool = False
    """Jobs stay at work until it is let go."""
    trouble: Trouble = no_trouble
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    created: list[dict[str, Any]] = field(default_factory=list)
    deployments: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    chats: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    events: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """base_url: OpenAI's with its version, Azure's the resource's address."""
        root = f"http://127.0.0.1:{self._server.server_port}"
        return root if self.azure else f"{root}/v1"

    # -- what the account does ---------------------------------------------------------------------

    def handle(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        """Status and answer of a request, its path without the prefix."""
        with self._lock:
            match [method, *path.strip("/").split("/")]:
                case ["POST", "files"]:
                    return 200, self._checked(FileObject, self._upload(*body))
                case ["GET", "files"]:
                    return 200, self._listed(FileObject, list(self.files.values()), query)
                case ["GET", "files", file_id] if file_id in self.files:
                    self.files[file_id]["status"] = "processed"
                    return 200, self._checked(FileObject, self.files[file_id])
                case ["POST", "fine_tuning", "jobs"]:
                    return self._create(body)
                case ["GET", "fine_tuning", "jobs"]:
                    return 200, self._listed(FineTuningJob, list(self.jobs.values())[::-1], query)
                case ["GET", "fine_tuning", "jobs", job_id] if job_id in self.jobs:
                    return 200, self._checked(FineTuningJob, self._moved_on(self.jobs[job_id]))
                case ["GET", "fine_tuning", "jobs", job_id, "events"] if job_id in self.jobs:
                    return 200, self._listed(FineTuningJobEvent, self.events[job_id][::-1], query)
                case ["POST", *_, "chat", "completions"]:
                    return self._chat(path, body)
        return 404, _error(f"no such thing: {method} {path}")

    def _upload(self, name: str, content: bytes, purpose: str) -> dict[str, Any]:
        self._expect(purpose == "fine-tune", f"purpose {purpose}")
        self._expect(name.endswith(".jsonl"), f"file name {name}")
        self._expect(content.startswith(BOM) == self.azure, f"{name}: byte-order mark")
        rows = [json.loads(line) for line in content.removeprefix(BOM).decode().splitlines()]
        self._expect(all(row["messages"][-1]["role"] == "assistant" for row in rows), f"{name}: rows")
        file_id = f"file-{len(self.files) + 1}"
        self.contents[file_id] = content
        self.files[file_id] = {
            "id": file_id,
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.time()),
            "filename": name,
            "purpose": purpose,
            "status": "uploaded",
        }
        return self.files[file_id]

    def _create(self, body: dict[str, Any]) -> tuple[int, Any]:
        TypeAdapter(JobCreateParams).validate_python(body)
        training = self.files.get(body["training_file"])
        if training is None or (self.azure and training["status"] != "processed"):
            return 400, _error("training_file is not ready", "invalid_training_file")
        if self.azure:
            self._expect(not {"method", "metadata"} & set(body), "what Azure's interface does not know")
        self.created.append(body)
        number = len(self.jobs) + 1
        given = body.get("hyperparameters") or body["method"]["supervised"]["hyperparameters"]
        self.events[f"ftjob-{number}"] = []
        self.jobs[f"ftjob-{number}"] = job = {
            "id": f"ftjob-{number}",
            "object": "fine_tuning.job",
            "model": body["model"],
            "created_at": 1_790_000_000,
            "finished_at": None,
            "fine_tuned_model": None,
            "organization_id": "org-1",
            "result_files": [],
            "status": STATES[0],
            "trained_tokens": None,
            "training_file": body["training_file"],
            "validation_file": body.get("validation_file"),
            "hyperparameters": given,
            "seed": body["seed"],
            "error": None,
            "metadata": body.get("metadata"),
            "integrations": [],
        }
        self._event(job, "Created fine-tuning job")
        return 200, self._checked(FineTuningJob, job)

    def _moved_on(self, job: dict[str, Any]) -> dict[str, Any]:
        """The job one state further; losses come while it runs, the model and the bill at its end."""
        looked = job.setdefault("_looked", 0)
        last = len(STATES) - (2 if self.hold else 1)
        job["_looked"], job["status"] = looked + 1, STATES[min(looked, last)]
        if job["status"] == "running" and (self.fails or self.cancelled):
            job["status"] = "cancelled" if self.cancelled else "failed"
            job["error"] = dict(zip(("code", "message"), self.fails, strict=True)) if self.fails else None
            self._event(job, "The job stopped", level="error")
        elif job["status"] == "running":
            done = sum(e["type"] == "metrics" for e in self.events[job["id"]])
            for step in range(done + 1, min(done + 3, TOTAL_STEPS) + 1):
                losses = {"train_loss": round(2.0 / step, 4)}
                losses |= {"full_valid_loss": round(2.2 / step, 4)} if step % 3 == 0 else {}
                about = {"step": step, "total_steps": TOTAL_STEPS, **losses}
                self._event(job, f"Step {step}/{TOTAL_STEPS}", data=about)
        elif job["status"] == "succeeded" and job["fine_tuned_model"] is None:
            rows = self.contents[job["training_file"]].count(b"\n")
            base = job["model"]
            job |= {
                "fine_tuned_model": f"{base}.ft-{job['id']}"
                if self.azure
                else f"ft:{base}:org::{job['id'][6:]}",
                "trained_tokens": rows * 40 * job["hyperparameters"]["n_epochs"],
                "finished_at": job["created_at"] + 600,
            }
            self._event(job, "The job is done")
        return job

    def _event(self, job: dict[str, Any], message: str, *, level: str = "info", data: Any = None) -> None:
        events = self.events[job["id"]]
        kind = "message" if data is None else "metrics"
        about = {"id": f"ftevent-{job['id']}-{len(events)}", "object": "fine_tuning.job.event", "type": kind}
        events.append(
            {
                **about,
                "created_at": 1_790_000_000 + len(events),
                "level": level,
                "message": message,
                "data": data,
            }
        )

    def _chat(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        self.chats.append(body)
        model = body["model"]
        if self.azure:
            deployed = path.split("/")[2]
            if deployed not in self.deployments:
                return 404, _error(
                    "The API deployment for this resource does not exist", "DeploymentNotFound"
                )
            model = self.deployments[deployed]
        tuned = model in [job["fine_tuned_model"] for job in self.jobs.values()]
        if "ft" in model and not tuned:
            return 404, _error(f"The model {model} does not exist", "model_not_found")
        text = self.answer(body["messages"][-1]["content"]) if tuned else "no idea"
        choice = {
            "index": 0,
            "finish_reason": "stop",
            "logprobs": None,
            "message": {"role": "assistant", "content": text, "refusal": None},
        }
        usage = {"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22}
        about = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1_790_000_000, "model": model}
        return 200, self._checked(ChatCompletion, about | {"choices": [choice], "usage": usage})

    # -- what goes out -----------------------------------------------------------------------------

    def _checked(self, kind: type[BaseModel], answer: dict[str, Any]) -> dict[str, Any]:
        shown = {key: value for key, value in answer.items() if not key.startswith("_")}
        kind.model_validate_json(json.dumps(shown), strict=True)
        return shown

    def _listed(
        self, kind: type[BaseModel], items: list[dict[str, Any]], query: dict[str, list[str]]
    ) -> dict[str, Any]:
        """A page: what comes after the id that is named, two at a time so that paging is met."""
        ids = [item["id"] for item in items]
        start = ids.index(query["after"][0]) + 1 if "after" in query else 0
        page = [self._checked(kind, item) for item in items[start : start + 2]]
        return {"object": "list", "data": page, "has_more": start + 2 < len(items)}

    def _expect(self, right: bool, what: str) -> None:
        if not right:
            self.faults.append(what)

    @property
    def sent(self) -> list[str]:
        """Paths of what was sent: all but questions about what is there."""
        return [path for method, path in self.asked if method == "POST"]

    @property
    def uploads(self) -> list[str]:
        """sha256 of every file that was sent."""
        return [hashlib.sha256(content).hexdigest() for content in self.contents.values()]


def _error(message: str, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


def _multipart(content_type: str, blob: bytes) -> tuple[str, bytes, str]:
    """File name, content and purpose of an upload."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message: Any = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + blob)
    parts = {p.get_param("name", header="content-disposition"): p for p in message.iter_parts()}
    name, content = parts["file"].get_filename(), parts["file"].get_payload(decode=True)
    return str(name), bytes(content), str(parts["purpose"].get_content()).strip()


def _handler(provider: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _serve(self, method: str) -> None:
            blob = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            url = urlsplit(self.path)
            query = parse_qs(url.query)
            prefix = "/openai" if provider.azure else "/v1"
            path = url.path.removeprefix(prefix)
            number = provider.asked.count((method, path))
            provider.asked.append((method, path))
            trouble = provider.trouble(method, path, number)
            if isinstance(trouble, int):
                self._send(trouble, _error(f"trouble of the server's own, with {KEY} in it"))
            elif trouble == "lose":
                self.connection.close()
            elif not self._known(query):
                given = self.headers.get("api-key") or self.headers.get("Authorization")
                self._send(401, _error(f"Incorrect API key provided: {given}", "invalid_api_key"))
            else:
                self._answer(method, path, query, blob, trouble)

        def _answer(self, method: str, path: str, query: Any, blob: bytes, trouble: Any) -> None:
            content_type = self.headers.get("Content-Type", "")
            body: Any = None
            if content_type.startswith("multipart/"):
                body = _multipart(content_type, blob)
            elif blob:
                body = json.loads(blob)
            try:
                status, answer = provider.handle(method, path, query, body)
            except Exception as error:
                provider.faults.append(f"{method} {path}: {error!r}")
                status, answer = 500, _error("the test's server is at fault")
            if trouble == "drop":
                self.connection.close()
            else:
                self._send(status, b"<html>The proxy is tired.</html>" if trouble == "html" else answer)

        def _known(self, query: dict[str, list[str]]) -> bool:
            if provider.azure:
                provider._expect("api-version" in query, f"no api-version in {self.path}")
                return bool(self.headers.get("api-key") == KEY)
            return bool(self.headers.get("Authorization") == f"Bearer {KEY}")

        def _send(self, status: int, answer: Any) -> None:
            blob = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if isinstance(answer, bytes) else "application/json")
            self.send_header("Content-Length", str(len(blob)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(blob)

        def do_GET(self) -> None:
            self._serve("GET")

        def do_POST(self) -> None:
            self._serve("POST")

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
