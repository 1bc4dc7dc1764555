"""onehot: which decision it is, and nothing of what it is about."""

from __future__ import annotations

import numpy as np

from agmc.embedding.columns import Column
from agmc.embedding.embedding import EmbeddingContext
from agmc.embedding.fixed import FixedEmbedding


def onehot(context: EmbeddingContext) -> FixedEmbedding:
    """Builds the embedding `onehot`: a 1 at the position of the decision.

    A reference: an agent can tell all decisions apart and has to find out everything
    else by trial. The columns of `Progress` follow, as they do everywhere. As many
    entries as decisions, so what is learned on one network fits no other.
    """
    count = len(context.graph.groups)
    columns = [Column(f"position_{i}", "0 or 1") for i in range(count)]
    return FixedEmbedding(context.graph, columns, np.eye(count))
