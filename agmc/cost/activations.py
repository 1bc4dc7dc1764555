"""Peak activation memory of a plan, from the order in which activations come and go."""

from __future__ import annotations

import numpy as np
import torch

from agmc.graph.model_graph import ModelGraph
from agmc.graph.operators import overload_of
from agmc.graph.program import Operation, refs_in
from agmc.graph.widths import Widths

#: Views that turn the order of elements, and what copies such a view but no other.
_TURNS = frozenset(
    {"transpose", "permute", "t", "mT", "movedim", "moveaxis", "swapaxes", "swapdims"}
    | {"expand", "expand_as"}
)
_COPIES_OF_TURNED = frozenset({"contiguous", "reshape", "flatten"})


class ActivationMemory:
    """The most bytes that activations take at one time, for one input.

    Operations run in order, each into new memory; an activation is freed after the last
    operation that reads it or a view of it (as `GraphNetwork` does); inputs stay until
    they were read, outputs to the end. What an operator needs inside is not counted,
    nor are parameters.

    With dropped blocks: the most of the steps that are left, each of them as in the
    whole network. That is what is taken, or more: the input of a block is alive until
    its output is, and no larger, so that one of them always stands for what is left of
    both; both are counted where others read the input later on. Where the input of a
    block is a part of something larger, that stays as long as the output does, so it is
    counted that long.

    Args:
        graph: the traced network.
        widths: its closed forms.
        removable: whether blocks can be dropped.
    """

    def __init__(
        self, graph: ModelGraph, widths: Widths, *, removable: bool = False
    ) -> None:
        names = list(graph.tensors)
        row = {name: i for i, name in enumerate(names)}
        home = _homes(graph)
        operations = graph.program.operations
        last = {name: len(operations) - 1 for name in refs_in(graph.program.outputs)}
        for step, operation in enumerate(operations):
            for name in operation.refs():
                last[name] = max(step, last.get(name, 0))
        born = dict.fromkeys(graph.program.inputs, 0)
        at = {operation.name: step for step, operation in enumerate(operations)}
        dies: dict[str, int] = {}
        for step, operation in enumerate(operations):
            if operation.name in row and home[operation.name] == operation.name:
                # One of several results is there as soon as they all are.
                picks = operation.kind == "getitem"
                born[operation.name] = at[next(operation.refs())] if picks else step
        for name, owner in home.items():
            dies[owner] = max(dies.get(owner, 0), last.get(name, born.get(owner, 0)))
        if removable:
            _outlive_blocks(graph, home, dies)
        item_sizes = np.array(
            [float(getattr(torch, graph.tensors[n].dtype).itemsize) for n in names]
        )
        alive = np.zeros((len(operations), len(names)))
        for name, start in born.items():
            alive[start : dies.get(name, start) + 1, row[name]] = 1
        # Every activation is linear in the counts, for only one dimension of it moves.
        slopes, offsets = _linear_elements(graph, widths, names)
        alive *= item_sizes
        self._slopes = np.ascontiguousarray((alive @ slopes).T)
        self._offsets = alive @ offsets
        self._presence = widths.presence
        self._regions = widths.presence.rows(graph.operations)

    def __call__(
        self, counts: np.ndarray, kept: np.ndarray | None = None
    ) -> np.ndarray:
        """Bytes, float64 [...]; counts [..., num_groups], kept [..., num_blocks]."""
        steps = np.asarray(counts, dtype=float) @ self._slopes + self._offsets
        if kept is not None:
            steps = steps * self._presence.regions(kept)[..., self._regions]
        return steps.max(-1, initial=0.0)


def _outlive_blocks(
    graph: ModelGraph, home: dict[str, str], dies: dict[str, int]
) -> None:
    """Lets what is larger than the input of a block live as long as the output."""

    def size(name: str) -> int:
        return int(np.prod(graph.tensors[name].shape, dtype=np.int64))

    ends: dict[str, int] = {}
    for block in reversed(graph.blocks):
        source, end = home[block.input], home[block.output]
        ends[source] = max(ends.get(source, 0), ends.get(end, 0), dies[end])
        if size(source) > size(block.input):
            dies[source] = max(dies[source], ends[source])


def _linear_elements(
    graph: ModelGraph, widths: Widths, names: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    slopes = np.zeros((len(names), len(graph.groups)))
    offsets = np.zeros(len(names))
    for row, name in enumerate(names):
        shape = graph.tensors[name].shape
        channels = graph.channels.get(name)
        if channels is None:
            offsets[row] = np.prod(shape, dtype=float)
            continue
        rest = np.prod(shape, dtype=float) / shape[channels.dim]
        offset, slope = widths.size_form((name, channels.dim))
        offsets[row], slopes[row] = offset * rest, slope * rest
    return slopes, offsets


def _homes(graph: ModelGraph) -> dict[str, str]:
    """Every value -> the activation whose memory it lies in: its own, but for views."""
    home = {name: name for name in graph.program.inputs}
    turned: set[str] = set()  # their elements lie in another order in memory
    for operation in graph.program.operations:
        source = next((n for n in operation.refs() if n in home), None)
        viewing = source is not None and is_view(graph, operation)
        if source in turned and operation.kind in _COPIES_OF_TURNED:
            viewing = False
        if viewing and (source in turned or operation.kind in _TURNS):
            turned.add(operation.name)
        home[operation.name] = home[str(source)] if viewing else operation.name
    return home


def is_view(graph: ModelGraph, operation: Operation) -> bool:
    """Whether the result lies in the memory of the first argument.

    That of `contiguous`, `reshape` and `flatten` does where they need not copy.

    Args:
        graph: the operation is of it.
        operation: any.
    """
    if operation.kind in ("dropout", "feature_dropout"):
        return True
    if operation.kind in _COPIES_OF_TURNED:
        return True
    source = next(operation.refs(), "")
    if operation.kind == "getitem":  # one of several results
        made = graph.program.by_name.get(source)
        return made is not None and is_view(graph, made)
    function = overload_of(operation.op)
    if function is None or not any(
        result.alias_info is not None for result in function._schema.returns
    ):
        return False
    known = [graph.tensors.get(name) for name in (source, operation.name)]
    one, other = (None if spec is None else spec.dtype for spec in known)
    # `to` copies where it changes the type; `view` does not.
    return operation.kind != "to" or one is None or one == other
