"""Cost of a plan: closed forms of all metrics, without building a network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from agmc.cost.activations import ActivationMemory
from agmc.cost.energy import EnergyModel
from agmc.cost.file_size import FileSize, item_sizes
from agmc.cost.latency import LatencyModel
from agmc.cost.tables import Tables
from agmc.graph.model_graph import ModelGraph
from agmc.graph.widths import Widths
from agmc.plan import (
    FLOAT_BITS,
    LayerParts,
    Plan,
    kept_blocks,
    kept_channels,
    layer_parts,
)

#: Whole numbers that follow from network and plan alone.
METRICS = ("macs", "params", "bytes", "activation_bytes", "bops")

#: Metrics that are summed up from `Tables`: milliseconds and millijoules for one input.
TABLE_METRICS = ("latency", "energy")


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes:
        macs: multiply-adds of convolutions and linear layers for one input; one
            multiplication with its addition counts as 1.
        params: elements of all parameters that the network reads.
        bytes: size of the saved file (`agmc.save`), within 2 %, of files of a few
            kilobytes with zeros from codebooks within a tenth, and without zeros or
            bits in the plan never less: all weights and buffers that the network reads,
            the description of its operations, and its info. Tensors of zeros, as in
            networks without training, are stored in less.
        activation_bytes: the most that activations of one input take at one time, see
            `ActivationMemory`.
        bops: bit operations: multiply-adds x bits of the weights x bits of the
            activations; 32 where a plan says nothing else.
        latency: milliseconds for one input, see `LatencyModel`; None without a table.
        energy: millijoules for one input, see `EnergyModel`; None without a table.
    """

    macs: int
    params: int
    bytes: int
    activation_bytes: int = 0
    bops: int = 0
    latency: float | None = None
    energy: float | None = None

    def known(self) -> dict[str, int | float]:
        """Metric -> value, without those that there is no table for."""
        return {k: v for k, v in vars(self).items() if v is not None}


@dataclass(frozen=True)
class LayerCost:
    """What one layer costs.

    Attributes:
        name: qualified name of the module whose code runs the operations.
        macs: multiply-adds for one input.
        params: elements of the parameters that it is the first to read.
        bytes: of these parameters and of its buffers in the saved file.
    """

    name: str
    macs: int
    params: int
    bytes: int


