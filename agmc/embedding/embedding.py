"""Embedding: what the agent sees of a network and of the plan so far."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from agmc.embedding.columns import Column
from agmc.graph.model_graph import ModelGraph
from agmc.plan import Plan, kept_channels
from agmc.plan_space import PlanSpace


def no_corpus() -> Sequence[ModelGraph]:
    """No other networks to learn from."""
    return ()


@dataclass(frozen=True)
class EmbeddingContext:
    """What the builders of this room are called with.

    Attributes:
        graph: the network to compress.
        space: the decisions about it.
        seed: of everything random.
        corpus: gives other networks to learn from; called only when they are needed.
        checkpoint: file that keeps what was learned, so that a run that goes on sees
            the same observations; None keeps nothing.
        errors: what least squares cannot mend when one channel group alone keeps half,
            float64 [num_groups], see `agmc.compression.group_error`; called only when
            it is needed; None: there are no data.
    """

    graph: ModelGraph
    space: PlanSpace
    seed: int = 0
    corpus: Callable[[], Sequence[ModelGraph]] = no_corpus
    checkpoint: Path | None = None
    errors: Callable[[], np.ndarray] | None = None

    def require_channels(self, embedding: str) -> None:
        """Refuses decisions about layers, their zeros and bits.

        Args:
            embedding: its name, for the message.

        Raises:
            ValueError: there are such decisions.
        """
        if not self.space.only_channels:
            raise ValueError(
                f"embedding {embedding} knows channel groups only, and the decisions "
                f"are about {', '.join(self.space.parts)}; take autoencoder, rules, "
                "onehot or random_projection"
            )


class Embedding(ABC):
    """One observation per decision: a pure function of the graph and the plan so far.

    Row `t` knows the plan of the decisions before `t` and takes every later one as
    keeping most, whatever the plan says of it, so an agent never sees the future.

    Attributes:
        graph: the network.
        space: the decisions; None: one about every channel group.
        columns: name and unit of every entry of a row; all entries lie in [-1, 1].
        encoder: trained end to end with the agent where there is one: observations
            float32 [B, dim or more] -> features float32 [B, F], the same whatever was
            asked before. What an observation holds behind the row goes into the
            features as it is.
        sensitivities: how much each decision is expected to matter, of mean 0 and
            spread 1 over the decisions; None where nothing is expected.
        absolute: what decisions look like on a scale that all networks share, float32
            [num_decisions, F]; None where rows are all there is.
    """

    graph: ModelGraph
    columns: tuple[Column, ...]
    space: PlanSpace | None = None
    encoder: nn.Module | None = None
    sensitivities: tuple[float, ...] | None = None
    absolute: Tensor | None = None

    @property
    def dim(self) -> int:
        """Length of a row."""
        return len(self.columns)

    def __call__(self, plan: Plan | None = None) -> Tensor:
        """All rows under a plan, float32 [num_decisions, dim]; None keeps everything.

        Raises:
            ValueError: the plan names a group that the network does not have.
        """
        if self.space is not None:
            return self.rows(self.space.counts(plan))
        return self.rows(kept_channels(self.graph, plan))

    @property
    def fitted(self) -> str:
        """Names what an agent's view depends on beside network and encoder weights.

        "" for nothing. A policy over fitted rows means something over rows of the same
        fit alone, and one over features of the plan over no others.
        """
        return ""

    @abstractmethod
    def rows(self, counts: np.ndarray) -> Tensor:
        """All rows, float32 [num_decisions, dim].

        Args:
            counts: of every decision, kept channels of a group, say, int64
                [num_decisions].
        """

    @abstractmethod
    def row(self, step: int, counts: np.ndarray) -> Tensor:
        """Row `step` of `rows(counts)`, float32 [dim], without making the others.

        Args:
            step: the decision, in [0, num_decisions).
            counts: int64 [num_decisions]; those from `step` on are not read.
        """
