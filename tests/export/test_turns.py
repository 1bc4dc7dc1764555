"""Timing in turns."""

from __future__ import annotations

import numpy as np

from agmc.export.turns import WARM_UP, in_turns, quiet_median


def test_a_busy_stretch_does_not_count() -> None:
    samples = np.ones((50, 2))
    samples[:10] = 9
    samples[:, 1] *= 2
    assert quiet_median(samples).tolist() == [1, 2]
    assert quiet_median(np.array([3.0, 1.0, 2.0])) == 2


def test_everything_takes_turns() -> None:
    calls: list[str] = []
    rounds = list(in_turns([lambda: calls.append("a"), lambda: calls.append("b")], 0))
    assert len(rounds) == 6
    assert "".join(calls) == "ab" * (6 + WARM_UP)
    assert all(seconds >= 0 for one in rounds for seconds in one)
