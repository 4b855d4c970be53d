"""Look at training data before it costs money: lint it, count its tokens, price the job.

`lint(paths)` gives findings, `estimate_cost(paths, model)` a bill, `encode(example, tokenizer)` the
tokens a trainer would see. Importing this package loads no model library.
"""

from .cost import Cost, auto_epochs, estimate_cost
from .encoding import encode
from .linter import LintReport, lint, lint_rows

__all__ = ["Cost", "LintReport", "auto_epochs", "encode", "estimate_cost", "lint", "lint_rows"]
