from __future__ import annotations

import numpy as np

from agmc.graph.union_find import UnionFind


def test_several_sets_meet_in_one_call():
    sets = UnionFind()
    items = sets.new(6)
    assert items.tolist() == [1, 2, 3, 4, 5, 6] and len(sets) == 7
    sets.join(np.array([6, 6, 6, 2]), np.array([5, 4, 3, 1]))
    assert sets.roots(items).tolist() == [1, 1, 3, 3, 3, 3]
    sets.join(items[:1], items[5:])
    assert set(sets.roots(items).tolist()) == {1}


def test_agrees_with_sets_of_python():
    draw = np.random.default_rng(0)
    sets, plain = UnionFind(), [{i} for i in range(3001)]
    sets.new(3000)
    for _ in range(30):
        one, other = draw.integers(0, 3001, (2, 40))
        sets.join(one, other)
        for a, b in zip(one.tolist(), other.tolist(), strict=True):
            plain[a] |= plain[b]
            for member in plain[a]:
                plain[member] = plain[a]
    expected = [min(group) for group in plain]
    assert sets.roots(np.arange(3001)).tolist() == expected
