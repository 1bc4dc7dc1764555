from __future__ import annotations

import random

from agmc.report.front import Front


def by_hand(pairs: list[tuple[float, float]]) -> int:
    kept = set(pairs)
    return sum(
        not any(o != p and o[0] <= p[0] and o[1] >= p[1] for o in kept) for p in kept
    )


def test_counts_what_nothing_dominates_after_every_pair() -> None:
    generator = random.Random(0)
    for _ in range(20):
        front, pairs = Front(), []
        for _ in range(60):
            pair = (generator.randint(0, 12), generator.randint(0, 12) / 12)
            pairs.append(pair)
            front.add(*pair)
            assert len(front) == by_hand(pairs)


def test_nothing_is_no_front() -> None:
    assert len(Front()) == 0
