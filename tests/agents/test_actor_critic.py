from __future__ import annotations

import pytest
import torch
from torch import nn

from agmc.agents.actor_critic import ActorCritic


def _networks(seed: int, encoder: nn.Module | None = None) -> ActorCritic:
    return ActorCritic(4, 300, encoder, torch.Generator().manual_seed(seed))


def test_the_networks_have_the_size_of_the_paper() -> None:
    networks = _networks(0)
    actor = (4 * 300 + 300) + (300 * 300 + 300) + (300 + 1)
    critic = (4 * 300 + 300) + (300 + 300) + (300 * 300 + 300) + (300 + 1)
    assert sum(p.numel() for p in networks.actor_parameters()) == actor
    assert sum(p.numel() for p in networks.critic_parameters()) == critic


def test_the_critic_is_the_formula() -> None:
    critic = _networks(0).critic
    features, actions = torch.rand(5, 4), torch.rand(5, 1)
    state, action = critic.from_features, critic.from_action
    first = features @ state.weight.T + state.bias + actions @ action.weight.T
    second = (first + action.bias).relu() @ critic.hidden.weight.T + critic.hidden.bias
    value = second.relu() @ critic.value.weight.T + critic.value.bias
    torch.testing.assert_close(critic(features, actions), value)


def test_weights_come_from_the_generator_and_leave_the_global_state() -> None:
    torch.manual_seed(1)
    first = _networks(7).state_dict()
    torch.manual_seed(2)
    before = torch.get_rng_state()
    second = _networks(7).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = _networks(8).state_dict()
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_initial_weights_fill_the_interval_of_a_default_linear() -> None:
    weight = _networks(0).critic.hidden.weight
    bound = 300**-0.5
    assert 0.99 * bound < weight.max().item() <= bound
    assert abs(weight.mean().item()) < 0.01 * bound


@pytest.mark.parametrize(
    "encoder", [nn.Flatten(0), nn.Unflatten(1, (2, 2)), nn.AdaptiveAvgPool1d(1)]
)
def test_an_encoder_must_give_a_row_an_observation(encoder: nn.Module) -> None:
    if isinstance(encoder, nn.AdaptiveAvgPool1d):
        assert _networks(0, encoder)(torch.rand(3, 4)).shape == (3, 1)
        return
    with pytest.raises(ValueError, match=r"expected \[2, F\]"):
        _networks(0, encoder)


def test_dropout_in_an_encoder_is_switched_off() -> None:
    networks = _networks(0, nn.Dropout(0.5))
    observations = torch.rand(3, 4)
    assert torch.equal(networks(observations), networks(observations))
