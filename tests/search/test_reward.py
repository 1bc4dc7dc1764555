"""Rewards by hand."""

from __future__ import annotations

import math

import pytest

from agmc.cost.model import Cost
from agmc.search.reward import error, error_log_macs


def test_error_is_minus_the_error_and_reads_no_cost():
    assert error(0.75, Cost(macs=8, params=1, bytes=1)) == -0.25
    assert error(0.75, Cost(macs=9, params=2, bytes=2)) == -0.25
    assert error(1.0, Cost(macs=8, params=1, bytes=1)) == 0.0


def test_error_log_macs_prefers_the_cheaper_of_two_equals():
    cheap = error_log_macs(0.75, Cost(macs=100, params=1, bytes=1))
    assert cheap == pytest.approx(-0.25 * math.log(100))
    assert cheap > error_log_macs(0.75, Cost(macs=200, params=1, bytes=1))
    assert cheap < error_log_macs(0.80, Cost(macs=100, params=1, bytes=1))
