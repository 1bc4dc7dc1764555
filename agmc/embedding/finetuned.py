"""FineTuned: the graph encoder as a part of the agent, which goes on training it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agmc.embedding.autoencoder import GraphAutoencoder
from agmc.embedding.network_vectors import NetworkVectors
from agmc.embedding.standardised import REACH, standardised
from agmc.embedding.state import read_state
from agmc.graph.model_graph import ModelGraph


class FineTunedEncoder(nn.Module):
    """Rows of a `StateEmbedding` -> the features of `LearnedEmbedding`, trainable.

    Before the first step of an optimiser the features are the rows of the frozen
    embedding, up to its cut at `REACH` standard deviations. The columns are
    standardised over the decisions of the unpruned network anew in every pass, so that
    they keep their scale however the encoder changes.

    Shapes:
        [B, dim of the rows or more] -> [B, dim of the vectors + 3 or more].

    Args:
        graph: the traced network, with at least one channel group.
        encoder: see `NetworkVectors`.
        follow_plan: True: encode the network under the plan so far, once for every
            distinct one in the batch; False: the unpruned one, once for the batch.
    """

    def __init__(
        self, graph: ModelGraph, encoder: GraphAutoencoder, *, follow_plan: bool
    ) -> None:
        super().__init__()
        self.vectors = NetworkVectors(graph, encoder, freeze=False)
        self._follow_plan = follow_plan
        self.sizes: Tensor
        sizes = torch.tensor([float(group.size) for group in graph.groups])
        self.register_buffer("sizes", sizes, persistent=False)

    def forward(self, observations: Tensor) -> Tensor:
        """The features of every observation."""
        state = read_state(observations, len(self.sizes))
        unpruned, _ = self.vectors()
        if self._follow_plan:
            plans, plan_of = state.kept.unique(dim=0, return_inverse=True)
            pruned = self.vectors.under_plans((plans * self.sizes).round())
            seen = standardised(pruned, unpruned)[plan_of, state.decision]
        else:
            seen = standardised(unpruned, unpruned)[state.decision]
        return torch.cat([seen / REACH, state.known], dim=1)
