"""Autoencoder: learns vectors by reconstructing the graph they stand for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.data import Batch, Data

from agmc.embedding.carriers import carriers_of
from agmc.embedding.decoder import GraphDecoder, Losses, absent_links, summaries
from agmc.embedding.encoder import GraphEncoder, Vectors
from agmc.embedding.pyg import EDGE_COLUMNS, NODE_COLUMNS, NUM_TYPES, GraphConverter
from agmc.embedding.sensitivity import Measured, SensitivityHead, group_facts
from agmc.graph.model_graph import ModelGraph

#: Columns that hardly vary are not blown up by more than 1 / this when standardised.
_SMALLEST_SPREAD = 0.02


class GraphAutoencoder(nn.Module):
    """Encoder and decoder, trained together on the reconstruction of graphs.

    The published auto-encoder of AGMC (arXiv 2011.12641) learns through the policy
    gradient; this one learns what the graph is made of before the search begins, as in
    the variational graph auto-encoder (arXiv 1611.07308), whose link loss it extends by
    direction and by node and edge attributes.

    Args:
        encoder: "gin", "gcn", "gat" or "dag", see `GraphEncoder`.
        dim: of the vectors.
        hidden: width of all hidden layers.
        layers: of the encoder; None: 1 for "dag", 3 for the others.
        ratios: keep ratios at which the second head, `sensitivity`, predicts the
            accuracy lost by pruning a channel group alone; none: without that head.
        seed: of the first weights.
    """

    def __init__(
        self,
        *,
        encoder: str = "gin",
        dim: int = 32,
        hidden: int = 64,
        layers: int | None = None,
        ratios: Sequence[float] = (),
        seed: int = 0,
    ) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.encoder = GraphEncoder(
                layer=encoder, dim=dim, hidden=hidden, layers=layers
            )
            self.decoder = GraphDecoder(dim=dim, hidden=hidden)
            self.sensitivity = SensitivityHead(ratios, dim=dim) if ratios else None
        self.node_mean: Tensor
        self.node_spread: Tensor
        self.edge_mean: Tensor
        self.edge_spread: Tensor
        for name, size in (
            ("node", len(NODE_COLUMNS)),
            ("edge", len(EDGE_COLUMNS) - NUM_TYPES),
        ):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_spread", torch.ones(size))

    @property
    def sizes(self) -> dict[str, Any]:
        """The arguments that decide about the weights there are."""
        encoder = self.encoder
        return {
            "encoder": encoder.layer,
            "dim": encoder.dim,
            "hidden": encoder.hidden,
            "layers": encoder.num_layers,
            "ratios": [*self.sensitivity.ratios] if self.sensitivity else [],
        }

    def forward(self, data: Data) -> Tensor:
        """Vectors of the feature maps, float32 [num_nodes, dim]."""
        return self.vectors(data).nodes

    def vectors(self, data: Data) -> Vectors:
        """Vectors of the feature maps [num_nodes, dim] and of the networks [G, dim]."""
        return self.encoder(self.standardised(data))

    def describe(self, graph: ModelGraph, vectors: Tensor | None = None) -> Tensor:
        """What the second head is told of an unpruned network, see `Measured`.

        Args:
            graph: the network.
            vectors: of its groups, [G, dim], where they are known.
        """
        if vectors is None:
            with torch.no_grad():
                vectors = carriers_of(graph) @ self(GraphConverter(graph).data())
        return torch.cat([vectors, group_facts(graph)], dim=1)

    def measured(self, graph: ModelGraph, drops: np.ndarray) -> Measured:
        """What the second head learns from of a network, see `Measured`.

        Args:
            graph: the unpruned network.
            drops: accuracy lost when one of its channel groups alone is pruned, shares
                [G, R].
        """
        return Measured(self.describe(graph), torch.from_numpy(drops))

    def head(self) -> SensitivityHead:
        """The second head.

        Raises:
            ValueError: the auto-encoder was made without `ratios`.
        """
        if self.sensitivity is None:
            raise ValueError(
                "this auto-encoder predicts no sensitivities; fit one with `agmc train "
                "embedding=autoencoder measured=FOLDER`"
            )
        return self.sensitivity

    def standardised(self, data: Data) -> Data:
        """The same graph with its numeric columns at mean 0 and spread 1.

        Means and spreads are those of the graphs of the last `fit`.
        """
        edges = (data.edge_attr[:, NUM_TYPES:] - self.edge_mean) / self.edge_spread
        result = data.clone()
        result.x = (data.x - self.node_mean) / self.node_spread
        result.edge_attr = torch.cat([data.edge_attr[:, :NUM_TYPES], edges], dim=1)
        return result

    def losses(
        self,
        data: Data,
        generator: torch.Generator,
        *,
        mask: float = 0.0,
        noise: float = 0.0,
    ) -> Losses:
        """Reconstruction losses of one graph or a `Batch`.

        Args:
            data: from `GraphConverter`.
            generator: draws the absent edges, the mask and the noise.
            mask: share of nodes and of edges whose attributes the encoder does not
                see, in [0, 1).
            noise: standard deviation added to the vectors, which have spread 1, >= 0.
        """
        scaled = self.standardised(data)
        vectors = self.encoder(_masked(scaled, mask, generator) if mask else scaled)
        if noise:
            vectors = Vectors(
                *(
                    v + noise * torch.randn(v.shape, generator=generator)
                    for v in vectors
                )
            )
        z, made = vectors.nodes, self.decoder(vectors, data.edge_index)
        types = data.edge_attr[:, :NUM_TYPES].argmax(dim=1)
        absent = absent_links(data, generator)
        present = self.decoder.link_logits(z, data.edge_index)
        missing = self.decoder.link_logits(z, absent)
        numbers = scaled.edge_attr[:, NUM_TYPES:]
        wrong = (
            functional.softplus(-present).mean() + functional.softplus(missing).mean()
        )
        return Losses(
            nodes=functional.smooth_l1_loss(made.nodes, scaled.x),
            edges=functional.smooth_l1_loss(made.edges, numbers),
            types=functional.cross_entropy(made.types, types),
            links=wrong / 2,
            networks=functional.smooth_l1_loss(made.networks, summaries(scaled)),
        )

    def fit(
        self,
        graphs: Sequence[Data],
        *,
        steps: int = 800,
        batch_size: int = 16,
        learning_rate: float = 3e-3,
        mask: float = 0.1,
        noise: float = 0.1,
        seed: int = 0,
        on_step: Callable[[int, float], None] = lambda step, loss: None,
    ) -> list[float]:
        """Trains on graphs, in place; the same arguments give the same weights.

        Adam, learning rate down to 0 along a cosine. Mask and noise keep it from
        learning a few networks by heart. Touches no global random state.

        Args:
            graphs: from `GraphConverter`, see `training_graphs`.
            steps: of the optimiser, >= 1.
            batch_size: graphs per step, >= 1, drawn with replacement.
            learning_rate: the first one, > 0.
            mask: share of nodes and edges hidden from the encoder, in [0, 1).
            noise: standard deviation added to the vectors, which have spread 1, >= 0.
            seed: of the batches, absent edges, mask and noise.
            on_step: called with the number of steps done and the loss of the last.

        Returns:
            The total loss of every step.

        Raises:
            ValueError: there is no graph, or a number is out of range.
        """
        if not graphs:
            raise ValueError("graphs (=[]) must hold at least one graph to learn from")
        self.check_fit(
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            mask=mask,
            noise=noise,
        )
        self._measure(graphs)
        generator = torch.Generator().manual_seed(seed)
        optimizer = torch.optim.Adam(self.parameters(), lr=learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        history = []
        for _ in range(steps):
            drawn = torch.randint(len(graphs), (batch_size,), generator=generator)
            batch = Batch.from_data_list([graphs[i] for i in drawn.tolist()])
            loss = self.losses(batch, generator, mask=mask, noise=noise).total
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            history.append(loss.item())
            on_step(len(history), history[-1])
        return history

    @staticmethod
    def check_fit(
        *,
        steps: int,
        batch_size: int,
        learning_rate: float,
        mask: float,
        noise: float,
    ) -> None:
        """Raises ValueError for an argument of `fit` that is out of range."""
        for name, value in (("steps", steps), ("batch_size", batch_size)):
            if value < 1:
                raise ValueError(f"{name} (={value}) must be >= 1")
        if not learning_rate > 0:
            raise ValueError(f"learning_rate (={learning_rate}) must be > 0")
        if not 0 <= mask < 1:
            raise ValueError(f"mask (={mask}) must be in [0, 1)")
        if not noise >= 0:
            raise ValueError(f"noise (={noise}) must be >= 0")

    def _measure(self, graphs: Sequence[Data]) -> None:
        """Mean and spread of the columns over all graphs."""
        nodes = torch.cat([data.x for data in graphs])
        edges = torch.cat([data.edge_attr[:, NUM_TYPES:] for data in graphs])
        for name, values in (("node", nodes), ("edge", edges)):
            spread = values.std(dim=0, correction=0).clamp(min=_SMALLEST_SPREAD)
            getattr(self, f"{name}_mean").copy_(values.mean(dim=0))
            getattr(self, f"{name}_spread").copy_(spread)


def _masked(data: Data, share: float, generator: torch.Generator) -> Data:
    """The graph with the attributes of random nodes and edges at 0, their mean."""
    result = data.clone()
    for name in ("x", "edge_attr"):
        values = data[name]
        seen = torch.rand(len(values), 1, generator=generator) >= share
        result[name] = values * seen
    return result
