"""Operators: which functions the operations of a network may call, by full name."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch

#: Picking one of several results, and multiples of the size of the batch.
_PYTHON_OPERATORS: dict[str, Callable[..., Any]] = {
    "_operator.getitem": operator.getitem,
    "_operator.mul": operator.mul,
}

#: Operators whose text arguments only choose a mode.
_TEXT_ARGUMENTS_ALLOWED = frozenset(
    {
        *("pad", "gelu", "einsum", "div", "conv1d", "conv2d", "conv3d", "rms_norm"),
        *("meshgrid", "quantile", "nanquantile", "scatter_reduce", "linalg_norm"),
        *("linalg_matrix_norm", "searchsorted", "bucketize"),
    }
)

#: Return an argument itself, or a view of it, though their schema hides it.
HIDDEN_ALIASES = frozenset(
    {
        *("getitem", "dropout", "feature_dropout", "alpha_dropout", "type_as"),
        *("feature_alpha_dropout", "einsum", "atleast_1d", "atleast_2d", "atleast_3d"),
        *("broadcast_tensors", "meshgrid", "cartesian_prod"),
    }
)


def operator_of(op: str) -> Callable[..., Any]:
    """The function behind an operator's full name.

    Only pure ATen operators on tensors and numbers run: nothing that reads files or
    writes into its arguments, so that a program from an unknown source is harmless.

    Raises:
        ValueError: the operator does not exist or may not run.
    """
    if op in _PYTHON_OPERATORS:
        return _PYTHON_OPERATORS[op]
    function = overload_of(op)
    if function is None:
        raise ValueError(f"operator {op!r} is unknown to this version of torch")
    schema = function._schema
    text = any("str" in str(argument.type) for argument in schema.arguments)
    kind = op.split(".")[1]
    modes = kind in _TEXT_ARGUMENTS_ALLOWED or kind.startswith("fft_")
    if schema.is_mutable or (text and not modes):
        raise ValueError(f"operator {op!r} may not run in a loaded network")
    return function


def overload_of(op: str) -> torch._ops.OpOverload | None:
    """The ATen operator of a full name, whether it may run or not; None if unknown."""
    namespace, _, rest = op.partition(".")
    packet_name, _, overload = rest.partition(".")
    packet = getattr(torch.ops.aten, packet_name, None) if namespace == "aten" else None
    function = getattr(packet, overload, None) if packet is not None else None
    return function if isinstance(function, torch._ops.OpOverload) else None
