"""PPO with one vector a step: every step shrinks all decisions at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from agmc.agents import checks
from agmc.agents.actor_critic import feature_encoder
from agmc.agents.agent import Agent, AgentContext
from agmc.agents.clipped_surrogate import ClippedSurrogate
from agmc.agents.gaussian_policy import GaussianPolicy, Trajectory
from agmc.agents.on_policy_agent import OnPolicyAgent


class PPOVector(OnPolicyAgent):
    """PPO after GNN-RL (Yu et al., ICML 2022): at most five multiplicative steps.

    All decisions begin with keep ratio 1. A step draws one pruning share a_i for every
    decision i at once, with means in [-1, 1], and multiplies:

        keep_i <- clip(keep_i * (1 - a_i), min_keep_ratio, 1)

    A negative share gives channels back. The steps end when the budget is met, as far
    as `context.choices` can tell (without a budget after one), or after `max_steps`;
    without choices, when the keep ratios are no more than those of the uniform plan on
    average. All this happens inside the agent when it is asked for the first decision
    of an episode. The decisions are then handed out one by one, and the environment
    clamps them to the budget, so that GNN-RL's penalty for missing it is not needed.

    The policy sees the features of the first observation, the keep ratios so far and
    the share of the steps that are over. GNN-RL embeds the shrunken graph instead;
    for one network the keep ratios tell the same. The rest is as in `PPO`, with
    GNN-RL's initial sigma; where that stays at 0.5 for 15 000 episodes, ours falls.

    Args:
        context: dimensions, number of episodes, seed and optional encoder.
        max_steps: multiplicative steps in an episode, in [1, 5].
        min_keep_ratio: below which no step goes, in (0, 1].
        hidden_dim: width of the two hidden layers of policy and value, >= 1.
        learning_rate: Adam's, of policy, value and encoder, > 0.
        discount: of the value of the next step, in [0, 1].
        gae_decay: of later errors of the value in an advantage, in [0, 1].
        clip_range: how far the ratio of new and old likelihood may leave 1 with
            profit, > 0.
        value_weight: of the value's error in the loss, > 0.
        epochs: gradient steps on each batch, >= 1.
        episodes_per_update: episodes in a batch, >= 2.
        initial_sigma: noise in the first episode, > 0, in action units.
        final_sigma: noise in the last episode, in (0, initial_sigma].

    Raises:
        ValueError: for a number outside its range or an encoder of the wrong shape.
    """

    def __init__(
        self,
        context: AgentContext,
        *,
        max_steps: int = 5,
        min_keep_ratio: float = 0.1,
        hidden_dim: int = 64,
        learning_rate: float = 3e-3,
        discount: float = 1.0,
        gae_decay: float = 0.95,
        clip_range: float = 0.2,
        value_weight: float = 0.5,
        epochs: int = 10,
        episodes_per_update: int = 8,
        initial_sigma: float = 0.5,
        final_sigma: float = 0.05,
    ) -> None:
        context.require_one_budget("ppo_vector")
        checks.at_least(2, episodes_per_update=episodes_per_update)
        checks.share_above_zero(min_keep_ratio=min_keep_ratio)
        if not 1 <= max_steps <= 5:
            raise ValueError(f"max_steps (={max_steps}) must lie in [1, 5]")
        super().__init__(
            context,
            episodes_per_update=episodes_per_update,
            initial_sigma=initial_sigma,
            final_sigma=final_sigma,
        )
        self._max_steps = max_steps
        self._min_keep_ratio = min_keep_ratio
        self._num_decisions = context.num_decisions
        self._choices = context.choices
        self._uniform = sum(context.uniform_keep_ratios) / context.num_decisions
        state = _State(context.encoder, context.observation_dim)
        self.policy = GaussianPolicy(
            context.observation_dim + context.num_decisions + 1,
            context.num_decisions,
            hidden_dim,
            state,
            self._generator,
            lowest=-1.0,
        )
        self._surrogate = ClippedSurrogate(
            self.policy,
            learning_rate=learning_rate,
            discount=discount,
            gae_decay=gae_decay,
            clip_range=clip_range,
            value_weight=value_weight,
            epochs=epochs,
        )
        self._plan: list[float] | None = None

    def begin_episode(self, index: int) -> None:
        """Set sigma to that of episode `index`, counted from 0, and forget the plan."""
        super().begin_episode(index)
        self._plan = None

    def act(self, observation: Tensor, explore: bool = True) -> float:
        """Hand out the next decision of the episode, an action in [0, 1].

        The first call of an episode plays all steps; `explore` of later calls and
        their observations change nothing.

        Raises:
            ValueError: for an observation of the wrong shape or with NaN in it, or
                when all decisions of the episode are handed out.
        """
        checks.observation_fits(observation, self._observation_dim)
        if self._plan is None:
            self._plan = self._shrink(observation, explore)
        if not self._plan:
            raise ValueError(
                f"all {self._num_decisions} decisions are handed out; "
                "call begin_episode for another episode"
            )
        return self._plan.pop(0)

    def _shrink(self, observation: Tensor, explore: bool) -> list[float]:
        keep = torch.ones(self._num_decisions)
        for step in range(self._max_steps):
            done = torch.tensor([step / self._max_steps])
            shares = self.decide(torch.cat([observation, keep, done]), explore)
            keep = (keep * (1.0 - shares[0])).clamp(self._min_keep_ratio, 1.0)
            if self._is_met(keep):
                break
        plan: list[float] = keep.tolist()
        return plan

    def _is_met(self, keep: Tensor) -> bool:
        if self._choices is None:
            return keep.mean().item() <= self._uniform
        return bool(self._choices.cost(keep.double().numpy()) <= 1.0)

    def num_explored(self) -> int:
        """Return how many decisions of an explored plan were handed out."""
        if self._plan is None or not self._draws:
            return 0
        return self._num_decisions - len(self._plan)

    def policy_state(self) -> Mapping[str, Tensor]:
        """Refused: the policy is of all decisions of one network at once."""
        return Agent.policy_state(self)

    def load_policy_state(self, state: Mapping[str, Tensor]) -> None:
        """Refused, see `policy_state`."""
        Agent.load_policy_state(self, state)

    def learn(self, batch: Sequence[Trajectory]) -> None:
        """Climb the clipped surrogate."""
        self._surrogate.learn(batch)


class _State(nn.Module):
    """Encodes the observation in a row and hands the rest of the row on."""

    def __init__(self, encoder: nn.Module | None, observation_dim: int) -> None:
        super().__init__()
        self.encoder, _ = feature_encoder(encoder, observation_dim)
        self._observation_dim = observation_dim

    def forward(self, rows: Tensor) -> Tensor:
        observations = rows[:, : self._observation_dim]
        rest = rows[:, self._observation_dim :]
        return torch.cat([self.encoder(observations), rest], dim=1)
