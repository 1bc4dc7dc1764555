"""How models of Stable-Baselines3 take part in a search of ours.

Stable-Baselines3 owns its loop and this project owns another one. So its models are
built as usual, with their own networks, memories and updates, but `learn` is never
called: what its `collect_rollouts` does is done here, step by step, as observations
come and actions go. Like any environment, ours pays 0 before the last step and the
reward of the plan there. Actions in [0, 1] are [-1, 1] to the models.

The models draw from the global random states of torch and NumPy. `_Dice` keeps states
of our own and swaps them in around every call, so the seed alone counts here too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from agmc.agents import checks
from agmc.agents.agent import Agent, AgentContext, Episode


class OffPolicy(Agent):
    """A model of Stable-Baselines3 that learns from a memory of executed actions.

    Args:
        context: see `td3`.
        name: of the class in stable_baselines3, "TD3" or "SAC".
        hidden_dim: and the others: see `td3`; `sigma` 0 adds no noise to the policy's
            own.
    """

    def __init__(
        self,
        context: AgentContext,
        name: str,
        *,
        hidden_dim: int,
        learning_rate: float,
        discount: float,
        tau: float,
        batch_size: int,
        warmup_share: float,
        sigma: float,
        updates_per_step: int,
    ) -> None:
        checks.at_least(1, batch_size=batch_size, updates_per_step=updates_per_step)
        checks.share_above_zero(tau=tau)
        if not 0.0 <= warmup_share < 1.0:
            raise ValueError(f"warmup_share (={warmup_share}) must lie in [0, 1)")
        self._observation_dim = context.observation_dim
        # As in `NoiseSchedule`: at least one episode follows the warm-up.
        self._warmup_episodes = min(
            round(warmup_share * context.num_episodes), context.num_episodes - 1
        )
        self._sigma = sigma
        self._batch_size = batch_size
        self._updates_per_step = updates_per_step
        self._episode = 0
        self._dice = _Dice(context.seed)
        self.model = _build(
            name,
            context,
            self._dice,
            hidden_dim,
            learning_rate,
            discount,
            tau=tau,
            buffer_size=context.num_episodes * context.num_decisions,
        )

    def begin_episode(self, index: int) -> None:
        """Set the exploration to that of episode `index`, counted from 0."""
        self._episode = index

    def act(self, observation: Tensor, explore: bool = True) -> float:
        """Propose an action in [0, 1] for one observation `[observation_dim]`."""
        checks.observation_fits(observation, self._observation_dim)
        with self._dice.thrown():
            if explore and self._episode < self._warmup_episodes:
                return float(np.random.random())
            drawn, _ = self.model.predict(
                observation.numpy(), deterministic=not explore
            )
            action = _from_model(drawn.item())
            if explore and self._sigma:
                action += float(np.random.normal(0.0, self._sigma))
        return min(max(action, 0.0), 1.0)

    def observe(self, episode: Episode) -> None:
        """Remember the episode and, after the warm-up, learn from the memory."""
        observations = episode.observations.numpy()
        actions = _to_model(episode.actions.numpy())
        last = len(actions) - 1
        for t, action in enumerate(actions):
            self.model.replay_buffer.add(
                observations[[t]],
                observations[[min(t + 1, last)]],
                action.reshape(1, 1),
                np.array([episode.reward if t == last else 0.0]),
                np.array([t == last]),
                [{}],
            )
        if self._episode < self._warmup_episodes:
            return
        with self._dice.thrown():
            self.model.train(self._updates_per_step * len(actions), self._batch_size)


class OnPolicy(Agent):
    """PPO of Stable-Baselines3, which learns from the draws of its latest episodes.

    Args: see `agmc.agents.sb3.ppo`.
    """

    on_policy = True

    def __init__(
        self,
        context: AgentContext,
        *,
        hidden_dim: int,
        learning_rate: float,
        discount: float,
        gae_decay: float,
        clip_range: float,
        epochs: int,
        batch_size: int,
        episodes_per_update: int,
    ) -> None:
        checks.at_least(1, epochs=epochs, episodes_per_update=episodes_per_update)
        checks.positive(clip_range=clip_range)
        checks.share(gae_decay=gae_decay)
        steps = episodes_per_update * context.num_decisions
        if batch_size < 2 or steps < 2:
            raise ValueError(
                f"batch_size (={batch_size}) and the steps of a rollout (={steps}) "
                "must be at least 2; raise batch_size or episodes_per_update"
            )
        self._observation_dim = context.observation_dim
        self._dice = _Dice(context.seed)
        self.model = _build(
            "PPO",
            context,
            self._dice,
            hidden_dim,
            learning_rate,
            discount,
            gae_lambda=gae_decay,
            clip_range=clip_range,
            n_epochs=epochs,
            n_steps=steps,
            # A batch beyond the rollout would be warned of and change nothing.
            batch_size=min(batch_size, steps),
        )
        self._steps: list[tuple[Tensor, Tensor, Tensor]] = []

    def begin_episode(self, index: int) -> None:
        """Forget what was explored and not observed."""
        self._steps = []

    def act(self, observation: Tensor, explore: bool = True) -> float:
        """Propose an action in [0, 1] for one observation `[observation_dim]`."""
        checks.observation_fits(observation, self._observation_dim)
        with self._dice.thrown(), torch.no_grad():
            if not explore:
                drawn, _ = self.model.predict(observation.numpy(), deterministic=True)
                return _from_model(drawn.item())
            action, value, likelihood = self.model.policy(observation[None])
        self._steps.append((action, value, likelihood))
        return min(max(_from_model(action.item()), 0.0), 1.0)

    def observe(self, episode: Episode) -> None:
        """Remember the episode; learn when the rollout is full.

        Raises:
            ValueError: for an episode that this agent has not just explored.
        """
        checks.episode_is_own(len(episode.actions), len(self._steps))
        rollout, last = self.model.rollout_buffer, len(self._steps) - 1
        for t, (action, value, likelihood) in enumerate(self._steps):
            rollout.add(
                episode.observations[[t]].numpy(),
                action.numpy(),
                np.array([episode.reward if t == last else 0.0]),
                np.array([t == 0]),
                value,
                likelihood,
            )
        self._steps = []
        if rollout.full:
            with self._dice.thrown():
                rollout.compute_returns_and_advantage(
                    last_values=torch.zeros(1), dones=np.array([True])
                )
                self.model.train()
            rollout.reset()


class _Dice:
    """The global random states of torch and NumPy, as one agent sees them."""

    def __init__(self, seed: int) -> None:
        self._torch = torch.Generator().manual_seed(seed).get_state()
        self._numpy: Any = np.random.RandomState(seed % 2**32).get_state()

    @contextmanager
    def thrown(self) -> Iterator[None]:
        """Swap our states in, and what was there before out and in again."""
        outside = torch.get_rng_state(), np.random.get_state()
        torch.set_rng_state(self._torch)
        np.random.set_state(self._numpy)
        try:
            yield
        finally:
            self._torch, self._numpy = torch.get_rng_state(), np.random.get_state()
            torch.set_rng_state(outside[0])
            np.random.set_state(outside[1])


class _Spaces(gymnasium.Env[np.ndarray, np.ndarray]):
    """What a model asks of an environment when it is built; it is never played."""

    def __init__(self, observation_dim: int) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (observation_dim,))
        self.action_space = spaces.Box(-1.0, 1.0, (1,))


def _build(
    name: str,
    context: AgentContext,
    dice: _Dice,
    hidden_dim: int,
    learning_rate: float,
    discount: float,
    **knobs: Any,
) -> Any:
    checks.at_least(1, hidden_dim=hidden_dim)
    checks.positive(learning_rate=learning_rate)
    checks.share(discount=discount)
    if context.encoder is not None:
        raise ValueError(
            f"{name} of stable-baselines3 trains no encoder; "
            "take an agent of agmc, or hand its features in as observations"
        )
    try:
        import stable_baselines3
        from stable_baselines3.common.logger import Logger
    except ImportError as error:
        raise ValueError(
            f"agent {name} needs stable-baselines3, which is not installed; "
            "pip install agmc[sb3]"
        ) from error
    with dice.thrown():
        model = getattr(stable_baselines3, name)(
            "MlpPolicy",
            _Spaces(context.observation_dim),
            learning_rate=learning_rate,
            gamma=discount,
            policy_kwargs={"net_arch": [hidden_dim, hidden_dim]},
            device="cpu",
            **knobs,
        )
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


def _to_model(action: np.ndarray) -> np.ndarray:
    return 2.0 * action - 1.0


def _from_model(action: float) -> float:
    return (float(action) + 1.0) / 2.0
