"""Budgets: all that is asked of a plan, in any of the forms that users write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from agmc.cost.model import CostModel
from agmc.plan_space import PlanSpace
from agmc.search.bound import BoundBudget
from agmc.search.budget import AccuracyFloor, Budget
from agmc.search.ladder import Ladder


@dataclass(frozen=True)
class Budgets:
    """All that is asked of a plan: several limits at once, or a floor, or nothing.

    Attributes:
        limits: all of them hold for every plan; none: every plan is allowed.
        floor: the least accuracy, instead of limits.
        ladder: a range of limits to search at once; its tightest is one of `limits`.

    Raises:
        ValueError: the limits and the floor contradict each other.
    """

    limits: tuple[Budget, ...] = ()
    floor: AccuracyFloor | None = None
    ladder: Ladder | None = None

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
            given: a budget, "macs:0.5", a range of budgets, "macs:0.3..0.8",
                "accuracy>=0.9", or a sequence of those; None or "none" asks for
                nothing.

        Raises:
            ValueError: it is none of these, or its parts contradict each other.
        """
        if isinstance(given, Budgets):
            return given
        if given is None or given == "none":
            return cls()
        if isinstance(given, str | Budget | Ladder | AccuracyFloor):
            given = (given,)
        if not isinstance(given, Sequence):
            raise ValueError(
                f"budget {given!r} must be a text as macs:0.5 or accuracy>=0.9, or "
                "several of them"
            )
        limits: list[Budget] = []
        floors: list[AccuracyFloor] = []
        ladders: list[Ladder] = []
        for part in given:
            part = _read(part) if isinstance(part, str) else part
            if isinstance(part, Ladder):
                ladders.append(part)
                part = part.tightest
            if isinstance(part, Budget):
                limits.append(part)
            elif isinstance(part, AccuracyFloor):
                floors.append(part)
            else:
                raise ValueError(
                    f"budget {part!r} must be a text as macs:0.5 or accuracy>=0.9, a "
                    "Budget, or several of them"
                )
        for kind, several in (("accuracy", floors), ("range", ladders)):
            if len(several) > 1:
                raise ValueError(
                    f"budgets {several[0]} and {several[1]} conflict: only one {kind} "
                    "can be asked for"
                )
        return cls(
            tuple(limits),
            floors[0] if floors else None,
            ladders[0] if ladders else None,
        )

    @property
    def rungs(self) -> tuple[Budgets, ...]:
        """What is asked for at every limit of the ladder, the tightest first.

        Without a ladder that is this alone.
        """
        if self.ladder is None:
            return (self,)
        return tuple(
            Budgets(
                tuple(
                    rung if limit.metric == rung.metric else limit
                    for limit in self.limits
                )
            )
            for rung in self.ladder.budgets
        )

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that must be evaluated."""
        if self.floor is not None:
            return (self.floor.metric,)
        return tuple(limit.metric for limit in self.limits)

    def __str__(self) -> str:
        if self.floor is not None:
            return str(self.floor)
        texts = (
            str(self.ladder if limit == self.ladder.tightest else limit)
            if self.ladder
            else str(limit)
            for limit in self.limits
        )
        return ", ".join(texts) or "none"

    def bind(
        self,
        cost_model: CostModel,
        space: PlanSpace,
        later: BoundBudget | None = None,
    ) -> BoundBudget:
        """The budgets of one network; of a ladder, those at its tightest limit.

        Args:
            cost_model: of the network.
            space: the decisions.
            later: see `BoundBudget`.

        Raises:
            ValueError: no plan of the space can meet them (says what can be reached),
                or there is no table for a metric.
        """
        return BoundBudget(self, cost_model, space, later)

    def bind_rungs(
        self, cost_model: CostModel, space: PlanSpace, later: Later | None = None
    ) -> list[BoundBudget]:
        """The same at every limit of the ladder, the tightest first.

        Args:
            cost_model: of the network.
            space: the decisions.
            later: from what is asked for at one limit to what is asked for besides,
                of the same space, see `BoundBudget`; None: nothing.

        Raises:
            ValueError: as `bind`.
        """
        return [
            rung.bind(cost_model, space, None if later is None else later(rung))
            for rung in self.rungs
        ]


def _read(text: str) -> Budget | Ladder | AccuracyFloor:
    if text.strip().startswith("accuracy"):
        return AccuracyFloor.parse(text)
    return Ladder.parse(text) if ".." in text else Budget.parse(text)


#: See `Budgets.bind_rungs`.
Later: TypeAlias = Callable[[Budgets], BoundBudget]
#: Everything that `Budgets.of` reads.
Demand: TypeAlias = (
    Budgets
    | Budget
    | Ladder
    | AccuracyFloor
    | str
    | None
    | Sequence[Budget | Ladder | AccuracyFloor | str]
)
