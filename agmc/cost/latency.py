"""Latency of a plan: the sum over a table of operators measured on one machine.

Entries are keyed by the shape of a *unit*: one operator that multiplies (convolution,
linear layer, matrix product) with everything that runs after it until the next one, for
runtimes fuse batch norm, addition and activation into it. What does not depend on a
plan (kernel, stride, spatial size, what follows) names its family; within a family the
milliseconds are a sum with coefficients >= 0 of terms in the numbers of channels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agmc.graph.model_graph import ModelGraph
from agmc.graph.program import Operation
from agmc.graph.widths import Widths

#: Who runs the network; the columns of the table.
RUNTIMES = ("onnx", "torch")

#: Vector kernels work on blocks of so many channels.
_BLOCK = 16
#: ONNX Runtime leaves its blocked layout where channels are no multiple of it.
_ALIGNMENT = 4

#: (channels in, channels out, elements of what follows) of one unit.
Shape = tuple[int, int, int]
#: Milliseconds by runtime, and how many measurements they are the mean of.
Entry = tuple[float, float, int]


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


@dataclass
class LatencyTable:
    """Measured milliseconds of units: family -> shape -> entry.

    Attributes:
        machine: what the numbers hold for: processor and versions.
        entries: the measurements.
    """

    machine: Mapping[str, str]
    entries: dict[str, dict[Shape, Entry]] = field(default_factory=dict)

    def add(self, family: str, shape: Shape, milliseconds: Sequence[float]) -> None:
        """One more measurement, in the order of `RUNTIMES`; repeats are averaged."""
        shapes = self.entries.setdefault(family, {})
        first, second, times = shapes.get(shape, (0.0, 0.0, 0))
        shapes[shape] = (
            (first * times + milliseconds[0]) / (times + 1),
            (second * times + milliseconds[1]) / (times + 1),
            times + 1,
        )

    def to_json(self) -> str:
        """Text that `from_json` reads."""
        record = {
            "machine": dict(self.machine),
            "columns": ["in", "out", "following", *RUNTIMES, "times"],
            "entries": {
                family: [[*shape, *entry] for shape, entry in shapes.items()]
                for family, shapes in self.entries.items()
            },
        }
        return json.dumps(record, indent=1)

    @classmethod
    def from_json(cls, text: str) -> LatencyTable:
        """Reads what `to_json` wrote.

        Raises:
            ValueError: the text is no table.
        """
        try:
            record = json.loads(text)
            table = cls({str(k): str(v) for k, v in record["machine"].items()})
            for family, rows in record["entries"].items():
                table.entries[str(family)] = {
                    (int(a), int(b), int(c)): (float(x), float(y), int(n))
                    for a, b, c, x, y, n in rows
                }
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(
                f"no latency table ({error}); remove the file and run `agmc profile`"
            ) from error
        return table


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
        self._following = np.array(sums).T.reshape(len(rows), len(units))
        self._offsets = np.array([[offset for offset, _ in two] for two in forms])
        self._slopes = np.array([[slope for _, slope in two] for two in forms])

    def shapes(self, counts: np.ndarray) -> np.ndarray:
        """Float64 [..., num_units, 3] for counts int [..., num_groups]."""
        counts = np.asarray(counts, dtype=float)
        sizes = np.einsum("...g,usg->...us", counts, self._slopes) + self._offsets
        following = self._widths.activation_elements(counts) @ self._following
        return np.concatenate([sizes, following[..., None]], axis=-1)


class LatencyModel:
    """Predicts the milliseconds of one call, batch 1 on one thread.

    Args:
        graph: the traced network.
        table: measured by `agmc profile`.
        widths: closed forms of the graph; made where None.

    Raises:
        ValueError: the table has no entry for an operator of the network.
    """

    def __init__(
        self, graph: ModelGraph, table: LatencyTable, *, widths: Widths | None = None
    ) -> None:
        self._units = Units(graph, widths)
        self.units = self._units.units
        missing = [u for u in self.units if not table.entries.get(u.family)]
        if missing:
            raise ValueError(
                f"the latency table has no entry for {len(missing)} operators, "
                f"{missing[0].name or 'the input'!r} ({missing[0].family}) first; "
                "run `agmc profile` with this model"
            )
        self._rows: dict[str, list[int]] = {}
        for row, unit in enumerate(self.units):
            self._rows.setdefault(unit.family, []).append(row)
        self._fits = {
            family: _fit(table.entries[family], self.units[rows[0]].kind)
            for family, rows in self._rows.items()
        }

    def evaluate(self, counts: np.ndarray, *, runtime: str = "onnx") -> np.ndarray:
        """Milliseconds of many plans at once.

        Grows with every count among counts of the same remainder by 16; not with every
        count, for 33 channels are slower than 48 where the kernels need whole blocks.

        Args:
            counts: kept channels, int [..., num_groups].
            runtime: one of `RUNTIMES`.

        Returns:
            float64 [...].
        """
        return self.by_unit(counts, runtime=runtime).sum(-1)

    def by_unit(self, counts: np.ndarray, *, runtime: str = "onnx") -> np.ndarray:
        """The same for every unit of `self.units`: float64 [..., num_units].

        Raises:
            ValueError: no such runtime.
        """
        if runtime not in RUNTIMES:
            raise ValueError(f"runtime {runtime!r} is none of {', '.join(RUNTIMES)}")
        column = RUNTIMES.index(runtime)
        shapes = self._units.shapes(counts)
        result = np.empty(shapes.shape[:-1])
        for family, rows in self._rows.items():
            kind = self.units[rows[0]].kind
            result[..., rows] = (
                _terms(shapes[..., rows, :], kind) @ self._fits[family][column]
            )
        return result


def _fit(entries: Mapping[Shape, Entry], kind: str) -> np.ndarray:
    """Coefficients >= 0, float64 [runtimes, terms], of least relative squares."""
    terms = _terms(np.array(list(entries), dtype=float), kind)
    times = np.array(list(entries.values()))
    return np.array(
        [_nonnegative(terms, times[:, column]) for column in range(len(RUNTIMES))]
    )


def _nonnegative(terms: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Non-negative least squares by coordinate descent (Franc et al., 2005)."""
    weights = 1 / np.maximum(times, 0.02 * max(times.max(), 1e-9))
    rows, wanted = terms * weights[:, None], times * weights
    scale = np.maximum(np.abs(rows).max(0), 1e-12)
    rows = rows / scale
    # Terms that never occurred together share what they have in common.
    square = rows.T @ rows + 1e-4 * len(rows) * np.eye(rows.shape[1])
    pull = rows.T @ wanted
    found = np.zeros(rows.shape[1])
    for _ in range(400):
        before = found.copy()
        for i in range(len(found)):
            step = (pull[i] - square[i] @ found) / square[i, i]
            found[i] = max(0.0, found[i] + step)
        if np.abs(found - before).max() < 1e-7:
            break
    return np.where(np.abs(terms).max(0) > 0, found / scale, 0.0)


