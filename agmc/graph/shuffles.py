"""Shuffles: runs of reshapes that only reorder channels (ShuffleNet, 1707.01083)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from agmc.graph.model_graph import Shuffle, TensorSpec
from agmc.graph.program import Operation, Program, name_of, refs_in

_MOVES = frozenset({"transpose", "permute", "swapaxes", "contiguous", "clone"})
_RESHAPES = frozenset({"view", "reshape", "flatten", "_unsafe_view"})

#: The longest run that is looked at: view, transpose, contiguous, view.
_LONGEST = 5


def find_shuffles(
    program: Program, tensors: Mapping[str, TensorSpec]
) -> dict[str, Shuffle]:
    """All shuffles of a network, by the name of their first operation."""
    readers: dict[str, list[Operation]] = defaultdict(list)
    for operation in program.operations:
        for name in dict.fromkeys(operation.refs()):
            readers[name].append(operation)
    returned = set(refs_in(program.outputs))
    found = {}
    for operation in program.operations:
        source = name_of(operation.args[0]) if operation.args else None
        if source is None or source not in tensors:
            continue
        if operation.kind == "channel_shuffle":
            run = [operation]
        elif operation.kind in _RESHAPES:
            run = _run(operation, tensors[source].shape, readers, returned, tensors)
        else:
            continue
        shuffle = _shuffle(source, run, tensors) if run else None
        if shuffle is not None:
            found[operation.name] = shuffle
    return found


def _run(
    first: Operation,
    shape: tuple[int, ...],
    readers: Mapping[str, list[Operation]],
    returned: set[str],
    tensors: Mapping[str, TensorSpec],
) -> list[Operation]:
    """From a reshape to the next that restores the shape; empty if there is none."""
    run = [first]
    while len(run) < _LONGEST:
        last = run[-1].name
        following = readers[last]
        if len(following) != 1 or last in returned or last not in tensors:
            return []
        run.append(following[0])
        if run[-1].kind in _RESHAPES and run[-1].name in tensors:
            return run if tensors[run[-1].name].shape == shape else []
        if run[-1].kind not in _MOVES:
            return []
    return []


def _shuffle(
    source: str, run: list[Operation], tensors: Mapping[str, TensorSpec]
) -> Shuffle | None:
    shape = tensors[source].shape
    places = np.arange(int(np.prod(shape))).reshape(shape)
    moved = places
    for operation in run:
        rank = moved.ndim
        if operation.kind == "channel_shuffle":
            groups = operation.args[1]
            moved = moved.reshape(shape[0], groups, -1, *shape[2:]).swapaxes(1, 2)
            moved = moved.reshape(shape)
        elif operation.kind == "permute":
            moved = moved.transpose([d % rank for d in operation.args[1]])
        elif operation.kind in ("transpose", "swapaxes"):
            moved = moved.swapaxes(*operation.args[1:3])
        elif operation.kind in _RESHAPES:
            moved = moved.reshape(tensors[operation.name].shape)
    dims = [d for d, size in enumerate(shape) if size > 1]
    for dim in dims:
        first = (slice(None) if d == dim else 0 for d in range(len(shape)))
        stride = int(np.prod(shape[dim + 1 :]))
        order = moved[tuple(first)] // stride
        if order.max() >= shape[dim]:
            continue
        if (np.diff(order) != 1).any() and np.array_equal(
            moved, places.take(order, axis=dim)
        ):
            steps = tuple(operation.name for operation in run)
            return Shuffle(source, steps, dim, order)
    return None
