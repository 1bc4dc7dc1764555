"""The turns of several budgets."""

from __future__ import annotations

from collections import Counter

import pytest

from agmc.agents.goal_turns import goal_of_episode


@pytest.mark.parametrize("number", [1, 2, 10])
def test_the_first_turns_are_one_of_each(number):
    assert [goal_of_episode(i, number) for i in range(number)] == [*range(number)]


def test_the_tighter_a_budget_the_more_turns():
    turns = Counter(goal_of_episode(index, 4) for index in range(280))
    # 1, 1 / sqrt(2), 1 / sqrt(3) and 1 / 2 of the first one's.
    weights = [(goal + 1) ** -0.5 for goal in range(4)]
    for goal, weight in enumerate(weights):
        assert turns[goal] == pytest.approx(280 * weight / sum(weights), abs=2)
