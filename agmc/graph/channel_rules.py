"""What each operator does to channels: one small rule per kind, in one table.

A rule reads the labels of the operation's inputs and sets those of its result; an
operator without a rule leaves all its channels alone. Letters: N batch, C channels,
F features, * any number of spatial dimensions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from agmc.graph import shape_rules
from agmc.graph.labels import Labels
from agmc.graph.program import Operation, argument, name_of

Rule = Callable[[Labels, Operation], None]


def rule_of(operation: Operation) -> Rule:
    """The rule of an operation; unknown operators leave channels alone."""
    if operation.op.startswith("_operator.") and operation.kind != "getitem":
        return _arithmetic_on_shapes
    return _RULES.get(operation.kind, _unknown)


def _unknown(labels: Labels, operation: Operation) -> None:
    labels.leave_alone(operation, f"no rule says what {operation.op} does to channels")


def _plain(labels: Labels, operation: Operation) -> bool:
    """Whether weight, bias, ... are parameters; leaves the operation alone if not."""
    held = [name for name in map(name_of, operation.args[1:5]) if name is not None]
    plain = all(name in labels.parameter_shapes for name in held)
    if not plain:
        labels.leave_alone(
            operation, "the forward code computes its weights", makes_channels=True
        )
    return plain


def _convolution(labels: Labels, operation: Operation) -> None:
    """[N, C_in, *] -> [N, C_out, *]; weight [C_out, C_in / groups, *]."""
    source, weight = name_of(operation.args[0]), name_of(operation.args[1]) or ""
    bias = name_of(argument(operation, 2))
    groups = argument(operation, 6, 1)
    assert source is not None
    if not _plain(labels, operation):
        return
    rank = len(labels.shape(operation.name))
    incoming = labels.along(source, 1)
    if incoming is None or rank != len(labels.shape(weight)):
        labels.leave_alone(
            operation,
            "its input channels do not lie along dimension 1",
            makes_channels=True,
        )
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
    labels.set(operation.name, outgoing.reshape(1, -1, *(1,) * (rank - 2)))


def _linear(labels: Labels, operation: Operation) -> None:
    """[..., F_in] -> [..., F_out]; weight [F_out, F_in]."""
    source, weight = name_of(operation.args[0]), name_of(operation.args[1]) or ""
    bias = name_of(argument(operation, 2))
    assert source is not None
    if not _plain(labels, operation):
        return
    incoming = labels.along(source, -1)
    if incoming is None:
        labels.leave_alone(
            operation,
            "its input features do not lie along the last dimension",
            makes_channels=True,
        )
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
    source = name_of(operation.args[0])
    assert source is not None
    channels = labels.along(source, 1)
    if channels is None:
        labels.leave_alone(operation, "its channels were mixed by a reshape")
        return
    if not _plain(labels, operation):
        return
    if name_of(operation.args[1]) is None or name_of(operation.args[2]) is None:
        labels.leave_alone(operation, "without scale and shift a zero stays no zero")
        return
    for held in operation.args[1:5]:
        if (name := name_of(held)) is not None:
            labels.slot(name, 0, channels)
    labels.set(operation.name, labels.of(source))


def _same(labels: Labels, operation: Operation) -> None:
    """Element by element, zero to zero: activations, dropout, copies."""
    source = name_of(operation.args[0])
    assert source is not None
    labels.set(operation.name, labels.of(source))


def _hardtanh(labels: Labels, operation: Operation) -> None:
    """Clamps to [low, high]; zero stays zero if it lies between."""
    default = (-1.0, 1.0) if operation.kind.startswith("hardtanh") else (None, None)
    low = operation.kwargs.get("min", argument(operation, 1, default[0]))
    high = operation.kwargs.get("max", argument(operation, 2, default[1]))
    if name_of(low) or name_of(high):
        labels.leave_alone(operation, "the bounds are computed")
    elif (low is None or low <= 0) and (high is None or high >= 0):
        _same(labels, operation)
    else:
        labels.leave_alone(operation, f"zero is clamped away to [{low}, {high}]")


def _pool(labels: Labels, operation: Operation) -> None:
    """[N, C, *] -> [N, C, *] with another spatial size."""
    source = name_of(operation.args[0])
    assert source is not None
    present = labels.of(source)
    num_pooled = int(operation.kind[-2])
    if any(size > 1 for size in present.shape[-num_pooled:]):
        labels.leave_alone(operation, "its channels lie along a pooled dimension")
        return
    labels.set(operation.name, present)


def _mean(labels: Labels, operation: Operation) -> None:
    """Mean over dimensions that hold no channels."""
    source = name_of(operation.args[0])
    assert source is not None
    present = labels.of(source)
    dims = argument(operation, 1)
    dims = [dims] if isinstance(dims, int) else dims
    dims = [d % present.ndim for d in dims or range(present.ndim)]
    keep = argument(operation, 2, operation.kwargs.get("keepdim", False))
    if any(present.shape[dim] > 1 for dim in dims):
        labels.leave_alone(operation, "the mean runs over channels")
    else:
        labels.set(
            operation.name, present if keep else np.squeeze(present, tuple(dims))
        )


def _add(labels: Labels, operation: Operation) -> None:
    """Sum of two activations: channels that meet go together."""
    first = name_of(operation.args[0]) or ""
    second = name_of(operation.args[1]) or ""
    if first not in labels.tensors or second not in labels.tensors:
        labels.leave_alone(operation, "a constant or parameter is added")
        return
    sides = []
    for name in (first, second):
        if labels.shape(name) != labels.shape(operation.name):
            labels.leave_alone(operation, "the sum broadcasts one side")
            return
        sides.append(labels.of(name))
    one, other = np.broadcast_arrays(*sides)
    labels.join(one, other)
    labels.set(operation.name, one)


def _concatenate(labels: Labels, operation: Operation) -> None:
    """Joins activations along one dimension."""
    names = [name_of(side) for side in operation.args[0]]
    dim = argument(operation, 1, 0) % len(labels.shape(operation.name))
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
            *("hardshrink", "softshrink", "dropout", "feature_dropout"),
            *("alpha_dropout", "feature_alpha_dropout"),
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
    **dict.fromkeys(("view", "reshape"), shape_rules.view),
    "slice": shape_rules.slice_,
    **dict.fromkeys(("pad", "constant_pad_nd"), shape_rules.pad),
    **dict.fromkeys(("flatten", "unsqueeze"), shape_rules.reshape_freely),
    "squeeze": shape_rules.squeeze,
    "sym_size": _arithmetic_on_shapes,
}
