from __future__ import annotations

import pytest
import torch
from embedding_nets import branches_graph, chain_graph, residual_graph
from trained import AGENTS, agent_of, copy_of, moved, multistage_of, play

from agmc.plan_space import PlanSpace


def rows_of(embedding, number=6):
    generator = torch.Generator().manual_seed(2)
    space = PlanSpace(embedding.graph)
    plans = [embedding(space.sample(generator)) for _ in range(number)]
    return torch.cat(plans)


@pytest.mark.parametrize("graph", [chain_graph, residual_graph, branches_graph])
def test_every_observation_gets_the_features_of_its_own_state(graph):
    # The published code gives all of a batch those of the first.
    embedding = multistage_of(graph())
    rows = rows_of(embedding)
    together = embedding.encoder(rows)
    assert together.shape == (len(rows), 2 * 6 + 3) and together.isfinite().all()
    for row, features in zip(rows, together, strict=True):
        alone = embedding.encoder(row[None])[0]
        torch.testing.assert_close(alone, features, atol=1e-5, rtol=1e-4)
    # Where a row stands in a product may change its last digit on some processors.
    away = (together[:, None] - together[None]).detach().abs().amax(2)
    assert len((away < 1e-5).unique(dim=0)) == len(rows.unique(dim=0))


def test_states_that_occur_twice_are_computed_once(monkeypatch):
    embedding = multistage_of()
    rows = embedding()  # nothing is pruned in any of the three
    sizes = []
    nodes = embedding.encoder.nodes
    monkeypatch.setattr(
        embedding.encoder,
        "nodes",
        lambda plans: sizes.append(len(plans)) or nodes(plans),
    )
    features = embedding.encoder(rows.repeat(4, 1))
    assert sizes == [1]
    torch.testing.assert_close(features[:3], features[3:6])
    assert not torch.equal(features[0], features[1])  # other decisions, same network


def test_the_vector_of_the_network_follows_the_plan_so_far():
    embedding = multistage_of()
    space = PlanSpace(embedding.graph)
    whole = embedding.encoder(embedding())
    pruned = embedding.encoder(embedding(space.plan([8, 4, 4])))
    torch.testing.assert_close(whole[:2], pruned[:2])
    assert not torch.allclose(whole[2, :6], pruned[2, :6], atol=1e-4)
    assert not torch.allclose(whole[2, 6:12], pruned[2, 6:12], atol=1e-4)


@pytest.mark.parametrize("name", AGENTS)
def test_agents_train_both_levels(name):
    embedding = multistage_of()
    before = copy_of(embedding.encoder)
    play(agent_of(name, embedding, beside=1), embedding, episodes=4, beside=1)
    assert moved(embedding.encoder, before) == set(before)


def test_layers_see_further():
    rows = multistage_of()()
    one, two = (multistage_of(layers=n).encoder(rows) for n in (1, 2))
    assert not torch.equal(one, two)


@pytest.mark.parametrize("knob", ["dim", "hidden", "layers"])
def test_numbers_out_of_range_are_refused(knob):
    with pytest.raises(ValueError, match=rf"{knob} \(=0\)"):
        multistage_of(**{knob: 0})
