"""Latency of a plan: the sum over a table of operators measured on one machine.

Entries are keyed by the shape of a *unit*: one operator that multiplies (convolution,
linear layer, matrix product) with everything that runs after it until the next one, for
runtimes fuse batch norm, addition and activation into it. What does not depend on a
plan (kernel, stride, spatial size, what follows) names its family; within a family the
milliseconds are a sum with coefficients >= 0 of terms in the numbers of channels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from agmc.cost.latency_table import FLOATS, INTEGERS, RUNTIMES, LatencyTable
from agmc.cost.latency_terms import fit, highest, times_of
from agmc.cost.units import Units
from agmc.graph.model_graph import ModelGraph
from agmc.graph.weighted import weighted_layers
from agmc.graph.widths import Widths
from agmc.plan import FLOAT_BITS, LayerParts

_FOLLOWING = 2
#: Of what a runtime computes on as integers.
_MOST_BITS = 8


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
            unit.family: fit(table.entries[unit.family], unit.kind)
            for unit in self.units
        }
        layers = [op.name for op in weighted_layers(graph.program).values()]
        self._layers = [
            layers.index(unit.name) if unit.name in layers else -1
            for unit in self.units
        ]
        self._kinds: dict[str, tuple[list[int], np.ndarray]] = {}
        for kind in sorted({unit.kind for unit in self.units}):
            rows = [row for row, unit in enumerate(self.units) if unit.kind == kind]
            coefficients = [fits[self.units[row].family] for row in rows]
            self._kinds[kind] = rows, np.stack(coefficients, axis=1)

    def evaluate(
        self,
        counts: np.ndarray,
        kept: np.ndarray | None = None,
        parts: LayerParts | None = None,
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
            parts: bits of the same plans: ONNX Runtime computes on integers in layers
                of which weights and inputs have at most 8 bits. None: floats.
            runtime: one of `RUNTIMES`.

        Returns:
            float64 [...].
        """
        return self.by_unit(counts, kept, parts, runtime=runtime).sum(-1)

    def by_unit(
        self,
        counts: np.ndarray,
        kept: np.ndarray | None = None,
        parts: LayerParts | None = None,
        *,
        runtime: str = "onnx",
    ) -> np.ndarray:
        """The same for every unit of `self.units`: float64 [..., num_units].

        Of a unit whose operator is dropped with its block, what follows outside of the
        block is left.

        Raises:
            ValueError: no such runtime.
        """
        times = self._sum_of_terms(counts, kept, runtime, times_of)
        if parts is None or runtime != FLOATS:
            return times
        quick = self._sum_of_terms(counts, kept, INTEGERS, times_of)
        return np.where(self._on_integers(parts), quick, times)

    def ceiling(
        self,
        counts: np.ndarray,
        kept: np.ndarray | None = None,
        parts: LayerParts | None = None,
    ) -> np.ndarray:
        """The least number >= `evaluate`, unit by unit, that grows with every count.

        For each unit the running maximum `max f(in', out')` over `in' <= in` and
        `out' <= out`, where f are its milliseconds: what a budget is held to, so that
        a search may go by "more channels are never faster". More bits are never faster
        either: where integers are slower than floats, that is what both count as.
        Arguments and result as those of `evaluate`, in ONNX Runtime.
        """
        times = self._sum_of_terms(counts, kept, FLOATS, highest)
        if parts is not None:
            quick = self._sum_of_terms(counts, kept, INTEGERS, highest)
            integers = self._on_integers(parts)
            rounds = self._rounds(parts)  # with fewer bits it would be on integers
            either = np.where(rounds, np.maximum(times, quick), times)
            times = np.where(integers, quick, either)
        total: np.ndarray = times.sum(-1)
        return total

    def _on_integers(self, parts: LayerParts) -> np.ndarray:
        """Whether each unit computes on integers, bool [..., num_units].

        One without weights does where all layers do.
        """
        few = np.maximum(parts.weight_bits, parts.act_bits) <= _MOST_BITS
        return self._of_units(few, few.all(-1, keepdims=True))

    def _rounds(self, parts: LayerParts) -> np.ndarray:
        """Whether anything is said of a unit's bits, bool [..., num_units]."""
        said = np.maximum(parts.weight_bits, parts.act_bits) < FLOAT_BITS
        return self._of_units(said, said.any(-1, keepdims=True))

    def _of_units(self, layers: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Of layers [..., num_layers], and of units that are none [..., 1]."""
        return np.concatenate([layers, others], axis=-1)[..., self._layers]

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
