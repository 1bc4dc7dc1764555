"""NetworkVectors: a graph encoder on one network, ready to be trained by an agent."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch

from agmc.embedding.autoencoder import GraphAutoencoder
from agmc.embedding.carriers import carriers_of
from agmc.embedding.pyg import GraphConverter
from agmc.graph.model_graph import ModelGraph


class NetworkVectors(nn.Module):
    """The vectors of all decisions of a network, and of the network as a whole.

    That of a decision is the mean over the feature maps that carry its channels, that
    of the network is its virtual node's. While no gradient is wanted, what was computed
    is remembered until the weights change.

    The weights are the encoder's alone, so those learned on one network load into the
    vectors of another.

    Args:
        graph: the traced network.
        encoder: a fitted one; its decoder is not trained.
        freeze: leave the encoder as it is.
    """

    def __init__(
        self, graph: ModelGraph, encoder: GraphAutoencoder, *, freeze: bool
    ) -> None:
        super().__init__()
        self.encoder = encoder.eval()
        self._converter = GraphConverter(graph)
        self._unpruned = self._converter.data()
        self._remembered: tuple[Tensor, tuple[Tensor, Tensor]] | None = None
        self.carriers: Tensor
        self.register_buffer("carriers", carriers_of(graph), persistent=False)
        self._held = [*encoder.encoder.parameters(), *encoder.buffers()]
        encoder.requires_grad_(False)
        encoder.encoder.requires_grad_(not freeze)
        with torch.no_grad():
            self.dim = self()[0].shape[1]

    def forward(self) -> tuple[Tensor, Tensor]:
        """Vectors of the unpruned network: [num_decisions, dim] and [dim]."""
        if torch.is_grad_enabled() and self._held[0].requires_grad:
            return self._vectors()
        # Compared and not counted: a fused optimiser leaves the versions as they are.
        weights = torch.cat([value.detach().flatten() for value in self._held])
        if self._remembered is None or not torch.equal(self._remembered[0], weights):
            self._remembered = weights, self._vectors()
        return self._remembered[1]

    def _vectors(self) -> tuple[Tensor, Tensor]:
        nodes, networks = self.encoder.vectors(self._unpruned)
        return self.carriers @ nodes, networks[0]

    def under_plans(self, counts: Tensor) -> Tensor:
        """Vectors of the decisions of pruned networks, [P, num_decisions, dim].

        Args:
            counts: kept channels of P plans, [P, num_decisions].
        """
        graphs = [self._converter.data(row) for row in counts.numpy()]
        nodes: Tensor = self.encoder(Batch.from_data_list(graphs))
        return self.carriers @ nodes.unflatten(0, (len(graphs), -1))
