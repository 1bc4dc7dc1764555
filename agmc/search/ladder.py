"""Ladder: a range of budgets that one search covers."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agmc.search.budget import Budget
from agmc.search.limit import OWN_UNITS

_TEXT = re.compile(r"(\w+)\s*:\s*([^/]+?)\s*\.\.\s*([^/]+?)\s*(?:/\s*(\d+))?")


@dataclass(frozen=True)
class Ladder:
    """Limits on one metric, evenly spaced between two.

    Attributes:
        tightest: the lowest limit.
        loosest: the highest limit, on the same metric; like the lowest one a share, or
            absolute.
        rungs: how many limits, both ends included, >= 2.

    Raises:
        ValueError: the limits are no range, or there are fewer than two.
    """

    tightest: Budget
    loosest: Budget
    rungs: int = 10

    def __post_init__(self) -> None:
        low, high = self.tightest, self.loosest
        alike = low.metric == high.metric and low.relative == high.relative
        if not alike or float(low.limit) >= float(high.limit):
            raise ValueError(
                f"budget {self} must go from the tighter limit to the looser one, both "
                "shares or both absolute, as in macs:0.3..0.8"
            )
        if self.rungs < 2:
            raise ValueError(f"budget {self} must have at least 2 limits")

    @classmethod
    def parse(cls, text: str) -> Ladder:
        """The range written as `METRIC:LOWEST..HIGHEST` or with `/RUNGS` behind it.

        Raises:
            ValueError: the text is no range.
        """
        match = _TEXT.fullmatch(text.strip())
        if match is None:
            raise ValueError(
                f"budget {text!r} must be METRIC:LOWEST..HIGHEST or "
                "METRIC:LOWEST..HIGHEST/NUMBER, as in macs:0.3..0.8/10"
            )
        metric, low, high = match[1], match[2], match[3]
        return cls(Budget(metric, low), Budget(metric, high), int(match[4] or 10))

    @property
    def metric(self) -> str:
        """That the limits are on."""
        return self.tightest.metric

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """All of them, the tightest first."""
        low, high = float(self.tightest.limit), float(self.loosest.limit)
        unit = "" if self.tightest.relative else OWN_UNITS.get(self.metric, "")
        step = (high - low) / (self.rungs - 1)
        inner = (f"{low + step * rung:.6g}{unit}" for rung in range(1, self.rungs - 1))
        return (self.tightest, *(Budget(self.metric, x) for x in inner), self.loosest)

    def __str__(self) -> str:
        high = str(self.loosest).partition(":")[2]
        return f"{self.tightest}..{high}/{self.rungs}"
