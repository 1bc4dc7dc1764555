"""What taking activations apart and putting them together does to channels."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from agmc.graph.labels import Label, Labels
from agmc.graph.program import Operation, Ref, argument, name_of
from agmc.graph.shape_rules import source_of


def slice_(labels: Labels, operation: Operation) -> None:
    """x[..., start:end:step, ...] along one dimension; narrow(dim, start, length)."""
    name, label = source_of(labels, operation)
    if label is None:
        return
    rank = len(labels.shape(name))
    if argument(operation, 1, 0) % rank != label.dim:
        labels.set(operation.name, label)
        return
    bounds = slice_bounds(operation, labels.shape(name)[label.dim])
    if bounds is None:
        labels.leave_alone(operation, "the bounds are computed")
    elif bounds.step != 1:
        labels.leave_alone(operation, f"every {bounds.step}th channel is taken")
    else:
        labels.set(operation.name, Label(label.dim, label.atoms[bounds], label.zero))


def slice_bounds(operation: Operation, size: int) -> slice | None:
    """Start, end and step of a slice or narrow, >= 0; None where they are computed."""
    start, end = argument(operation, 2), argument(operation, 3)
    step = argument(operation, 4, 1)
    if any(isinstance(bound, Ref) for bound in (start, end, step)):
        return None
    if operation.kind == "narrow":
        start = start % size if start < 0 else start
        end = start + end
    return slice(*slice(start, end, step).indices(size))


def select(labels: Labels, operation: Operation) -> None:
    """x[..., index, ...]: drops a dimension; a channel that is picked must stay."""
    name, label = source_of(labels, operation)
    if label is None:
        return
    shape = labels.shape(name)
    dim, index = operation.args[1] % len(shape), operation.args[2]
    if dim != label.dim:
        kept = label.dim - (dim < label.dim)
        labels.set(operation.name, Label(kept, label.atoms, label.zero))
    elif isinstance(index, Ref):
        labels.leave_alone(operation, "the index is computed")
    elif labels.fix(label.atoms[[index % shape[dim]]]):
        labels.reasons.append(
            labels.reason(operation, f"it picks channel {index} alone")
        )


def split(labels: Labels, operation: Operation) -> None:
    """split, split_with_sizes, chunk, tensor_split: pieces along one dimension."""
    name, label = source_of(labels, operation)
    if label is None:
        return
    rank = len(labels.shape(name))
    sizes = piece_sizes(labels.tensors[name].shape, operation)
    if argument(operation, 2, 0) % rank != label.dim:
        labels.parts[operation.name] = label
    elif sizes is None:
        labels.leave_alone(operation, "the sizes of its pieces are computed")
    else:
        cuts = np.cumsum(sizes)[:-1]
        labels.parts[operation.name] = [
            Label(label.dim, piece, label.zero) for piece in np.split(label.atoms, cuts)
        ]


def piece_sizes(shape: Sequence[int], operation: Operation) -> list[int] | None:
    """Sizes of the pieces of a split; None where they are computed."""
    how, dim = operation.args[1], argument(operation, 2, 0)
    size = shape[dim]
    if isinstance(how, (list, tuple)):
        return None if any(isinstance(item, Ref) for item in how) else list(how)
    if isinstance(how, Ref):
        return None
    if operation.kind in ("chunk", "unsafe_chunk"):
        how = -(-size // how)
    return [min(how, size - start) for start in range(0, size, how)]


def unbind(labels: Labels, operation: Operation) -> None:
    """Every index of one dimension by itself."""
    name, label = source_of(labels, operation)
    if label is None:
        return
    rank = len(labels.shape(name))
    dim = argument(operation, 1, 0) % rank
    if dim == label.dim:
        labels.leave_alone(operation, "every channel is taken by itself")
        return
    kept = label.dim - (dim < label.dim)
    labels.parts[operation.name] = Label(kept, label.atoms, label.zero)


def getitem(labels: Labels, operation: Operation) -> None:
    """One of several results."""
    parts = labels.parts.get(name_of(operation.args[0]) or "")
    label = parts[operation.args[1]] if isinstance(parts, list) else parts
    labels.set(operation.name, label)


def concatenate(labels: Labels, operation: Operation) -> None:
    """Joins activations along one dimension."""
    names = [name_of(side) for side in operation.args[0]]
    shape = labels.shape(operation.name)
    dim = argument(operation, 1, 0) % len(shape)
    sides = [(name, labels.of(name)) for name in names if name is not None]
    dims = {label.dim for _, label in sides if label is not None}
    zero = all(labels.is_zero(name) for name, _ in sides)
    if not dims:
        return
    if len(dims) > 1 or len(sides) != len(names):
        labels.leave_alone(operation, "channels of its operands cross each other")
        return
    (along,) = dims
    pieces = [
        np.zeros(labels.shape(name)[along], dtype=np.int32)
        if label is None
        else label.atoms
        for name, label in sides
    ]
    if along == dim:
        labels.set(operation.name, Label(dim, np.concatenate(pieces), zero))
        return
    for one, other in itertools.pairwise(pieces):
        labels.join(one, other)
    if any(label is None for _, label in sides):
        labels.leave_alone(operation, "they meet values that no channel can leave")
    labels.set(operation.name, Label(along, pieces[0], zero))


def stack(labels: Labels, operation: Operation) -> None:
    """Joins activations along a new dimension."""
    names = [name_of(side) for side in operation.args[0]]
    rank = len(labels.shape(operation.name))
    dim = argument(operation, 1, 0) % rank
    sides = [labels.of(name) for name in names if name is not None]
    found = [label for label in sides if label is not None]
    if not found:
        return
    if len(found) < len(names) or len({label.dim for label in found}) > 1:
        labels.leave_alone(operation, "they meet values that no channel can leave")
        return
    for one, other in itertools.pairwise(found):
        labels.join(one.atoms, other.atoms)
    first = found[0]
    labels.set(
        operation.name,
        Label(
            first.dim + (first.dim >= dim),
            first.atoms,
            all(label.zero for label in found),
        ),
    )


def index_select(labels: Labels, operation: Operation) -> None:
    """Channels in the order of a buffer of positions, which is cut with them."""
    name, label = source_of(labels, operation)
    index = name_of(operation.args[2]) or ""
    if label is None:
        return
    if operation.args[1] % len(labels.shape(name)) != label.dim:
        labels.set(operation.name, label)
    elif index not in labels.integers:
        labels.leave_alone(operation, "the positions are computed")
    else:
        atoms = label.atoms[labels.integers[index]]
        labels.slot(index, 0, atoms)
        labels.set(operation.name, Label(label.dim, atoms, label.zero))


def pad(labels: Labels, operation: Operation) -> None:
    """Values around; zeros put before or after channels are channels of their own."""
    name, label = source_of(labels, operation)
    widths = operation.args[1]
    if label is None:
        return
    mode = "constant"
    value = argument(operation, 2 if operation.kind == "constant_pad_nd" else 3)
    if operation.kind == "pad":
        mode = argument(operation, 2, operation.kwargs.get("mode", "constant"))
    value = operation.kwargs.get("value", value)
    if any(isinstance(width, Ref) for width in widths):
        labels.leave_alone(operation, "the padding is computed")
        return
    zero = mode != "constant" or value in (None, 0, 0.0)
    place = 2 * (len(labels.shape(name)) - 1 - label.dim)
    before, after = widths[place : place + 2] if place < len(widths) else (0, 0)
    if before or after:
        if mode != "constant" or not zero or min(before, after) < 0:
            labels.leave_alone(operation, "it pads the channels by other channels")
            return
        atoms = np.concatenate(
            [labels.atoms.new(before), label.atoms, labels.atoms.new(after)]
        )
        label = Label(label.dim, atoms, label.zero)
    labels.set(operation.name, Label(label.dim, label.atoms, label.zero and zero))
