"""What the `openai` backend costs: a server that takes 50 ms, asked 32 at a time; and memory over 10,000 requests.

python -m tests.benchmarks.server [REQUESTS]      share of the ideal throughput, rows written as a run writes them;
                                                  resident memory at every tenth of the way

The server is a process of its own and does next to nothing, so that it takes no time from the client. The ideal
is 32 requests every 50 ms. On a machine with other work nobody reaches it: what bare sockets reach stands beside,
measured before and after.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from validators.examples import Message
from workbench.backends import Request
from workbench.backends.openai_server import OpenAIBackend
from workbench.files import open_appender
from workbench.records import Prompt
from workbench.settings import OpenAIBackend as Settings

SECONDS, CONCURRENCY = 0.05, 32
SYSTEM = "You route support tickets to the desk that answers them. Reply with the desk's code alone. " * 10


class Reply(asyncio.Protocol):
    """Reads requests of one connection, answers each after SECONDS with the same completion."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.read = transport, b""

    def data_received(self, data: bytes) -> None:
        self.read += data
        head, found, body = self.read.partition(b"\r\n\r\n")
        length = int((head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]) or 0)
        if found and len(body) >= length:
            self.read = body[length:]
            asyncio.get_running_loop().call_later(SECONDS, self.transport.write, answer())


def answer() -> bytes:
    message = {"role": "assistant", "content": "till", "refusal": None}
    choice = {"index": 0, "finish_reason": "stop", "message": message, "logprobs": None}
    usage = {"prompt_tokens": 180, "completion_tokens": 2, "total_tokens": 182}
    about = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    blob = json.dumps({**about, "choices": [choice], "usage": usage}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(blob)}\r\n\r\n"
    return head.encode() + blob


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Reply, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def requests(count: int) -> list[Request]:
    system = Message("system", SYSTEM)
    return [
        Request(
            prompt=Prompt(id=str(n), messages=(system, Message("user", f"The pump is silent ({n})."))),
            references=("till",),
        )
        for n in range(count)
    ]


def resident_mb() -> float:
    """Resident memory of this process, in MB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def bare(port: int, count: int) -> float:
    """Requests a second of a client that only writes and reads bytes."""
    body = json.dumps({"model": "m", "messages": [{"role": "system", "content": SYSTEM}]}).encode()
    request = f"POST / HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    left = iter(range(count))

    async def ask() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            writer.write(request)
            await reader.readexactly(len(answer()))
        writer.close()

    begun = time.monotonic()
    await asyncio.gather(*(ask() for _ in range(CONCURRENCY)))
    return count / (time.monotonic() - begun)


def measure(port: int, count: int) -> None:
    url = f"http://127.0.0.1:{port}/v1"
    settings = Settings(
        kind="openai",
        model="m",
        base_url=url,
        concurrency=CONCURRENCY,
        price=(0.15, 0.6),
        api_key_env="NO_KEY",
    )
    asked = requests(count)
    before = asyncio.run(bare(port, min(count, 2000)))
    with tempfile.TemporaryDirectory() as folder:
        backend = OpenAIBackend(settings, ledger=Path(folder) / "spending.jsonl")
        list(backend.answer(asked[:CONCURRENCY]))
        memory, begun, spent = [resident_mb()], time.monotonic(), time.process_time()
        with open_appender(Path(folder) / "rows.jsonl") as file:
            for number, row in enumerate(backend.answer(asked), 1):
                file.append(row)
                if number % (count // 10) == 0:
                    memory.append(resident_mb())
        wall, cpu = time.monotonic() - begun, time.process_time() - spent
    after = asyncio.run(bare(port, min(count, 2000)))
    ideal = count / CONCURRENCY * SECONDS
    print(
        f"{count} requests: {count / wall:.0f} a second, {ideal / wall:.3f} of the ideal; "
        f"{cpu / count * 1e3:.2f} ms of CPU a request"
    )
    print(f"bare sockets: {before:.0f} and {after:.0f} a second, of {CONCURRENCY / SECONDS:.0f}")
    print("resident memory, MB: " + " ".join(f"{mb:.1f}" for mb in memory))


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    command = [sys.executable, "-m", "tests.benchmarks.server", "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            measure(int(server.stdout.readline()), count)
        finally:
            server.terminate()


if __name__ == "__main__":
    asyncio.run(serve()) if sys.argv[1:] == ["--serve"] else main()
