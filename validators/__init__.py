"""Look at training data before it costs money: lint it, count its tokens, price the job.

`lint(paths)` gives findings, `estimate_cost(paths, model)` a bill, `encode(example, tokenizer)` the
tokens a trainer would see. Importing this package loads no model library, and its parts only when asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cost import Cost, auto_epochs, estimate_cost
    from .encoding import encode
    from .linter import LintReport, lint, lint_rows

__all__ = ["Cost", "LintReport", "auto_epochs", "encode", "estimate_cost", "lint", "lint_rows"]

# `workbench --help` needs one small module of this package and none of these.
_HOMES = {
    "Cost": "cost",
    "auto_epochs": "cost",
    "estimate_cost": "cost",
    "encode": "encoding",
    "LintReport": "linter",
    "lint": "linter",
    "lint_rows": "linter",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
