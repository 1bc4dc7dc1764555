from __future__ import annotations

import functools

import pytest
import torch
from embedding_nets import chain_graph
from trained import AGENTS, QUICK, agent_of, copy_of, moved, play, sequential_of

from agmc.embedding.learned import autoencoder
from agmc.embedding.rules import rules
from agmc.plan_space import PlanSpace


@pytest.mark.parametrize("see_decision", [False, True])
def test_states_are_the_recurrence_over_executed_actions(see_decision):
    embedding = sequential_of(see_decision=see_decision)
    encoder = embedding.encoder
    space = PlanSpace(embedding.graph)
    plan = space.sample(torch.Generator().manual_seed(2))
    features = encoder(embedding(plan))
    decisions, network = encoder.vectors()
    spread = (decisions - decisions.mean(0)) / decisions.std(0, correction=0)
    cell = torch.nn.LSTMCell(9 if see_decision else 1, 6)
    cell.load_state_dict(
        {n.removesuffix("_l0"): v for n, v in encoder.transition.state_dict().items()}
    )
    first = torch.cat([network, spread[0]]) if see_decision else network
    state, memory = torch.tanh(encoder.first(first)).chunk(2)
    for step, decision in enumerate(space):
        torch.testing.assert_close(features[step, :6], state, atol=1e-5, rtol=1e-4)
        action = torch.tensor([plan.keep_ratio[decision.name]])
        if see_decision and step + 1 < len(space):
            action = torch.cat([action, spread[step + 1]])
        if step + 1 < len(space):
            state, memory = cell(action[None], (state[None], memory[None]))
            state, memory = state[0], memory[0]
    assert torch.equal(features[:, 6:], embedding(plan)[:, -3:])


def test_the_order_of_a_batch_does_not_matter():
    embedding = sequential_of()
    plan = PlanSpace(embedding.graph).sample(torch.Generator().manual_seed(2))
    rows = embedding(plan)
    together = embedding.encoder(rows)
    order = torch.tensor([2, 0, 1, 0])
    torch.testing.assert_close(embedding.encoder(rows[order]), together[order])
    for row, features in zip(rows, together, strict=True):
        torch.testing.assert_close(embedding.encoder(row[None])[0], features)


def test_an_earlier_action_changes_the_states_after_it_alone():
    embedding = sequential_of()
    space = PlanSpace(embedding.graph)
    whole = embedding.encoder(embedding(space.plan([8, 16, 16])))[:, :6]
    other = embedding.encoder(embedding(space.plan([8, 4, 16])))[:, :6]
    assert torch.equal(whole[:2], other[:2])
    assert not torch.allclose(whole[2], other[2], atol=1e-3)


@pytest.mark.parametrize("freeze", [True, False])
@pytest.mark.parametrize("name", AGENTS)
def test_agents_train_the_decoder_and_the_encoder_unless_it_is_frozen(name, freeze):
    embedding = sequential_of(freeze=freeze)
    before = copy_of(embedding.encoder)
    play(agent_of(name, embedding, beside=1), embedding, episodes=4, beside=1)
    changed = moved(embedding.encoder, before)
    decoder = {n for n in before if not n.startswith("vectors.")}
    assert decoder <= changed and len(decoder) == 6
    # The vectors of single feature maps are not looked at.
    encoder = {
        n
        for n in before
        if n.startswith("vectors.encoder.encoder.") and ".encoder.output." not in n
    }
    assert changed - decoder == (set() if freeze else encoder)


def test_mistakes_are_refused():
    with pytest.raises(ValueError, match=r"dim \(=0\)"):
        sequential_of(chain_graph(), dim=0)
    with pytest.raises(ValueError, match="graph_encoder must be"):
        sequential_of(chain_graph(), graph_encoder=rules)
    following = functools.partial(autoencoder, **QUICK, follow_plan=True)
    with pytest.raises(ValueError, match="graph_encoder.follow_plan=false"):
        sequential_of(chain_graph(), graph_encoder=following)
