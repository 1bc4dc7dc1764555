"""What changes of shape do to channels: reshape, permute, expand, shuffle."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from agmc.graph.labels import Label, Labels
from agmc.graph.program import Operation, Ref, argument, name_of


def source_of(labels: Labels, operation: Operation) -> tuple[str, Label | None]:
    """Name and label of the first argument, for operators that move one activation."""
    name = name_of(operation.args[0])
    assert name is not None
    if any(other in labels.values for other in operation.refs() if other != name):
        labels.leave_alone(operation, "channels of its operands cross each other")
        return name, None
    return name, labels.of(name)


def same(labels: Labels, operation: Operation) -> None:
    """Keeps the shape, and zeros as they are."""
    _, label = source_of(labels, operation)
    labels.set(operation.name, label)


def reshape(labels: Labels, operation: Operation) -> None:
    """Keeps the order of elements: view, reshape, flatten, squeeze, unsqueeze."""
    name, label = source_of(labels, operation)
    if label is None:
        return
    if operation.op == "aten.view.dtype":
        labels.leave_alone(operation, "it reads their memory as another type")
        return
    old, new = labels.shape(name), labels.shape(operation.name)
    sizes = operation.args[1] if operation.kind in ("view", "reshape") else ()
    found = _moved(labels, label, old, new)
    if found is None:
        labels.leave_alone(operation, "it mixes them with the inputs of the batch")
    elif sizes and isinstance(sizes[found.dim], Ref):
        labels.leave_alone(operation, f"the size of dimension {found.dim} is computed")
    else:
        labels.set(operation.name, found)


def _moved(
    labels: Labels, label: Label, old: Sequence[int], new: Sequence[int]
) -> Label | None:
    """The label after a reshape; joins channels where they come to cross each other."""
    before, dims = _block(old, new, label.dim)
    inner = [old[d] for d in before]
    place = before.index(label.dim)
    shape = [1] * len(inner)
    shape[place] = -1
    atoms = np.broadcast_to(label.atoms.reshape(shape), inner)
    atoms = atoms.reshape([new[d] for d in dims])
    varying = [
        i for i in range(len(dims)) if (atoms != np.take(atoms, [0], axis=i)).any()
    ]
    if not varying:
        varying = [int(np.argmax(atoms.shape))]
    if len(varying) == 1:
        kept = varying[0]
    elif len(new) == 4 and dims[varying[0]] == 1:
        kept = varying[0]  # features become an image: dimension 1 is its channels
    else:
        # One of the dimensions can be cut, and the longest has most choices.
        kept = max(varying, key=lambda i: (atoms.shape[i], i))
    columns = np.moveaxis(atoms, kept, 0).reshape(atoms.shape[kept], -1)
    if len(varying) > 1:
        labels.join(columns, np.broadcast_to(columns[:, :1], columns.shape))
    if dims[kept] == 0 and len(new) > 1 and label.dim != 0:
        return None
    return Label(dims[kept], columns[:, 0].copy(), label.zero)


def _block(
    old: Sequence[int], new: Sequence[int], dim: int
) -> tuple[list[int], list[int]]:
    """The dimensions that a reshape merges or splits together with `dim`.

    Returns:
        Those before and those after; dimensions of size 1 are passed over.
    """
    left = [d for d, size in enumerate(old) if size > 1]
    right = [d for d, size in enumerate(new) if size > 1]
    while left:
        ours, theirs = [left.pop(0)], [right.pop(0)]
        while (a := math.prod(old[d] for d in ours)) != (
            b := math.prod(new[d] for d in theirs)
        ):
            if a < b:
                ours.append(left.pop(0))
            else:
                theirs.append(right.pop(0))
        if dim in ours:
            return ours, theirs
    raise AssertionError(f"dimension {dim} of {list(old)} holds no channels")


def squeeze(labels: Labels, operation: Operation) -> None:
    """Drops dimensions of size 1; one that holds channels could shrink to 1."""
    name, label = source_of(labels, operation)
    if label is None:
        return
    dims = squeezed_dims(operation, labels.shape(name))
    if label.dim in dims:
        labels.leave_alone(
            operation, "it would drop the channels' dimension too if one channel stayed"
        )
    elif len(labels.shape(operation.name)) != len(labels.shape(name)) - sum(
        labels.shape(name)[d] == 1 for d in dims
    ):
        labels.leave_alone(operation, "it drops the dimension of the batch")
    else:
        reshape(labels, operation)


def squeezed_dims(operation: Operation, shape: Sequence[int]) -> list[int]:
    """What a squeeze names; all that have size 1, but for the batch, if it is none."""
    dims = argument(operation, 1)
    if dims is None:
        return [d for d, size in enumerate(shape) if d > 0 and size == 1]
    named = [dims] if isinstance(dims, int) else dims
    # A longer dimension that is named stays: nothing to do, unless channels go.
    return [d % len(shape) for d in named]


def permute(labels: Labels, operation: Operation) -> None:
    """permute, transpose, t, movedim: the same elements along other dimensions."""
    name, label = source_of(labels, operation)
    if label is None:
        return
    rank = len(labels.shape(name))
    order = list(range(rank))
    kind = operation.kind
    if kind == "permute":
        order = [d % rank for d in operation.args[1]]
    elif kind in ("movedim", "moveaxis"):
        moves = [[d] if isinstance(d, int) else d for d in operation.args[1:3]]
        here, there = ([d % rank for d in dims] for dims in moves)
        rest = iter([d for d in order if d not in here])
        order = [here[there.index(d)] if d in there else next(rest) for d in order]
    else:
        one, other = operation.args[1:3] if len(operation.args) > 2 else (-2, -1)
        if rank > 1:
            one, other = one % rank, other % rank
            order[one], order[other] = other, one
    labels.set(operation.name, Label(order.index(label.dim), label.atoms, label.zero))


def expand(labels: Labels, operation: Operation) -> None:
    """Repeats along dimensions of size 1; new dimensions come first."""
    name, label = source_of(labels, operation)
    if label is None:
        return
    dim = label.dim + len(labels.shape(operation.name)) - len(labels.shape(name))
    if isinstance(operation.args[1][dim], Ref):
        labels.leave_alone(operation, f"the size of dimension {dim} is computed")
        return
    labels.set(operation.name, Label(dim, label.atoms, label.zero))


def repeat(labels: Labels, operation: Operation) -> None:
    """Copies the whole activation along each dimension."""
    name, label = source_of(labels, operation)
    if label is None:
        return
    times = operation.args[1]
    dim = label.dim + len(times) - len(labels.shape(name))
    if isinstance(times[dim], Ref):
        labels.leave_alone(operation, "the number of copies is computed")
        return
    labels.set(operation.name, Label(dim, np.tile(label.atoms, times[dim]), label.zero))


def repeat_interleave(labels: Labels, operation: Operation) -> None:
    """Copies every element in place."""
    _, label = source_of(labels, operation)
    if label is None:
        return
    times, dim = argument(operation, 1), argument(operation, 2)
    if not isinstance(times, int) or dim is None:
        labels.leave_alone(operation, "the number of copies is computed")
        return
    if dim % len(labels.shape(operation.name)) == label.dim:
        label = Label(label.dim, np.repeat(label.atoms, times), label.zero)
    labels.set(operation.name, label)


def pixel_shuffle(labels: Labels, operation: Operation) -> None:
    """[N, C r^2, H, W] -> [N, C, H r, W r]: r^2 channels become one."""
    label = _label_of_images(labels, operation)
    if label is not None:
        by_pixel = label.atoms.reshape(-1, operation.args[1] ** 2)
        labels.join(by_pixel, np.broadcast_to(by_pixel[:, :1], by_pixel.shape))
        atoms = by_pixel[:, 0].copy()
        labels.set(operation.name, Label(label.dim, atoms, label.zero))


def pixel_unshuffle(labels: Labels, operation: Operation) -> None:
    """[N, C, H r, W r] -> [N, C r^2, H, W]: one channel becomes r^2."""
    label = _label_of_images(labels, operation)
    if label is not None:
        atoms = np.repeat(label.atoms, operation.args[1] ** 2)
        labels.set(operation.name, Label(label.dim, atoms, label.zero))


def _label_of_images(labels: Labels, operation: Operation) -> Label | None:
    """That of [..., C, H, W]; leaves the operation alone if it lies elsewhere."""
    name, label = source_of(labels, operation)
    if label is not None and label.dim != len(labels.shape(name)) - 3:
        labels.leave_alone(operation, "its channels lie along a spatial dimension")
        return None
    return label


def unfold(labels: Labels, operation: Operation) -> None:
    """[N, C, H, W] -> [N, C k^2, positions]: every channel in k^2 places."""
    name, label = source_of(labels, operation)
    if label is None:
        return
    if label.dim != 1 or len(labels.shape(name)) != 4:
        labels.leave_alone(operation, "its channels lie along a spatial dimension")
        return
    taps = labels.shape(operation.name)[1] // labels.shape(name)[1]
    labels.set(operation.name, Label(1, np.repeat(label.atoms, taps), label.zero))


def channel_shuffle(labels: Labels, operation: Operation) -> None:
    """[N, C, *] -> [N, C, *]: channels of G groups dealt out in turn."""
    name, label = source_of(labels, operation)
    if label is None:
        return
    if label.dim == 1:
        atoms = label.atoms.reshape(operation.args[1], -1).T.reshape(-1)
        label = Label(1, atoms, label.zero)
    labels.set(operation.name, label)
