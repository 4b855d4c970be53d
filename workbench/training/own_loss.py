"""A loss of the user's own, by import path: found, tried out before anything is trained, and known by its bytes.

It is called as `function(logits=…, labels=…, mask=…)` once a micro-batch and returns a scalar tensor, lower
is better:

- `logits` float32 [rows, tokens, vocabulary]: what the model says of each next token;
- `labels` int64 [rows, tokens]: the token that comes, -100 where none trains;
- `mask` bool [rows, tokens]: where one trains. Packed rows stand side by side in one row.

It is a mean over the masked positions: micro-batches are weighed by theirs, so that accumulation and
processes change nothing.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from validators.suggest import did_you_mean

from .rows import IGNORED, TrainingError

if TYPE_CHECKING:
    import torch

OwnLoss = Callable[..., Any]
NAMES = ("logits", "labels", "mask")
# Positions that a loss is tried on.
_TRIED = 64


def load_loss(reference: str, folder: Path | None = None) -> OwnLoss:
    """The function behind `package.module:function`. Raises TrainingError naming what is not as stated."""
    _find(reference, folder)
    module_name, name = reference.split(":")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise TrainingError(f"loss: {module_name} does not run: {_said(error)}") from error
    function = getattr(module, name, None)
    if not callable(function):
        functions = [n for n, value in vars(module).items() if inspect.isfunction(value)]
        raise TrainingError(
            f"loss: {module_name} has no function {name!r}.{did_you_mean(name, functions)} It has: "
            f"{', '.join(functions) or 'none'}."
        )
    try:
        inspect.signature(function).bind(**dict.fromkeys(NAMES))
    except (TypeError, ValueError):
        raise TrainingError(
            f"loss: {reference} takes {_signature(function)}, and a loss here takes ({', '.join(NAMES)}) and gives "
            "a scalar. Losses of another kind (pairs, rewards, a teacher's logits) are not supported."
        ) from None
    return function  # type: ignore[no-any-return]


def loss_digest(reference: str, folder: Path | None = None) -> str:
    """`package.module:function sha256:…`, of the bytes of its file (what that imports is not in it).

    Raises TrainingError.
    """
    path = _find(reference, folder)
    return f"{reference} sha256:{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"


def try_loss(
    function: OwnLoss, reference: str, labels: Sequence[int], vocabulary: int, device: str = "cpu"
) -> None:
    """Call a loss on one row's labels and random logits. Raises TrainingError for what could not train.

    That is: an error, no scalar, no number, no gradient, one that trains on what is masked, or a sum.
    """
    import torch

    first = next(i for i, label in enumerate(labels) if label != IGNORED)
    begin = max(0, first - _TRIED // 2)
    wanted = torch.tensor([list(labels[begin : begin + _TRIED])], device=device)
    chance = torch.Generator().manual_seed(0)
    drawn = torch.randn(1, wanted.shape[1], vocabulary, generator=chance).to(device)
    value, logits = _called(function, reference, drawn, wanted)
    if not value.requires_grad:
        raise TrainingError(f"loss: {reference} gives a number without a gradient: compute it with torch.")
    (gradient,) = torch.autograd.grad(value, logits, allow_unused=True)
    if gradient is None or not gradient.isfinite().all() or not gradient.any():
        what = (
            "no gradient to the logits"
            if gradient is None or not gradient.any()
            else "gradients that are no numbers"
        )
        raise TrainingError(f"loss: {reference} gives {what}: nothing could be learnt from it.")
    if gradient[wanted == IGNORED].any():
        raise TrainingError(
            f"loss: {reference} trains on positions whose mask is 0 (prompts, padding): leave them out."
        )
    twice = _called(function, reference, torch.cat([drawn, drawn]), torch.cat([wanted, wanted]))[0].item()
    once = value.item()
    if once and abs(twice - 2 * once) < abs(twice - once):
        raise TrainingError(
            f"loss: {reference} gives {once:.4g} for a row and {twice:.4g} for the same row twice, so it is a sum: "
            "return the mean over the positions whose mask is 1."
        )


def _called(
    function: OwnLoss, reference: str, logits: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """A checked value of the loss, and the logits that it is a function of."""
    import torch

    given = logits.clone().requires_grad_()
    try:
        value = function(logits=given, labels=labels, mask=labels != IGNORED)
    except (Exception, SystemExit) as error:
        shape = list(given.shape)
        raise TrainingError(f"loss: {reference} fails on logits {shape}: {_said(error)}") from error
    if not isinstance(value, torch.Tensor) or value.dim():
        what = f"a tensor {list(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
        raise TrainingError(f"loss: {reference} gives {what}: return a scalar tensor.")
    if not math.isfinite(value.item()):
        raise TrainingError(
            f"loss: {reference} gives {value.item()} for plain random logits: return a number."
        )
    return value, given


def _find(reference: str, folder: Path | None) -> Path:
    """The file of the module. What stands in `folder` comes last, so that it hides nothing that is installed."""
    if folder is not None and str(folder) not in sys.path:
        sys.path.append(str(folder))
        importlib.invalidate_caches()
    module = reference.split(":")[0]
    try:
        spec = importlib.util.find_spec(module)
    except (Exception, SystemExit) as error:  # a parent package runs
        spec, why = None, f" ({_said(error)})"
    else:
        why = ""
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise TrainingError(
            f"loss: there is no module {module!r}{why}: put {module.replace('.', '/')}.py beside the experiment file, "
            "or install its package."
        )
    return Path(spec.origin)


def _signature(function: OwnLoss) -> str:
    try:
        return str(inspect.signature(function))
    except (TypeError, ValueError):
        return "arguments that it does not state"


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
