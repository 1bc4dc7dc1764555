"""Operator events: whose time the nodes of ONNX Runtime's profile are."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from agmc.cost.units import Unit

_LOG = logging.getLogger(__name__)
#: Operators of ONNX Runtime that multiply weights: each begins a unit.
_HEADS = re.compile(r"Conv|Gemm|MatMul|Einsum|Attention")
#: The blocked layout fills channels up to whole blocks, of so many at most.
_MOST_FILLED = 32


def times_by_unit(
    events: Sequence[Mapping[str, Any]],
    units: Sequence[Unit],
    shapes: np.ndarray,
    *,
    calls: int,
    skipped: int,
) -> np.ndarray:
    """Sums the nodes of every unit, in any unit of time: float64 [calls, num_units].

    Args:
        events: of the profile of a session.
        units: of the network.
        shapes: of the units, [num_units, 3].
        calls: to look at.
        skipped: calls before them.
    """
    nodes = [
        event
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
    ]
    length = len(nodes) // (calls + skipped)
    rows = list(_rows_of(nodes[:length], units, shapes))
    result = np.zeros((calls, len(units)))
    for call in range(calls):
        start = (call + skipped) * length
        for row, node in zip(rows, nodes[start : start + length], strict=True):
            result[call, row] += node["dur"]
    return result


def _rows_of(
    nodes: Sequence[Mapping[str, Any]], units: Sequence[Unit], shapes: np.ndarray
) -> Iterator[int]:
    """The unit of every node: a change of layout belongs to what comes after it."""
    left = [row for row, unit in enumerate(units) if unit.name]
    heads: dict[int, int] = {}
    for position, node in enumerate(nodes):
        if not _HEADS.search(node["args"]["op_name"]):
            continue
        fitting = [row for row in left if _fits(node, units[row], shapes[row])]
        if fitting:
            heads[position] = fitting[0]
            left.remove(fitting[0])
    if left:
        names = ", ".join(units[row].name for row in left[:3])
        _LOG.warning("ONNX Runtime has no operator of its own for %s", names)
    current, following = 0, list(heads.items())
    for position, node in enumerate(nodes):
        if following and following[0][0] <= position:
            current = following.pop(0)[1]
        if node["args"]["op_name"].startswith("Reorder") and following:
            yield following[0][1]
        else:
            yield current


def _fits(node: Mapping[str, Any], unit: Unit, shape: np.ndarray) -> bool:
    """Whether a node of ONNX Runtime is the head of the unit."""
    convolution = "Conv" in node["args"]["op_name"]
    if convolution != unit.family.startswith("conv"):
        return False
    if not convolution:
        return True
    kernel, place_in, place_out = _sizes(unit)
    read = _shapes(node["args"]["input_type_shape"])
    made = _shapes(node["args"]["output_type_shape"])[0]
    if node["args"]["op_name"].startswith("QLinear"):
        # Channels first or last; what they say nothing of are the weights.
        layouts = (1, slice(2, None)), (-1, slice(1, -1))
        return any(
            (read[0][c], made[c]) == tuple(shape[:2])
            and (_text(read[0][at]), _text(made[at])) == (place_in, place_out)
            for c, at in layouts
        )
    same = _text(read[1][2:]) == kernel and _text(made[2:]) == place_out
    return same and 0 <= made[1] - shape[1] < _MOST_FILLED


def _sizes(unit: Unit) -> tuple[str, str, str]:
    """Kernel of a convolution, and the places it reads and makes, of its family."""
    words = unit.family.split()
    kernel = words[2 if words[1] == "depthwise" else 1]
    last = len(words) - len(unit.operations)  # behind it come those that follow
    return kernel, words[last - 1], words[last]


def _text(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


def _shapes(record: Sequence[Mapping[str, Sequence[int]]]) -> list[Sequence[int]]:
    return [next(iter(entry.values())) for entry in record]
