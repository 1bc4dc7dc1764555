"""A running mean of the reward: what is better than it is worth learning."""

from __future__ import annotations


class RunningBaseline:
    """Exponential moving average that starts at the first number it is told.

    Args:
        rate: share in (0, 1] by which the baseline follows each new number.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self.value: float | None = None

    def follow(self, reward: float) -> float:
        """Move towards a reward and return the baseline after the move."""
        if self.value is None:
            self.value = reward
        self.value += self._rate * (reward - self.value)
        return self.value
