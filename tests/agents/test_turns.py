"""The turns of several budgets."""

from __future__ import annotations

from collections import Counter

import pytest

from agmc.agents.turns import goal_of_episode


@pytest.mark.parametrize("number", [1, 2, 10])
def test_the_first_turns_are_one_of_each(number):
    assert [goal_of_episode(i, number) for i in range(number)] == [*range(number)]


def test_the_tighter_a_budget_the_more_turns():
    turns = Counter(goal_of_episode(index, 4) for index in range(2800))
    # 1, 1 / sqrt(2), 1 / sqrt(3) and 1 / 2 of the first one's.
    weights = [(goal + 1) ** -0.5 for goal in range(4)]
    for goal, weight in enumerate(weights):
        assert turns[goal] == pytest.approx(2800 * weight / sum(weights), abs=2)


def test_it_does_not_matter_what_was_asked_before():
    late = goal_of_episode(500, 7)
    assert [goal_of_episode(index, 7) for index in (0, 500)] == [0, late]
