"""LayerProgress: how far a plan has come that decides about more than channels."""

from __future__ import annotations

import numpy as np

from agmc.embedding.about import operations_of
from agmc.embedding.columns import Column
from agmc.graph.weighted import weight_of, weighted_layers
from agmc.graph.widths import Widths
from agmc.plan import FLOAT_BITS
from agmc.plan_space import PlanSpace


class LayerProgress:
    """What follows the plan in an observation about zeros, bits, blocks or channels.

    For decision `t`, those before `t` are as planned and `t` and all later ones keep
    most. Shares are of what the plan that keeps most takes; all entries lie in [0, 1].

    Args:
        space: the decisions.
    """

    columns = (
        Column("reduced_bops", "bit operations saved by earlier decisions, share"),
        Column("reduced_bits", "bits of weights saved by earlier decisions, share"),
        Column("rest", "bit operations of layers of later decisions, share"),
        Column("previous_action", "share kept by the decision before; 1 for the first"),
        Column("keep_ratio", "1 where channels are decided"),
        Column("dropped", "1 where it is decided whether a block stays"),
        Column("sparsity", "1 where zeros are decided"),
        Column("weight_bits", "1 where bits of weights are decided"),
        Column("act_bits", "1 where bits of inputs are decided"),
    )

    def __init__(self, space: PlanSpace) -> None:
        self._space = space
        self._widths = Widths(space.graph)
        layers = weighted_layers(space.graph.program)
        operations = self._widths.operations
        self._layers = [operations.index(op.name) for op in layers.values()]
        parameters = self._widths.parameters
        self._weights = [parameters.index(weight_of(op)) for op in layers.values()]
        about = [
            {op.name for op in operations_of(space, d, self._widths)} for d in space
        ]
        self._is_later = np.zeros((len(space), len(operations)))
        for t in range(len(space)):
            later = set().union(*about[t + 1 :])
            self._is_later[t] = [name in later for name in operations]
        parts = [column.name for column in self.columns[4:]]
        self._part = np.array([[float(d.part == p) for p in parts] for d in space])
        bops, bits = self._taken(space.sizes)
        self._bops, self._bits = max(1.0, float(bops.sum())), max(1.0, float(bits))

    def rows(self, counts: np.ndarray) -> np.ndarray:
        """All decisions, float64 [num_decisions, 9].

        Args:
            counts: of every decision, int64 [num_decisions].
        """
        return np.stack([self.row(t, counts) for t in range(len(self._space))])

    def row(self, step: int, counts: np.ndarray) -> np.ndarray:
        """Decision `step`, float64 [9]; `counts` from `step` on are not read."""
        so_far = self._space.sizes.copy()
        so_far[:step] = np.asarray(counts)[:step]
        bops, bits = self._taken(so_far)
        before = so_far[step - 1] / self._space.sizes[step - 1] if step else 1.0
        return np.array(
            [
                1 - bops.sum() / self._bops,
                1 - bits / self._bits,
                float(bops @ self._is_later[step]) / self._bops,
                before,
                *self._part[step],
            ]
        )

    def _taken(self, counts: np.ndarray) -> tuple[np.ndarray, float]:
        """Bit operations of every operation, and the bits of all weights."""
        channels, parts, kept = self._space.amounts(counts)
        bops = self._widths.macs(channels, kept) * float(FLOAT_BITS**2)
        numels = self._widths.numels(channels, kept)[self._weights]
        if parts is None:
            return bops, float(numels.sum()) * FLOAT_BITS
        bops[self._layers] *= parts.weight_bits * parts.act_bits / FLOAT_BITS**2
        return bops, float(numels @ (parts.density * parts.weight_bits))
