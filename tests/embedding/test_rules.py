from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from agmc.embedding.columns import index_of
from agmc.embedding.embedding import EmbeddingContext
from agmc.embedding.haq import HAQEmbedding
from agmc.embedding.rules import RULES_COLUMNS, RulesEmbedding, layer_features, rules
from agmc.graph.trace import trace
from agmc.plan import Plan
from agmc.plan_space import PlanSpace
from tests.embedding.embedding_nets import branches_graph, chain_graph, residual_graph

GRAPHS = [chain_graph, residual_graph, branches_graph]


def test_hand_computed_features_of_a_chain():
    assert layer_features(chain_graph()).tolist() == [
        [0, 4, 3, 8, 8, 1, 3, 6912],
        [1, 6, 4, 8, 8, 2, 3, 3456],
        [2, 5, 6, 4, 4, 1, 1, 480],
    ]


def test_hand_scaled_features_of_a_chain():
    rows = RulesEmbedding(chain_graph())(None)
    assert rows.shape == (3, 11) and rows.dtype == torch.float32
    expected = [
        [0, 0, 0, 1, 1, 0, 1, 1],
        [1 / 2, 1, 1 / 3, 1, 1, 1, 1, (3456 - 480) / 6432],
        [1, 1 / 2, 1, 0, 0, 0, 0, 0],
    ]
    assert rows[:, :8].numpy() == pytest.approx(np.array(expected))
    assert rows[:, 8].tolist() == [0, 0, 0]
    assert rows[:, 10].tolist() == [1, 1, 1]


def test_joined_layers_sum_their_macs():
    features = layer_features(residual_graph(blocks=2))
    # 64 positions: stem 3 -> 8 and, twice, 16 -> 8 channels, all 3x3.
    assert features[0].tolist() == [0, 8, 3, 8, 8, 1, 3, 64 * 9 * (24 + 2 * 128)]
    assert features[1].tolist() == [1, 16, 8, 8, 8, 1, 3, 64 * 9 * 128]


def test_names_are_in_the_order_of_the_paper():
    names = [column.name for column in RULES_COLUMNS]
    assert names[:8] == ["t", "n", "c", "h", "w", "stride", "k", "macs"]
    assert names[8:] == ["reduced", "rest", "previous_action"]


@pytest.mark.parametrize("make", GRAPHS)
def test_row_equals_call_and_calls_agree(make):
    space = PlanSpace(make())
    plan = space.sample(torch.Generator().manual_seed(5))
    embedding = rules(EmbeddingContext(make(), space))
    rows = embedding(plan)
    assert torch.equal(rows, embedding(plan))
    assert torch.equal(rows, RulesEmbedding(make())(plan))
    assert rows.shape == (len(space), embedding.dim)
    assert rows.min() >= 0 and rows.max() <= 1
    for step in range(len(space)):
        assert torch.equal(embedding.row(step, space.counts(plan)), rows[step])


def test_the_plan_so_far_shows():
    embedding = RulesEmbedding(chain_graph())
    full, half = embedding(None), embedding(Plan({"0": 0.5}))
    reduced = index_of(RULES_COLUMNS, "reduced")
    assert torch.equal(full[0], half[0])
    assert (half[1:, reduced] > full[1:, reduced]).all()
    assert half[1, index_of(RULES_COLUMNS, "previous_action")] == 0.5


def test_a_constant_column_is_zero():
    column = index_of(RULES_COLUMNS, "stride")
    assert (RulesEmbedding(residual_graph())(None)[:, column] == 0).all()


def test_unknown_group():
    with pytest.raises(ValueError, match="unknown channel groups"):
        RulesEmbedding(chain_graph())(Plan({"nowhere": 0.5}))


class Upsampled(nn.Module):
    """A transposed convolution, and a block of batch norm alone."""

    def __init__(self):
        super().__init__()
        self.conv, self.up = (
            nn.Conv2d(3, 16, 3),
            nn.ConvTranspose2d(16, 48, 2, stride=2),
        )
        self.norm, self.head = nn.BatchNorm2d(48), nn.Linear(48, 2)

    def forward(self, x):
        y = self.up(self.conv(x))
        y = y + self.norm(y).sigmoid()
        return self.head(y.mean((2, 3)))


def test_a_transposed_convolution_by_hand():
    graph = trace(Upsampled().eval(), torch.randn(1, 3, 6, 6))
    (row,) = [r for r in layer_features(graph).tolist() if r[1] == 48]
    assert row[1:7] == [48, 16, 4, 4, 2, 2]
    space = PlanSpace(graph, parts=["weight_bits"], end_bits=None)
    layers = [decision.name for decision in space]
    scaled = HAQEmbedding(space).rows(space.sizes)[layers.index("up")]
    names = [column.name for column in HAQEmbedding(space).columns]
    assert scaled[names.index("stride")] == 1 and scaled[names.index("c_out")] == 1


def test_a_block_without_layers_has_features():
    graph = trace(Upsampled().eval(), torch.randn(1, 3, 6, 6))
    assert graph.blocks
    space = PlanSpace(graph, parts=["keep_ratio", "dropped"])
    rows = rules(EmbeddingContext(graph, space)).rows(space.sizes)
    assert torch.isfinite(rows).all() and len(rows) == len(space)
