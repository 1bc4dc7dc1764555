"""Messages: the layers that an encoder can be made of, each sending both ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn import GINEConv
from torch_geometric.utils import softmax

from agmc.embedding.pyg import EDGE_COLUMNS
from agmc.embedding.topological import BothWaysGRU, Edges

#: Heads of attention; the width of a layer must be a multiple of them.
_HEADS = 4


class GIN(nn.Module):
    """Graph isomorphism network with edge attributes, GINE (arXiv 1905.12265).

    `h'_v = MLP(h_v + sum_u relu(h_u + W e_uv))`, along the operations and, with weights
    of its own, against them; both are summed.

    Shapes:
        nodes [N, hidden] and their `Edges`; output [N, hidden]. The same for the other
        layers of this file.

    Args:
        hidden: width.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.along, self.against = (_gine(hidden) for _ in range(2))

    def forward(self, nodes: Tensor, edges: Edges) -> Tensor:
        """What every node is sent, both ways together."""
        along = self.along(nodes, edges.index, edges.attributes)
        return along + self.against(nodes, edges.index.flip(0), edges.attributes)


class GCN(nn.Module):
    """Graph convolution (arXiv 1609.02907), with the attributes of the edges added.

    `h'_v = W_0 h_v + sum_u (W h_u + W_e e_uv) / sqrt(d_u d_v)`, degrees `d` counted in
    the direction of the messages, plus the same against the operations.

    Args:
        hidden: width.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.own = nn.Linear(hidden, hidden)
        self.nodes = nn.Linear(hidden, 2 * hidden)
        self.edges = nn.Linear(len(EDGE_COLUMNS), 2 * hidden)

    def forward(self, nodes: Tensor, edges: Edges) -> Tensor:
        """What every node is sent, both ways together."""
        source, target = edges.index
        ones = nodes.new_ones(len(source))
        out_degree = nodes.new_zeros(len(nodes)).index_add(0, source, ones)
        in_degree = nodes.new_zeros(len(nodes)).index_add(0, target, ones)
        scale = (out_degree[source] * in_degree[target]).rsqrt().unsqueeze(1)
        along, against = self.nodes(nodes).chunk(2, dim=1)
        to_target, to_source = self.edges(edges.attributes).chunk(2, dim=1)
        result = self.own(nodes)
        result = result.index_add(0, target, scale * (along[source] + to_target))
        return result.index_add(0, source, scale * (against[target] + to_source))


class GAT(nn.Module):
    """Graph attention, GATv2 (arXiv 2105.14491), 4 heads, the edges heard as well.

    `h'_v = W_0 h_v + sum_u a_uv m_uv` with `m_uv = W h_u + W_e e_uv` and `a_uv` the
    softmax over `u` of `a leaky_relu(W_t h_v + m_uv)`, along the operations and, with
    weights of its own, against them.

    Args:
        hidden: width, a multiple of 4.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        if hidden % _HEADS:
            raise ValueError(
                f"hidden (={hidden}) must be a multiple of {_HEADS}, the heads of "
                "attention"
            )
        self.own = nn.Linear(hidden, hidden)
        self.along, self.against = (_Attention(hidden) for _ in range(2))

    def forward(self, nodes: Tensor, edges: Edges) -> Tensor:
        """What every node is sent, both ways together."""
        source, target = edges.index
        along = self.along(nodes, source, target, edges.attributes)
        against = self.against(nodes, target, source, edges.attributes)
        return self.own(nodes) + along + against


class _Attention(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.sent = nn.Linear(hidden, hidden, bias=False)
        self.edges = nn.Linear(len(EDGE_COLUMNS), hidden)
        self.asked = nn.Linear(hidden, hidden, bias=False)
        self.weight = nn.Parameter(torch.randn(_HEADS, hidden // _HEADS) / hidden**0.5)

    def forward(
        self, nodes: Tensor, senders: Tensor, hearers: Tensor, attributes: Tensor
    ) -> Tensor:
        said = self.sent(nodes)[senders] + self.edges(attributes)
        heads = (said + self.asked(nodes)[hearers]).unflatten(1, (_HEADS, -1))
        scores = (functional.leaky_relu(heads, 0.2) * self.weight).sum(dim=2)
        shares = softmax(scores, hearers, num_nodes=len(nodes))
        said = (said.unflatten(1, (_HEADS, -1)) * shares.unsqueeze(2)).flatten(1)
        return torch.zeros_like(nodes).index_add(0, hearers, said)


#: Name -> layer; `dag` is `BothWaysGRU`, one layer of which sees the whole network.
LAYERS: Mapping[str, Callable[[int], nn.Module]] = {
    "gin": GIN,
    "gcn": GCN,
    "gat": GAT,
    "dag": BothWaysGRU,
}


def _gine(hidden: int) -> GINEConv:
    layers = nn.Sequential(
        nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, hidden)
    )
    return GINEConv(layers, edge_dim=len(EDGE_COLUMNS))


def layer_named(name: str, hidden: int) -> nn.Module:
    """A fresh layer of `LAYERS`.

    Raises:
        ValueError: there is no such layer, or the width does not suit it.
    """
    if name not in LAYERS:
        raise ValueError(f"encoder {name!r} is unknown; choose one of {[*LAYERS]}")
    return LAYERS[name](hidden)
