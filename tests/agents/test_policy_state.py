"""Policies that leave one agent and enter another, on a task of another length."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn
from toy_tasks import Knapsack, context

from agmc.agents import DDPG, PPO, TD3, Greedy, PPOVector, Random, Reinforce, Uniform
from agmc.agents.policy_state import load_state, state_of

AGENTS = {
    "ddpg": functools.partial(DDPG, hidden_dim=16),
    "td3": functools.partial(TD3, hidden_dim=16),
    "ppo": functools.partial(PPO, hidden_dim=16, episodes_per_update=2),
    "reinforce": functools.partial(Reinforce, hidden_dim=16, episodes_per_update=2),
}
LONG = Knapsack((0.9, 0.2, 0.9, 0.2, 0.5, 0.5), (0.1, 0.1, 0.2, 0.2, 0.2, 0.2))


def encoder(seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(5, 8), nn.Tanh())


@pytest.mark.parametrize("name", AGENTS)
def test_another_agent_plays_the_same_policy_and_learns_on(name: str) -> None:
    teacher = AGENTS[name](context(num_episodes=8, encoder=encoder(0)))
    Knapsack().search(teacher, 8)
    learner = AGENTS[name](
        context(num_decisions=6, num_episodes=8, seed=1, encoder=encoder(1))
    )
    state = teacher.policy_state()
    learner.load_policy_state(state)
    rows = torch.rand(5, 5)
    for agent in (teacher, learner):
        agent.begin_episode(0)
    played = [learner.act(row, explore=False) for row in rows]
    assert played == [teacher.act(row, explore=False) for row in rows]
    LONG.search(learner, 4)
    learner.begin_episode(5)
    assert played != [learner.act(row, explore=False) for row in rows]
    kept = teacher.policy_state()
    assert all(torch.equal(kept[key], state[key]) for key in kept)


@pytest.mark.parametrize("name", ["ddpg", "td3"])
def test_there_is_no_warm_up_after_a_policy_was_loaded(name: str) -> None:
    agent = AGENTS[name](context(num_episodes=8), initial_sigma=1e-6, final_sigma=1e-6)
    agent.load_policy_state(agent.policy_state())
    agent.begin_episode(0)
    row = torch.rand(5)
    assert agent.act(row) == pytest.approx(agent.act(row, explore=False), abs=1e-4)


@pytest.mark.parametrize("name", AGENTS)
def test_a_policy_with_nan_is_refused(name: str) -> None:
    agent = AGENTS[name](context())
    state = agent.policy_state()
    broken = next(reversed(state))
    with pytest.raises(ValueError, match=f"{broken} of the policy holds NaN"):
        agent.load_policy_state({**state, broken: torch.nan * state[broken]})


@pytest.mark.parametrize("build", [Random, Uniform, PPOVector, Greedy])
def test_agents_without_such_a_policy_refuse(build) -> None:
    try:
        agent = build(context())
    except ValueError:  # asks for choices first
        agent = build.__new__(build)
    with pytest.raises(ValueError, match="no policy that could be kept"):
        agent.policy_state()
    with pytest.raises(ValueError, match="no policy that could be kept"):
        agent.load_policy_state({})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("weight"), "weight of the policy is missing"),
        (lambda s: s.update(extra=torch.ones(1)), r"\[1\], and missing is what fits"),
        (
            lambda s: s.update(weight=torch.ones(2, 2)),
            r"\[2, 2\], and \[2, 3\] is what",
        ),
        (lambda s: s["bias"].fill_(torch.nan), "bias of the policy holds NaN"),
    ],
)
def test_weights_that_do_not_fit_change_nothing(change, words: str) -> None:
    module = nn.Linear(3, 2)
    before = state_of(module)
    state = state_of(nn.Linear(3, 2))
    change(state)
    with pytest.raises(ValueError, match=words):
        load_state(module, state)
    assert all(torch.equal(before[n], v) for n, v in module.state_dict().items())
