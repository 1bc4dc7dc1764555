"""onehot: which decision it is, and nothing of what it is about."""

from __future__ import annotations

import numpy as np

from agmc.embedding.columns import Column
from agmc.embedding.embedding import EmbeddingContext
from agmc.embedding.fixed import FixedEmbedding


def onehot(context: EmbeddingContext) -> FixedEmbedding:
    """Builds the embedding `onehot`: a 1 at the position of the decision.

    A reference: an agent can tell all decisions apart and has to find out everything
    else by trial. How far the plan has come follows, as it does everywhere. As many
    entries as decisions, so what is learned on one network fits no other.
    """
    count = len(context.space)
    columns = [Column(f"position_{i}", "0 or 1") for i in range(count)]
    return FixedEmbedding(context.space, columns, np.eye(count))
