"""The embeddings that others are compared with: onehot, rules_weights, by chance."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from agmc.embedding.columns import index_of
from agmc.embedding.embedding import EmbeddingContext
from agmc.embedding.onehot import onehot
from agmc.embedding.random_projection import _projected, random_projection
from agmc.embedding.rules import rules
from agmc.embedding.rules_weights import (
    WEIGHT_COLUMNS,
    rules_weights,
    weight_statistics,
)
from agmc.plan_space import PlanSpace
from agmc.search.choices import EMBEDDINGS
from tests.embedding.embedding_nets import (
    Residual,
    branches_graph,
    chain_graph,
    graph_of,
    residual_graph,
)

GRAPHS = [chain_graph, residual_graph, branches_graph]
BUILDERS = [onehot, rules_weights, random_projection]


def context_of(graph, seed=0):
    return EmbeddingContext(graph, PlanSpace(graph), seed=seed)


@pytest.mark.parametrize("make", GRAPHS)
@pytest.mark.parametrize("build", BUILDERS)
def test_row_equals_call_and_calls_agree(build, make):
    context = context_of(make())
    plan = context.space.sample(torch.Generator().manual_seed(5))
    embedding = build(context)
    rows = embedding(plan)
    assert rows.shape == (len(context.space), embedding.dim)
    assert rows.dtype == torch.float32 and rows.abs().max() <= 1
    assert torch.equal(rows, build(context)(plan))
    counts = context.space.counts(plan)
    for step in range(len(context.space)):
        future = counts.copy()
        future[step:] = 1
        assert torch.equal(embedding.row(step, future), rows[step])


@pytest.mark.parametrize("name", ["onehot", "rules_weights", "random_projection"])
def test_by_name(name):
    context = context_of(chain_graph())
    (build,) = [build for build in BUILDERS if build.__name__ == name]
    assert torch.equal(EMBEDDINGS[name](context)(None), build(context)(None))


def test_onehot_is_the_position():
    rows = onehot(context_of(chain_graph()))(None)
    assert rows[:, :3].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_rules_come_first():
    context = context_of(residual_graph(8, 2))
    rows, known = rules_weights(context)(None), rules(context)(None)
    assert torch.equal(rows[:, :8], known[:, :8])
    assert torch.equal(rows[:, -3:], known[:, -3:])
    assert rows.shape[1] == 11 + len(WEIGHT_COLUMNS)


def test_weight_statistics_by_hand():
    torch.manual_seed(0)
    net = Residual(width=4)
    nn.init.constant_(net.stem.weight, 0.1)
    net.norm.weight.data = torch.tensor([0.5, 1.5, 0.5, 1.5])
    net.norm.bias.data = torch.tensor([0.0, 0.2, 0.4, 0.6])
    inner, narrow = net.blocks[0][0].weight, net.blocks[0][3].weight
    found = weight_statistics(graph_of(net))
    column = {c.name: index_of(WEIGHT_COLUMNS, c.name) for c in WEIGHT_COLUMNS}
    # The stem and the last layer of the block make the first group: 108, 288 elements.
    made = (
        108 * 0.1 * math.sqrt(27) + 288 * narrow.mean().item() * math.sqrt(72)
    ) / 396
    assert found[0, column["made_mean"]] == pytest.approx(math.tanh(made), abs=1e-6)
    # The inner layer makes the second: 8 filters of 4 * 9.
    std = inner.std(correction=0).item() * 6 / 2
    assert found[1, column["made_std"]] == pytest.approx(math.tanh(std))
    mean = narrow.mean().item() * math.sqrt(72)
    assert found[1, column["read_mean"]] == pytest.approx(math.tanh(mean), abs=1e-6)
    # Two normalisations of four channels each, the other of a fresh network: 1 and 0.
    assert found[0, column["scale_mean"]] == pytest.approx(math.tanh(0.5))
    spread = net.norm.bias.std(correction=0).item() / 2
    assert found[0, column["shift_mean"]] == pytest.approx(math.tanh(0.15))
    assert found[0, column["shift_std"]] == pytest.approx(math.tanh(spread))
    assert found[1, column["shift_std"]] == 0.0


def test_without_normalisation_there_is_nothing_of_it():
    assert (weight_statistics(chain_graph())[:, 4:] == 0).all()
    assert (weight_statistics(chain_graph())[:, [1, 3]] > 0).all()


@pytest.mark.parametrize("layers", [0, 2])
def test_the_seed_decides_on_the_projection(layers):
    graph = residual_graph(8, 2)
    knobs = {"dim": 6, "hidden": 8, "layers": layers}
    first = random_projection(context_of(graph, seed=1), **knobs)(None)
    again = random_projection(context_of(graph, seed=1), **knobs)(None)
    other = random_projection(context_of(graph, seed=2), **knobs)(None)
    assert torch.equal(first, again)
    assert not torch.equal(first[:, :6], other[:, :6])
    assert torch.equal(first[:, 6:], other[:, 6:])
    assert np.linalg.matrix_rank(first[:, :6].numpy()) == 2  # three, less their mean


def test_projection_of_attributes_by_hand():
    data = SimpleNamespace(
        x=torch.tensor([[1.0], [2.0], [3.0]]),
        edge_index=torch.tensor([[0, 0, 1], [1, 2, 2]]),
        edge_attr=torch.tensor([[10.0], [20.0], [40.0]]),
    )
    # Itself, the mean of what reads it, the mean of what makes it.
    attributes = torch.tensor([[1.0, 15, 0], [2, 40, 10], [3, 0, 30]])
    matrix = torch.randn(3, 2, generator=torch.Generator().manual_seed(4))
    assert torch.allclose(_projected(data, 2, 4), attributes @ matrix / 3**0.5)


@pytest.mark.parametrize("knob", [{"dim": 0}, {"layers": -1}, {"hidden": 0}])
def test_bad_numbers(knob):
    ((name, value),) = knob.items()
    with pytest.raises(ValueError, match=rf"{name} \(={value}\)"):
        random_projection(context_of(chain_graph()), **knob)
