"""A Gaussian process over whole plans: what reward to expect, and how surely.

Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006: regression by
algorithm 2.1, hyperparameters by the marginal likelihood and its gradient, section 5.4.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

#: The variances of the linear parts in their order, then those of the others.
_PRIOR = {
    **{"slopes": 0.3, "curves": 0.3, "shared_slopes": 0.3, "shared_curves": 0.3},
    **{"bends": 0.3, "length": 2.0, "noise": 0.05},
}
#: Standard deviations of the logarithms. The variances are held the closer: a curve
#: that fits plans close to each other may else grow until it condemns all others, and
#: a search settles on the first good plan it meets.
_PRIOR_SPREAD = np.array([0.75, 0.75, 0.75, 0.75, 0.75, 1.5, 1.5])
_RANGE = (-12.0, 6.0)  # so that no trial step leaves what can be factored
_JITTER = 1e-6


class GaussianProcess:
    """Regression of standardised rewards on D numbers a plan.

    What a number is worth is a slope and a curve, its own and one that decisions have
    in common which look alike; what is left are bends in all numbers together. So the
    kernel is a sum of five, linear in the numbers and their squares but for the last,
    Matern 5/2. All hyperparameters are positive and have a log-normal prior, since
    there are few rewards to fit them to.

    Args:
        alike: float64 `[D, F]`, a description of each decision; the shared slopes have
            the covariance `alike @ alike.T`.
    """

    def __init__(self, alike: np.ndarray) -> None:
        self._alike = alike
        self._log = np.log(np.array(list(_PRIOR.values())))

    @property
    def hyperparameters(self) -> Mapping[str, float]:
        """Variances of the parts and of the noise, and the length of a bend."""
        return dict(zip(_PRIOR, np.exp(self._log).tolist(), strict=True))

    def fit(self, plans: np.ndarray, rewards: np.ndarray) -> None:
        """Sets the hyperparameters to the most probable ones.

        Args:
            plans: float64 `[N, D]`.
            rewards: float64 `[N]`, of mean 0 and variance 1.
        """
        products = [part @ part.T for part in self._linear(plans)]
        apart = np.sqrt(5.0) * distance(plans, plans)
        prior = np.log(np.array(list(_PRIOR.values())))

        def objective(log: np.ndarray) -> tuple[float, np.ndarray]:
            """Negative log posterior and its gradient."""
            *variances, bends, length, noise = np.exp(log)
            away = apart / length
            bend = bends * _matern(away)
            scaled = list(map(np.multiply, variances, products))
            covariance = bend + sum(scaled)
            covariance[np.diag_indices_from(covariance)] += noise + _JITTER
            factor = cho_factor(covariance, lower=True)
            weights = cho_solve(factor, rewards)
            outer = cho_solve(factor, np.eye(len(rewards))) - np.outer(weights, weights)
            gradient = 0.5 * np.array(
                [
                    *(np.vdot(outer, part) for part in scaled),
                    np.vdot(outer, bend),
                    bends / 3 * np.vdot(outer, away**2 * (1 + away) * np.exp(-away)),
                    noise * np.trace(outer),
                ]
            )
            from_prior = (log - prior) / _PRIOR_SPREAD
            value = (
                0.5 * rewards @ weights
                + np.log(np.diag(factor[0])).sum()
                + 0.5 * from_prior @ from_prior
            )
            return float(value), gradient + from_prior / _PRIOR_SPREAD

        found = minimize(
            objective,
            self._log,
            jac=True,
            method="L-BFGS-B",
            bounds=[_RANGE] * len(prior),
            options={"maxiter": 30},
        )
        self._log = found.x

    def condition(self, plans: np.ndarray, rewards: np.ndarray) -> None:
        """Takes the plans and their rewards in, with the hyperparameters as they are.

        Args:
            plans: as of `fit`.
            rewards: as of `fit`.
        """
        self._plans = plans
        covariance = self._covariance(plans, plans)
        covariance[np.diag_indices_from(covariance)] += np.exp(self._log[-1]) + _JITTER
        self._factor = cho_factor(covariance, lower=True)
        self._weights = cho_solve(self._factor, rewards)

    def predict(self, plans: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the reward without noise.

        Args:
            plans: float64 `[M, D]`.

        Returns:
            Two arrays float64 `[M]`.
        """
        across = self._covariance(plans, self._plans)
        *variances, bends, _, _ = np.exp(self._log)
        own = bends + sum(
            variance * (part**2).sum(1)
            for variance, part in zip(variances, self._linear(plans), strict=True)
        )
        explained = solve_triangular(self._factor[0], across.T, lower=True)
        variance = own - (explained**2).sum(0)
        return across @ self._weights, np.sqrt(np.maximum(variance, 1e-12))

    def _linear(self, plans: np.ndarray) -> tuple[np.ndarray, ...]:
        """What the linear kernels are products of, each `[N, D]` or `[N, F]`."""
        squares = plans**2
        return plans, squares, plans @ self._alike, squares @ self._alike

    def _covariance(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        *variances, bends, length, _ = np.exp(self._log)
        covariance: np.ndarray = bends * _matern(np.sqrt(5.0) * distance(a, b) / length)
        for variance, x, y in zip(
            variances, self._linear(a), self._linear(b), strict=True
        ):
            covariance += variance * x @ y.T
        return covariance


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Euclidean, `[N, D]` and `[M, D]` -> `[N, M]`."""
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    found: np.ndarray = np.sqrt(np.maximum(squared, 0.0))
    return found


def _matern(away: np.ndarray) -> np.ndarray:
    """Matern 5/2 of sqrt(5) times the distance in lengths."""
    correlation: np.ndarray = (1 + away + away**2 / 3) * np.exp(-away)
    return correlation
