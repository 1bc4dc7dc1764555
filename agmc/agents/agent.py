"""The contract of every agent: observations in, actions out, whole episodes to learn.

An agent knows no network, no graph and no budget. It sees flat float32 vectors and
proposes actions in [0, 1]; the environment may clamp a proposal, and the *executed*
action is what an `Episode` gives back. An agent may also ask for a plan to be measured
outside of the budget, which takes the place of an episode.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Choices:
    """What is known of whole plans without evaluating any.

    Attributes:
        levels: for every decision the keep ratios to choose from, ascending, 1 last.
        cost: keep ratios, float64 `[..., num_decisions]`, -> their cost relative to the
            budget, float64 `[...]`: at most 1 is within it; 0 where there is none.
        clamp: the keep ratios of a whole plan -> those that the budget leaves of them.
    """

    levels: tuple[tuple[float, ...], ...]
    cost: Callable[[np.ndarray], np.ndarray]
    clamp: Callable[[Sequence[float]], tuple[float, ...]]


@dataclass(frozen=True, eq=False)
class Goal:
    """One budget of a search that has several.

    Attributes:
        uniform_keep_ratios: see `AgentContext`, of this budget.
        choices: of this budget.
    """

    uniform_keep_ratios: tuple[float, ...]
    choices: Choices


@dataclass(frozen=True)
class AgentContext:
    """What the search knows when it builds an agent; every agent takes just this.

    Attributes:
        observation_dim: length of one observation vector, >= 1.
        num_decisions: decisions (steps) in one episode, >= 1.
        num_episodes: episodes of the whole search, >= 1; schedules are tied to it.
        seed: seeds all randomness of the agent; a non-negative integer.
        uniform_keep_ratios: one keep ratio per decision, in (0, 1]: as nearly the same
            everywhere as whole channels and the use of the whole budget allow.
        encoder: trained end to end with the agent where given; maps observations
            `[B, observation_dim]` to features `[B, F]`, without randomness.
        choices: for agents that weigh whole plans; None where nothing is known.
        look: what would be observed along the uniform plan, `[num_decisions,
            observation_dim]`, before it was played; None where nobody can tell.
        sensitivities: how much each decision is expected to matter, of mean 0 and
            spread 1 over the decisions; None where nothing is expected.
        absolute: what decisions look like on a scale that all networks share, float32
            `[num_decisions, F]`, for what an agent takes from one network to another;
            None where observations are all there is.
        goals: the budgets of a search that has several, the tightest first, which is as
            above; `goal_of_episode` says whose turn it is. Observations tell them apart
            as well.

    Raises:
        ValueError: for a number outside its range.
    """

    observation_dim: int
    num_decisions: int
    num_episodes: int
    seed: int
    uniform_keep_ratios: tuple[float, ...]
    encoder: nn.Module | None = None
    choices: Choices | None = None
    look: Callable[[], Tensor] | None = None
    sensitivities: tuple[float, ...] | None = None
    absolute: Tensor | None = None
    goals: tuple[Goal, ...] = ()

    def __post_init__(self) -> None:
        """Reject numbers out of range before a search starts."""
        for name in ("observation_dim", "num_decisions", "num_episodes"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} (={getattr(self, name)}) must be at least 1; "
                    "give the search something to decide"
                )
        if self.seed < 0:
            raise ValueError(
                f"seed (={self.seed}) must not be negative; take any integer >= 0"
            )
        if len(self.uniform_keep_ratios) != self.num_decisions:
            raise ValueError(
                f"uniform_keep_ratios has {len(self.uniform_keep_ratios)} entries for "
                f"{self.num_decisions} decisions"
            )
        if not all(0.0 < ratio <= 1.0 for ratio in self.uniform_keep_ratios):
            raise ValueError(
                f"uniform_keep_ratios (={self.uniform_keep_ratios}) must lie in (0, 1];"
                " 1 keeps everything"
            )

    def require_one_budget(self, agent: str) -> None:
        """Refuse a search over several budgets.

        Args:
            agent: its name, for the message.

        Raises:
            ValueError: there are several.
        """
        if len(self.goals) > 1:
            raise ValueError(
                f"agent {agent} searches one budget at a time, and there are "
                f"{len(self.goals)}; take agent=critic, or sweep over the budgets"
            )


@dataclass(frozen=True)
class Episode:
    """One finished episode of T steps.

    Attributes:
        observations: float32 `[T, observation_dim]`, what the agent saw at each step.
        actions: float32 `[T]`, the *executed* actions in [0, 1], after clamping.
        reward: the reward of the finished plan, a finite number.

    Raises:
        ValueError: for shapes that do not belong together or a reward that is not
            finite.
    """

    observations: Tensor
    actions: Tensor
    reward: float

    def __post_init__(self) -> None:
        """Reject what would poison an agent's memory silently."""
        if self.observations.ndim != 2 or self.actions.shape != (
            self.observations.shape[0],
        ):
            raise ValueError(
                "observations must be [T, observation_dim] and actions [T], got "
                f"{tuple(self.observations.shape)} and {tuple(self.actions.shape)}; "
                "stack one row and one action a step"
            )
        if not math.isfinite(self.reward):
            raise ValueError(
                f"reward (={self.reward}) must be finite; "
                "check the network and the data for NaN or infinite values"
            )


class Agent(ABC):
    """A policy that proposes one action a decision and learns from whole episodes.

    Several episodes may be in flight: others may begin, and be acted out to their end,
    before one is observed. What is observed comes in the order in which it began, and
    before an episode begins every probe has been observed.

    Attributes:
        on_policy: whether it learns only from the episode that it has just played; then
            no other begins before that one is observed.
    """

    on_policy = False

    @abstractmethod
    def begin_episode(self, index: int) -> None:
        """Tell the agent which episode starts, counted from 0."""

    @abstractmethod
    def act(self, observation: Tensor, explore: bool = True) -> float:
        """Propose an action in [0, 1].

        Args:
            observation: float32 `[observation_dim]`.
            explore: False asks for the greedy policy where the agent has one.
        """

    @abstractmethod
    def observe(self, episode: Episode) -> None:
        """Learn from one finished episode."""

    def policy_state(self) -> Mapping[str, Tensor]:
        """What it has learned and an agent on another network can begin with.

        Returns:
            Name -> tensor; of nothing that one network alone has.

        Raises:
            ValueError: it learns nothing of the kind.
        """
        raise ValueError(
            f"{type(self).__name__} has no policy that could be kept; take agent=ddpg, "
            "td3, ppo, reinforce or critic"
        )

    def load_policy_state(self, state: Mapping[str, Tensor]) -> None:
        """Begin with what another agent of this class has learned.

        To be called before the first episode. From then on `act` without exploration
        plays the other's policy, and learning goes on from it without a warm-up.

        Raises:
            ValueError: it learns nothing of the kind, or the tensors do not fit or are
                not finite.
        """
        self.policy_state()

    def probe(self, index: int) -> Sequence[float] | None:
        """Ask for a measurement in the place of episode `index`.

        Returns:
            One keep ratio a decision, evaluated as they are, within the budget or not;
            None plays the episode.
        """
        return None

    def observe_probe(self, keep_ratios: Sequence[float], reward: float) -> None:
        """Learn what a probe found; the keep ratios are those asked for, rounded."""
        raise NotImplementedError(f"{type(self).__name__} asks for no measurements")
