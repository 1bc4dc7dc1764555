from __future__ import annotations

import numpy as np
import pytest
import torch

from agmc.embedding.progress import Progress, layers_of
from agmc.graph.widths import Widths
from agmc.plan_space import PlanSpace
from tests.embedding.embedding_nets import branches_graph, chain_graph, residual_graph


def test_hand_computed_progress_of_a_chain():
    """MACs 6912 + 3456 + 480 + 10; the plan halves the first two layers' channels."""
    rows = Progress(chain_graph()).rows(np.array([2, 3, 5]))
    total = 10858
    assert rows[0] == pytest.approx([0, (3456 + 480) / total, 1])
    # Two of four first channels: 3456 left of the first layer, 1728 of the second.
    assert rows[1] == pytest.approx([(3456 + 1728) / total, 480 / total, 2 / 4])
    # Three of six as well: 864 left of the second layer, 240 of the third.
    assert rows[2] == pytest.approx([(3456 + 2592 + 240) / total, 0, 3 / 6])


@pytest.mark.parametrize("make", [chain_graph, residual_graph, branches_graph])
def test_row_is_a_row_of_rows_and_sees_no_future(make):
    space = PlanSpace(make())
    counts = space.counts(space.sample(torch.Generator().manual_seed(1)))
    progress = Progress(make())
    rows = progress.rows(counts)
    for step in range(len(space)):
        future = counts.copy()
        future[step:] = 1
        assert np.array_equal(progress.row(step, counts), rows[step])
        assert np.array_equal(progress.row(step, future), rows[step])
    assert rows.min() >= 0 and rows.max() <= 1


def test_layers_of_joined_channels():
    graph = residual_graph(blocks=2)
    widths = Widths(graph)
    layers = {g.name: [op.layer for op in layers_of(widths, g)] for g in graph.groups}
    assert layers["stem"] == ["stem", "blocks.0.3", "blocks.1.3"]
    assert layers["blocks.0.0"] == ["blocks.0.0"]
