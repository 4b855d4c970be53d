"""Licences of base models: what a model says of itself, the table of families, the caveat on the card."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.test_backends import local
from tests.test_harm import evidence
from validators.licences import licence_named, licence_of, load_table
from workbench.licence import licence_caveat


@pytest.mark.parametrize(
    ("model", "licence", "free"),
    [
        ("smollm2-135m-instruct", "apache-2.0", True),
        ("HuggingFaceTB/SmolLM3-3B", "apache-2.0", True),
        ("Qwen/Qwen2.5-7B-Instruct", "apache-2.0", True),
        ("Qwen/Qwen2.5-Coder-14B", "apache-2.0", True),
        ("Qwen/Qwen2.5-3B-Instruct", "qwen-research", False),
        ("Qwen/Qwen2.5-72B", "qwen", False),
        ("Qwen/Qwen2-72B-Instruct", "tongyi-qianwen", False),
        ("Qwen/Qwen3-8B", "apache-2.0", True),
        ("meta-llama/Llama-3.2-1B-Instruct", "llama3.2", False),
        ("meta-llama/Meta-Llama-3-8B", "llama3", False),
        ("meta-llama/Llama-2-7b-hf", "llama2", False),
        ("google/gemma-3-4b-it", "gemma", False),
        ("google/gemma-7b", "gemma", False),
        ("google/gemma-4-9b", "apache-2.0", True),
        ("mistralai/Mistral-7B-v0.3", "apache-2.0", True),
        ("mistralai/Mistral-Nemo-Instruct-2407", "apache-2.0", True),
        ("mistralai/Codestral-22B-v0.1", "mnpl", False),
        ("mistralai/Mistral-Large-Instruct-2411", "mrl", False),
        ("microsoft/phi-4", "mit", True),
        ("microsoft/Phi-3.5-mini-instruct", "mit", True),
    ],
)
def test_well_known_families(model: str, licence: str, free: bool) -> None:
    found = licence_of(model)
    assert found is not None and found.id == licence and (found.check is None) == free and found.source


@pytest.mark.parametrize(
    "model", ["Qwen/Qwen3.5-4B", "somebody/llama-like", "mistralai/Ministral-8B", "x", "", "gpt2"]
)
def test_nobody_is_guessed_for(model: str) -> None:
    assert licence_of(model) is None


@pytest.mark.parametrize(
    ("files", "licence"),
    [
        ({"README.md": "---\nlanguage: en\nlicense: apache-2.0\n---\n# m"}, "apache-2.0"),
        ({"README.md": "---\nlicense: 'MIT'\n---"}, "mit"),
        ({"README.md": "---\nlicense:\n- llama3.2\n---"}, "llama3.2"),
        ({"README.md": "---\nlicense: other\nlicense_name: mrl\n---"}, "mrl"),
        ({"README.md": "---\nlicense: openrail++\n---"}, "openrail++"),
        (
            {"README.md": "---\nlicense: other\n---", "LICENSE": "LLAMA 3.2 COMMUNITY LICENSE AGREEMENT"},
            "llama3.2",
        ),
        ({"LICENSE": "\n   Apache License\n   Version 2.0, January 2004"}, "apache-2.0"),
        ({"LICENSE.txt": "Copyright (c) A\n\nPermission is hereby granted, free of charge, to"}, "mit"),
        ({"README.md": "# license: mit is only prose here"}, None),
        ({"README.md": "\x00\xff", "LICENSE": "all rights reserved"}, None),
        ({}, None),
    ],
)
def test_what_a_folder_says_of_itself(tmp_path: Path, files: dict[str, str], licence: str | None) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    found = licence_of("ours", tmp_path)
    assert (found.id if found else None) == licence


def test_a_folder_comes_before_the_family(tmp_path: Path) -> None:
    assert (licence_of("meta-llama/Llama-3.2-1B", tmp_path) or licence_named("?", "")).id == "llama3.2"
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---")
    assert (licence_of("meta-llama/Llama-3.2-1B", tmp_path) or licence_named("?", "")).id == "mit"


def test_the_table_is_dated_and_whole() -> None:
    table = load_table()
    assert table.read <= date(2026, 11, 20)
    known = {*table.permissive, *(c.id for c in table.conditions)}
    assert {f.licence for f in table.families} <= known
    assert all(f.source.startswith("http") and re.compile(f.pattern) for f in table.families)


HF, API = {"kind": "hf"}, {"kind": "openai"}


@pytest.mark.parametrize(
    ("backend", "model", "told"),
    [
        (HF | {"model": "smollm2-135m-instruct"}, {}, None),
        (HF | {"model": "models/ours"}, {}, "licence of models/ours is unknown: check it before shipping"),
        (HF | {"model": "models/ours"}, {"licence": "mit"}, None),
        (
            HF | {"model": "Qwen/Qwen2.5-3B"},
            {},
            "Qwen/Qwen2.5-3B is under the Qwen Research License: no commercial use without an agreement",
        ),
        (
            HF | {"model": "m"},
            {"licence": "gemma"},
            "m is under the Gemma Terms of Use: check the prohibited use policy, which you must pass on with every "
            "derived model",
        ),
        (
            HF | {"model": "m"},
            {"licence": "odd"},
            "m is under the licence odd: check whether it allows your use",
        ),
        (API | {"model": "gpt-4o-mini", "base_url": None}, {}, None),
        (
            API | {"model": "ours", "base_url": "http://127.0.0.1:8000/v1"},
            {},
            "licence of ours is unknown: check it before shipping",
        ),
        ({"kind": "echo", "model": "echo"}, {}, None),
        ({}, {"name": "answers.jsonl"}, None),
    ],
)
def test_the_caveat(backend: dict[str, Any], model: dict[str, Any], told: str | None) -> None:
    e = replace(evidence("lora", [1, 0], tuned=True), info={"backend": backend, "model": model})
    assert licence_caveat(e) == told


def test_a_local_model_carries_its_licence_into_the_run(tiny_model: Path) -> None:
    assert local(tiny_model).identity().licence is None
    (tiny_model / "LICENSE").write_text("MIT License")
    try:
        assert local(tiny_model).identity().licence == "mit"
    finally:
        (tiny_model / "LICENSE").unlink()
