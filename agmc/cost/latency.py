"""Latency of a plan: the sum over a table of operators measured on one machine.

Entries are keyed by the shape of a *unit*: one operator that multiplies (convolution,
linear layer, matrix product) with everything that runs after it until the next one, for
runtimes fuse batch norm, addition and activation into it. What does not depend on a
plan (kernel, stride, spatial size, what follows) names its family; within a family the
milliseconds are a sum with coefficients >= 0 of terms in the numbers of channels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from agmc.cost.units import Units
from agmc.graph.model_graph import ModelGraph
from agmc.graph.widths import Widths

#: Who runs the network; the columns of the table.
RUNTIMES = ("onnx", "torch")

#: Vector kernels work on blocks of so many channels.
_BLOCK = 16
#: ONNX Runtime leaves its blocked layout where channels are no multiple of it.
_ALIGNMENT = 4

#: (channels in, channels out, elements of what follows) of one unit.
Shape = tuple[int, int, int]
_FOLLOWING = 2
#: Milliseconds by runtime, and how many measurements they are the mean of.
Entry = tuple[float, float, int]


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
        fits = {
            unit.family: _fit(table.entries[unit.family], unit.kind)
            for unit in self.units
        }
        self._kinds: dict[str, tuple[list[int], np.ndarray]] = {}
        for kind in sorted({unit.kind for unit in self.units}):
            rows = [row for row, unit in enumerate(self.units) if unit.kind == kind]
            coefficients = [fits[self.units[row].family] for row in rows]
            self._kinds[kind] = rows, np.stack(coefficients, axis=1)

    def evaluate(
        self,
        counts: np.ndarray,
        kept: np.ndarray | None = None,
        *,
        runtime: str = "onnx",
    ) -> np.ndarray:
        """Milliseconds of many plans at once.

        Never falls when a count of at least 16 grows by a multiple of 16; may fall when
        it grows by less, for 33 channels are slower than 48 where kernels need blocks.
        What never falls is `ceiling`.

        Args:
            counts: kept channels, int [..., num_groups].
            kept: the blocks that stay, bool [..., num_blocks]; None for all.
            runtime: one of `RUNTIMES`.

        Returns:
            float64 [...].
        """
        return self.by_unit(counts, kept, runtime=runtime).sum(-1)

    def by_unit(
        self,
        counts: np.ndarray,
        kept: np.ndarray | None = None,
        *,
        runtime: str = "onnx",
    ) -> np.ndarray:
        """The same for every unit of `self.units`: float64 [..., num_units].

        Of a unit whose operator is dropped with its block, what follows outside of the
        block is left.

        Raises:
            ValueError: no such runtime.
        """
        return self._sum_of_terms(counts, kept, runtime, _times)

    def ceiling(
        self,
        counts: np.ndarray,
        kept: np.ndarray | None = None,
        *,
        runtime: str = "onnx",
    ) -> np.ndarray:
        """The least number >= `evaluate`, unit by unit, that grows with every count.

        For each unit the running maximum `max f(in', out')` over `in' <= in` and
        `out' <= out`, where f are its milliseconds: what a budget is held to, so that
        a search may go by "more channels are never faster". Arguments and result as
        those of `evaluate`.
        """
        return self._sum_of_terms(counts, kept, runtime, _highest).sum(-1)

    def _sum_of_terms(
        self,
        counts: np.ndarray,
        kept: np.ndarray | None,
        runtime: str,
        times: Callable[[np.ndarray, str, np.ndarray], np.ndarray],
    ) -> np.ndarray:
        """Milliseconds of every unit, by `times(shapes, kind, coefficients)`."""
        if runtime not in RUNTIMES:
            raise ValueError(f"runtime {runtime!r} is none of {', '.join(RUNTIMES)}")
        column = RUNTIMES.index(runtime)
        shapes = np.rint(self._units.shapes(counts, kept))
        result = np.empty(shapes.shape[:-1])
        alone = np.empty(shapes.shape[:-1])
        for kind, (rows, fits) in self._kinds.items():
            result[..., rows] = times(shapes[..., rows, :], kind, fits[column])
            alone[..., rows] = shapes[..., rows, _FOLLOWING] * fits[column][:, -1]
        return (
            result
            if kept is None
            else np.where(self._units.present(kept), result, alone)
        )


def _fit(entries: Mapping[Shape, Entry], kind: str) -> np.ndarray:
    """Coefficients >= 0, float64 [runtimes, terms], of weighted least squares."""
    terms = _terms(np.array(list(entries), dtype=float), kind)
    times = np.array(list(entries.values()))
    return np.array(
        [_nonnegative(terms, times[:, column]) for column in range(len(RUNTIMES))]
    )


def _nonnegative(terms: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Non-negative least squares by coordinate descent (Franc et al., 2005)."""
    # As if the variance grew with the time: relative squares would be low on average.
    weights = np.maximum(times, 0.02 * max(times.max(), 1e-9)) ** -0.5
    rows, wanted = terms * weights[:, None], times * weights
    scale = np.maximum(np.abs(rows).max(0), 1e-12)
    rows = rows / scale
    square = rows.T @ rows
    # Terms that always occur together share what they have in common.
    square += 1e-4 * np.trace(square) / len(square) * np.eye(len(square))
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


