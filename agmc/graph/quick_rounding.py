"""Forms of operators that torch computes one element at a time, or without a check."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from agmc.graph.operators import operator_of
from agmc.graph.rounded_program import PER_TENSOR


def quick_form(op: str) -> Callable[..., Any]:
    """The function behind an operator's full name, or a better one of equal results.

    Raises:
        ValueError: as `operator_of`.
    """
    return _QUICK.get(op) or operator_of(op)


def _rounded(
    values: Tensor, scale: Tensor, zero: Tensor, low: int, high: int, gain: float
) -> Tensor:
    """Rounding to even numbers, six times as fast on a CPU as the operator."""
    # Whoever traces the network is to find the operator; a GPU does not need this.
    plain = type(values) is Tensor and values.device.type == "cpu"
    plain = plain and not torch.compiler.is_compiling()
    if not plain or torch.jit.is_tracing():
        return _operator(values, scale, zero, low, high, gain)
    if torch.is_grad_enabled() and (values.requires_grad or scale.requires_grad):
        made: Tensor = _Rounded.apply(values, scale, zero, low, high, gain)
        return made
    return _forward(values, scale, zero, low, high)


def _forward(
    values: Tensor, scale: Tensor, zero: Tensor, low: int, high: int
) -> Tensor:
    codes = (values * (1 / scale)).round_()
    return codes.clamp_(*_ends(zero, low, high)).mul_(scale)


def _ends(zero: Tensor, low: int, high: int) -> tuple[float, float]:
    """The smallest and the largest multiple of the step; a number is clamped faster."""
    drawn_in = min(max(float(zero.round()), low), high)
    return low - drawn_in, high - drawn_in


class _Rounded(torch.autograd.Function):
    """The same with the gradients of the operator.

    Straight through between the ends, and LSQ's for the step size s (Esser et al. 2020,
    arXiv 1902.08153, eq. 3): round(v/s) - v/s between the ends, the end beyond them.
    """

    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        scale: Tensor,
        zero: Tensor,
        low: int,
        high: int,
        gain: float,
    ) -> Tensor:
        ctx.save_for_backward(values, scale, zero)
        ctx.numbers = low, high, gain
        return _forward(values, scale, zero, low, high)

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> Any:
        (gradient,) = gradients
        values, scale, zero = ctx.saved_tensors  # type: ignore[attr-defined]
        low, high, gain = ctx.numbers  # type: ignore[attr-defined]
        exact = values * (1 / scale)
        codes = exact.round()
        near = codes.clamp(*_ends(zero, low, high))
        passed = gradient * (near == codes)
        by_scale = ((gradient * near).sum() - (passed * exact).sum()) * gain
        return passed, by_scale.reshape(scale.shape), None, None, None, None


def _weight_norm(weight: Tensor, norm: Tensor, dim: int = 0) -> Tensor:
    """A weight of another norm; torch's own reads beyond the end of too few norms."""
    return weight * (norm / torch.norm_except_dim(weight, 2, dim))


_operator = operator_of(PER_TENSOR)
_QUICK: Mapping[str, Callable[..., Any]] = {
    PER_TENSOR: _rounded,
    "aten._weight_norm.default": _weight_norm,
}
