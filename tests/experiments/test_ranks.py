import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

FILE = Path(__file__).parents[2] / "experiments" / "proxy_fidelity" / "ranks.py"
if not FILE.exists():  # a source distribution leaves the experiments out
    pytest.skip("experiments/ is not here", allow_module_level=True)
spec = importlib.util.spec_from_file_location("proxy_fidelity_ranks", FILE)
ranks = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = ranks  # where dataclasses look their module up
spec.loader.exec_module(ranks)


def test_agreements_are_those_of_scipy_with_ties():
    generator = np.random.default_rng(0)
    first = generator.normal(size=24).round(1)
    second = (first + generator.normal(size=24)).round(1)
    rho, tau = ranks.agreements(first, second, draws=200)
    assert rho.value == pytest.approx(scipy.stats.spearmanr(first, second)[0])
    assert tau.value == pytest.approx(scipy.stats.kendalltau(first, second)[0])
    assert rho.low < rho.value < rho.high
    assert tau.low < tau.value < tau.high


def test_same_and_opposite_order():
    plans = np.arange(10.0)
    rho, tau = ranks.agreements(plans, plans**3, draws=50)
    assert (rho.value, rho.low, tau.value) == pytest.approx((1, 1, 1))
    rho, tau = ranks.agreements(plans, -plans, draws=50)
    assert (rho.value, rho.high, tau.value) == pytest.approx((-1, -1, -1))


def test_gain_is_the_difference_of_the_two_and_draws_the_same_plans():
    aim = np.arange(12.0)
    worse = aim.copy()
    worse[[0, 5]] = worse[[5, 0]]
    gain = ranks.gain(aim, worse, aim, draws=100)
    rho = ranks.agreements(worse, aim, draws=1)[0].value
    assert gain.value == pytest.approx(1 - rho)
    assert gain.low >= 0 and gain.high > gain.value
    same = ranks.gain(worse, worse, aim, draws=100)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_a_constant_score_says_nothing():
    rho, _ = ranks.agreements(np.ones(5), np.arange(5.0), draws=10)
    assert str(rho) == "none"


def test_spread_takes_the_middle_of_every_quantile():
    scores = np.arange(12.0)[::-1]
    assert ranks.spread(scores, 4) == [10, 7, 4, 1]
    assert sorted(ranks.spread(scores, 12)) == list(range(12))


def test_ceiling_without_and_with_noise():
    scores = np.array([0.1, 0.2, 0.3])
    assert ranks.ceiling(np.array([[0.1, 0.1]]), scores) == (0, 1)
    noise, bound = ranks.ceiling(np.array([[0.1, 0.2], [0.2, 0.1]]), scores)
    assert noise == pytest.approx(0.1 / 2**0.5)
    assert bound == pytest.approx((1 - 0.005 / 0.01) ** 0.5)
