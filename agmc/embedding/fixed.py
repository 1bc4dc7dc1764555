"""Fixed: observations of which only the columns of the progress follow the plan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from agmc.embedding.columns import Column
from agmc.embedding.embedding import Embedding
from agmc.embedding.layer_progress import LayerProgress
from agmc.embedding.progress import Progress
from agmc.plan_space import PlanSpace


class FixedEmbedding(Embedding):
    """A vector for every decision, whatever the plan, then how far the plan has come.

    The columns of `Progress`, or of `LayerProgress` where layers are decided about.

    Args:
        space: the decisions.
        columns: name and unit of every entry of a vector.
        vectors: float [num_decisions, len(columns)], in [-1, 1].
        fitted: see `Embedding.fitted`.
        sensitivities: see `Embedding`.

    Raises:
        ValueError: the vectors have another shape, or leave the interval.
    """

    def __init__(
        self,
        space: PlanSpace,
        columns: Sequence[Column],
        vectors: np.ndarray,
        *,
        fitted: str = "",
        sensitivities: tuple[float, ...] | None = None,
    ) -> None:
        expected = (len(space), len(columns))
        if vectors.shape != expected:
            raise ValueError(f"vectors are {vectors.shape}, expected {expected}")
        if not np.abs(vectors).max(initial=0.0) <= 1:
            raise ValueError("vectors must lie in [-1, 1]; scale them")
        self.graph = space.graph
        self.space = space
        self._progress: Progress | LayerProgress = (
            Progress(space.graph) if space.only_channels else LayerProgress(space)
        )
        self.columns = (*columns, *self._progress.columns)
        self._vectors = torch.from_numpy(vectors.astype(np.float32))
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
