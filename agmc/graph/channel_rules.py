"""What each operator does to channels: one small rule per kind, in one table.

A rule reads the labels of the operation's inputs and sets those of its result; an
operator without a rule leaves all its channels alone. Letters: N batch, C channels,
F features, * any number of spatial dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from agmc.graph.labels import Labels
from agmc.graph.program import Operation, Ref

Rule = Callable[[Labels, Operation], None]

_END = 2**62  # torch writes "to the end" as a slice to the largest int64


def rule_of(operation: Operation) -> Rule:
    """The rule of an operation; unknown operators leave channels alone."""
    if operation.op.startswith("_operator.") and operation.kind != "getitem":
        return _arithmetic_on_shapes
    return _RULES.get(operation.kind, _unknown)


def _unknown(labels: Labels, operation: Operation) -> None:
    labels.leave_alone(operation, f"no rule says what {operation.op} does to channels")


def _argument(operation: Operation, position: int, default: Any = None) -> Any:
    return operation.args[position] if len(operation.args) > position else default


def _name(argument: Any) -> str | None:
    return argument.name if isinstance(argument, Ref) else None


def _convolution(labels: Labels, operation: Operation) -> None:
    """[N, C_in, *] -> [N, C_out, *]; weight [C_out, C_in / groups, *]."""
    source, weight = _name(operation.args[0]), _name(operation.args[1]) or ""
    bias = _name(_argument(operation, 2))
    groups = _argument(operation, 6, 1)
    assert source is not None
    incoming = labels.along(source, 1)
    if weight not in labels.parameter_shapes or incoming is None:
        labels.leave_alone(operation, "the weight is no parameter of a plain layer")
        return
    num_out, per_group_in = labels.parameter_shapes[weight][:2]
    outgoing = labels.new(num_out)
    if groups == 1:
        labels.slot(weight, 1, incoming)
    elif per_group_in == 1:
        # Depthwise: an input channel goes with all outputs that are made of it.
        labels.join(np.repeat(incoming, num_out // groups), outgoing)
    else:
        # Groups stay equal: position j goes in all groups or in none.
        by_group = incoming.reshape(groups, per_group_in)
        labels.join(np.broadcast_to(by_group[0], by_group.shape), by_group)
        labels.slot(weight, 1, by_group[0])
        by_group = outgoing.reshape(groups, num_out // groups)
        labels.join(np.broadcast_to(by_group[0], by_group.shape), by_group)
    labels.slot(weight, 0, outgoing)
    if bias is not None:
        labels.slot(bias, 0, outgoing)
    rank = len(labels.shape(operation.name))
    labels.set(operation.name, outgoing.reshape(1, -1, *(1,) * (rank - 2)))


def _linear(labels: Labels, operation: Operation) -> None:
    """[..., F_in] -> [..., F_out]; weight [F_out, F_in]."""
    source, weight = _name(operation.args[0]), _name(operation.args[1]) or ""
    bias = _name(_argument(operation, 2))
    assert source is not None
    incoming = labels.along(source, -1)
    if weight not in labels.parameter_shapes or incoming is None:
        labels.leave_alone(operation, "the weight is no parameter of a plain layer")
        return
    outgoing = labels.new(labels.parameter_shapes[weight][0])
    labels.slot(weight, 1, incoming)
    labels.slot(weight, 0, outgoing)
    if bias is not None:
        labels.slot(bias, 0, outgoing)
    rank = len(labels.shape(operation.name))
    labels.set(operation.name, outgoing.reshape(*(1,) * (rank - 1), -1))


def _batch_norm(labels: Labels, operation: Operation) -> None:
    """[N, C, *] -> [N, C, *]; scale, shift, mean and variance [C]."""
    source = _name(operation.args[0])
    assert source is not None
    channels = labels.along(source, 1)
    if channels is None:
        labels.leave_alone(operation, "its channels were mixed by a reshape")
        return
    if _name(operation.args[1]) is None or _name(operation.args[2]) is None:
        labels.leave_alone(operation, "without scale and shift a zero stays no zero")
        return
    for argument in operation.args[1:5]:
        if (name := _name(argument)) is not None:
            labels.slot(name, 0, channels)
    labels.set(operation.name, labels.of(source))


def _same(labels: Labels, operation: Operation) -> None:
    """Element by element, zero to zero: activations, dropout, copies."""
    source = _name(operation.args[0])
    assert source is not None
    labels.set(operation.name, labels.of(source))


def _hardtanh(labels: Labels, operation: Operation) -> None:
    """Clamps to [low, high]; zero stays zero if it lies between."""
    default = (-1.0, 1.0) if operation.kind.startswith("hardtanh") else (None, None)
    low = operation.kwargs.get("min", _argument(operation, 1, default[0]))
    high = operation.kwargs.get("max", _argument(operation, 2, default[1]))
    if (low is None or low <= 0) and (high is None or high >= 0):
        _same(labels, operation)
    else:
        labels.leave_alone(operation, f"zero is clamped away to [{low}, {high}]")


def _pool(labels: Labels, operation: Operation) -> None:
    """[N, C, *] -> [N, C, *] with another spatial size."""
    source = _name(operation.args[0])
    assert source is not None
    present = labels.of(source)
    if len(labels.shape(source)) < 3 or any(size > 1 for size in present.shape[2:]):
        labels.leave_alone(operation, "its channels lie along a pooled dimension")
        return
    labels.set(operation.name, present)


def _mean(labels: Labels, operation: Operation) -> None:
    """Mean over dimensions that hold no channels."""
    source = _name(operation.args[0])
    assert source is not None
    present = labels.of(source)
    dims = _argument(operation, 1)
    dims = [dims] if isinstance(dims, int) else dims
    dims = [d % present.ndim for d in dims or range(present.ndim)]
    keep = _argument(operation, 2, operation.kwargs.get("keepdim", False))
    if any(present.shape[dim] > 1 for dim in dims):
        labels.leave_alone(operation, "the mean runs over channels")
    else:
        labels.set(
            operation.name, present if keep else np.squeeze(present, tuple(dims))
        )


def _add(labels: Labels, operation: Operation) -> None:
    """Sum of two activations: channels that meet go together."""
    first = _name(operation.args[0]) or ""
    second = _name(operation.args[1]) or ""
    if first not in labels.tensors or second not in labels.tensors:
        labels.leave_alone(operation, "a constant or parameter is added")
        return
    rank = len(labels.shape(operation.name))
    sides = []
    for name in (first, second):
        shape = labels.shape(name)
        if shape != labels.shape(operation.name)[rank - len(shape) :] and (
            labels.of(name).any() or len(shape) != rank
        ):
            labels.leave_alone(operation, "the sum broadcasts one side")
            return
        sides.append(labels.of(name))
    one, other = np.broadcast_arrays(*sides)
    labels.join(one, other)
    labels.set(operation.name, one)


def _concatenate(labels: Labels, operation: Operation) -> None:
    """Joins activations along one dimension."""
    names = [_name(argument) for argument in operation.args[0]]
    dim = _argument(operation, 1, 0) % len(labels.shape(operation.name))
    shapes = [labels.shape(name) for name in names if name is not None]
    if len(shapes) != len(names):
        labels.leave_alone(operation, "a constant is concatenated")
        return
    sides = [labels.of(name) for name in names if name is not None]
    common = np.broadcast_shapes(
        *(tuple(1 if i == dim else s for i, s in enumerate(x.shape)) for x in sides)
    )
    labels.set(
        operation.name,
        np.concatenate(
            [
                np.broadcast_to(
                    x,
                    tuple(shape[dim] if i == dim else s for i, s in enumerate(common)),
                )
                for x, shape in zip(sides, shapes, strict=True)
            ],
            axis=dim,
        ),
    )


def _reshape_freely(labels: Labels, operation: Operation) -> None:
    """Flatten, squeeze: keeps the order of elements and writes out no sizes."""
    source = _name(operation.args[0])
    assert source is not None
    labels.set(
        operation.name, labels.full(source).reshape(labels.shape(operation.name))
    )


def _view(labels: Labels, operation: Operation) -> None:
    """`view` and `reshape`; a size that is written out must hold no channels."""
    source = _name(operation.args[0])
    assert source is not None
    reshaped = labels.full(source).reshape(labels.shape(operation.name))
    sizes = operation.args[1]
    for dim, size in enumerate(sizes):
        moving = (reshaped != np.take(reshaped, [0], axis=dim)).any()
        if isinstance(size, int) and size != -1 and moving:
            labels.leave_alone(
                operation, f"size {size} of dimension {dim} is written in the code"
            )
            return
    labels.set(operation.name, reshaped)


def _slice(labels: Labels, operation: Operation) -> None:
    """x[..., start:end:step, ...] along one dimension."""
    source = _name(operation.args[0])
    assert source is not None
    present = labels.of(source)
    dim = _argument(operation, 1, 0) % present.ndim
    start, end = _argument(operation, 2), _argument(operation, 3)
    step = _argument(operation, 4, 1)
    if present.shape[dim] == 1:
        labels.set(operation.name, present)
    elif any(isinstance(bound, Ref) for bound in (start, end)):
        labels.leave_alone(operation, "the bounds are computed")
    elif step != 1:
        labels.leave_alone(operation, f"every {step}th channel is taken")
    else:
        end = None if end is None or end > _END else end
        index = [slice(None)] * present.ndim
        index[dim] = slice(start, end)
        labels.set(operation.name, present[tuple(index)])


def _pad(labels: Labels, operation: Operation) -> None:
    """Zeros around; zeros put before or after channels are channels of their own."""
    source = _name(operation.args[0])
    assert source is not None
    widths = operation.args[1]
    mode = "constant"
    value = _argument(operation, 2 if operation.kind == "constant_pad_nd" else 3)
    if operation.kind == "pad":
        mode = _argument(operation, 2, operation.kwargs.get("mode", "constant"))
    value = operation.kwargs.get("value", value)
    present = labels.of(source)
    if any(isinstance(width, Ref) for width in widths):
        labels.leave_alone(operation, "the padding is computed")
        return
    pairs = [(widths[i], widths[i + 1]) for i in range(0, len(widths), 2)]
    before_after = [(0, 0)] * (present.ndim - len(pairs)) + pairs[::-1]
    if mode == "constant" and value not in (None, 0, 0.0):
        labels.leave_alone(operation, f"padding with {value} is not zero")
        return
    moving = [
        dim
        for dim, (before, after) in enumerate(before_after)
        if (before or after) and present.shape[dim] > 1
    ]
    if not moving:
        labels.set(operation.name, present)
        return
    along = labels.along(source, moving[0])
    before, after = before_after[moving[0]]
    if mode != "constant" or along is None or min(before, after) < 0:
        labels.leave_alone(operation, "channels are padded in a way that mixes them")
        return
    padded = np.concatenate([labels.new(before), along, labels.new(after)])
    shape = [1] * present.ndim
    shape[moving[0]] = -1
    labels.set(operation.name, padded.reshape(shape))


def _arithmetic_on_shapes(labels: Labels, operation: Operation) -> None:
    """Makes no activation; numbers of channels are constants to torch.export."""


_RULES: dict[str, Rule] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    "linear": _linear,
    "batch_norm": _batch_norm,
    **dict.fromkeys(
        (
            *("relu", "relu6", "leaky_relu"),
            *("silu", "gelu", "elu", "selu", "celu"),
            *("hardswish", "mish", "tanh"),
            *("softsign", "hardshrink", "softshrink", "dropout", "feature_dropout"),
            *("clone", "contiguous", "detach", "alias", "to", "_to_copy"),
        ),
        _same,
    ),
    **dict.fromkeys(("hardtanh", "clamp"), _hardtanh),
    **dict.fromkeys(
        (
            *("max_pool1d", "max_pool2d", "max_pool3d"),
            *("avg_pool1d", "avg_pool2d", "avg_pool3d"),
            *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
        ),
        _pool,
    ),
    "mean": _mean,
    **dict.fromkeys(("add",), _add),
    **dict.fromkeys(("cat", "concat"), _concatenate),
    **dict.fromkeys(("view", "reshape"), _view),
    "slice": _slice,
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    **dict.fromkeys(("flatten", "squeeze", "unsqueeze"), _reshape_freely),
    "sym_size": _arithmetic_on_shapes,
}
