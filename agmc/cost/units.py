"""Units: the operators of a network that are measured as one, by their shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agmc.graph.model_graph import ModelGraph
from agmc.graph.program import Operation
from agmc.graph.widths import Widths


@dataclass(frozen=True)
class Unit:
    """An operator that multiplies and what runs after it.

    Attributes:
        name: of the operation; "" for what runs before the first one.
        layer: qualified name of the module whose code calls it.
        family: everything about it that no plan changes.
        kind: `dense`, `depthwise` or `other`: which terms its time has.
        operations: names of all its operations, in execution order.
    """

    name: str
    layer: str
    family: str
    kind: str
    operations: tuple[str, ...]


class Units:
    """The units of a network, and their shapes under a plan.

    Args:
        graph: the traced network.
        widths: its closed forms; made where None.
    """

    def __init__(self, graph: ModelGraph, widths: Widths | None = None) -> None:
        widths = Widths(graph) if widths is None else widths
        self._widths = widths
        rows = {name: row for row, name in enumerate(graph.tensors)}
        units, sums = [], []
        forms: list[tuple[tuple[float, np.ndarray], ...]] = []
        for part in _parts(graph, frozenset(widths.operations)):
            head = part[0]
            following = np.zeros(len(rows))
            for operation in part[1:] if head.name in widths.operations else part:
                if operation.name in rows:
                    following[rows[operation.name]] += 1
            sums.append(following)
            sizes, kind = _channels(graph, head)
            forms.append(tuple(widths.size_form(size) for size in sizes))
            units.append(
                Unit(
                    head.name,
                    head.layer,
                    _family(graph, part, kind),
                    kind,
                    tuple(operation.name for operation in part),
                )
            )
        self.units = tuple(units)
        self._regions = widths.presence.rows(unit.name for unit in units)
        self._regions_of_tensors = widths.presence.rows(rows)
        self._following = np.array(sums).T.reshape(len(rows), len(units))
        self._offsets = np.array([[offset for offset, _ in two] for two in forms])
        self._slopes = np.array([[slope for _, slope in two] for two in forms])

    def shapes(self, counts: np.ndarray, kept: np.ndarray | None = None) -> np.ndarray:
        """Float64 [..., num_units, 3] for counts int [..., num_groups].

        Where `kept`, bool [..., num_blocks], drops blocks, none of their operations
        follows any unit; units of theirs keep their channels.
        """
        counts = np.asarray(counts, dtype=float)
        sizes = np.einsum("...g,usg->...us", counts, self._slopes) + self._offsets
        elements = self._widths.activation_elements(counts)
        if kept is not None:
            regions = self._widths.presence.regions(kept)
            elements = elements * regions[..., self._regions_of_tensors]
        following = elements @ self._following
        lead = np.broadcast_shapes(sizes.shape[:-2], following.shape[:-1])
        sizes = np.broadcast_to(sizes, (*lead, *sizes.shape[-2:]))
        return np.concatenate([sizes, following[..., None]], axis=-1)

    def present(self, kept: np.ndarray) -> np.ndarray:
        """Whether the operation that names a unit stays, 0 or 1 [..., num_units]."""
        return self._widths.presence.regions(kept)[..., self._regions]


def _parts(graph: ModelGraph, heads: frozenset[str]) -> list[list[Operation]]:
    """The operations in execution order, cut before every head."""
    parts: list[list[Operation]] = []
    for operation in graph.program.operations:
        if not parts or operation.name in heads:
            parts.append([])
        parts[-1].append(operation)
    return parts


def _channels(
    graph: ModelGraph, head: Operation
) -> tuple[tuple[tuple[str, int], tuple[str, int]], str]:
    """The sizes that count the channels in and out, and the kind of the unit."""
    names = [n for n in head.refs() if n in graph.tensors]
    first, held = names[0] if names else head.name, graph.tensors
    if head.name not in held:
        return ((first, len(held[first].shape) - 1),) * 2, "other"
    rank, last = len(held[head.name].shape), len(held[first].shape) - 1
    if head.kind.startswith("conv"):
        groups = int(head.args[6]) if len(head.args) > 6 else 1
        if head.kind.startswith("conv_t"):
            return ((first, 1), (head.name, 1)), "other"
        deep = groups > 1 and groups == held[first].shape[1]
        kind = "depthwise" if deep else "dense" if groups == 1 else "other"
        return ((first, 1), (head.name, 1)), kind
    return ((first, last), (head.name, rank - 1)), "other"


def _family(graph: ModelGraph, part: Sequence[Operation], kind: str) -> str:
    """Text that names everything of a unit that no plan changes."""
    head = part[0]
    words = [head.kind]
    if kind == "depthwise":
        words.append(kind)
    weight = next((n for n in head.refs() if n in graph.parameters), None)
    if head.kind.startswith("conv") and weight is not None:
        kernel = "x".join(map(str, graph.parameters[weight].shape[2:]))
        words += [kernel, *(_number(value) for value in head.args[3:6])]
        if kind == "other":
            words.append(f"groups {head.args[6] if len(head.args) > 6 else 1}")
    words += [_place(graph, name) for name in (*graph.inputs_of(head), head.name)]
    return " ".join([*words, *(operation.kind for operation in part[1:])])


def _place(graph: ModelGraph, name: str) -> str:
    """The shape without its channels."""
    if name not in graph.tensors:
        return "-"
    channels = graph.channels.get(name)
    shape = graph.tensors[name].shape
    dim = channels.dim if channels is not None else (1 if len(shape) > 1 else -1)
    return "x".join(str(n) for d, n in enumerate(shape) if d not in (0, dim)) or "1"


def _number(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
