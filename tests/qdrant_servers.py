"""Qdrant servers for the tests: a real one where there is one, and a loopback that speaks its protocol.

The loopback checks every request by qdrant-client's own types and answers from its in-memory mode. It shows
that requests are well formed and what travels, not what the real server does with them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from qdrant_client import QdrantClient, models

ADDRESS = "WORKBENCH_TEST_QDRANT"
NO_SERVER = f"no Qdrant server: no program `qdrant` on PATH, and {ADDRESS} names none"


def there_is_one() -> bool:
    return ADDRESS in os.environ or shutil.which("qdrant") is not None


@contextlib.contextmanager
def real(folder: Path) -> Iterator[str]:
    """The address of a real server: the one that the variable names, or one started in `folder`."""
    if address := os.environ.get(ADDRESS):
        yield address
        return
    with socket.socket() as free, socket.socket() as other:
        free.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        port, grpc = free.getsockname()[1], other.getsockname()[1]
    told = {"HOST": "127.0.0.1", "HTTP_PORT": port, "GRPC_PORT": grpc}
    env = os.environ | {f"QDRANT__SERVICE__{k}": str(v) for k, v in told.items()}
    env |= {"QDRANT__STORAGE__STORAGE_PATH": str(folder / "storage"), "QDRANT__TELEMETRY_DISABLED": "true"}
    program = shutil.which("qdrant")
    assert program is not None
    server = subprocess.Popen(
        [program], cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(300):
            with contextlib.suppress(urllib.error.URLError):
                urllib.request.urlopen(f"{address}/readyz", timeout=1)
                break
            time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait(30)


class Loopback:
    """A server on 127.0.0.1; with a `key` it refuses all who do not bring it. `asked` is (method, path) of each."""

    def __init__(self, key: str | None = None) -> None:
        self.asked: list[tuple[str, str]] = []
        self._key = key
        self._memory = QdrantClient(":memory:")
        self._one = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _do(self) -> None:
                blob = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, answer = outer._answer(
                    self.command, self.path, json.loads(blob or b"null"), self.headers.get("api-key")
                )
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = do_POST = _do

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, method: str, path: str, body: Any, key: str | None) -> tuple[int, Any]:
        self.asked.append((method, path))
        if self._key is not None and key != self._key:
            return 401, {"status": {"error": "Must provide an API key"}}
        match = re.fullmatch(r"/collections/([^/?]+)(/[^?]*)?(\?.*)?", path)
        assert match is not None, path
        name, place = match[1], match[2] or ""
        with self._one:
            return 200, {"result": self._done(method, name, place, body), "status": "ok", "time": 0.0}

    def _done(self, method: str, name: str, place: str, body: Any) -> Any:
        memory = self._memory
        if (method, place) == ("GET", "/exists"):
            return {"exists": memory.collection_exists(name)}
        if (method, place) == ("PUT", ""):
            wanted = models.CreateCollection.model_validate(body)
            return memory.create_collection(
                name,
                vectors_config=wanted.vectors or {},
                sparse_vectors_config=wanted.sparse_vectors,
            )
        if (method, place) == ("POST", "/points/count"):
            return {
                "count": memory.count(
                    name, exact=models.CountRequest.model_validate(body).exact or False
                ).count
            }
        if (method, place) == ("PUT", "/points"):
            memory.upsert(name, models.PointsList.model_validate(body).points)
            return {"operation_id": 1, "status": "completed"}
        if (method, place) == ("POST", "/points/query/batch"):
            searches = TypeAdapter(models.QueryRequestBatch).validate_python(body).searches
            assert all(s.params is not None and s.params.exact for s in searches)
            return [a.model_dump(mode="json") for a in memory.query_batch_points(name, searches)]
        raise AssertionError(f"{method} {place}")
