"""The script to beat: the seven checks of the OpenAI cookbook's notebook, and its token counts, on a file read whole.

Run: python tests/benchmarks/notebook.py FILE [ENCODING]
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any


def read(path: Path) -> list[Any]:
    """All rows."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def seven_checks(rows: list[Any]) -> Counter[str]:
    """The checks a notebook makes."""
    faults: Counter[str] = Counter()
    for row in rows:
        if not isinstance(row, dict):
            faults["row is no object"] += 1
            continue
        messages = row.get("messages")
        if not messages:
            faults["no messages"] += 1
            continue
        for message in messages:
            if "role" not in message or "content" not in message:
                faults["key missing"] += 1
            if any(key not in ("role", "content", "name", "function_call", "weight") for key in message):
                faults["unknown key"] += 1
            if message.get("role") not in ("system", "user", "assistant", "function"):
                faults["unknown role"] += 1
            content, call = message.get("content"), message.get("function_call")
            if (not content and not call) or not isinstance(content, str):
                faults["no content"] += 1
        if not any(message.get("role") == "assistant" for message in messages):
            faults["no assistant"] += 1
    return faults


def tokens(rows: list[Any], encoding: Any) -> int:
    """The published formula, one text after the other."""
    total = 0
    for row in rows:
        total += 3
        for message in row["messages"]:
            total += 3
            for key, value in message.items():
                total += len(encoding.encode_ordinary(value)) + (key == "name")
    return total


if __name__ == "__main__":
    rows = read(Path(sys.argv[1]))
    print(seven_checks(rows))
    if len(sys.argv) > 2:
        import tiktoken

        print(tokens(rows, tiktoken.get_encoding(sys.argv[2])))