def _times(shapes: np.ndarray, kind: str, fits: np.ndarray) -> np.ndarray:
    """Milliseconds [..., units] by coefficients [units, terms]."""
    return np.einsum("...ut,ut->...u", _terms(shapes, kind), fits)


def _highest(shapes: np.ndarray, kind: str, fits: np.ndarray) -> np.ndarray:
    """The most that `_times` is for any shape with as many channels or fewer.

    Within numbers of channels that are a multiple of 4, those that are not and those
    below a block all terms grow, so the largest of each kind is enough to look at.
    """
    if kind == "other":
        return _times(shapes, kind, fits)
    inputs, outputs, following = (shapes[..., i] for i in range(3))
    smaller = [
        np.stack([fewer, less, following], -1)
        for fewer in (*_largest(inputs), np.minimum(inputs, _BLOCK - 1))
        for less in (_largest(outputs) if kind == "dense" else (outputs,))
    ]
    return _times(np.stack(smaller), kind, fits).max(0)


def _largest(channels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest number, not above, that is a multiple of 4; and one that is not."""
    whole = np.floor(channels / _ALIGNMENT) * _ALIGNMENT
    odd = np.where(whole == channels, channels - 1, channels)
    return np.where(channels < _ALIGNMENT, channels, whole), odd


def _terms(shapes: np.ndarray, kind: str) -> np.ndarray:
    """What the time of a unit is a sum of, float64 [..., terms]; last what follows it.

    A convolution whose input channels are no multiple of 4 leaves the blocked layout
    (inputs below one block have kernels of their own): these cases have own terms.
    """
    inputs, outputs, following = (shapes[..., i] for i in range(3))
    one = np.ones_like(inputs)
    if kind == "other":
        return np.stack([one, inputs * outputs, inputs, outputs, following], -1)
    whole_in, whole_out = (np.ceil(n / _BLOCK) * _BLOCK for n in (inputs, outputs))
    ragged = _is_odd(inputs)
    if kind == "depthwise":
        terms = [one, whole_in * (1 - ragged), ragged, inputs * ragged, following]
        return np.stack(terms, -1)
    small = (inputs < _BLOCK).astype(float)
    ragged *= 1 - small
    blocked = (1 - small) * (1 - ragged)
    odd_outputs = _is_odd(outputs)
    terms = [
        one,
        whole_in * whole_out * blocked,
        inputs * whole_out * small,
        inputs * outputs * ragged,
        *(ragged, inputs * ragged, outputs * ragged),
        *(inputs, whole_out, outputs * odd_outputs, following),
    ]
    return np.stack(terms, -1)


def _is_odd(channels: np.ndarray) -> np.ndarray:
    """1.0 where the number is no multiple of 4, else 0.0."""
    return (np.floor(channels / _ALIGNMENT) * _ALIGNMENT != channels).astype(float)
