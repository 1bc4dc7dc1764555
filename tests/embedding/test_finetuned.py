from __future__ import annotations

import pytest
import torch
from embedding_nets import chain_graph
from trained import AGENTS, QUICK, agent_of, context_of, copy_of, moved, play

from agmc.embedding.learned import autoencoder
from agmc.plan_space import PlanSpace


@pytest.mark.parametrize("follow_plan", [False, True])
def test_before_training_features_are_the_rows_of_the_frozen_embedding(follow_plan):
    frozen = autoencoder(context_of(), **QUICK, follow_plan=follow_plan)
    tuned = autoencoder(context_of(), **QUICK, follow_plan=follow_plan, freeze=False)
    plan = PlanSpace(frozen.graph).sample(torch.Generator().manual_seed(2))
    features = tuned.encoder(tuned(plan))
    assert frozen.encoder is None and features.requires_grad
    torch.testing.assert_close(
        features.detach().clamp(-1, 1), frozen(plan), atol=1e-5, rtol=1e-4
    )


def test_features_of_the_plan_are_not_those_of_the_whole_network():
    made = [
        autoencoder(context_of(), **QUICK, follow_plan=follow_plan, freeze=False)
        for follow_plan in (False, False, True)
    ]
    assert made[0].fitted == made[1].fitted != made[2].fitted


def test_what_stands_behind_the_row_goes_into_the_features():
    tuned = autoencoder(context_of(), **QUICK, freeze=False)
    rows = tuned()
    more = torch.cat([rows, torch.tensor([[0.0], [0.5], [1.0]])], dim=1)
    features = tuned.encoder(more)
    assert torch.equal(features[:, :-1], tuned.encoder(rows))
    assert features[:, -1].tolist() == [0, 0.5, 1]


@pytest.mark.parametrize("name", AGENTS)
def test_agents_train_the_graph_encoder(name):
    tuned = autoencoder(context_of(), **QUICK, freeze=False)
    before = copy_of(tuned.encoder)
    play(agent_of(name, tuned, beside=1), tuned, episodes=4, beside=1)
    changed = moved(tuned.encoder, before)
    trained = {n for n, p in tuned.encoder.named_parameters() if p.requires_grad}
    # A bias that is the same for all decisions is standardised away, and what the
    # network as a whole hears last is not looked at.
    idle = (".encoder.output.bias", ".network_output.", ".hear.1.", ".hear_norms.1.")
    assert not any(name for name in trained - changed if not _has(name, idle))
    assert any(".messages." in name for name in changed)
    assert not any("decoder" in weight for weight in changed)


def test_features_are_bounded_where_all_decisions_look_alike():
    tuned = autoencoder(context_of(chain_graph()), **QUICK, freeze=False)
    with torch.no_grad():
        for weight in tuned.encoder.vectors.encoder.encoder.output.parameters():
            weight.zero_()
    features = tuned.encoder(tuned())
    assert features.isfinite().all() and not features[:, :8].any()
    features.sum().backward()
    gradients = [p.grad for p in tuned.encoder.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)


def _has(name: str, parts: tuple[str, ...]) -> bool:
    return any(part in name for part in parts)
