from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toy_tasks import Knapsack, context, identity_error

from agmc.agents import Agent, sb3

BUILD: dict[str, Callable[..., Agent]] = {
    "td3": sb3.td3,
    "sac": sb3.sac,
    "ppo": sb3.ppo,
}
#: Knobs and episodes; the defaults are made for a hundred times the steps.
IDENTITY: dict[str, tuple[dict[str, Any], int]] = {
    "td3": (
        {"hidden_dim": 32, "batch_size": 64, "sigma": 0.3, "updates_per_step": 3},
        300,
    ),
    "sac": (
        {
            "hidden_dim": 32,
            "batch_size": 64,
            "learning_rate": 3e-3,
            "updates_per_step": 4,
        },
        200,
    ),
    "ppo": ({"learning_rate": 1e-2, "batch_size": 32, "episodes_per_update": 32}, 600),
}
every_agent = pytest.mark.parametrize("name", BUILD)


@pytest.mark.parametrize("name", BUILD)
def test_without_the_extra_one_line_says_so(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(ValueError) as caught:
        BUILD[name](context())
    assert "which is not installed; pip install agmc[sb3]" in str(caught.value)
    assert "\n" not in str(caught.value)


class TestInstalled:
    """With stable-baselines3."""

    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        pytest.importorskip("stable_baselines3")

    @every_agent
    def test_the_identity_is_learnt(self, name: str) -> None:
        knobs, episodes = IDENTITY[name]
        agent = BUILD[name](context(1, 1, episodes), **knobs)
        assert identity_error(agent, episodes, 1) < 0.1

    def test_the_knapsack_is_solved_within_two_percent(self) -> None:
        # The one reward at the end is too rare for TD3 and SAC in so short a search:
        # they were seen to end at 86 and 94 % of the optimum after 150 episodes.
        agent = sb3.ppo(
            context(num_episodes=400),
            learning_rate=1e-2,
            batch_size=32,
            episodes_per_update=16,
        )
        assert Knapsack().share_of_optimum(agent, 400) >= 0.98

    @every_agent
    def test_the_seed_alone_counts_and_nothing_outside_is_moved(
        self, name: str
    ) -> None:
        def trace(seed: int, disturb: Callable[[], object]) -> Tensor:
            given = context(num_episodes=8, seed=seed)
            agent = BUILD[name](given, hidden_dim=8, batch_size=16)
            disturb()
            episodes = Knapsack().search(agent, 8, disturb)
            return torch.stack([episode.actions for episode in episodes])

        def disturb() -> None:
            torch.rand(3)
            np.random.random(5)

        first = trace(3, lambda: None)
        assert torch.equal(first, trace(3, disturb))
        assert not torch.equal(first, trace(4, lambda: None))
        ours, theirs = torch.get_rng_state(), np.random.get_state()
        trace(3, lambda: None)
        assert torch.equal(torch.get_rng_state(), ours)
        assert np.array_equal(np.random.get_state()[1], theirs[1])  # type: ignore[index]

    @every_agent
    def test_an_encoder_is_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match="trains no encoder"):
            BUILD[name](context(encoder=nn.Linear(5, 3)))

    @every_agent
    def test_a_wrong_observation_is_refused(self, name: str) -> None:
        agent = BUILD[name](context(), hidden_dim=8)
        with pytest.raises(ValueError, match=r"shape \(4,\), expected \(5,\)"):
            agent.act(torch.zeros(4))

    @pytest.mark.parametrize("name", ["td3", "sac"])
    def test_the_executed_actions_and_one_reward_an_episode_are_remembered(
        self, name: str
    ) -> None:
        agent: Any = BUILD[name](context(num_episodes=4), hidden_dim=8)
        episode, proposed = Knapsack().play(agent, explore=True)
        assert episode.actions.tolist() != pytest.approx(proposed)
        agent.observe(episode)
        memory = agent.model.replay_buffer
        stored = (memory.actions[:4, 0, 0] + 1) / 2
        assert stored.tolist() == pytest.approx(episode.actions.tolist(), abs=1e-6)
        assert memory.rewards[:4, 0].tolist() == [
            0,
            0,
            0,
            pytest.approx(episode.reward),
        ]
        assert memory.dones[:4, 0].tolist() == [0, 0, 0, 1]
        assert np.array_equal(memory.next_observations[0], memory.observations[1])

    @pytest.mark.parametrize("name", ["td3", "sac"])
    def test_learning_begins_after_the_warmup(self, name: str) -> None:
        agent: Any = BUILD[name](context(num_episodes=4), hidden_dim=8, batch_size=8)
        before = next(agent.model.actor.parameters()).detach().clone()
        Knapsack().search(agent, 1)  # a quarter of the episodes
        assert torch.equal(next(agent.model.actor.parameters()), before)
        Knapsack().search(agent, 2)
        assert not torch.equal(next(agent.model.actor.parameters()), before)

    def test_ppo_learns_from_its_own_episodes_only(self) -> None:
        agent = sb3.ppo(context(), hidden_dim=8)
        episode, _ = Knapsack().play(agent, explore=False)
        with pytest.raises(ValueError, match="4 steps, but the agent explored 0"):
            agent.observe(episode)

    @pytest.mark.parametrize(
        ("name", "knob", "value"),
        [
            ("td3", "hidden_dim", 0),
            ("td3", "learning_rate", 0.0),
            ("td3", "discount", 1.1),
            ("td3", "tau", 0.0),
            ("td3", "sigma", 0.0),
            ("td3", "batch_size", 0),
            ("sac", "warmup_share", 1.0),
            ("sac", "updates_per_step", 0),
            ("ppo", "gae_decay", -0.5),
            ("ppo", "clip_range", 0.0),
            ("ppo", "epochs", 0),
            ("ppo", "batch_size", 1),
            ("ppo", "episodes_per_update", 0),
        ],
    )
    def test_knobs_out_of_range_name_the_argument(
        self, name: str, knob: str, value: float
    ) -> None:
        bad: dict[str, Any] = {knob: value}
        with pytest.raises(ValueError, match=rf"{knob} \(={value}\)"):
            BUILD[name](context(), **bad)
