"""Front: how many plans so far no other plan beats in cost and accuracy."""

from __future__ import annotations

from bisect import bisect_left, bisect_right


class Front:
    """The non-dominated (cost, accuracy) pairs of those added, grown one by one.

    A pair is dominated by another that costs no more and is no less accurate; of equal
    pairs one counts. Adding takes logarithmic time but for the pairs it throws out.
    """

    def __init__(self) -> None:
        # Both ascend: along the front, who costs more is more accurate.
        self._costs: list[float] = []
        self._accuracies: list[float] = []

    def __len__(self) -> int:
        return len(self._costs)

    def add(self, cost: float, accuracy: float) -> None:
        """Takes a pair in unless it is dominated, and drops what it dominates.

        Args:
            cost: of a plan, in any unit; lower is better.
            accuracy: of the plan, a share in [0, 1].
        """
        cheaper = bisect_right(self._costs, cost)
        if cheaper and self._accuracies[cheaper - 1] >= accuracy:
            return
        first = bisect_left(self._costs, cost)
        last = bisect_right(self._accuracies, accuracy)
        self._costs[first : max(first, last)] = [cost]
        self._accuracies[first : max(first, last)] = [accuracy]
