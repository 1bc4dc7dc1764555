"""Rewards by hand."""

from __future__ import annotations

import functools
import math

import pytest

from agmc.cost.model import Cost
from agmc.search.budgets import Budgets
from agmc.search.outcome import Outcome
from agmc.search.reward import (
    accuracy_gain,
    cheapest_above,
    error,
    error_log_macs,
    error_log_params,
    exponential_penalty,
    own,
    reward_for,
    sigmoid_product,
)


def outcome(accuracy=0.75, *, macs=50, params=20, latency=None, original=0.9):
    whole = Cost(100, 100, 400, latency=latency and 1.0)
    kept = Cost(macs, params, 80, latency=latency)
    return Outcome(accuracy, kept, original, whole)


def test_error_is_minus_the_error_and_reads_no_cost():
    assert error(outcome()) == error(outcome(macs=60)) == -0.25
    assert error(outcome(1.0)) == 0.0


def test_logarithms_prefer_the_cheaper_of_two_equals():
    assert error_log_macs(outcome()) == pytest.approx(-0.25 * math.log(50))
    assert error_log_params(outcome()) == pytest.approx(-0.25 * math.log(20))
    assert error_log_macs(outcome()) > error_log_macs(outcome(macs=60))
    assert error_log_params(outcome()) > error_log_params(outcome(params=30))
    assert error_log_macs(outcome()) < error_log_macs(outcome(0.8))


def test_haq_counts_percentage_points_gained():
    assert accuracy_gain(outcome(0.75)) == pytest.approx(0.1 * -15)
    assert accuracy_gain(outcome(0.95), scale=1.0) == pytest.approx(5)


def test_sigmoids_are_halves_at_their_thresholds():
    at = outcome(0.81, macs=30, params=60)
    assert sigmoid_product(at) == pytest.approx(0.5**3)
    shares = 0.75 / 0.9 - 0.9, 0.3 - 0.5, 0.6 - 0.2
    expected = math.prod(1 / (1 + math.exp(-15 * share)) for share in shares)
    assert sigmoid_product(outcome()) == pytest.approx(expected)
    timed = sigmoid_product(outcome(latency=0.1), time="latency")
    assert timed > 5 * sigmoid_product(outcome(latency=0.5), time="latency")
    steep = sigmoid_product(outcome(0.0), slope=1e4)  # far out: neither inf nor nan
    assert 0 <= steep < 1e-9


def test_the_penalty_starts_at_the_target():
    assert exponential_penalty(outcome(macs=50)) == 0.75
    expected = 0.75 * math.exp(-5 * 0.1)
    assert exponential_penalty(outcome(macs=60)) == pytest.approx(expected)
    assert exponential_penalty(outcome(macs=60), weight=0) == 0.75
    assert exponential_penalty(outcome(), metric="params", target=0.1) < 0.75


def test_reaching_the_accuracy_is_worth_more_than_all_savings():
    reward = functools.partial(cheapest_above, accuracy=0.7)
    assert reward(outcome(0.7, macs=100)) == 0.0
    assert reward(outcome(0.7, macs=25)) == reward(outcome(0.9, macs=25)) == 0.75
    assert reward(outcome(0.69, macs=1)) == pytest.approx(-0.01)
    assert cheapest_above(outcome(), accuracy=0.7, metric="params") == 0.8
    # The table may say that a smaller network is slower.
    slower = outcome(0.8, latency=1.2)
    assert cheapest_above(slower, accuracy=0.7, metric="latency") == 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (functools.partial(accuracy_gain, scale=0), r"scale \(=0\) must be above 0"),
        (functools.partial(sigmoid_product, slope=-1), r"slope \(=-1\) must be above"),
        (functools.partial(exponential_penalty, target=2), r"target \(=2\) must be in"),
        (functools.partial(exponential_penalty, weight=-1), r"weight \(=-1\) must be"),
        (functools.partial(sigmoid_product, size="depth"), "'depth' is none of macs"),
        (functools.partial(sigmoid_product, time="latency"), "latency_table=FILE"),
    ],
)
def test_knobs_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(outcome())


def test_a_reward_of_the_users_own():
    assert own(function="agmc.search.reward:error") is error
    assert own(function="agmc.search.outcome:Outcome.accuracy_share.fget")(
        outcome(0.45)
    ) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (None, "names no function"),
        ("nowhere:reward", "cannot be imported"),
        ("agmc.search.reward:nothing", "cannot be imported"),
        ("agmc", "cannot be imported"),
        ("agmc.search.limit:OWN_UNITS", "is no function"),
        ("agmc.search.reward:own", "cannot be called with one outcome"),
    ],
)
def test_what_is_no_reward_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        own(function=name)


def test_the_reward_that_fits_the_budget():
    assert reward_for(Budgets.of("macs:0.5"), None) is error
    assert reward_for(Budgets.of(None), accuracy_gain) is accuracy_gain
    assert reward_for(Budgets.of(None), "agmc.search.reward:error") is error
    floor = reward_for(Budgets.of("accuracy>=0.7:params"), None)
    assert floor(outcome()) == 0.8
    with pytest.raises(ValueError, match="brings its own reward"):
        reward_for(Budgets.of("accuracy>=0.7"), error)
