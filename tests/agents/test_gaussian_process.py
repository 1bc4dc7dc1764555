from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from agmc.agents.gaussian_process import GaussianProcess

RANDOM = np.random.default_rng(0)
ALIKE = RANDOM.normal(size=(3, 2))
PLANS = RANDOM.normal(size=(40, 3))


def kernel(process: GaussianProcess, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Written out pair by pair."""
    theta = process.hyperparameters
    values = np.empty((len(a), len(b)))
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            r = np.sqrt(5) * np.linalg.norm(x - y) / theta["length"]
            values[i, j] = (
                theta["slopes"] * x @ y
                + theta["curves"] * x**2 @ y**2
                + theta["shared_slopes"] * (x @ ALIKE) @ (y @ ALIKE)
                + theta["shared_curves"] * (x**2 @ ALIKE) @ (y**2 @ ALIKE)
                + theta["bends"] * (1 + r + r**2 / 3) * np.exp(-r)
            )
    return values


def test_it_predicts_as_the_formula_says() -> None:
    process = GaussianProcess(ALIKE)
    rewards = RANDOM.normal(size=40)
    process.condition(PLANS, rewards)
    new = RANDOM.normal(size=(5, 3))
    noise = process.hyperparameters["noise"] + 1e-6
    inverse = np.linalg.inv(kernel(process, PLANS, PLANS) + noise * np.eye(40))
    across = kernel(process, new, PLANS)
    mean, deviation = process.predict(new)
    assert np.allclose(mean, across @ inverse @ rewards)
    own = np.diag(kernel(process, new, new) - across @ inverse @ across.T)
    assert np.allclose(deviation, np.sqrt(own))


def test_the_fit_is_at_a_maximum_of_the_posterior() -> None:
    process = GaussianProcess(ALIKE)
    rewards = PLANS @ [1.0, -2.0, 0.5] - PLANS[:, 0] ** 2 + 0.1 * RANDOM.normal(size=40)
    rewards = (rewards - rewards.mean()) / rewards.std()
    prior = np.log(list(process.hyperparameters.values()))
    spread = np.array([0.75, 0.75, 0.75, 0.75, 0.75, 1.5, 1.5])

    def posterior() -> float:
        noise = process.hyperparameters["noise"] + 1e-6
        covariance = kernel(process, PLANS, PLANS) + noise * np.eye(40)
        away = (np.log(list(process.hyperparameters.values())) - prior) / spread
        likelihood = multivariate_normal.logpdf(rewards, np.zeros(40), covariance)
        return likelihood - 0.5 * float(away @ away)

    before = posterior()
    process.fit(PLANS, rewards)
    best = posterior()
    assert best > before + 5
    found = process._log.copy()
    for place in range(7):
        for step in (-0.1, 0.1):
            process._log = found.copy()
            process._log[place] += step
            assert posterior() < best


def test_what_was_learned_of_a_decision_holds_for_one_that_is_like_it() -> None:
    alike = GaussianProcess(np.array([[1.0], [1.0]]))
    apart = GaussianProcess(np.array([[0.0], [0.0]]))
    plans = np.stack([np.linspace(-1, 1, 9), np.zeros(9)], axis=1)
    for process in (alike, apart):
        process.condition(plans, plans[:, 0])
    other = np.array([[0.0, 1.0]])
    assert alike.predict(other)[0][0] > apart.predict(other)[0][0] + 0.2
    assert apart.predict(other)[0][0] == pytest.approx(0.0, abs=0.05)
