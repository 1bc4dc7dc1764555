"""goal_of_episode: which of several budgets an episode is under."""

from __future__ import annotations

import heapq


def goal_of_episode(index: int, number: int) -> int:
    """The turns that budgets take: the tighter a budget, the more often.

    The first `number` episodes are one of each. Then the k-th tightest has a share of
    the turns in proportion to 1 / sqrt(k): the less may stay, the more there is to
    lose, and the longer searches take.

    Args:
        index: of the episode, counted from 0.
        number: of the budgets, >= 1.

    Returns:
        that of the budget, 0 for the tightest.
    """
    waiting = [(0.0, goal) for goal in range(number)]
    for _ in range(index):
        due, goal = waiting[0]
        heapq.heapreplace(waiting, (due + (goal + 1) ** 0.5, goal))
    return waiting[0][1]
