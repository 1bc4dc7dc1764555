from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from agmc.agents import checks


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (checks.positive, [1e-9, 5.0], [0.0, -1.0, math.inf, math.nan]),
        (checks.share, [0.0, 0.5, 1.0], [-0.1, 1.1, math.nan]),
        (checks.share_above_zero, [0.1, 1.0], [0.0, 1.1, math.nan]),
    ],
)
def test_borders(check: Callable[..., None], good: list[float], bad: list[float]):
    for value in good:
        check(knob=value)
    for value in bad:
        with pytest.raises(ValueError, match=rf"^knob \(={value}\) must"):
            check(fine=0.5, knob=value)


def test_counts_have_a_least() -> None:
    checks.at_least(2, some=2, more=3)
    with pytest.raises(ValueError, match=r"^few \(=1\) must be at least 2$"):
        checks.at_least(2, some=2, few=1)
