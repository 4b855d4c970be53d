"""Decide whether to fine-tune a language model, before you spend.

`from workbench import Experiment, Run, run, decide`; the command line is `workbench --help`.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .experiment import Experiment
    from .runner import run
    from .runs import Run
    from .verdict import decide

__all__ = ["Experiment", "Run", "decide", "run"]

# Loaded when asked for, so that `workbench --help` and the linter stay quick.
_WHERE = {"Experiment": "experiment", "Run": "runs", "run": "runner", "decide": "verdict"}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(f".{_WHERE[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _check_neighbours() -> None:
    """`validators` and `metrics` are also names of other distributions: take none of those for ours."""
    here = Path(__file__).resolve().parent.parent
    for name in ("validators", "metrics"):
        spec = importlib.util.find_spec(name)
        found = Path(spec.origin).resolve().parent.parent if spec and spec.origin else None
        if found != here:
            raise ImportError(
                f"the package {name!r} was found at {found or 'no place'}, not beside workbench in {here}: another "
                f"distribution of that name is in the way. Cure: pip uninstall {name}, then "
                "pip install --force-reinstall --no-deps decide-before-you-tune"
            )


_check_neighbours()
