from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from agmc.agents import DDPG, Agent, AgentContext, Episode


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class _Knapsack:
    """Maximise sum(value * sqrt(share)) under sum(cost * share) = .484.

    Shares lie in [.1, 1]. Where no border is active, Lagrange asks for
    value / (2 * sqrt(share)) = multiplier * cost; the values are made so that
    `shares` fulfil it with multiplier 1, at .2 * (.95 + .12 + .95) + .4 * .2 = .484.
    """

    shares = torch.tensor([0.95, 0.12, 0.95, 0.2])
    cost = torch.tensor([0.2, 0.2, 0.2, 0.4])
    value = 2 * cost * shares.sqrt()
    budget = float(cost @ shares)
    optimum = float(value @ shares.sqrt())
    least = 0.1

    def play(self, agent: Agent, explore: bool) -> tuple[Episode, list[float]]:
        used = 0.0
        observations, actions, proposals = [], [], []
        for t in range(4):
            rest = float(self.cost[t + 1 :].sum())
            observation = torch.tensor(
                [t / 4, self.value[t], self.cost[t], used / self.budget, rest]
            )
            proposals.append(agent.act(observation, explore))
            cost = float(self.cost[t])
            upper = min(1.0, (self.budget - used - self.least * rest) / cost)
            lower = max(self.least, (self.budget - used - rest) / cost)
            actions.append(max(min(proposals[-1], upper), lower))
            used += cost * actions[-1]
            observations.append(observation)
        assert used == pytest.approx(self.budget)
        executed = torch.tensor(actions)
        reward = float(self.value @ executed.sqrt())
        return Episode(torch.stack(observations), executed, reward), proposals


def _context(
    observation_dim: int = 5,
    num_decisions: int = 4,
    num_episodes: int = 20,
    seed: int = 0,
    encoder: nn.Module | None = None,
) -> AgentContext:
    return AgentContext(
        observation_dim,
        num_decisions,
        num_episodes,
        seed,
        (0.5,) * num_decisions,
        encoder,
    )


def _search(agent: DDPG, num_episodes: int) -> list[Episode]:
    episodes = []
    for index in range(num_episodes):
        agent.begin_episode(index)
        episodes.append(_Knapsack().play(agent, explore=True)[0])
        agent.observe(episodes[-1])
    return episodes


def test_the_knapsack_is_solved_within_two_percent() -> None:
    agent = DDPG(
        _context(num_episodes=200),
        discount=0.0,
        hidden_dim=64,
        actor_lr=1e-3,
        updates_per_step=4,
    )
    _search(agent, 200)
    greedy = _Knapsack().play(agent, explore=False)[0]
    uniform = float(_Knapsack.value.sum()) * _Knapsack.budget**0.5  # costs sum to 1
    assert uniform < 0.93 * _Knapsack.optimum
    assert 0.98 * _Knapsack.optimum <= greedy.reward <= 1.0001 * _Knapsack.optimum


def _identity_error(agent: DDPG) -> float:
    """Train 200 episodes of 3 steps whose best action is the observation itself."""
    generator = torch.Generator().manual_seed(1)
    for index in range(200):
        agent.begin_episode(index)
        observations = torch.rand(3, 1, generator=generator)
        actions = torch.tensor([agent.act(row) for row in observations])
        error = (actions - observations[:, 0]).abs().mean().item()
        agent.observe(Episode(observations, actions, 1.0 - error))
    wanted = torch.linspace(0.1, 0.9, 9)
    greedy = torch.tensor([agent.act(row, explore=False) for row in wanted[:, None]])
    return (greedy - wanted).abs().mean().item()


# The best constant is off by 0.22.
def test_the_identity_is_learnt_with_the_default_knobs() -> None:
    assert _identity_error(DDPG(_context(1, 3, 200))) < 0.06


def test_the_identity_is_learnt_through_an_encoder() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = nn.Sequential(nn.Linear(1, 16), nn.Tanh())
    context = _context(1, 3, 200, encoder=encoder)
    assert _identity_error(DDPG(context, actor_lr=1e-3)) < 0.06


def test_the_same_seed_gives_the_same_search_whatever_else_draws() -> None:
    def trace(seed: int, disturb: Callable[[], object]) -> list[Tensor]:
        disturb()
        agent = DDPG(_context(num_episodes=6, seed=seed), hidden_dim=16)
        actions = []
        for index in range(6):
            agent.begin_episode(index)
            disturb()
            episode, _ = _Knapsack().play(agent, explore=True)
            disturb()
            agent.observe(episode)
            agent.act(torch.zeros(5), explore=False)
            actions.append(episode.actions)
        return actions

    torch.manual_seed(0)
    first = torch.stack(trace(3, lambda: None))
    assert torch.equal(first, torch.stack(trace(3, lambda: torch.rand(7))))
    assert not torch.equal(first, torch.stack(trace(4, lambda: None)))
    state = torch.get_rng_state()
    trace(3, lambda: None)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_executed_action_is_what_is_remembered() -> None:
    agent = DDPG(_context(num_episodes=4), warmup_share=0.5)
    episode, proposals = _Knapsack().play(agent, explore=True)
    executed = {round(action, 5) for action in episode.actions.tolist()}
    assert executed != {round(action, 5) for action in proposals}
    agent.observe(episode)
    batch = agent.replay.sample(100, generator=torch.Generator().manual_seed(0))
    assert {round(action, 5) for action in batch.actions[:, 0].tolist()} == executed


