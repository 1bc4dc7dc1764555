"""Predicted: observations from what an auto-encoder expects groups to cost."""

from __future__ import annotations

from pathlib import Path

import torch

from agmc.embedding.autoencoder import GraphAutoencoder
from agmc.embedding.checkpoint import (
    kept_autoencoder,
    load_autoencoder,
    network_key,
    weights_digest,
)
from agmc.embedding.columns import Column
from agmc.embedding.embedding import EmbeddingContext
from agmc.embedding.fixed import FixedEmbedding
from agmc.embedding.sensitivity import sensitivities
from agmc.embedding.standardised import REACH, within_reach
from agmc.embedding.starting import ANEW, SHIPPED, starting_file
from agmc.whole_file import digest_of


def sensitivity(context: EmbeddingContext, *, fit: str = SHIPPED) -> FixedEmbedding:
    """Builds the embedding `sensitivity`: what pruning a decision alone may cost.

    Learned on other networks, of which it was measured, from the vectors of the graph
    auto-encoder: its second head says of every decision how much accuracy is lost at a
    few keep ratios. Logarithms, standardised over the decisions; nothing is measured on
    the network at hand. Their mean over the ratios is what an agent may begin with.

    What it starts from is kept in `context.checkpoint`, as for `autoencoder`.

    Args:
        context: graph, decisions and checkpoint.
        fit: "shipped": the head that comes with the package; or a file that `agmc train
            embedding=autoencoder measured=FOLDER` wrote.

    Raises:
        ValueError: there is no such file, it is damaged or foreign, or its auto-encoder
            has no second head.
    """
    context.require_channels("sensitivity")
    name = SHIPPED if fit == SHIPPED else digest_of(_file(fit))
    model = kept_autoencoder(
        context.checkpoint,
        network_key(context.space, ["sensitivity", name]),
        lambda: load_with_head(fit),
    )
    head = model.head()
    with torch.no_grad():
        losses = head(model.describe(context.graph))
    columns = [
        Column(
            f"drop_at_{ratio:g}", f"log(share lost + 0.01), standardised, / {REACH:g}"
        )
        for ratio in head.ratios
    ]
    return FixedEmbedding(
        context.space,
        columns,
        within_reach(losses.double(), losses.double()).numpy(),
        fitted=weights_digest(model),
        sensitivities=sensitivities(losses),
    )


def load_with_head(fit: str) -> GraphAutoencoder:
    """Reads the auto-encoder that `fit` stands for, see `sensitivity`.

    Raises:
        ValueError: as `sensitivity`.
    """
    model = load_autoencoder(_file(fit))
    model.head()
    return model


def _file(fit: str) -> Path:
    if fit == ANEW:
        raise ValueError(
            f"fit (={fit!r}) makes no second head: choose {SHIPPED} or a file that "
            "`agmc train embedding=autoencoder measured=FOLDER` wrote"
        )
    return starting_file(fit, encoder="gin")
