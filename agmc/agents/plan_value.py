"""PlanValue: what plans are worth under one budget, as far as rewards tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agmc.agents.gaussian_process import GaussianProcess


class PlanValue:
    """A Gaussian process over the logarithms of the keep ratios of plans.

    Its hyperparameters are fitted once, to the first plans that it is told of; when
    they were fitted again to more of them, searches ended no better.

    Args:
        uniform: float64 `[D]`, the plan that logarithms are relative to.
        alike: what decisions look like, see `GaussianProcess`.
    """

    def __init__(self, uniform: np.ndarray, alike: np.ndarray) -> None:
        self._uniform = uniform
        self._process = GaussianProcess(alike)
        self._fitted = False

    def learn(
        self, plans: np.ndarray, rewards: np.ndarray, pending: Sequence[np.ndarray]
    ) -> None:
        """Takes in what plans were worth, instead of what it was told before.

        Args:
            plans: float64 `[N, D]`, keep ratios.
            rewards: float64 `[N]`.
            pending: plans `[D]` under way: worth what is expected of them.
        """
        numbers = self._numbers(plans)
        scaled = (rewards - rewards.mean()) / max(float(rewards.std()), 1e-9)
        if not self._fitted:
            self._process.fit(numbers, scaled)
            self._fitted = True
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
