from __future__ import annotations

import numpy as np
import pytest
import torch

from agmc.embedding.columns import index_of
from agmc.embedding.embedding import EmbeddingContext
from agmc.embedding.haq import haq
from agmc.plan_space import PlanSpace
from tests.embedding.embedding_nets import branches_graph, chain_graph


def made(graph, *parts, **knobs):
    space = PlanSpace(graph, parts=parts, end_bits=None, **knobs)
    return haq(EmbeddingContext(graph, space))


def test_hand_scaled_features_of_a_chain():
    rows = made(chain_graph(), "weight_bits")(None)
    assert rows.shape == (4, 10) and rows.dtype == torch.float32
    # Depthwise, channels in and out, stride, kernel, weights, feature map, index.
    expected = [
        [0, 0, 0.5, 0, 1, 98 / 206, 1, 0],
        [0, 1 / 3, 1, 1, 1, 1, 1, 1 / 3],
        [0, 1, 0.75, 0, 0, 20 / 206, 15 / 63, 2 / 3],
        [0, 2 / 3, 0, 0, 0, 0, 0, 1],
    ]
    assert rows[:, :8].numpy() == pytest.approx(np.array(expected))
    assert rows[:, 8].tolist() == [1] * 4 and rows[:, 9].tolist() == [0] * 4


def test_a_depthwise_convolution_is_one():
    embedding = made(branches_graph(), "weight_bits")
    column = embedding(None)[:, index_of(embedding.columns, "depthwise")]
    assert column.tolist() == [0, 1, 0, 0, 0]


def test_two_steps_a_layer_and_the_action_before():
    embedding = made(chain_graph(), "weight_bits", "act_bits")
    counts = np.array([4, 6, 2, 8, 8, 8, 8, 8])
    rows = embedding.rows(counts)
    assert rows[:, 9].tolist() == [0, 1] * 4
    assert rows[:, 8].tolist() == [1, 0.5, 0.75, 0.25, 1, 1, 1, 1]
    assert torch.equal(rows[0, :8], rows[1, :8])
    for step in range(8):
        future = counts.copy()
        future[step:] = 4
        assert torch.equal(embedding.row(step, future), rows[step])
    assert rows.min() >= 0 and rows.max() <= 1


@pytest.mark.parametrize(("mapping", "counts"), [("share", (2, 4)), ("haq", (1, 3))])
def test_the_action_before_is_a_share_of_the_most_bits(mapping, counts):
    embedding = made(chain_graph(), "weight_bits", mapping=mapping)
    two, four = counts
    rows = embedding.rows(np.array([two, four, embedding.space.sizes[2], two]))
    assert rows[:, 8].tolist() == [1, 0.25, 0.5, 1]


def test_the_action_before_is_a_share_of_the_weights():
    embedding = made(chain_graph(), "sparsity", "weight_bits", mapping="haq")
    rows = embedding.rows(np.array([5, 7, 20, 1, 20, 1, 20, 1]))
    assert rows[:, 8].tolist() == [1, 0.25, 1, 1, 0.25, 1, 0.25, 1]


def test_channels_are_not_for_it():
    with pytest.raises(ValueError, match="haq sees layers only, and channels or"):
        made(chain_graph(), "keep_ratio", "weight_bits")
