"""A metric of the user's own: one Python file with `score(prediction, references) -> float`."""

from __future__ import annotations

import hashlib
import os
import sys
import types
from collections.abc import Callable, Iterable, Sequence
from importlib.abc import InspectLoader
from importlib.util import decode_source, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from .catalogue import METRICS
from .inputs import fill, texts
from .text import mean_reducer
from .types import Metric, Rows, bounds, row_mean


def own_metric(
    name: str, path: str | os.PathLike[str], scale: str = "0-1", higher_is_better: bool = True
) -> Metric:
    """Return a metric whose samples are scored by `score(prediction: str, references: list[str]) -> float`.

    Its value is the plain mean, so that a verdict can be redone from the files without running the code.
    The file is read and run only when something is measured. `scale` is "LOW-HIGH", "…, from LOW" or free
    text; numbers outside are refused. ValueError names the file, the row, what went wrong and the cure.
    """
    file = Path(path)
    if name in METRICS or not name.isidentifier():
        taken = "is the name of a metric that is there" if name in METRICS else "is no name"
        raise ValueError(f"{name!r} {taken}: give yours another, of letters, digits and _")

    def measure(predictions: Iterable[str | None], references: Iterable[str | Sequence[str]]) -> Rows:
        answers, accepted = texts(predictions, references)
        source = _read(name, file)
        function = _function(source, file)
        low, high = bounds(scale)
        rows: list[tuple[float] | None] = []
        for row, (answer, many) in enumerate(zip(answers, accepted, strict=True)):
            if answer is None:
                rows.append(None)
                continue
            number = _called(function, answer, many, file, row)
            if not low <= number <= high:
                raise ValueError(
                    f"{file}: score gives {number} for predictions[{row}], outside the scale {scale!r}: "
                    "return a number inside it, or state another scale"
                )
            rows.append((number,))
        digest = hashlib.sha256(source).hexdigest()[:12]
        return fill(rows, row_mean, ("score",), f"{name}|file:{file.name}|sha256:{digest}|v:1")

    return Metric(
        name, scale, higher_is_better, "text", f"Your own, from {file.name}.", measure, mean_reducer
    )


def _read(name: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ValueError(
            f"{file}: the file of the metric {name!r} cannot be read ({error.strerror}): check its path"
        ) from error


class _Source(InspectLoader):
    """Load a module from the very bytes whose sha256 is signed, and leave no bytecode beside the file."""

    def __init__(self, source: bytes, file: Path) -> None:
        self.source, self.file = source, file

    def get_source(self, fullname: str) -> str:
        return decode_source(self.source)

    def get_code(self, fullname: str) -> types.CodeType:
        return self.source_to_code(self.source, str(self.file))


def _function(source: bytes, file: Path) -> Callable[[str, list[str]], Any]:
    spec = spec_from_file_location(f"own_metric_{file.stem}", file, loader=_Source(source, file))
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[spec.name]
        raise ValueError(f"{file}{_line(error, file)}: the file does not run: {_said(error)}") from error
    function = getattr(module, "score", None)
    if not callable(function):
        raise ValueError(
            f"{file}: no function `score(prediction: str, references: list[str]) -> float`: define it"
        )
    return function  # type: ignore[no-any-return]


def _called(
    function: Callable[[str, list[str]], Any], answer: str, references: list[str], file: Path, row: int
) -> float:
    try:
        number = function(answer, list(references))
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"{file}{_line(error, file)}: score fails on predictions[{row}]: {_said(error)}; try score({answer!r:.40}, …)"
        ) from error
    try:
        value = float("nan") if isinstance(number, str) else float(number)
    except Exception:  # what a user's object does when it is asked for its number
        value = float("nan")
    if value - value != 0:
        raise ValueError(f"{file}: score gives {number!r:.40} for predictions[{row}]: return a finite number")
    return value


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _line(error: BaseException, file: Path) -> str:
    """Return ":LINE" of the innermost place in the user's file, where there is one."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f":{error.lineno}"
    lines, trace = [0], error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(file):
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return f":{lines[-1]}" if lines[-1] else ""
