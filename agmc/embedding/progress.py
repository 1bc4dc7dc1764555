"""Progress: how far a plan has come when a decision is taken."""

from __future__ import annotations

import numpy as np

from agmc.embedding.columns import Column
from agmc.graph.model_graph import ChannelGroup, ModelGraph
from agmc.graph.program import Operation
from agmc.graph.widths import Widths

#: The three entries of an observation that follow the plan; all lie in [0, 1].
PROGRESS_COLUMNS = (
    Column("reduced", "MACs removed by earlier decisions, share of the original MACs"),
    Column("rest", "MACs of the layers of later decisions, share of the original MACs"),
    Column("previous_action", "keep ratio of the decision before; 1 for the first"),
)


class Progress:
    """The columns of `PROGRESS_COLUMNS` for every decision (AMC, arXiv 1802.03494).

    For decision `t`, the groups before `t` are as planned and `t` and all later ones
    keep everything. `rest` counts the later layers at the widths of that network.

    Args:
        graph: the traced network.
    """

    columns = PROGRESS_COLUMNS

    def __init__(self, graph: ModelGraph) -> None:
        self._widths = Widths(graph)
        self._sizes = np.array([group.size for group in graph.groups], dtype=np.int64)
        count = len(self._sizes)
        makers = [{op.name for op in layers_of(self._widths, g)} for g in graph.groups]
        # Row t: 1 for the operations that make the channels of a decision after t.
        self._is_later = np.zeros((count, len(self._widths.operations)))
        for t in range(count):
            later = set().union(*makers[t + 1 :])
            self._is_later[t] = [name in later for name in self._widths.operations]
        self._total = max(1.0, float(self._widths.macs(self._sizes).sum()))

    def rows(self, counts: np.ndarray) -> np.ndarray:
        """All decisions, float64 [num_decisions, 3].

        Args:
            counts: kept channels, int64 [num_decisions].
        """
        counts = np.asarray(counts)
        steps = np.arange(len(self._sizes))
        decided = steps[None, :] < steps[:, None]
        macs = self._widths.macs(np.where(decided, counts, self._sizes))
        return self._columns(steps, macs, counts)

    def row(self, step: int, counts: np.ndarray) -> np.ndarray:
        """Decision `step`, float64 [3]; `counts` from `step` on are not read."""
        counts = np.asarray(counts)
        so_far = self._sizes.copy()
        so_far[:step] = counts[:step]
        steps = np.array([step])
        return self._columns(steps, self._widths.macs(so_far)[None], counts)[0]

    def _columns(
        self, steps: np.ndarray, macs: np.ndarray, counts: np.ndarray
    ) -> np.ndarray:
        result = np.ones((len(steps), 3))
        result[:, 0] = 1 - macs.sum(axis=1) / self._total
        result[:, 1] = (macs * self._is_later[steps]).sum(axis=1) / self._total
        before = steps[steps > 0] - 1
        result[steps > 0, 2] = counts[before] / self._sizes[before]
        return result


def layers_of(widths: Widths, group: ChannelGroup) -> tuple[Operation, ...]:
    """The layer calls that make the channels of a group, in execution order.

    A layer that is called twice stands twice; empty where no layer with a weight
    makes the channels.
    """
    operations = (widths.graph.operations[name] for name in widths.operations)
    return tuple(
        op for op in operations if weight_of(op).rpartition(".")[0] in group.producers
    )


def weight_of(operation: Operation) -> str:
    """Qualified name of the weight of a convolution or linear layer."""
    return list(operation.refs())[1]
