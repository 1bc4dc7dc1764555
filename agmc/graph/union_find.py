"""UnionFind: disjoint sets of integers, joined array by array (Tarjan 1975)."""

from __future__ import annotations

import numpy as np


class UnionFind:
    """Sets of the integers 0, 1, ...; the smallest stands for its set."""

    def __init__(self) -> None:
        self._parent = np.zeros(1024, dtype=np.int32)
        self._count = 1

    def __len__(self) -> int:
        return self._count

    def new(self, count: int) -> np.ndarray:
        """Integers that are alone in their sets, int32 [count]."""
        start, end = self._count, self._count + count
        if end > len(self._parent):
            grown = np.zeros(max(end, 2 * len(self._parent)), dtype=np.int32)
            grown[:start] = self._parent[:start]
            self._parent = grown
        self._parent[start:end] = np.arange(start, end)
        self._count = end
        return np.arange(start, end, dtype=np.int32)

    def roots(self, items: np.ndarray) -> np.ndarray:
        """The smallest of every item's set, same shape."""
        found = self._parent[items]
        while True:
            further = self._parent[found]
            if np.array_equal(further, found):
                break
            found = further
        self._parent[items] = found
        return found

    def join(self, first: np.ndarray, second: np.ndarray) -> None:
        """Unites the sets of `first[i]` and `second[i]`, for arrays of equal shape."""
        while True:
            one, other = self.roots(first), self.roots(second)
            differ = one != other
            if not differ.any():
                return
            low = np.minimum(one, other)[differ]
            high = np.maximum(one, other)[differ]
            # Where one root meets several, the smallest is kept and the next round
            # joins the others to it.
            np.minimum.at(self._parent, high, low)
