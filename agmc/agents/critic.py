"""Critic: learns what plans are worth; screens proposals before one is tried."""

from __future__ import annotations

from collections import deque

import numpy as np
from scipy.stats import norm
from torch import Tensor

from agmc.agents.agent import Agent, AgentContext, Choices, Episode
from agmc.agents.gaussian_process import GaussianProcess

#: Steps of a proposal away from a good plan, standard deviations of log keep ratios,
#: and the shares of its decisions that take one.
_STEPS = (0.03, 0.1, 0.2, 0.4)
_SHARES = (0.15, 0.4, 1.0)
_ELITES = 10
_SURVIVORS = 24


class Critic(Agent):
    """A critic of whole plans, asked about hundreds of proposals for each evaluation.

    An evaluation takes a second and gives one number, so all that can be known of the
    reward should be drawn from the few there are. As in QT-Opt (Kalashnikov et al.
    2018) there is a critic but no actor network: the plan to try is searched for by the
    cross-entropy method under the critic. The critic is a Gaussian process over the
    logarithms of the keep ratios, and what it is asked for is expected improvement
    (Jones et al. 1998). Decisions with similar observations have similar slopes in it:
    this is where a good embedding helps.

    The first plan is the uniform one, then come plans drawn around it. Plans not yet
    observed, with several evaluations under way, count as the critic expects them.

    Args:
        context: needs `choices`.
        first_plans: episodes before the critic is asked, >= 2.
        spread: of the first plans, standard deviation of log keep ratios, > 0.
        proposals: that are screened in each round, >= 32.
        rounds: of the cross-entropy method, >= 0.
        refit: episodes from one fit of the critic's hyperparameters to the next, >= 1.
        memory: plans that the critic knows at most, the best and the latest, >= 16.

    Raises:
        ValueError: a number is out of range, or there are no choices.
    """

    def __init__(
        self,
        context: AgentContext,
        *,
        first_plans: int = 8,
        spread: float = 0.4,
        proposals: int = 256,
        rounds: int = 3,
        refit: int = 10,
        memory: int = 400,
    ) -> None:
        if context.choices is None:
            raise ValueError("this agent weighs whole plans; it needs context.choices")
        for name, value, least in (
            ("first_plans", first_plans, 2),
            ("proposals", proposals, 32),
            ("rounds", rounds, 0),
            ("refit", refit, 1),
            ("memory", memory, 16),
        ):
            if value < least:
                raise ValueError(f"{name} (={value}) must be at least {least}")
        if not spread > 0.0:
            raise ValueError(f"spread (={spread}) must be above 0")
        self._choices: Choices = context.choices
        self._first_plans, self._spread = first_plans, spread
        self._num_proposals, self._rounds = proposals, rounds
        self._refit, self._memory = refit, memory
        self._random = np.random.default_rng(context.seed)
        self._uniform = np.array(context.uniform_keep_ratios)
        self._least = np.array([levels[0] for levels in self._choices.levels])
        self._observations: np.ndarray | None = None
        self._process: GaussianProcess | None = None
        self._pending: deque[np.ndarray] = deque()
        self._step = 0
        self._plans: list[np.ndarray] = []
        self._rewards: list[float] = []

    def begin_episode(self, index: int) -> None:
        """Decide on the whole plan."""
        if index == 0:
            plan = self._uniform
        elif index < self._first_plans or len(self._plans) < 2:
            plan = self._near_uniform()
        else:
            plan = self._best_proposal()
        self._pending.append(self._executable(plan))
        self._step = 0

    def act(self, observation: Tensor, explore: bool = True) -> float:
        """The next keep ratio of the plan."""
        action = self._pending[-1][self._step]
        self._step += 1
        return float(action)

    def observe(self, episode: Episode) -> None:
        """Remember what the plan was worth."""
        self._pending.popleft()
        if self._observations is None:
            self._observations = episode.observations.double().numpy()
        self._plans.append(episode.actions.double().numpy())
        self._rewards.append(episode.reward)

    def _best_proposal(self) -> np.ndarray:
        """The proposal of the highest expected improvement that was not tried yet."""
        plans, rewards = self._known()
        process = self._learn(plans, rewards)
        expected, _ = process.predict(self._numbers(plans))
        best = expected.max()  # of the tried ones, without their noise

        def worth(proposals: np.ndarray) -> np.ndarray:
            mean, deviation = process.predict(self._numbers(proposals))
            z = (mean - best) / deviation
            improvement: np.ndarray = deviation * (z * norm.cdf(z) + norm.pdf(z))
            return improvement

        elites = plans[np.argsort(-expected)[:_ELITES]]
        proposals = self._around(elites)
        worths = worth(proposals)
        for _ in range(self._rounds):
            kept = np.argsort(-worths)[:_SURVIVORS]
            more = self._between(proposals[kept])
            proposals = np.concatenate([proposals[kept], more])
            worths = np.concatenate([worths[kept], worth(more)])
        tried = {self._key(plan) for plan in (*self._plans, *self._pending)}
        for place in np.argsort(-worths):
            executed = self._executable(proposals[place])
            if self._key(executed) not in tried:
                return executed
        return self._near_uniform()  # all that is left to do is to look elsewhere

    def _near_uniform(self) -> np.ndarray:
        """A random plan."""
        steps = self._random.normal(0, self._spread, (1, len(self._uniform)))
        plan: np.ndarray = self._within(self._uniform * np.exp(steps))[0]
        return plan

    def _known(self) -> tuple[np.ndarray, np.ndarray]:
        """The plans the critic learns from, and their rewards."""
        rewards = np.array(self._rewards)
        chosen = np.arange(len(rewards))
        if len(chosen) > self._memory:
            latest, older = chosen[-self._memory // 4 :], chosen[: -self._memory // 4]
            best = older[np.argsort(-rewards[older])[: self._memory - len(latest)]]
            chosen = np.sort(np.concatenate([best, latest]))
        return np.array(self._plans)[chosen], rewards[chosen]

    def _learn(self, plans: np.ndarray, rewards: np.ndarray) -> GaussianProcess:
        """The critic after these plans."""
        numbers = self._numbers(plans)
        scaled = (rewards - rewards.mean()) / max(float(rewards.std()), 1e-9)
        due = len(self._plans) % self._refit == 0
        if self._process is None:
            self._process, due = GaussianProcess(self._alike()), True
        if due:
            self._process.fit(numbers, scaled)
        self._process.condition(numbers, scaled)
        if self._pending:
            pending = self._numbers(np.array(self._pending))
            expected, _ = self._process.predict(pending)
            self._process.condition(
                np.concatenate([numbers, pending]), np.concatenate([scaled, expected])
            )
        return self._process

    def _alike(self) -> np.ndarray:
        """Describes decisions: what all have in common, and what was observed of each.

        Scaled so that the shared slopes have about the variance of one alone.
        """
        assert self._observations is not None
        rows = self._observations - self._observations.mean(0)
        spread = rows.std(0)
        rows = rows[:, spread > 1e-9] / spread[spread > 1e-9]
        rows = rows / np.sqrt(max(rows.shape[1], 1))
        described = np.concatenate([np.ones((len(rows), 1)), rows], axis=1)
        return described / np.sqrt(len(rows))

    def _numbers(self, plans: np.ndarray) -> np.ndarray:
        """What the critic sees of plans `[N, D]`."""
        return np.log(plans / self._uniform)

    def _around(self, elites: np.ndarray) -> np.ndarray:
        """Proposals a step away from good plans."""
        shape = self._num_proposals, elites.shape[1]
        start = elites[self._random.integers(len(elites), size=shape[0])]
        step = self._random.choice(_STEPS, size=(shape[0], 1))
        taken = self._random.random(shape) < self._random.choice(
            _SHARES, size=(shape[0], 1)
        )
        return self._within(
            start * np.exp(taken * step * self._random.normal(size=shape))
        )

    def _between(self, survivors: np.ndarray) -> np.ndarray:
        """Proposals as wide apart as the best of the round before."""
        shape = self._num_proposals, survivors.shape[1]
        start = survivors[self._random.integers(len(survivors), size=shape[0])]
        width = np.log(survivors).std(0).clip(0.02, 0.3)
        width = width * self._random.choice([0.3, 1.0], size=(shape[0], 1))
        return self._within(start * np.exp(width * self._random.normal(size=shape)))

    def _within(self, plans: np.ndarray) -> np.ndarray:
        """Plans scaled as a whole until the budget is used up, `[N, D]`.

        Without a budget to use up, only the ranges are kept.
        """
        plans = np.clip(plans, self._least, 1.0)
        if self._choices.cost(np.ones((1, plans.shape[1])))[0] <= 1.0:
            return plans
        low, high = np.full(len(plans), -1.6), np.full(len(plans), 1.1)
        for _ in range(9):
            middle = (low + high) / 2
            tried = np.clip(plans * np.exp(middle)[:, None], self._least, 1.0)
            holds = self._choices.cost(tried) <= 1.0
            low, high = np.where(holds, middle, low), np.where(holds, high, middle)
        return np.clip(plans * np.exp(low)[:, None], self._least, 1.0)

    def _executable(self, plan: np.ndarray) -> np.ndarray:
        """What the budget leaves of a plan, at levels that there are."""
        return np.array(self._choices.clamp([float(ratio) for ratio in plan]))

    def _key(self, plan: np.ndarray) -> bytes:
        return np.round(plan, 6).tobytes()
