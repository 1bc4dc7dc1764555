"""ShapeAnswers: what calls of ATen operators give, on the meta device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

#: Results look like the first argument, in evaluation mode and for floating numbers;
#: torch takes up to three milliseconds to say so.
_LIKE_FIRST = frozenset(
    {
        *("batch_norm", "relu", "relu_", "relu6", "relu6_", "hardtanh", "hardtanh_"),
        *("hardswish", "hardswish_", "hardsigmoid", "hardsigmoid_", "silu", "silu_"),
        *("sigmoid", "sigmoid_", "gelu"),
    }
)


class ShapeAnswers:
    """Asks torch, and remembers what it said."""

    def __init__(self) -> None:
        self._known: dict[Any, Any] = {}

    def of(self, func: torch._ops.OpOverload, args: Any, kwargs: Any) -> Any:
        """The result of a call, whose tensors are all on the meta device.

        Raises:
            ValueError: batch norm over another number of channels than there are.
            Exception: what torch raises where the call is wrong.
        """
        kind = func._schema.name.rpartition("::")[2]
        if kind in _LIKE_FIRST and _is_dense(args[0]):
            if kind == "batch_norm":
                _check_channels(args[0], args[3])
            return args[0]
        if torch.Tag.inplace_view in func.tags:  # others hold the same shape
            return func(args[0].detach(), *args[1:], **kwargs)
        key = (func, _key(args), _key(kwargs))
        if key not in self._known:
            self._known[key] = func(*args, **kwargs)
        return self._known[key]


def _key(tree: Any) -> Any:
    """Equal for calls that have the same answer."""
    if isinstance(tree, Tensor):
        return tree.shape, tree.stride(), tree.dtype
    if isinstance(tree, (list, tuple)):
        return tuple([_key(item) for item in tree])
    if isinstance(tree, dict):
        return tuple([(key, _key(item)) for key, item in tree.items()])
    return type(tree), tree  # for 1, 1.0 and True are equal


def _is_dense(meta: Tensor) -> bool:
    """Floating numbers without gaps and overlaps, which pointwise operators keep."""
    return meta.is_floating_point() and (
        meta.is_contiguous()
        or (meta.ndim == 4 and meta.is_contiguous(memory_format=torch.channels_last))
    )


def _check_channels(x: Tensor, statistic: Tensor | None) -> None:
    if statistic is not None and statistic.shape[0] != x.shape[1]:
        raise ValueError(
            f"batch norm over {statistic.shape[0]} channels got {x.shape[1]}"
        )
