"""Fixed: observations of which only the columns of `Progress` follow the plan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from agmc.embedding.columns import Column
from agmc.embedding.embedding import Embedding
from agmc.embedding.progress import PROGRESS_COLUMNS, Progress
from agmc.graph.model_graph import ModelGraph


class FixedEmbedding(Embedding):
    """A vector for every decision, whatever the plan, then the columns of `Progress`.

    Args:
        graph: the traced network, with at least one channel group.
        columns: name and unit of every entry of a vector.
        vectors: float [num_decisions, len(columns)], in [-1, 1].
        fitted: see `Embedding.fitted`.
        sensitivities: see `Embedding`.

    Raises:
        ValueError: the vectors have another shape, or leave the interval.
    """

    def __init__(
        self,
        graph: ModelGraph,
        columns: Sequence[Column],
        vectors: np.ndarray,
        *,
        fitted: str = "",
        sensitivities: tuple[float, ...] | None = None,
    ) -> None:
        expected = (len(graph.groups), len(columns))
        if vectors.shape != expected:
            raise ValueError(f"vectors are {vectors.shape}, expected {expected}")
        if not np.abs(vectors).max(initial=0.0) <= 1:
            raise ValueError("vectors must lie in [-1, 1]; scale them")
        self.graph = graph
        self.columns = (*columns, *PROGRESS_COLUMNS)
        self._vectors = torch.from_numpy(vectors.astype(np.float32))
        self._progress = Progress(graph)
        self._fitted = fitted
        self.sensitivities = sensitivities

    @property
    def fitted(self) -> str:
        """What the vectors depend on beside the network."""
        return self._fitted

    def rows(self, counts: np.ndarray) -> Tensor:
        """All rows, float32 [num_decisions, dim], see `Embedding.rows`."""
        progress = torch.from_numpy(self._progress.rows(counts)).float()
        return torch.cat([self._vectors, progress], dim=1)

    def row(self, step: int, counts: np.ndarray) -> Tensor:
        """One row, float32 [dim], see `Embedding.row`."""
        progress = torch.from_numpy(self._progress.row(step, counts)).float()
        return torch.cat([self._vectors[step], progress])
