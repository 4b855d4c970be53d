"""A taste of the long run `python -m tests.benchmarks.fuzz`: mutated files through every verb."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import fuzz


@pytest.mark.parametrize("part", range(3))
def test_mutated_files_through_every_verb(part: int, tmp_path: Path) -> None:
    for number in range(part * 150, part * 150 + 150):
        folder = tmp_path / str(number)
        folder.mkdir()
        verb, fault = fuzz.case(number, 7, folder)
        assert fault is None, f"case {number} of seed 7 ({verb}):\n{fault}"
