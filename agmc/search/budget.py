"""Budgets: what a user asks for, read and checked before a network is there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from agmc.search.limit import BUDGET_METRICS, OWN_UNITS, parse_limit

_FLOOR = re.compile(r"accuracy\s*>=\s*(\d+\.?\d*|\.\d+)\s*(?::\s*(\w+))?")


@dataclass(frozen=True)
class Budget:
    """The most that a plan may keep of one metric.

    Attributes:
        metric: one of `agmc.search.limit.BUDGET_METRICS`: macs, params, bytes (of the
            file), activation_bytes (the peak for one input), bops, latency
            (milliseconds as the table of `agmc profile` predicts them), energy
            (millijoules by the user's table).
        limit: a number in (0, 1] is the share of the original network that may be
            kept, a number above 1 is absolute; absolute numbers also as text with a
            decimal unit: "200k", "60M", "1.2G", for bytes "500kB", "2MB", for latency
            "2.5ms", "900us" and for energy "0.2mJ" (these two always with a unit).
            Kept as a number.
        relative: whether the limit is a share.

    Raises:
        ValueError: the metric is unknown or the limit is no such number.
    """

    metric: str
    limit: float | str
    relative: bool = field(init=False)

    def __post_init__(self) -> None:
        if self.metric not in BUDGET_METRICS:
            raise ValueError(
                f"budget metric {self.metric!r} is unknown; choose one of "
                + ", ".join(BUDGET_METRICS)
            )
        limit, relative = parse_limit(self.limit, self.metric)
        object.__setattr__(self, "limit", limit)
        object.__setattr__(self, "relative", relative)

    @classmethod
    def parse(cls, text: str) -> Budget:
        """The budget written as `METRIC:LIMIT`: "macs:0.5", "bytes:500kB".

        Raises:
            ValueError: the text is no budget.
        """
        metric, colon, limit = text.partition(":")
        if not colon:
            raise ValueError(
                f"budget {text!r} must be METRIC:LIMIT, as in macs:0.5, params:200k or "
                "latency:2.5ms, or accuracy>=SHARE"
            )
        return cls(metric.strip(), limit.strip())

    def __str__(self) -> str:
        unit = "" if self.relative else OWN_UNITS.get(self.metric, "")
        return f"{self.metric}:{self.limit:.12g}{unit}"


@dataclass(frozen=True)
class AccuracyFloor:
    """The least accuracy asked for; the search looks for the cheapest plan above it.

    Attributes:
        accuracy: on the search split, a share in (0, 1]; of a plan in the search it is
            measured before fine-tuning, of the result after it.
        metric: what is to be low: one of `agmc.search.limit.BUDGET_METRICS`.

    Raises:
        ValueError: no share, or no such metric.
    """

    accuracy: float
    metric: str = "macs"

    def __post_init__(self) -> None:
        if not 0 < self.accuracy <= 1:
            raise ValueError(
                f"budget accuracy>= (={self.accuracy}) must be a share in (0, 1]"
            )
        if self.metric not in BUDGET_METRICS:
            raise ValueError(
                f"budget {self}: metric {self.metric!r} is unknown; choose one of "
                + ", ".join(BUDGET_METRICS)
            )

    @classmethod
    def parse(cls, text: str) -> AccuracyFloor:
        """The floor written as `accuracy>=SHARE` or `accuracy>=SHARE:METRIC`.

        Raises:
            ValueError: the text is no floor.
        """
        match = _FLOOR.fullmatch(text.strip())
        if match is None:
            raise ValueError(
                f"budget {text!r} must be accuracy>=SHARE or accuracy>=SHARE:METRIC, "
                "as in accuracy>=0.9 or accuracy>=0.9:params"
            )
        return cls(float(match[1]), match[2] or "macs")

    def __str__(self) -> str:
        return f"accuracy>={self.accuracy:.12g}:{self.metric}"
