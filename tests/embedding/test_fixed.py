from __future__ import annotations

import numpy as np
import pytest
import torch

from agmc.embedding.columns import Column
from agmc.embedding.fixed import FixedEmbedding
from agmc.embedding.progress import PROGRESS_COLUMNS, Progress
from agmc.plan_space import PlanSpace
from tests.embedding.embedding_nets import chain_graph

COLUMNS = (Column("first", "metres"), Column("second", "metres"))


def test_only_the_last_three_columns_follow_the_plan():
    graph = chain_graph()
    vectors = np.array([[0.5, -1], [0, 1], [0.25, 0]])
    embedding = FixedEmbedding(PlanSpace(graph), COLUMNS, vectors)
    assert embedding.columns == (*COLUMNS, *PROGRESS_COLUMNS)
    space = PlanSpace(graph)
    counts = space.counts(space.sample(torch.Generator().manual_seed(1)))
    rows = embedding.rows(counts)
    assert rows.dtype == torch.float32 and rows.shape == (3, embedding.dim)
    assert rows[:, :2].tolist() == vectors.tolist()
    assert torch.equal(
        rows[:, 2:], torch.from_numpy(Progress(graph).rows(counts)).float()
    )
    for step in range(3):
        future = counts.copy()
        future[step:] = 1
        assert torch.equal(embedding.row(step, future), rows[step])


@pytest.mark.parametrize("vectors", [np.zeros((2, 2)), np.full((3, 2), 1.5)])
def test_vectors_that_do_not_fit(vectors):
    with pytest.raises(ValueError, match="expected|scale"):
        FixedEmbedding(PlanSpace(chain_graph()), COLUMNS, vectors)


def test_vectors_that_are_no_numbers():
    with pytest.raises(ValueError, match="scale"):
        FixedEmbedding(PlanSpace(chain_graph()), COLUMNS, np.full((3, 2), np.nan))
