"""The same everywhere: within the budget, and nothing of it left over."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from search_bounds import assert_used, bound_of, bounds, walk

from agmc.search.uniform import uniform_keep_ratio, uniform_plan


@settings(max_examples=60, deadline=None)
@given(bounds())
def test_uniform_plan_uses_its_budget(bound):
    counts = bound.space.counts(uniform_plan(bound))
    assert_used(bound, counts)
    ratio = uniform_keep_ratio(bound)
    rounded = [decision.nearest(ratio) for decision in bound.space]
    assert bound.keeps_everything or bound.usage(np.array(rounded)) <= 1
    assert all(counts >= rounded)


@settings(max_examples=30, deadline=None)
@given(bounds())
def test_uniform_plan_leaves_no_notch_that_fits(bound):
    counts = bound.space.counts(uniform_plan(bound))
    for step, decision in enumerate(bound.space):
        for count in decision.counts:
            if count > counts[step]:
                raised = counts.copy()
                raised[step] = count
                assert bound.usage(raised) > 1


@pytest.mark.parametrize("share", [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
def test_uniform_keep_ratio_survives_float32_actions(share):
    bound = bound_of([16, 16, 32, 32, 64, 64], share)
    ratio = uniform_keep_ratio(bound)
    rounded = [decision.nearest(ratio) for decision in bound.space]
    counts = walk(bound, [float(np.float32(ratio))] * 6)
    assert counts[:4].tolist() == rounded[:4]
    assert all(counts >= rounded)
    one_more = [decision.nearest(ratio + 2e-6) for decision in bound.space]
    assert bound.usage(np.array(one_more)) > 1


def test_without_limits_everything_is_kept():
    bound = bound_of([4, 4], None)
    assert uniform_plan(bound).keep_ratio == {"conv0": 1.0, "conv1": 1.0}
    assert uniform_keep_ratio(bound) == 1.0
