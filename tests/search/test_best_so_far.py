from __future__ import annotations

import math

from agmc.cost.model import Cost
from agmc.plan import Plan
from agmc.search.best_so_far import best_so_far, better
from agmc.search.episode_log import EpisodeRecord


def test_the_best_so_far_passes_over_what_is_missing():
    curve = best_so_far([None, 0.2, math.nan, 0.1, 0.4])
    assert math.isnan(curve[0])
    assert curve[1:].tolist() == [0.2, 0.2, 0.2, 0.4]
    assert best_so_far([]).shape == (0,)
    assert best_so_far(x for x in (-2.0, -1.0)).tolist() == [-2.0, -1.0]


def test_the_better_of_equals_is_the_first_and_never_a_probe():
    def record(episode, reward, **kind):
        cost = Cost(1, 1, 1)
        return EpisodeRecord(episode, Plan({}), reward, 0.5, cost, 1.0, False, **kind)

    records = [record(0, 0.9, probe=True), record(1, 0.3), record(2, 0.3)]
    records += [record(3, 0.8, failed=True), record(4, 0.5)]
    best, bests = None, []
    for past in records:
        best = better(best, past)
        bests.append(best and best.episode)
    assert bests == [None, 1, 1, 1, 4]
