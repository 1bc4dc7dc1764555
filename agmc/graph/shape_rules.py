"""What changes of shape do to channels: reshape, slice and pad."""

from __future__ import annotations

import numpy as np

from agmc.graph.labels import Labels
from agmc.graph.program import Operation, Ref, argument, name_of

_END = 2**62  # torch writes "to the end" as a slice to the largest int64


def reshape_freely(labels: Labels, operation: Operation) -> None:
    """Flatten, unsqueeze: keeps the order of elements and writes out no sizes."""
    source = name_of(operation.args[0])
    assert source is not None
    labels.set(
        operation.name, labels.full(source).reshape(labels.shape(operation.name))
    )


def squeeze(labels: Labels, operation: Operation) -> None:
    """Drops dimensions of size 1; one that holds channels could shrink to 1."""
    source = name_of(operation.args[0])
    assert source is not None
    present = labels.of(source)
    dims = argument(operation, 1, range(present.ndim))
    dims = [dims] if isinstance(dims, int) else dims
    if any(present.shape[dim] > 1 for dim in dims):
        labels.leave_alone(
            operation, "it would drop the channels' dimension too if one channel stayed"
        )
    else:
        reshape_freely(labels, operation)


def view(labels: Labels, operation: Operation) -> None:
    """`view` and `reshape`; a size that is written out must hold no channels."""
    source = name_of(operation.args[0])
    assert source is not None
    reshaped = labels.full(source).reshape(labels.shape(operation.name))
    for dim, size in enumerate(operation.args[1]):
        moving = (reshaped != np.take(reshaped, [0], axis=dim)).any()
        if size != -1 and moving:
            named = "computed" if isinstance(size, Ref) else f"{size}"
            labels.leave_alone(
                operation, f"the size of dimension {dim} ({named}) is no -1"
            )
            return
    labels.set(operation.name, reshaped)


def slice_(labels: Labels, operation: Operation) -> None:
    """x[..., start:end:step, ...] along one dimension."""
    source = name_of(operation.args[0])
    assert source is not None
    present = labels.of(source)
    dim = argument(operation, 1, 0) % present.ndim
    start, end = argument(operation, 2), argument(operation, 3)
    step = argument(operation, 4, 1)
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


def pad(labels: Labels, operation: Operation) -> None:
    """Zeros around; zeros put before or after channels are channels of their own."""
    source = name_of(operation.args[0])
    assert source is not None
    widths = operation.args[1]
    mode = "constant"
    value = argument(operation, 2 if operation.kind == "constant_pad_nd" else 3)
    if operation.kind == "pad":
        mode = argument(operation, 2, operation.kwargs.get("mode", "constant"))
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
