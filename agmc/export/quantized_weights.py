"""Quantised weights: which weights of a program need few bits, and their codes.

A float32 parameter is uniformly quantised where the one operation that reads it is a
fake quantisation of torch, called with (weight, scale, zero point, axis, low, high) and
a factor of the gradient, or without the axis where one scale holds for all of the
weight. With the scale s and the zero point z of its channel, the operation makes
(q - z) * s of a weight w, where q = clamp(round(w / s + z), low, high). The learnable
operators round z and clamp it to [low, high] before.

The code of a weight is (q - z) mod (high - low + 1): zeros have code 0, whatever z is.
Back from the code c goes r = low - z + (c - (low - z)) mod (high - low + 1), and the
weight is r * s, in float32; mod is never negative. The same operation makes r * s of it
again.

Where `aten.take` reads a codebook and an index, both are tensors like any other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from agmc.export.packing import code_dtype
from agmc.export.words import is_finite
from agmc.graph.operators import operator_of
from agmc.graph.program import Operation, Program, argument, name_of
from agmc.graph.rounded_program import PER_CHANNEL, PER_TENSOR, SHARED

#: Operator -> whether it has one scale a channel, whether its zero point is learnable.
_OPERATORS = {
    PER_CHANNEL: (True, True),
    PER_TENSOR: (False, True),
    "aten.fake_quantize_per_channel_affine.default": (True, False),
    "aten.fake_quantize_per_tensor_affine.tensor_qparams": (False, False),
}
_MOST_BITS = 16
#: Whole numbers are exact in float32 up to here.
_LARGEST_LEVEL = 2**23
_NUMBERS = [int, int], [int, int, int]


@dataclass(frozen=True)
class Quantizer:
    """What quantises one weight.

    Attributes:
        operation: the call.
        scale: name of the tensor.
        zero_point: name of the tensor.
        axis: dimension of the weight that counts the channels; None: one scale for
            all of it.
        low: smallest level.
        high: largest level.
        learnable: whether the zero point is rounded and clamped.
    """

    operation: Operation
    scale: str
    zero_point: str
    axis: int | None
    low: int
    high: int
    learnable: bool

    @property
    def num_levels(self) -> int:
        """Different values that a weight can have."""
        return self.high - self.low + 1

    @property
    def bits(self) -> int:
        """Bits of a code, 1 to 16."""
        return max(1, (self.num_levels - 1).bit_length())

    def codes(self, weight: Tensor, state: Mapping[str, Tensor]) -> np.ndarray:
        """Codes of a weight in row-major order.

        Args:
            weight: float32.
            state: has scale and zero point.

        Raises:
            ValueError: the codes would give other values than the operation.
        """
        scale, _ = self._parameters(weight.shape, state)
        wanted = self._run(weight, state)
        levels = (wanted / scale).round_().to(torch.int32)
        codes = levels.remainder_(self.num_levels).reshape(-1).numpy()
        codes = codes.astype(code_dtype(self.bits))
        stored = self.weight(codes, weight.shape, state)
        again = self._run(stored, state)
        exact = torch.equal(again.view(torch.int32), wanted.view(torch.int32))
        if not (exact and is_finite(stored)):
            raise ValueError(
                f"codes of {self.bits} bits give other values than {self.operation.op}"
                f"; {self.scale} must hold normal numbers and {self.zero_point} whole "
                "ones"
            )
        return codes

    def levels(self, weight: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        """Q - z of every weight, int32 of its shape; arguments as of `codes`."""
        scale, _ = self._parameters(weight.shape, state)
        return (self._run(weight, state) / scale).round_().to(torch.int32)

    def weight(
        self, codes: np.ndarray, shape: tuple[int, ...], state: Mapping[str, Tensor]
    ) -> Tensor:
        """The weight of these codes, float32.

        Args:
            codes: unsigned [numel].
            shape: of the weight.
            state: has scale and zero point.

        Raises:
            ValueError: a code is out of range, or scale and zero point do not fit.
        """
        if codes.size and int(codes.max()) >= self.num_levels:
            raise ValueError(f"a code is not below {self.num_levels}")
        if not codes.size:
            return torch.empty(shape)
        scale, zero_point = self._parameters(shape, state)
        lowest = (self.low - zero_point).to(torch.int32)
        levels = torch.from_numpy(codes.astype(np.int32)).reshape(shape)
        levels -= lowest
        levels.remainder_(self.num_levels)
        levels += lowest
        return levels.to(torch.float32).mul_(scale)

    def _parameters(
        self, shape: tuple[int, ...], state: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Scale and zero point, shaped so that they fit the weight."""
        around = [1] * len(shape)
        if self.axis is not None:
            if not 0 <= self.axis < len(shape):
                raise ValueError(
                    f"a weight of shape {tuple(shape)} has no axis {self.axis}"
                )
            around[self.axis] = shape[self.axis]
        fitting = []
        for name in (self.scale, self.zero_point):
            value = state[name].detach().cpu().to(torch.float32)
            if value.ndim > 1 or value.numel() != math.prod(around):
                raise ValueError(
                    f"{name} has shape {tuple(value.shape)}, not ({math.prod(around)},)"
                )
            fitting.append(value.reshape(around))
        scale, zero_point = fitting
        if self.learnable:
            zero_point = zero_point.round().clamp(self.low, self.high)
        return scale, zero_point

    @torch.no_grad()
    def _run(self, weight: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        """What the operation makes of the weight."""
        named = (state[self.scale].cpu(), state[self.zero_point].cpu())
        call = operator_of(self.operation.op)
        return call(weight, *named, *self.operation.args[3:]).contiguous()


def quantizers(program: Program) -> dict[str, Quantizer]:
    """Weight -> what quantises it; a weight that anything else reads is left out."""
    parameters = {*program.parameters}
    stored = parameters.union(program.buffers)
    found = {}
    for operation in program.operations:
        quantizer = _quantizer(operation)
        weight = name_of(argument(operation, 0))
        if quantizer is None or weight not in parameters or program.reads[weight] != 1:
            continue
        if {quantizer.scale, quantizer.zero_point} <= stored:
            found[weight] = quantizer
    return found


def check_codebooks(program: Program, state: Mapping[str, Tensor]) -> None:
    """Every stored index stays within its codebook.

    Raises:
        ValueError: one does not.
    """
    smallest: dict[str, int] = {}
    for operation in program.operations:
        names = [name_of(arg) for arg in operation.args[:2]]
        if operation.op == SHARED and all(name in state for name in names):
            codebook, index = (str(name) for name in names)
            size = state[codebook].numel()
            smallest[index] = min(size, smallest.get(index, size))
    for index, size in smallest.items():
        held = state[index]
        if held.numel() and not 0 <= int(held.min()) <= int(held.max()) < size:
            raise ValueError(
                f"{index} holds {int(held.min())} to {int(held.max())}, the codebook "
                f"has {size} entries"
            )


def _quantizer(operation: Operation) -> Quantizer | None:
    if operation.op not in _OPERATORS or operation.kwargs:
        return None
    by_channel, learnable = _OPERATORS[operation.op]
    scale, zero_point = (name_of(arg) for arg in operation.args[1:3])
    numbers = operation.args[3 : 6 if by_channel else 5]
    if scale is None or zero_point is None or [*map(type, numbers)] not in _NUMBERS:
        return None
    *axes, low, high = numbers
    axis = axes[0] if axes else None
    if abs(low) > _LARGEST_LEVEL or not 1 <= high - low + 1 <= 2**_MOST_BITS:
        return None
    return Quantizer(operation, scale, zero_point, axis, low, high, learnable)
