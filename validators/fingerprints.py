"""Digests that make two rows the same when only case, width or white space differ."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from typing import Any

import msgspec

# A word, a sign, or one character of a script that writes no spaces.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]|\w+|[^\w\s]")
_NOT_CONTENT = frozenset({"id", "metadata", "weight", "tool_call_id"})


def fold(text: str) -> str:
    """Text after NFKC, case folding and collapsing white space."""
    normal = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return " ".join(normal.casefold().split())


def fingerprint(value: dict[str, Any], row_format: str | None) -> tuple[bytes, bytes | None, int]:
    """Digests of a row and of its prompt, and the prompt's length in words.

    The prompt is what comes before the last reply; its words are counted without system messages, since
    a shared system message says nothing about a leak. A row without a prompt has None and 0.
    """
    folded = _folded(value)
    prompt = _prompt(folded, row_format)
    words = _count_words(" ".join(_texts(prompt, skip_system=True)))
    return _digest(folded), _digest(prompt) if words else None, words


def _count_words(text: str) -> int:
    """Words, exact only while they are few: a long prompt need not be taken apart to be known as long."""
    at_least = len(text.split())
    return at_least if at_least > 50 else len(_WORD.findall(text))


def _prompt(value: dict[str, Any], row_format: str | None) -> Any:
    messages = value.get("messages")
    if row_format in ("chat", "reinforcement") and isinstance(messages, list):
        roles = [m.get("role") if isinstance(m, dict) else None for m in messages]
        last = len(roles) - 1 - roles[::-1].index("assistant") if "assistant" in roles else len(roles)
        return messages[: last if row_format == "chat" else len(roles)]
    keys = {
        "preference": ("input", "prompt"),
        "prompt-completion": ("prompt",),
        "alpaca": ("instruction", "input"),
    }
    return [value[key] for key in keys.get(row_format or "", ()) if key in value]


def _texts(value: Any, skip_system: bool = False) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item, skip_system)]
    if isinstance(value, dict):
        if skip_system and value.get("role") in ("system", "developer"):
            return []
        if isinstance(value.get("messages"), list):
            return _texts(value["messages"], skip_system)
        return _texts(value.get("content", value.get("text", [])), skip_system)
    return []


def _digest(value: Any) -> bytes:
    try:
        data = msgspec.json.encode(value, order="sorted")
    except (ValueError, TypeError):  # half a surrogate pair, or a type of a table's own
        data = json.dumps(value, sort_keys=True, default=str).encode()
    return hashlib.blake2b(data, digest_size=16).digest()


def _folded(value: Any) -> Any:
    if isinstance(value, str):
        return fold(value)
    if isinstance(value, list):
        return [_folded(item) for item in value]
    if isinstance(value, dict):
        return {key: _folded(item) for key, item in value.items() if key not in _NOT_CONTENT}
    return value
