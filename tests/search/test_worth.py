"""Only finite numbers count, and an error names the plan that caused it."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import torch

from agmc.cost.model import Cost
from agmc.plan import Plan
from agmc.search.outcome import Outcome
from agmc.search.worth import RewardError, worth_of

PLAN = Plan({"conv": 0.5})
OUTCOME = Outcome(0.75, Cost(50, 20, 80), 0.9, Cost(100, 100, 400))


@pytest.mark.parametrize("value", [1, -0.5, np.float32(2), torch.tensor(3.0), True])
def test_numbers_become_floats(value):
    number = worth_of(OUTCOME, lambda outcome: value, PLAN)
    assert type(number) is float and number == value


@pytest.mark.parametrize("value", [math.nan, -math.inf, None, "much", [1.0, 2.0]])
def test_other_values_are_refused_with_their_plan(value):
    def mine(outcome):
        return value

    with pytest.raises(RewardError, match="mine .* must be a finite number") as raised:
        worth_of(OUTCOME, mine, PLAN)
    assert raised.value.plan is PLAN
    assert PLAN.digest in str(raised.value) and "accuracy 0.7500" in str(raised.value)


def test_a_reward_that_raises_is_named_with_its_error():
    mine = functools.partial(math.log)
    with pytest.raises(RewardError, match="reward log raised TypeError: .*50 macs"):
        worth_of(OUTCOME, mine, PLAN)