def test_the_warmup_is_uniform_and_learns_nothing() -> None:
    agent = DDPG(_context(num_episodes=8, num_decisions=4), warmup_share=0.5)
    before = copy.deepcopy(agent.networks.state_dict())
    draws = torch.tensor([agent.act(torch.zeros(5)) for _ in range(1000)])
    assert draws.std().item() == pytest.approx(12**-0.5, rel=0.05)
    _search(agent, 4)
    after = agent.networks.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    agent.begin_episode(4)
    agent.observe(_Knapsack().play(agent, explore=True)[0])
    assert not any(torch.equal(before[name], after[name]) for name in before)


def test_draws_lie_around_the_policy_with_the_scheduled_sigma() -> None:
    agent = DDPG(_context(num_episodes=8), final_sigma=0.01)
    agent.begin_episode(7)
    mean = agent.act(torch.ones(5), explore=False)
    draws = torch.tensor([agent.act(torch.ones(5)) for _ in range(1000)])
    assert draws.mean().item() == pytest.approx(mean, abs=0.002)
    assert draws.std().item() == pytest.approx(0.01, rel=0.1)


def test_the_replay_holds_the_given_number_of_episodes() -> None:
    agent = DDPG(_context(num_episodes=8), replay_episodes=3, warmup_share=0.75)
    _search(agent, 5)
    assert len(agent.replay) == 3 * 4


def test_the_critic_learns_the_sum_of_what_is_to_come() -> None:
    # Rewards -1 and 1 with a baseline near 0: Q of the good action is near 1 at the
    # last step and near 2 at the one before, and opposite for the bad action.
    agent = DDPG(
        _context(1, 2, 400),
        hidden_dim=32,
        warmup_share=0.0,
        baseline_rate=0.01,
        actor_lr=1e-12,
        tau=0.1,
        replay_episodes=400,
    )
    steps = torch.tensor([[0.0], [1.0]])
    for index in range(400):
        agent.begin_episode(index)
        good = float(index % 2)
        agent.observe(Episode(steps, torch.full((2,), good), 2 * good - 1))
    with torch.no_grad():
        last = agent.networks.critic(torch.ones(2, 1), torch.tensor([[0.0], [1.0]]))
    assert last[:, 0].tolist() == pytest.approx([-1.0, 1.0], abs=0.25)


def test_each_loss_reaches_every_parameter_of_the_encoder() -> None:
    def moved(actor_lr: float, critic_lr: float) -> list[bool]:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            encoder = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 6))
        before = [p.detach().clone() for p in encoder.parameters()]
        agent = DDPG(
            _context(num_episodes=2, encoder=encoder),
            warmup_share=0.0,
            actor_lr=actor_lr,
            critic_lr=critic_lr,
        )
        agent.observe(_Knapsack().play(agent, explore=True)[0])
        return [
            bool((p.detach() - old).abs().max() > 1e-6)
            for p, old in zip(encoder.parameters(), before, strict=True)
        ]

    assert moved(critic_lr=1e-20, actor_lr=1e-3) == [True] * 4
    assert moved(critic_lr=1e-3, actor_lr=1e-20) == [True] * 4
    assert moved(critic_lr=1e-20, actor_lr=1e-20) == [False] * 4


def test_a_frozen_encoder_is_used_and_left_alone() -> None:
    encoder = nn.Linear(5, 3).requires_grad_(False)
    before = encoder.weight.clone()
    agent = DDPG(_context(num_episodes=2, encoder=encoder), warmup_share=0.0)
    agent.observe(_Knapsack().play(agent, explore=True)[0])
    assert torch.equal(encoder.weight, before)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_dim", 0),
        ("actor_lr", 0.0),
        ("critic_lr", float("inf")),
        ("discount", 1.1),
        ("tau", 0.0),
        ("batch_size", 0),
        ("replay_episodes", 0),
        ("baseline_rate", 1.5),
        ("warmup_share", 1.0),
        ("initial_sigma", 0.01),
        ("final_sigma", -1.0),
        ("updates_per_step", 0),
    ],
)
def test_knobs_out_of_range_name_the_argument(name: str, value: float) -> None:
    knobs: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=rf"{name} ?=?.*{value}"):
        DDPG(_context(), **knobs)


def test_bad_observations_are_refused() -> None:
    agent = DDPG(_context(), warmup_share=0.0)
    with pytest.raises(ValueError, match=r"shape \(4,\), expected \(5,\)"):
        agent.act(torch.zeros(4))
    with pytest.raises(ValueError, match="NaN"):
        agent.act(torch.full((5,), float("nan")))
