"""The core install, without any extra: it lints, compares, and runs experiments over a server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import yaml

from tests.commands import ENVIRONMENT
from tests.judged_run import chat, jsonl, label, question

# What the extras bring, whatever of it is installed here.
EXTRAS = (
    *("torch", "transformers", "tokenizers", "peft", "accelerate", "safetensors", "datasets", "evaluate", "sklearn"),
    *("qdrant_edge", "qdrant_client", "pypdf", "lxml", "aiohttp", "httpx_aiohttp", "pandas", "pyarrow"),
    *("fastokens", "gigatoken", "streamlit", "altair", "vl_convert", "bitsandbytes", "liger_kernel"),
    *("tensorboard", "wandb", "mlflow"),
)  # fmt: skip
COMMANDS = """
import importlib.abc, json, sys

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in EXTRAS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

EXTRAS = frozenset(json.loads(sys.argv[1]))
sys.meta_path.insert(0, Missing())
from workbench import cli

for arguments in json.loads(sys.argv[2]):
    sys.argv = ["workbench", *arguments]
    try:
        cli.main()
    except SystemExit as end:
        print("::", arguments[0], end.code or 0)
"""


def test_what_needs_no_extra_works_without(tmp_path: Path, serve_chat: str) -> None:
    jsonl(tmp_path / "data.jsonl", [chat(question(n), label(n)) for n in range(40)])
    tree = {
        "name": "core",
        "task": "classification",
        "data": {"path": "data.jsonl", "split": {"dev": 0.2, "test": 0.4}},
        "backends": {"api": {"kind": "openai", "model": "m", "base_url": serve_chat, "price": [1, 2]}},
        "contenders": [
            {"name": "asked", "kind": "prompting", "systems": [None, "Be brief."]},
            {"name": "shown", "kind": "few-shot", "examples": 2, "choose": "stratified"},
        ],
        "metrics": {"primary": "exact_match", "also": ["macro_f1"]},
    }
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(tree))
    for name in ("a", "b"):
        rows = [{"id": str(n), "prediction": "x", "reference": "xy"[n % 2]} for n in range(20)]
        jsonl(tmp_path / f"{name}.jsonl", rows)
    commands = [
        ["lint", "data.jsonl", "--exit-zero"],
        ["cost", "data.jsonl", "--model", "gpt-4o-mini"],
        ["run", "experiment.yaml", "--dry-run"],
        ["run", "experiment.yaml"],
        ["compare", "a.jsonl", "b.jsonl", "--metric", "exact_match"],
        ["decide", "a=a.jsonl", "b=b.jsonl", "--tuned", "b"],
        ["doctor"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(EXTRAS), json.dumps(commands)],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    codes = [line for line in done.stdout.splitlines() if line.startswith("::")]
    assert codes == [f":: {arguments[0]} 0" for arguments in commands], done.stderr[-3000:]
    assert "bill: " in done.stderr and len(list(tmp_path.glob("runs/core-*/report.html"))) == 1