class CostModel:
    """Closed forms of all metrics over one graph.

    Args:
        graph: the traced network.
        tables: for the metrics `latency` and `energy`; None has neither.
        codebooks: whether weights with bits are from codebooks, see `Rounded`.
        info: what the file will say of the network, see `agmc.save`; None: nothing.
    """

    def __init__(
        self,
        graph: ModelGraph,
        tables: Tables | None = None,
        *,
        codebooks: bool = False,
        info: Mapping[str, Any] | None = None,
    ) -> None:
        self._codebooks = codebooks
        self._info = info
        self.graph = graph
        self.tables = Tables() if tables is None else tables
        self.widths = Widths(graph)
        specs = [graph.parameters[name] for name in self.widths.parameters]
        self._trainable = np.array([float(spec.trainable) for spec in specs])
        self._file = FileSize(self.widths, codebooks=codebooks, info=info)

    def evaluate(
        self,
        metric: str,
        counts: np.ndarray,
        parts: LayerParts | None = None,
        kept: np.ndarray | None = None,
    ) -> np.ndarray:
        """One metric of many plans at once.

        Args:
            metric: one of `METRICS` or `TABLE_METRICS`; zeros count for `bytes` alone,
                bits for that, `bops` and `latency`.
            counts: kept channels, int [..., num_groups], in the order of the groups.
            parts: zeros and bits of the same plans; None: there are none.
            kept: the blocks that stay, bool [..., num_blocks], in the order of
                `graph.blocks`; None for all. All three have the same leading
                dimensions.

        Returns:
            int64 [...], and float64 for `TABLE_METRICS`; never falls when a count, a
            density or a number of bits grows or when a block is kept, but for `latency`
            and, where there are bits, `bytes` (see `ceiling`).

        Raises:
            ValueError: no such metric, or no table for it.
        """
        if metric == "latency":
            return self._latency.evaluate(counts, kept, self._on_integers(parts))
        if metric == "energy":
            return self._energy.evaluate(counts, kept)
        if metric == "macs":
            values = self.widths.total_macs(counts, kept)
        elif metric == "params":
            values = self.widths.numels(counts, kept) @ self._trainable
        elif metric == "bytes":
            values = self._file.expected(counts, parts, kept)
        elif metric == "activation_bytes":
            memory = self._activations if kept is None else self._activations_left
            values = memory(counts, kept)
        elif metric == "bops":
            values = self.widths.total_macs(counts, kept) * FLOAT_BITS**2
            if parts is not None:
                values = self._file.rounded.bops(counts, parts, kept)
        else:
            known = ", ".join((*METRICS, *TABLE_METRICS))
            raise ValueError(f"metric {metric!r} is none of {known}")
        return np.rint(values).astype(np.int64)

    def ceiling(
        self,
        metric: str,
        counts: np.ndarray,
        parts: LayerParts | None = None,
        kept: np.ndarray | None = None,
    ) -> np.ndarray:
        """`evaluate`, raised where a limit could not be held to it.

        Never falls when anything of a plan grows, as `latency` does (see
        `LatencyModel.ceiling`), and no file is larger than its `bytes`, see
        `FileSize.most`.
        """
        if metric == "latency":
            return self._latency.ceiling(counts, kept, self._on_integers(parts))
        if metric == "bytes":
            return np.rint(self._file.most(counts, parts, kept)).astype(np.int64)
        return self.evaluate(metric, counts, parts, kept)

    def of_graph(self, graph: ModelGraph) -> CostModel:
        """The same tables, kinds of bits and info for another network."""
        codebooks, info = self._codebooks, self._info
        return CostModel(graph, self.tables, codebooks=codebooks, info=info)

    @cached_property
    def without_info(self) -> CostModel:
        """The same for files that say nothing of the network."""
        if not self._info:
            return self
        return CostModel(self.graph, self.tables, codebooks=self._codebooks)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that can be evaluated with the tables that there are."""
        held = (self.tables.latency, self.tables.energy)
        given = zip(TABLE_METRICS, held, strict=True)
        return (*METRICS, *(name for name, table in given if table is not None))

    def cost(
        self,
        counts: np.ndarray,
        parts: LayerParts | None = None,
        kept: np.ndarray | None = None,
    ) -> Cost:
        """All of `metrics` of one plan; arguments as those of `evaluate`."""
        values = {m: self.evaluate(m, counts, parts, kept) for m in self.metrics}
        return Cost(**{metric: value.item() for metric, value in values.items()})

    def of(self, plan: Plan | None) -> Cost:
        """All of `metrics` of a plan, its zeros, bits and dropped blocks included.

        Args:
            plan: None: the network itself, whose file has no info.

        Raises:
            ValueError: the plan names a group, layer or block that the network does not
                have.
        """
        if plan is None:
            return self.without_info.cost(kept_channels(self.graph, None))
        counts = kept_channels(self.graph, plan)
        kept = kept_blocks(self.graph, plan) if plan.dropped else None
        parts = layer_parts(self.graph, plan) if plan.layers else None
        return self.cost(counts, parts, kept)

    def by_layer(self, counts: np.ndarray) -> tuple[LayerCost, ...]:
        """The layers that multiply or hold parameters, in execution order.

        Their multiply-adds and parameters sum up to those of the network; the file's
        description of the network belongs to no layer.

        Args:
            counts: kept channels, int [num_groups].
        """
        macs = self.widths.macs_by_operation(counts)
        numels = dict(
            zip(self.widths.parameters, self.widths.numels(counts), strict=True)
        )
        sizes = item_sizes(self.graph)
        rows: dict[str, list[int]] = {}
        for operation in self.graph.program.operations:
            read = [name for name in operation.refs() if name in numels]
            if not read and operation.name not in macs:
                continue
            row = rows.setdefault(operation.layer, [0, 0, 0])
            row[0] += macs.get(operation.name, 0)
            for name in read:
                spec = self.graph.parameters[name]
                numel = round(numels.pop(name, 0))
                row[1] += numel * spec.trainable
                row[2] += math.ceil(numel * sizes[name])
        return tuple(LayerCost(name, *row) for name, row in rows.items())

    def _on_integers(self, parts: LayerParts | None) -> LayerParts | None:
        """Bits that runtimes compute with: of weights from codebooks they have none."""
        return None if self._codebooks else parts

    @cached_property
    def _activations(self) -> ActivationMemory:
        return ActivationMemory(self.graph, self.widths)

    @cached_property
    def _activations_left(self) -> ActivationMemory:
        return ActivationMemory(self.graph, self.widths, removable=True)

    @cached_property
    def _latency(self) -> LatencyModel:
        if self.tables.latency is None:
            raise ValueError(
                "latency needs the table of `agmc profile`: run it with this model "
                "first, or name one by latency_table=FILE"
            )
        return LatencyModel(self.graph, self.tables.latency, widths=self.widths)

    @cached_property
    def _energy(self) -> EnergyModel:
        if self.tables.energy is None:
            raise ValueError(
                "energy needs a table of picojoules by kind of operator: name it by "
                "energy_table=FILE"
            )
        return EnergyModel(self.graph, self.tables.energy, widths=self.widths)


def cost_of(graph: ModelGraph, plan: Plan | None = None) -> Cost:
    """Cost of a plan, or of the original network for None."""
    return CostModel(graph).of(plan)
