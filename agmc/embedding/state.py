"""State: rows that say where a plan stands, for encoders that an agent trains."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from agmc.embedding.columns import Column
from agmc.embedding.embedding import Embedding
from agmc.embedding.progress import PROGRESS_COLUMNS, Progress
from agmc.graph.model_graph import ModelGraph


class StateEmbedding(Embedding):
    """Which decision is at hand, what the earlier ones keep, the columns of `Progress`.

    Enough to tell the network under the plan so far, and no more: the features that a
    policy sees are made of it by the encoder, which learns them with the agent.

    Args:
        graph: the traced network, with at least one channel group.
        encoder: maps rows to features, see `Embedding` and `read_state`.
        fitted: see `Embedding.fitted`.
    """

    def __init__(
        self, graph: ModelGraph, encoder: nn.Module, *, fitted: str = ""
    ) -> None:
        self.graph = graph
        self.encoder = encoder.eval()
        self.columns = (
            Column("decision", "index / number of decisions"),
            *(
                Column(f"kept_{group.name}", "share of channels; 1: not yet decided")
                for group in graph.groups
            ),
            *PROGRESS_COLUMNS,
        )
        self._progress = Progress(graph)
        self._fitted = fitted
        self._sizes = np.array([group.size for group in graph.groups], dtype=np.int64)

    @property
    def fitted(self) -> str:
        """What the features depend on beside the network and the encoder's weights."""
        return self._fitted

    def rows(self, counts: np.ndarray) -> Tensor:
        """All rows, float32 [num_decisions, dim], see `Embedding.rows`."""
        return torch.stack([self.row(t, counts) for t in range(len(self._sizes))])

    def row(self, step: int, counts: np.ndarray) -> Tensor:
        """One row, float32 [dim], see `Embedding.row`."""
        number = len(self._sizes)
        row = np.ones(1 + number + len(PROGRESS_COLUMNS), dtype=np.float32)
        row[0] = step / number
        row[1 : step + 1] = np.asarray(counts)[:step] / self._sizes[:step]
        row[1 + number :] = self._progress.row(step, counts)
        return torch.from_numpy(row)


class State(NamedTuple):
    """What a batch of rows says.

    Attributes:
        decision: int64 [B], in [0, num_decisions).
        kept: float32 [B, num_decisions], shares in [0, 1].
        known: float32 [B, 3 or more]: what goes into the features as it is, the columns
            of `Progress` and whatever the search has put behind the row.
    """

    decision: Tensor
    kept: Tensor
    known: Tensor


def read_state(observations: Tensor, num_decisions: int) -> State:
    """Takes rows of a `StateEmbedding` apart.

    Args:
        observations: float32 [B, dim or more]; one of zeros, which a search shows when
            an episode is over, stands for the first decision.
        num_decisions: of the network.
    """
    decision = (observations[:, 0] * num_decisions).round().long()
    return State(
        decision.clamp(0, num_decisions - 1),
        observations[:, 1 : 1 + num_decisions],
        observations[:, 1 + num_decisions :],
    )
