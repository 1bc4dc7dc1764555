"""Measured: another embedding, and what a look at the network's activations tells."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from agmc.embedding.columns import Column
from agmc.embedding.embedding import Embedding, EmbeddingContext
from agmc.embedding.learned import autoencoder
from agmc.embedding.standardised import REACH, standardised, within_reach

#: Of the median error, added to each before the logarithm is taken: what is smaller
#: makes no difference.
_FLOOR = 0.01


class MeasuredEmbedding(Embedding):
    """The rows of another embedding with one column more, the error of the group.

    What the layers behind a channel group cannot mend by least squares when it alone
    keeps half of its channels: measured on training images in about the time of one
    evaluation, and known before any plan is evaluated. Its logarithm, standardised over
    the decisions, is also what an agent may expect of them, together with what the
    other embedding expects; a group whose readers are not solved is an average one.

    Args:
        inner: the other embedding, without an encoder that is trained, about channels.
        errors: float [num_decisions], >= 0; NaN where nothing is known.

    Raises:
        ValueError: the agent would train the other embedding, or the errors are not one
            for each decision.
    """

    def __init__(self, inner: Embedding, errors: np.ndarray) -> None:
        if inner.encoder is not None:
            raise ValueError(
                "embedding measured adds to rows that stay as they are; take a frozen "
                "one for `of`"
            )
        if errors.shape != (len(inner.graph.groups),) or (errors < 0).any():
            raise ValueError(
                f"errors (={errors}) must be one number >= 0, or NaN, for each of the "
                f"{len(inner.graph.groups)} channel groups"
            )
        self.graph, self.space, self._inner = inner.graph, inner.space, inner
        unit = f"log of the error, standardised, / {REACH:g}"
        self.columns = (*inner.columns, Column("reconstruction_error", unit))
        logarithms = _logarithms(errors)
        self._column = within_reach(logarithms, logarithms).float()
        if inner.absolute is not None:
            both = [inner.absolute, logarithms.float()]
            self.absolute = torch.cat(both, dim=1)
        expected = standardised(logarithms, logarithms)[:, 0]
        if inner.sensitivities is not None:
            total = expected + torch.tensor(inner.sensitivities, dtype=torch.float64)
            expected = standardised(total[:, None], total[:, None])[:, 0]
        self.sensitivities = tuple(expected.tolist())

    @property
    def fitted(self) -> str:
        """That of the other embedding."""
        return self._inner.fitted

    def rows(self, counts: np.ndarray) -> Tensor:
        """All rows, float32 [num_decisions, dim], see `Embedding.rows`."""
        return torch.cat([self._inner.rows(counts), self._column], dim=1)

    def row(self, step: int, counts: np.ndarray) -> Tensor:
        """One row, float32 [dim], see `Embedding.row`."""
        return torch.cat([self._inner.row(step, counts), self._column[step]])


def measured(
    context: EmbeddingContext,
    *,
    of: Callable[[EmbeddingContext], Embedding] = autoencoder,
) -> MeasuredEmbedding:
    """Builds the embedding `measured`.

    Args:
        context: graph, decisions, seed, corpus, checkpoint and errors.
        of: builds the embedding that gets the column.

    Raises:
        ValueError: there is nothing to measure on, or see `MeasuredEmbedding`.
    """
    context.require_channels("measured")
    if context.errors is None:
        raise ValueError("embedding measured needs context.errors, which a search has")
    return MeasuredEmbedding(of(context), context.errors())


def _logarithms(errors: np.ndarray) -> Tensor:
    """Of the errors, float64 [N, 1]; where nothing is known, the mean of the others."""
    known = ~np.isnan(errors)
    logarithms = np.zeros(len(errors))
    if known.any():
        floor = max(_FLOOR * float(np.median(errors[known])), 1e-12)
        logarithms[known] = np.log(errors[known] + floor)
        logarithms[~known] = logarithms[known].mean()
    return torch.from_numpy(logarithms)[:, None]
