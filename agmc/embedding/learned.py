"""Learned: observations from the vectors of a fitted graph auto-encoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from agmc.embedding.autoencoder import GraphAutoencoder
from agmc.embedding.carriers import carriers_of_decisions
from agmc.embedding.checkpoint import kept_autoencoder, network_key, weights_digest
from agmc.embedding.columns import Column
from agmc.embedding.corpus import training_graphs
from agmc.embedding.embedding import Embedding, EmbeddingContext
from agmc.embedding.finetuned import FineTunedEncoder
from agmc.embedding.fixed import FixedEmbedding
from agmc.embedding.pyg import GraphConverter
from agmc.embedding.sensitivity import sensitivities
from agmc.embedding.standardised import REACH, within_reach
from agmc.embedding.starting import ANEW, SHIPPED, load_fitted, starting_file
from agmc.embedding.state import StateEmbedding
from agmc.plan_space import PlanSpace
from agmc.whole_file import digest_of


class LearnedEmbedding(Embedding):
    """The encoder's vector of every decision, then how far the plan has come.

    The vector of a decision is the mean over the feature maps that carry its channels,
    or that of what a layer makes or reads, see `carriers_of_decisions`;
    every column standardised over the decisions of the unpruned network and cut off,
    see `within_reach`: it lies in [-1, 1], and small differences stay visible to an
    agent.

    Args:
        space: the decisions.
        autoencoder: a fitted one; stays at hand as `autoencoder`.
        follow_plan: False: the vectors are those of the unpruned network, computed
            once; True: those of the network under the plan so far, computed anew for
            every row (a pass of the encoder each, some milliseconds); for decisions
            about channels only.
    """

    def __init__(
        self,
        space: PlanSpace,
        autoencoder: GraphAutoencoder,
        *,
        follow_plan: bool = False,
    ) -> None:
        self.graph = graph = space.graph
        self.space = space
        self.autoencoder = autoencoder
        self.follow_plan = follow_plan
        self._converter = GraphConverter(graph)
        self._sizes = np.array([group.size for group in graph.groups], dtype=np.int64)
        self._carriers = carriers_of_decisions(space)
        self._unpruned = self._vectors(self._sizes)
        if space.only_channels:  # parts of a layer have the same vector
            self.absolute = self._unpruned
        columns = [
            Column(f"encoded_{i}", f"standardised over the decisions, / {REACH:g}")
            for i in range(autoencoder.encoder.dim)
        ]
        vectors = within_reach(self._unpruned, self._unpruned).numpy()
        self._fixed = FixedEmbedding(space, columns, vectors)
        self.columns = self._fixed.columns
        head = autoencoder.sensitivity
        if head is not None and space.only_channels:  # it was taught about channels
            losses = head(autoencoder.describe(graph, self._unpruned))
            self.sensitivities = sensitivities(losses)

    @property
    def fitted(self) -> str:
        """Hex digits that name the weights of the encoder and how it is used."""
        return weights_digest(self.autoencoder, f"{self.follow_plan}")

    def rows(self, counts: np.ndarray) -> Tensor:
        """All rows, float32 [num_decisions, dim], see `Embedding.rows`."""
        if self.follow_plan:
            return torch.stack([self.row(t, counts) for t in range(len(self._sizes))])
        return self._fixed.rows(counts)

    def row(self, step: int, counts: np.ndarray) -> Tensor:
        """One row, float32 [dim], see `Embedding.row`."""
        row = self._fixed.row(step, counts)
        if self.follow_plan:
            so_far = self._sizes.copy()
            so_far[:step] = np.asarray(counts)[:step]
            vector = self._vectors(so_far)[step]
            row[: len(vector)] = within_reach(vector, self._unpruned)
        return row

    def _vectors(self, counts: np.ndarray) -> Tensor:
        """The encoder's vectors of all decisions, [num_decisions, dim]."""
        with torch.no_grad():
            return self._carriers @ self.autoencoder(self._converter.data(counts))


def autoencoder(
    context: EmbeddingContext,
    *,
    fit: str = SHIPPED,
    encoder: str = "gin",
    dim: int = 32,
    hidden: int = 64,
    layers: int | None = None,
    variants: int = 16,
    corpus_variants: int = 4,
    steps: int = 800,
    batch_size: int = 16,
    learning_rate: float = 3e-3,
    mask: float = 0.1,
    noise: float = 0.1,
    follow_plan: bool = False,
    freeze: bool = True,
) -> Embedding:
    """Builds the embedding `autoencoder` from a fitted encoder, or fits one.

    What it starts from is kept in `context.checkpoint`, and a run that goes on reads it
    from there. A checkpoint of another network, seed or setting is replaced; a file
    that is no checkpoint is left alone.

    Args:
        context: graph, decisions, seed, corpus and checkpoint.
        fit: "shipped": the encoder that comes with the package; a file that `agmc
            train embedding=autoencoder` wrote; or "anew": fitted here, on the network
            and the corpus, which takes a minute or so.
        encoder: "gin", "gcn", "gat" or "dag", see `GraphEncoder`.
        dim: of the encoder's vectors.
        hidden: width of all hidden layers.
        layers: of the encoder; None: 1 for "dag", 3 for the others.
        variants: for a fit: random pruned variants of the network to learn from, >= 0.
        corpus_variants: the same of every network of the corpus, >= 0.
        steps: for a fit: of the optimiser, >= 1.
        batch_size: for a fit: graphs per step, >= 1.
        learning_rate: for a fit: the first one, > 0, down to 0 along a cosine.
        mask: for a fit: share of nodes and edges hidden from the encoder, in [0, 1).
        noise: for a fit: standard deviation added to the vectors, which have spread 1,
            >= 0.
        follow_plan: see `LearnedEmbedding`.
        freeze: True: the encoder stays as it was fitted; False: the agent trains it on,
            see `FineTunedEncoder`.

    Raises:
        ValueError: a number is out of range, a file is damaged or foreign, or its
            encoder is of another kind or size.
    """
    if follow_plan or not freeze:
        context.require_channels("autoencoder with follow_plan or without freeze")
    model = GraphAutoencoder(
        encoder=encoder, dim=dim, hidden=hidden, layers=layers, seed=context.seed
    )
    settings: list[Any] = [*model.sizes.values()]
    start = None if fit == ANEW else starting_file(fit, encoder=encoder)
    if start is None:
        settings += [variants, corpus_variants, steps, batch_size]
        settings += [learning_rate, mask, noise, context.seed]
    else:  # a newer version of the package must not change a run that goes on
        settings += [SHIPPED if fit == SHIPPED else digest_of(start)]

    def make() -> GraphAutoencoder:
        if start is not None:
            return load_fitted(start, model)
        graphs = training_graphs(
            context.space,
            context.corpus(),
            variants=variants,
            corpus_variants=corpus_variants,
            seed=context.seed,
        )
        model.fit(
            graphs,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            mask=mask,
            noise=noise,
            seed=context.seed,
        )
        return model

    key = network_key(context.space, settings)
    fitted = kept_autoencoder(context.checkpoint, key, make)
    if freeze:
        return LearnedEmbedding(context.space, fitted, follow_plan=follow_plan)
    trained = FineTunedEncoder(context.graph, fitted, follow_plan=follow_plan)
    said = "follow_plan" if follow_plan else ""
    return StateEmbedding(context.graph, trained, fitted=said)
