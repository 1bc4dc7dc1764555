"""goal_of_episode: which of several budgets an episode is under."""

from __future__ import annotations

import functools
import heapq


def goal_of_episode(index: int, number: int) -> int:
    """The turns that budgets take: the tighter a budget, the more often.

    The first `number` episodes are one of each. Then the k-th tightest has a share of
    the turns in proportion to 1 / sqrt(k).

    Args:
        index: of the episode, counted from 0.
        number: of the budgets, >= 1.

    Returns:
        that of the budget, 0 for the tightest.
    """
    order, waiting = _turns(number)
    while len(order) <= index:
        time, goal = heapq.heappop(waiting)
        order.append(goal)
        heapq.heappush(waiting, (time + (goal + 1) ** 0.5, goal))
    return order[index]


@functools.cache
def _turns(number: int) -> tuple[list[int], list[tuple[float, int]]]:
    """The turns so far, and when each budget is due again."""
    return [], [(0.0, goal) for goal in range(number)]
