from __future__ import annotations

import math

import numpy as np
import pytest

from agmc.report.curves import Mean, area_under, episodes_until, means


@pytest.mark.parametrize(("runs", "quantile"), [(2, 12.7062), (5, 2.77645)])
def test_the_interval_is_that_of_student(runs: int, quantile: float) -> None:
    values = np.arange(runs, dtype=np.float64)
    mean, half = means(values[:, None])
    assert mean[0] == values.mean()
    expected = quantile * values.std(ddof=1) / math.sqrt(runs)
    assert half[0] == pytest.approx(expected, rel=1e-5)


def test_one_run_has_no_interval_and_none_no_mean() -> None:
    assert math.isnan(Mean.of([3.0, None]).half)
    assert Mean.of([3.0, None]).value == 3.0
    assert Mean.of([None]) is None


def test_area_and_level() -> None:
    curve = np.array([math.nan, 1.0, 3.0])
    assert area_under(curve, -1.0) == 1.0
    assert episodes_until(curve, 1.0) == 2
    assert episodes_until(curve, 3.5) is None
