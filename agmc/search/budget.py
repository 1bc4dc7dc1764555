"""Budgets: what a user asks for, read and checked before a network is there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from agmc.cost.model import CostModel
from agmc.plan import PlanSpace
from agmc.search.bound import BoundBudget
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

    def bind(self, cost_model: CostModel, space: PlanSpace) -> BoundBudget:
        """The budget of one network; see `Budgets.bind`."""
        return Budgets((self,)).bind(cost_model, space)


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


@dataclass(frozen=True)
class Budgets:
    """All that is asked of a plan: several limits at once, or a floor, or nothing.

    Attributes:
        limits: all of them hold for every plan; none: every plan is allowed.
        floor: the least accuracy, instead of limits.

    Raises:
        ValueError: the limits and the floor contradict each other.
    """

    limits: tuple[Budget, ...] = ()
    floor: AccuracyFloor | None = None

    def __post_init__(self) -> None:
        if self.floor is not None and self.limits:
            raise ValueError(
                f"budgets {self.floor} and {self.limits[0]} conflict: the search for "
                "the cheapest plan is free to go as low as it can, a limit is used up; "
                "keep one of them"
            )
        for position, limit in enumerate(self.limits):
            for earlier in self.limits[:position]:
                if earlier.metric == limit.metric:
                    raise ValueError(
                        f"budgets {earlier} and {limit} conflict: both limit "
                        f"{limit.metric}; keep the one that is meant"
                    )

    @classmethod
    def of(cls, given: Demand) -> Budgets:
        """What is asked for, in any of its forms.

        Args:
            given: a budget, "macs:0.5", "accuracy>=0.9", or a sequence of those; None
                or "none" asks for nothing.

        Raises:
            ValueError: it is none of these, or its parts contradict each other.
        """
        if isinstance(given, Budgets):
            return given
        if given is None or given == "none":
            return cls()
        if isinstance(given, str | Budget | AccuracyFloor):
            given = (given,)
        limits: list[Budget] = []
        floors: list[AccuracyFloor] = []
        for part in given:
            if isinstance(part, str):
                is_floor = part.strip().startswith("accuracy")
                part = AccuracyFloor.parse(part) if is_floor else Budget.parse(part)
            if isinstance(part, Budget):
                limits.append(part)
            elif isinstance(part, AccuracyFloor):
                floors.append(part)
            else:
                raise ValueError(
                    f"budget {part!r} must be a text as macs:0.5 or accuracy>=0.9, a "
                    "Budget, or several of them"
                )
        if len(floors) > 1:
            raise ValueError(
                f"budgets {floors[0]} and {floors[1]} conflict: only one accuracy can "
                "be asked for"
            )
        return cls(tuple(limits), floors[0] if floors else None)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that must be evaluated."""
        if self.floor is not None:
            return (self.floor.metric,)
        return tuple(limit.metric for limit in self.limits)

    def __str__(self) -> str:
        if self.floor is not None:
            return str(self.floor)
        return ", ".join(map(str, self.limits)) or "none"

    def bind(self, cost_model: CostModel, space: PlanSpace) -> BoundBudget:
        """The budgets of one network.

        Raises:
            ValueError: no plan of the space can meet them (says what can be reached),
                or there is no table for a metric.
        """
        return BoundBudget(self, cost_model, space)


#: Everything that `Budgets.of` reads.
Demand: TypeAlias = (
    Budgets
    | Budget
    | AccuracyFloor
    | str
    | None
    | Sequence[Budget | AccuracyFloor | str]
)
