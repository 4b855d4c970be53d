"""Anything at all as an experiment file: it loads, or the error says where it fails."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.experiment import Experiment, ExperimentError, read_text

GOOD = """\
name: small
data:
  path: rows.jsonl
contenders:
  - name: zero
    kind: prompting
"""


def loads_or_tells(text: str) -> None:
    try:
        Experiment.parse(text, path=Path("e.yaml"))
    except ExperimentError as error:
        assert str(error).startswith("e.yaml")


keys = st.sampled_from(
    ["name", "data", "path", "contenders", "kind", "backends", "split", "metrics", "decision", "x"]
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.dates()
    | st.text(max_size=8)
    | st.sampled_from(["rag", "hf", "last", "prompting"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | st.integers(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150)
@given(st.dictionaries(keys, values, max_size=6))
def test_any_yaml_loads_or_is_told(tree: object) -> None:
    loads_or_tells(yaml.safe_dump(tree, allow_unicode=True))


@settings(max_examples=100)
@given(st.text(max_size=60) | st.text("{}[]:-,&*!|>'\"#%@`?\n ab1~", max_size=40))
def test_any_text_loads_or_is_told(text: str) -> None:
    loads_or_tells(text)


@settings(max_examples=150)
@given(st.integers(0, len(GOOD) - 1), st.text("{}[]:-,&*!|>'\"#%\n\t ab1~=<", max_size=3), st.integers(0, 5))
def test_any_mutation_loads_or_is_told(at: int, insert: str, cut: int) -> None:
    loads_or_tells(GOOD[:at] + insert + GOOD[at + cut :])


@settings(max_examples=100)
@given(raw=st.binary(max_size=60))
def test_any_bytes_load_or_are_told(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.yaml"
    path.write_bytes(raw)
    try:
        Experiment.parse(read_text(path), path=path)
    except ExperimentError as error:
        assert str(error).startswith(str(path))