def _terms(shapes: np.ndarray, kind: str) -> np.ndarray:
    """What the time of a unit is a sum of, float64 [..., terms].

    A convolution whose input channels are no multiple of 4 leaves the blocked layout
    (inputs below one block have kernels of their own): these cases have own terms.
    """
    inputs, outputs, following = (shapes[..., i] for i in range(3))
    one = np.ones_like(inputs)
    if kind == "other":
        return np.stack([one, inputs * outputs, inputs, outputs, following], -1)
    whole_in, whole_out = (np.ceil(n / _BLOCK) * _BLOCK for n in (inputs, outputs))
    ragged = (np.mod(inputs, _ALIGNMENT) != 0).astype(float)
    if kind == "depthwise":
        terms = [one, whole_in * (1 - ragged), ragged, inputs * ragged, following]
        return np.stack(terms, -1)
    small = (inputs < _BLOCK).astype(float)
    ragged *= 1 - small
    blocked = (1 - small) * (1 - ragged)
    odd_outputs = (np.mod(outputs, _ALIGNMENT) != 0).astype(float)
    terms = [
        one,
        whole_in * whole_out * blocked,
        inputs * whole_out * small,
        inputs * outputs * ragged,
        *(ragged, inputs * ragged, outputs * ragged),
        *(inputs, whole_out, outputs * odd_outputs, following),
    ]
    return np.stack(terms, -1)


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
