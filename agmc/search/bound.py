"""BoundBudget: budgets as a guarantee for every plan that is built step by step."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from agmc.cost.model import TABLE_METRICS, CostModel
from agmc.plan import Plan, kept_channels
from agmc.plan_space import PlanSpace
from agmc.search.limit import amount

if TYPE_CHECKING:
    from agmc.search.budgets import Budgets

#: Sums of milliseconds and millijoules depend on the order of their terms; limits on
#: them are used up to this share, so that no order is over them.
_ROOM = 1e-9


@dataclass(frozen=True, eq=False)
class BoundBudget:
    """Budgets of one network; keep every plan that is built step by step within them.

    Several limits are one: `usage` is the largest share of a limit that a plan uses up,
    and like each of them it never falls when a count grows. Decisions are taken in the
    order of the space. At step t, with the counts before t fixed, let lo(k) be the
    usage with k channels kept here and the rest at their minimum, and hi(k) the usage
    with k kept here and the rest whole; neither falls with k. Allowed are the counts
    with lo(k) <= 1 <= hi(k), and where there is none, the largest k with lo(k) <= 1
    (AMC, arXiv 1802.03494, algorithm 1, bounds from one side only, knows one metric and
    no rounding).

    **Guarantee.** If the plan that keeps most is not within all limits, every plan
    built from allowed counts uses at most 1, and unless it is 1, one notch more in some
    decision would take it over 1. Proof: lo <= 1 holds at the start (else the budget is
    refused) and is kept by every allowed k, and after the last decision lo is the usage
    itself. While lo(k) <= 1 <= hi(k) holds up to the end the usage is 1; otherwise take
    the first step with no such k: there the notch above the allowed k has lo > 1, while
    hi(k) < 1 leaves only whole groups for the rest, so that raising this one decision
    by one notch takes the final plan over 1.

    Where the plan that keeps most is within all limits, it is the only one allowed.
    Without limits every count is allowed.

    What is decided later has limits of its own, and channels can leave too much for
    them: beside other limits, they hold here too, as if it all were at its least.

    Attributes:
        budgets: what was asked for.
        cost_model: of the network.
        space: the decisions.
        later: the budgets of what is decided later, over the same decisions.

    Raises:
        ValueError: no plan of the space is within all limits, or there is no table for
            a metric.
    """

    budgets: Budgets
    cost_model: CostModel
    space: PlanSpace
    later: BoundBudget | None = None

    def __post_init__(self) -> None:
        for metric, original in self.original.items():
            if original <= 0:
                raise ValueError(
                    f"budget on {metric}: the network itself takes {original:g} by the "
                    "table, there is nothing to save; mend the table"
                )
        if self.keeps_everything:
            return
        for budget in self.budgets.limits:
            metric = budget.metric
            cost = self.cost_model.ceiling(
                metric, *self.space.amounts(self._ends[0])
            ).item()
            if cost > self._held_to[metric]:
                original = self.original[metric]
                share = math.ceil(1e4 * cost / original) / 1e4
                raise ValueError(
                    f"budget {budget} cannot be met: at least {amount(cost, metric)} "
                    f"stay ({share:.4f} of {amount(original, metric)}); ask for more "
                    f"or {self._way_out}"
                )

    @cached_property
    def alone(self) -> BoundBudget:
        """The same without what is decided later, which takes long to evaluate."""
        if self.later is None:
            return self
        return BoundBudget(self.budgets, self.cost_model, self.space)

    @cached_property
    def original(self) -> Mapping[str, float]:
        """Metric asked for -> what the network itself takes, in a file without info."""
        whole = kept_channels(self.space.graph, None)
        costs = self.cost_model.without_info
        return {m: costs.evaluate(m, whole).item() for m in self.budgets.metrics}

    @cached_property
    def limits(self) -> Mapping[str, float]:
        """Metric -> the most that may be kept, absolute."""
        return {
            b.metric: float(b.limit) * (self.original[b.metric] if b.relative else 1)
            for b in self.budgets.limits
        }

    @cached_property
    def keeps_everything(self) -> bool:
        """Whether there are limits and the plan that keeps most is within all."""
        most = self._ends[1]
        amounts = self.space.amounts(most)

        def taken(metric: str) -> float:
            if amounts[1] is None:
                return self.value(metric, most)
            # With bits, what follows may take longer than this plan: see `later`.
            return self.cost_model.ceiling(metric, *amounts).item()

        return (
            bool(self.limits)
            and all(taken(metric) <= limit for metric, limit in self.limits.items())
            and (self.later is None or self.later.keeps_everything)
        )

    def value(self, metric: str, counts: np.ndarray) -> float:
        """A metric of counts int [num_decisions]; `bytes` as no file exceeds them."""
        model = self.cost_model
        of = model.ceiling if metric == "bytes" else model.evaluate
        return of(metric, *self.space.amounts(counts)).item()

    def usage(self, counts: np.ndarray) -> np.ndarray:
        """The largest share of a limit that is used up; 0 without limits.

        Args:
            counts: int [..., num_decisions].

        Returns:
            float64 [...]; at most 1 is within all limits. Never falls when a count
            grows: `latency` counts by `CostModel.ceiling`.
        """
        used = np.zeros(np.shape(counts)[:-1])
        amounts = self.space.amounts(counts)
        for metric, most in self._held_to.items():
            used = np.maximum(used, self.cost_model.ceiling(metric, *amounts) / most)
        if self.later is not None and self.limits:
            used = np.maximum(used, self.later.usage(counts))
        return used

    def described(self) -> str:
        """All that it says, besides the network, as text."""
        own = f"{self.budgets} of {self.space.described()}"
        return own if self.later is None else f"{own}; {self.later.described()}"

    def check(self, plan: Plan) -> None:
        """Refuses a plan from elsewhere that is over a limit.

        Raises:
            ValueError: it is, or it names a group that the network does not have.
        """
        cost = self.cost_model.of(plan).known()
        for budget in self.budgets.limits:
            metric = budget.metric
            kept, most = cost[metric], self.limits[metric]
            if kept > most:
                raise ValueError(
                    f"the plan keeps {amount(kept, metric)}, more than the "
                    f"{amount(most, metric)} of the budget {budget}; keep less, or "
                    "raise it"
                )

    def clamp(
        self, action: float, counts: Sequence[int] | np.ndarray, step: int
    ) -> int:
        """The allowed count nearest to `action * size`; the larger of two.

        Args:
            action: the keep ratio asked for, in [0, 1].
            counts: kept channels per decision; only those before `step` are read.
            step: in [0, num_decisions).

        Raises:
            ValueError: the action is not in [0, 1], or the counts before `step` are
                over a limit already.
        """
        if not 0 <= action <= 1:
            raise ValueError(f"action (={action}) must be a keep ratio in [0, 1]")
        options = self.space[step].counts
        if self.keeps_everything:
            return options[-1]
        wanted = self.space[step].nearest(action)
        if not self.limits:
            return wanted

        def too_much(count: int) -> bool:
            return self._reach(counts, step, count)[0] > 1

        def enough(count: int) -> bool:
            return self._reach(counts, step, count)[1] >= 1

        lowest, highest = self._reach(counts, step, wanted)
        place = options.index(wanted)
        if lowest > 1:
            place = bisect_left(options, True, hi=place, key=too_much) - 1
        elif highest < 1:
            place = bisect_left(options, True, lo=place + 1, key=enough)
            if place == len(options) or too_much(options[place]):
                place -= 1
        if place < 0:
            # The smallest count was within the limits one step before, where its terms
            # may have been added up in another order.
            if self._reach(counts, step, options[0])[0] > 1 + _ROOM / 2:
                raise ValueError(
                    f"counts before decision {step} (={list(counts[:step])}) already "
                    f"exceed the budget {self.budgets}; take them from `clamp`"
                )
            place = 0
        return options[place]

    def wanted(self, actions: Sequence[float] | np.ndarray) -> tuple[int, ...]:
        """The allowed counts nearest to the actions, within the limits or not.

        Args:
            actions: keep ratios, each in [0, 1].

        Raises:
            ValueError: an action is not in [0, 1].
        """
        for action in actions:
            if not 0 <= action <= 1:
                raise ValueError(f"action (={action}) must be a keep ratio in [0, 1]")
        return tuple(d.nearest(a) for d, a in zip(self.space, actions, strict=True))

    def clamp_plan(self, actions: Sequence[float] | np.ndarray) -> np.ndarray:
        """`clamp` of all decisions, one after the other: int [num_decisions].

        Looks ahead to the next decision where something has to be clamped.

        Args:
            actions: keep ratios, each in [0, 1].

        Raises:
            ValueError: an action is not in [0, 1].
        """
        if self.later is not None and self.limits:
            # Mostly the other limits are the tighter ones.
            alone = self.alone.clamp_plan(actions)
            if self.later.usage(alone) <= 1:
                return alone
        if self.keeps_everything or not self.limits:
            steps = enumerate(actions)
            return np.array([self.clamp(a, self._ends[0], step) for step, a in steps])
        counts, step = np.array(self.wanted(actions)), 0
        while step < len(counts):
            # Row k keeps what is wanted up to decision `step + k`.
            kept = np.tri(len(counts) - step, len(counts), step, dtype=bool)
            plans = np.where(kept[:, None], counts, self._ends)
            lowest, highest = self.usage(plans).T
            step += int(np.argmax([*((lowest > 1) | (highest < 1)), True]))
            if step < len(counts):
                counts[step] = self.clamp(actions[step], counts, step)
                step += 1
        return counts

    def _reach(
        self, counts: Sequence[int] | np.ndarray, step: int, count: int
    ) -> tuple[float, float]:
        """Usage with `count` at `step`: the rest at its minimum, the rest whole."""
        plans = self._ends.copy()
        plans[:, :step] = counts[:step]
        plans[:, step] = count
        lowest, highest = self.usage(plans).tolist()
        return lowest, highest

    @cached_property
    def _ends(self) -> np.ndarray:
        """The smallest and the largest plan, int [2, num_decisions]."""
        return np.array([[d.counts[0], d.counts[-1]] for d in self.space]).T

    @property
    def _way_out(self) -> str:
        """What a user can do where the smallest plan takes too much."""
        if self.space.only_channels:
            return "lower min_keep_ratio or round_to"
        return "let more be decided, with fewer bits, more zeros or whole blocks"

    @cached_property
    def _held_to(self) -> Mapping[str, float]:
        return {
            metric: most * (1 - _ROOM if metric in TABLE_METRICS else 1)
            for metric, most in self.limits.items()
        }
