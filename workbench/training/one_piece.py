"""LoRA layers computed in one piece: peft's sums without its copies, for the layers where that is possible.

peft adds an adapter's part to a layer's in five steps and autograd goes back over each; under mixed precision
two of them are casts of the whole input. On a CPU they cost a fifth of a training step.
"""

from __future__ import annotations

import types
from typing import Any

import torch
from peft.tuners.lora import Linear
from torch.nn.functional import linear


def in_one_piece(model: Any) -> int:
    """Let a model's plain LoRA layers train in one piece from now on; how many they are.

    Others stay as they are: DoRA, dropout, biases, several adapters, weights of 4 bits or kept as [in, out].
    A model that is not in training is computed by peft, as it will be scored.
    """
    found = [m for m in model.modules() if isinstance(m, Linear) and _is_plain(m)]
    for module in found:
        module.forward = types.MethodType(_forward, module)  # type: ignore[method-assign]
    return len(found)


def _is_plain(module: Any) -> bool:
    base, names = module.base_layer, list(module.lora_A)
    return (
        type(base) is torch.nn.Linear
        and names == module.active_adapters
        and len(names) == 1
        and not module.lora_variant
        and isinstance(module.lora_dropout[names[0]], torch.nn.Identity)
        and module.lora_B[names[0]].bias is None
        and not any(p.requires_grad for p in base.parameters())
        # Those who move weights about hang themselves in here.
        and not (base._forward_hooks or base._forward_pre_hooks or "forward" in vars(base))
    )


def _forward(self: Any, x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
    plain = self.training and len(self.lora_A) == 1 and not (self.disable_adapters or self.merged)
    if not plain or args or options:
        return type(self).forward(self, x, *args, **options)  # type: ignore[no-any-return]
    (name,) = self.lora_A
    # As autocast would do for each product; gradients come back to the adapter in its own precision.
    place = x.device.type
    dtype = torch.get_autocast_dtype(place) if torch.is_autocast_enabled(place) else x.dtype
    base = self.base_layer
    given = (x, base.weight, base.bias, self.lora_A[name].weight, self.lora_B[name].weight)
    layer: Any = _Layer.apply
    result: torch.Tensor = layer(*(t if t is None else t.to(dtype) for t in given), self.scaling[name])
    return result


class _Layer(torch.autograd.Function):
    """x [.., in], weight [out, in], bias [out], a [rank, in], b [out, rank] → [.., out]; weight and bias are frozen."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        a: torch.Tensor,
        b: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        low = rows @ a.T
        out = linear(rows, weight, bias).addmm_(low, b.T, alpha=scaling)
        ctx.save_for_backward(rows, weight, a, b, low)
        ctx.shape, ctx.scaling = x.shape, scaling
        return out.view(*x.shape[:-1], out.shape[-1])

    @staticmethod
    def backward(ctx: Any, *given: torch.Tensor) -> Any:
        rows, weight, a, b, low = ctx.saved_tensors
        grad = given[0].reshape(-1, given[0].shape[-1])
        grad_low = (grad @ b).mul_(ctx.scaling)
        grad_a, grad_b = grad_low.T @ rows, (grad.T @ low).mul_(ctx.scaling)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (grad @ weight).addmm_(grad_low, a).view(ctx.shape)
        return grad_x, None, None, grad_a, grad_b, None
