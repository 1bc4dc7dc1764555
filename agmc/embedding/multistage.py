"""Multistage: GNN-RL's two-level encoder of the network under the plan so far."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agmc.embedding.embedding import EmbeddingContext
from agmc.embedding.layer_motif import LayerMotif
from agmc.embedding.network_state import DYNAMIC_EDGES, DYNAMIC_NODES, NetworkState
from agmc.embedding.pyg import EDGE_COLUMNS, NODE_COLUMNS, NUM_TYPES
from agmc.embedding.state import StateEmbedding, read_state
from agmc.graph.model_graph import ModelGraph


class MultistageEncoder(nn.Module):
    """First a graph of every layer, then the network with those on its edges.

    GNN-RL (Yu et al., ICML 2022, arXiv 2102.03214) embeds the graph of each layer, see
    `LayerMotif`, and puts the result e_ij on the edge that the layer is in the graph of
    the network, see `NetworkState`. Every other operation on an edge adds a vector that
    is learned for its type. Level 2 sends messages x_j * e_ij along the operations and,
    with weights of its own, against them:

        x'_i = x_i + tanh(sum_j W (x_j * e_ij) / sqrt(d_i d_j))

    d being the edges at the node, both ways. The weights being linear, they are applied
    to the sums. An observation's features are the vector of its decision, the mean over
    the feature maps that carry its channels, and that of the network, the mean over
    all, both through a layer and tanh.

    Channel counts, and all that follows from them, are those of the plan so far. States
    that occur several times in a batch are computed once, every observation gets the
    features of its own, and no attribute is random: the published code keeps those of
    the first graph for the whole batch and draws attributes anew for each.

    Shapes:
        rows of a `StateEmbedding` [B, dim of the rows or more] ->
        [B, 2 * dim + 3 or more].

    Args:
        graph: the traced network, with at least one channel group.
        dim: of vectors and messages, >= 1.
        hidden: width inside the graphs of the layers, >= 1.
        layers: of level 2, >= 1; how many operations away a vector sees.
        seed: of the first weights.
    """

    def __init__(
        self, graph: ModelGraph, *, dim: int, hidden: int, layers: int, seed: int
    ) -> None:
        super().__init__()
        for name, value in (("dim", dim), ("hidden", hidden), ("layers", layers)):
            if value < 1:
                raise ValueError(f"{name} (={value}) must be >= 1")
        self._dim = dim
        self.network = NetworkState(graph)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.motif = LayerMotif(len(EDGE_COLUMNS), DYNAMIC_EDGES, hidden, dim)
            self.types = nn.Linear(NUM_TYPES, dim, bias=False)
            self.static = nn.Linear(len(NODE_COLUMNS), dim)
            self.dynamic = nn.Linear(DYNAMIC_NODES, dim, bias=False)
            self.along = nn.ModuleList(nn.Linear(dim, dim) for _ in range(layers))
            self.against = nn.ModuleList(nn.Linear(dim, dim) for _ in range(layers))
            self.decision = nn.Linear(dim, dim)
            self.whole = nn.Linear(dim, dim)

    def forward(self, observations: Tensor) -> Tensor:
        """The features of every observation."""
        state = read_state(observations, self.network.num_decisions)
        plans, plan_of = state.kept.unique(dim=0, return_inverse=True)
        nodes = self.nodes(plans)
        carrying = (self.network.carriers @ nodes.flatten(1)).view(
            -1, len(plans), self._dim
        )
        own = self.decision(carrying[state.decision, plan_of]).tanh()
        whole = self.whole(nodes.mean(dim=0)).tanh()[plan_of]
        return torch.cat([own, whole, state.known], dim=1)

    def nodes(self, plans: Tensor) -> Tensor:
        """Vectors of the feature maps under P plans, [num_nodes, P, dim].

        Args:
            plans: shares of the channels that the groups keep, [P, num_decisions].
        """
        network = self.network
        numbers = network.under(plans)
        level_1 = self.motif(network.layer_columns, numbers.layers, numbers.channels)
        edges = self.types(network.types)[:, None].expand(-1, len(plans), -1)
        edges = edges.index_add(0, network.layers, level_1)
        edges = edges * network.norm[:, None, None]
        x = torch.tanh(
            self.static(network.node_columns)[:, None] + self.dynamic(numbers.nodes)
        )
        source, target = network.edge_index
        for along, against in zip(self.along, self.against, strict=True):
            forward = _sums(x.index_select(0, source) * edges, target, len(x))
            backward = _sums(x.index_select(0, target) * edges, source, len(x))
            x = x + torch.tanh(along(forward) + against(backward))
        return x


def _sums(messages: Tensor, to: Tensor, number: int) -> Tensor:
    """Messages of E edges, [E, ...], summed at the nodes they go to, [number, ...]."""
    return messages.new_zeros(number, *messages.shape[1:]).index_add_(0, to, messages)


def multistage(
    context: EmbeddingContext,
    *,
    dim: int = 20,
    hidden: int = 50,
    layers: int = 2,
) -> StateEmbedding:
    """Builds the embedding `multistage`: the agent trains GNN-RL's encoder.

    Args:
        context: graph, decisions and seed.
        dim: see `MultistageEncoder`; GNN-RL's 20.
        hidden: likewise; GNN-RL's 50.
        layers: likewise; GNN-RL has 1.

    Raises:
        ValueError: a number is out of range.
    """
    context.require_channels("multistage")
    encoder = MultistageEncoder(
        context.graph, dim=dim, hidden=hidden, layers=layers, seed=context.seed
    )
    return StateEmbedding(context.graph, encoder)
