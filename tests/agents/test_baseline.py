from __future__ import annotations

import pytest

from agmc.agents.baseline import RunningBaseline


def test_it_starts_at_the_first_reward_and_follows_by_its_rate() -> None:
    baseline = RunningBaseline(0.25)
    assert baseline.value is None
    assert baseline.follow(-3.0) == -3.0
    assert baseline.follow(1.0) == pytest.approx(-2.0)
    assert baseline.value == pytest.approx(-2.0)
