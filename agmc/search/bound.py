"""BoundBudget: budgets as a guarantee for every plan that is built step by step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from agmc.cost.model import METRICS, CostModel
from agmc.plan import Plan, PlanSpace
from agmc.search.budget import Budget, Budgets
from agmc.search.limit import OWN_UNITS

#: Room left below limits that are no whole numbers, for the rounding of sums.
_SLACK = 1e-9


@dataclass(frozen=True, eq=False)
class BoundLimit:
    """One budget of one network.

    Attributes:
        budget: what was asked for.
        cost_model: of the network.
        space: the decisions.
    """

    budget: Budget
    cost_model: CostModel
    space: PlanSpace

    @cached_property
    def original(self) -> float:
        """The metric of the whole network."""
        return self.value(np.array([decision.size for decision in self.space]))

    @cached_property
    def smallest(self) -> float:
        """The cost with every decision at its minimum."""
        return self.cost(np.array([d.counts[0] for d in self.space])).item()

    @cached_property
    def limit(self) -> float:
        """The most of the metric that may be kept, absolute."""
        limit = float(self.budget.limit)
        return limit * self.original if self.budget.relative else limit

    @property
    def room(self) -> float:
        """What the costs are held to: the limit, or a billionth less."""
        exact = self.budget.metric in METRICS
        return self.limit if exact else self.limit * (1 - _SLACK)

    def value(self, counts: np.ndarray) -> float:
        """The metric of counts [num_decisions]."""
        return self.cost_model.evaluate(self.budget.metric, counts).item()

    def cost(self, counts: np.ndarray) -> np.ndarray:
        """What is held to the limit, of counts [..., num_decisions], shape [...].

        Never below the metric, and never falls when a count grows; the metric itself
        but for `latency`, see `CostModel.ceiling`.
        """
        return self.cost_model.ceiling(self.budget.metric, counts)

    def rounding_step(self, counts: Sequence[int] | np.ndarray) -> float:
        """The most that keeping one notch more in one decision adds to the cost.

        0 where everything is kept.
        """
        counts = np.asarray(counts)
        rows = []
        for step, decision in enumerate(self.space):
            larger = [count for count in decision.counts if count > counts[step]]
            if larger:
                rows.append(counts.copy())
                rows[-1][step] = larger[0]
        notches = np.array(rows, dtype=np.int64).reshape(-1, len(counts))
        return float(np.max(self.cost(notches) - self.cost(counts), initial=0))

    def refuse_the_unreachable(self) -> None:
        """Raises a ValueError where not even the smallest plan is within the limit."""
        if self.smallest > self.room:
            share = math.ceil(1e4 * self.smallest / self.original) / 1e4
            raise ValueError(
                f"budget {self.budget} cannot be met: at least "
                f"{self.text(self.smallest)} stay ({share:.4f} of "
                f"{_number(self.original)}); ask for more or lower min_keep_ratio"
            )

    def text(self, value: float) -> str:
        """A value of the metric with its name or unit: "120 macs", "2.5 ms latency"."""
        unit = OWN_UNITS.get(self.budget.metric)
        return f"{_number(value)} {f'{unit} ' if unit else ''}{self.budget.metric}"


@dataclass(frozen=True, eq=False)
class BoundBudget:
    """Budgets of one network; keep every plan that is built step by step within them.

    Decisions are taken in the order of the space. At step t, with the counts before t
    fixed, let lo(k) be the costs with k channels kept here and the rest at their
    minimum, and hi(k) those with k kept here and the rest whole; none of them falls
    with k. Allowed are the counts for which lo(k) is within all limits and hi(k)
    reaches one of them, and where there is none, the largest k with lo(k) within all
    limits (AMC, arXiv 1802.03494, algorithm 1, bounds from one side only, knows one
    metric and no rounding).

    **Guarantee.** If the whole network is not within all limits, every plan built from
    allowed counts costs at most `limit`, of every limit, and of at least one more than
    `limit - rounding_step(plan)`. Proof: lo within the limits holds at the start (else
    the budget is refused) and is kept by every allowed k, and after the last decision
    lo is the cost itself. While hi reaches a limit up to the end, the cost is that
    limit; otherwise take the first step with no such k: there the notch above the
    allowed k has a lo over some limit, while hi is below all of them, which leaves
    only whole groups for the rest, so that raising this one decision by one notch
    takes the final plan over that limit. (Limits on `latency` and `energy` are used
    to within a billionth, see `BoundLimit.room`.)

    A network that is within all limits as it is keeps everything. Without limits every
    count is allowed.

    Attributes:
        budgets: what was asked for.
        cost_model: of the network.
        space: the decisions.
    """

    budgets: Budgets
    cost_model: CostModel
    space: PlanSpace

    def __post_init__(self) -> None:
        if self.budgets.floor is not None:  # there must be a table for its metric
            whole = np.array([decision.size for decision in self.space])
            self.cost_model.evaluate(self.budgets.floor.metric, whole)
        for one in () if self.keeps_everything else self.limits:
            one.refuse_the_unreachable()

    @cached_property
    def limits(self) -> tuple[BoundLimit, ...]:
        """One for every limit that was asked for."""
        return tuple(
            BoundLimit(budget, self.cost_model, self.space)
            for budget in self.budgets.limits
        )

    @cached_property
    def keeps_everything(self) -> bool:
        """Whether there are limits and the network is within all as it is."""
        limits = self.limits
        return bool(limits) and all(one.original <= one.limit for one in limits)

    def fits(self, counts: np.ndarray) -> np.ndarray:
        """Whether costs are within all limits: bool [...], of [..., num_decisions]."""
        counts = np.asarray(counts)
        result = np.ones(counts.shape[:-1], dtype=bool)
        for one in self.limits:
            result &= one.cost(counts) <= one.room
        return result

    def check(self, plan: Plan) -> None:
        """Refuses a plan from elsewhere that is over a limit.

        Raises:
            ValueError: it is, or it names a group that the network does not have.
        """
        counts = self.space.counts(plan)
        for one in self.limits:
            if (kept := one.value(counts)) > one.limit:
                raise ValueError(
                    f"the plan keeps {one.text(kept)}, more than the "
                    f"{_number(one.limit)} of the budget {one.budget}; keep less, or "
                    "raise it"
                )

    def interval(
        self, counts: Sequence[int] | np.ndarray, step: int
    ) -> tuple[int, int]:
        """The smallest and the largest count allowed at decision `step`.

        Args:
            counts: kept channels per decision; only those before `step` are read.
            step: in [0, num_decisions).

        Raises:
            ValueError: the counts before `step` are over a limit already.
        """
        options = self._options[step]
        if not self.limits:
            return int(options[0]), int(options[-1])
        if self.keeps_everything:
            return int(options[-1]), int(options[-1])
        plans = np.empty((2, len(options), len(self.space)), dtype=np.int64)
        plans[..., :step] = counts[:step]
        plans[..., step] = options
        plans[0, :, step + 1 :] = [rest[0] for rest in self._options[step + 1 :]]
        plans[1, :, step + 1 :] = [rest[-1] for rest in self._options[step + 1 :]]
        fits = np.ones(len(options), dtype=bool)
        reaches = np.zeros(len(options), dtype=bool)
        for one in self.limits:
            lowest, highest = one.cost(plans)
            fits &= lowest <= one.room
            reaches |= highest >= one.room
        top = int(np.count_nonzero(fits)) - 1
        if top < 0:
            raise ValueError(
                f"counts before decision {step} (={list(counts[:step])}) already "
                f"exceed the budget {self.budgets}; take them from `clamp`"
            )
        bottom = min(top, int(np.count_nonzero(~reaches)))
        return int(options[bottom]), int(options[top])

    def clamp(
        self, action: float, counts: Sequence[int] | np.ndarray, step: int
    ) -> int:
        """The allowed count nearest to `action * size`; the larger of two.

        Args:
            action: the keep ratio asked for, in [0, 1].
            counts: as for `interval`.
            step: as for `interval`.

        Raises:
            ValueError: the action is not in [0, 1], or as for `interval`.
        """
        if not 0 <= action <= 1:
            raise ValueError(f"action (={action}) must be a keep ratio in [0, 1]")
        low, high = self.interval(counts, step)
        options = self._options[step]
        allowed = options[(options >= low) & (options <= high)][::-1]
        distance = np.abs(allowed - action * options[-1])
        return int(allowed[np.argmin(distance)])

    @cached_property
    def _options(self) -> tuple[np.ndarray, ...]:
        return tuple(np.array(decision.counts) for decision in self.space)


def _number(value: float) -> str:
    """Whole numbers in full, others with six digits."""
    return f"{value:.0f}" if value == int(value) else f"{value:.6g}"
