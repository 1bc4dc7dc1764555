"""PlanValue: what plans are worth under one budget, as far as rewards tell."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from agmc.agents.gaussian_process import GaussianProcess


class PlanValue:
    """A Gaussian process over the logarithms of the keep ratios of plans.

    Args:
        uniform: float64 `[D]`, the plan that logarithms are relative to.
        alike: what decisions look like, see `GaussianProcess`.
        enough: plans that the hyperparameters are fitted to; once it was told of so
            many, they stay as they are but for `refit`.
        refit: plans that come, told or not, from one fit to the next; inf: no more.
    """

    def __init__(
        self,
        uniform: np.ndarray,
        alike: np.ndarray,
        enough: int,
        refit: float = math.inf,
    ) -> None:
        self._uniform, self._enough, self._refit = uniform, enough, refit
        self._process = GaussianProcess(alike)
        self._next = 0.0  # how many plans there are when it is fitted again

    def learn(
        self,
        plans: np.ndarray,
        rewards: np.ndarray,
        *,
        seen: int,
        pending: Sequence[np.ndarray],
    ) -> None:
        """Takes in what plans were worth, instead of what it was told before.

        Args:
            plans: float64 `[N, D]`, keep ratios.
            rewards: float64 `[N]`.
            seen: plans that there are, those that it is not told included, >= N.
            pending: plans `[D]` under way: worth what is expected of them.
        """
        numbers = self._numbers(plans)
        scaled = (rewards - rewards.mean()) / max(float(rewards.std()), 1e-9)
        if seen >= self._next:
            self._process.fit(numbers, scaled)
            known = len(plans) >= self._enough
            self._next = seen + self._refit if known else 0.0
        self._process.condition(numbers, scaled)
        if pending:
            away = self._numbers(np.array(pending))
            expected, _ = self._process.predict(away)
            self._process.condition(
                np.concatenate([numbers, away]), np.concatenate([scaled, expected])
            )

    def predict(self, plans: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of what plans `[N, D]` are worth, scaled."""
        return self._process.predict(self._numbers(plans))

    def _numbers(self, plans: np.ndarray) -> np.ndarray:
        """What the process sees of plans: 0 is the uniform one."""
        numbers: np.ndarray = np.log(plans / self._uniform)
        return numbers
