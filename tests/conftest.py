"""Shared parts of the tests: a real tiny model with a real tokenizer, made once a session."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# Machines are shared and noisy: a slow example is no fault, nor is a slow draw.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")

# Status, headers, and a body that is sent as JSON, or as it is where it is bytes.
Reply = tuple[int, dict[str, str], Any]

# Two test processes on two cores: more threads than cores make every matrix product wait.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TRAINED_ON = [
    "the pump is silent and the tank leaks",
    "route: bench/water post/late till/charge",
    "system user assistant",
]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a two-layer Llama of random weights, a byte-level BPE tokenizer and a ChatML template."""
    return make_tiny_model(tmp_path_factory.mktemp("tiny-model"))


def make_tiny_model(
    folder: Path,
    *,
    template: str | None = CHATML,
    seed: int = 0,
    texts: Sequence[str] = TRAINED_ON,
    vocabulary: int = 400,
    **sizes: int,
) -> Path:
    """Write a tiny chat model; pad and end-of-turn are one token, as in SmolLM2.

    Its tokenizer is made from `texts`; `sizes` are fields of its configuration.
    """
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    raw = ByteLevelBPETokenizer()
    raw.train_from_iterator(texts, vocab_size=vocabulary, special_tokens=["<|im_start|>", "<|im_end|>"])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw._tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        bos_token="<|im_start|>",
    )
    tokenizer.chat_template = template
    torch.manual_seed(seed)
    usual = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
    }
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        **(usual | sizes),
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[dict[str, Any], int], Reply]], tuple[str, list[dict[str, Any]]]]]:
    """Start servers that answer by a function of (request body, how many came before)."""
    running: list[ThreadingHTTPServer] = []

    def start(behave: Callable[[dict[str, Any], int], Reply]) -> tuple[str, list[dict[str, Any]]]:
        asked: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                asked.append(body | {"authorization": self.headers["Authorization"]})
                status, headers, answer = behave(asked[-1], len(asked) - 1)
                blob = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                for key, value in {
                    "Content-Type": "application/json",
                    "Content-Length": str(len(blob)),
                    **headers,
                }.items():
                    self.send_header(key, value)
                self.end_headers()
                with contextlib.suppress(BrokenPipeError):  # a client that timed out has left
                    self.wfile.write(blob)

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        running.append(server)
        return f"http://127.0.0.1:{server.server_port}/v1", asked

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture
def serve_chat(serve: Any) -> str:
    """The address of a loopback server that answers every chat with "till", 10 tokens in and 2 out."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "till"}}
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    about = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    address: str = serve(lambda *_: (200, {}, {**about, "choices": [choice], "usage": usage}))[0]
    return address
