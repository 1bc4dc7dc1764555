"""BoundBudget: budgets as a guarantee for every plan that is built step by step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from agmc.cost.model import TABLE_METRICS, CostModel
from agmc.plan import Plan, PlanSpace
from agmc.search.limit import amount

if TYPE_CHECKING:
    from agmc.search.budget import Budgets

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

    **Guarantee.** If the whole network is not within all limits, every plan built from
    allowed counts uses at most 1, and more than `1 - rounding_step(plan)`. Proof:
    lo <= 1 holds at the start (else the budget is refused) and is kept by every allowed
    k, and after the last decision lo is the usage itself. While lo(k) <= 1 <= hi(k)
    holds up to the end the usage is 1; otherwise take the first step with no such k:
    there the notch above the allowed k has lo > 1, while hi(k) < 1 leaves only whole
    groups for the rest, so that raising this one decision by one notch takes the final
    plan over 1.

    A network that is within all limits as it is keeps everything. Without limits every
    count is allowed.

    Attributes:
        budgets: what was asked for.
        cost_model: of the network.
        space: the decisions.

    Raises:
        ValueError: no plan of the space is within all limits, or there is no table for
            a metric.
    """

    budgets: Budgets
    cost_model: CostModel
    space: PlanSpace

    def __post_init__(self) -> None:
        for metric, original in self.original.items():
            if original <= 0:
                raise ValueError(
                    f"budget on {metric}: the network itself takes {original:g} by the "
                    "table, there is nothing to save; mend the table"
                )
        if self.keeps_everything:
            return
        smallest = np.array([decision.counts[0] for decision in self.space])
        for budget in self.budgets.limits:
            metric = budget.metric
            cost = self.cost_model.ceiling(metric, smallest).item()
            if cost > self._held_to[metric]:
                original = self.original[metric]
                share = math.ceil(1e4 * cost / original) / 1e4
                raise ValueError(
                    f"budget {budget} cannot be met: at least {amount(cost, metric)} "
                    f"stay ({share:.4f} of {amount(original, metric)}); ask for more "
                    "or lower min_keep_ratio"
                )

    @cached_property
    def original(self) -> Mapping[str, float]:
        """Metric asked for -> what the whole network takes."""
        whole = np.array([decision.size for decision in self.space])
        return {m: self.value(m, whole) for m in self.budgets.metrics}

    @cached_property
    def limits(self) -> Mapping[str, float]:
        """Metric -> the most that may be kept, absolute."""
        return {
            b.metric: float(b.limit) * (self.original[b.metric] if b.relative else 1)
            for b in self.budgets.limits
        }

    @cached_property
    def keeps_everything(self) -> bool:
        """Whether there are limits and the network is within all as it is."""
        limits = self.limits
        return bool(limits) and all(self.original[m] <= limits[m] for m in limits)

    def value(self, metric: str, counts: np.ndarray) -> float:
        """A metric of counts int [num_decisions]."""
        return self.cost_model.evaluate(metric, counts).item()

    def usage(self, counts: np.ndarray) -> np.ndarray:
        """The largest share of a limit that is used up; 0 without limits.

        Args:
            counts: int [..., num_decisions].

        Returns:
            float64 [...]; at most 1 is within all limits. Never falls when a count
            grows: `latency` counts by `CostModel.ceiling`.
        """
        used = np.zeros(np.shape(counts)[:-1])
        for metric, most in self._held_to.items():
            used = np.maximum(used, self.cost_model.ceiling(metric, counts) / most)
        return used

    def rounding_step(self, counts: Sequence[int] | np.ndarray) -> float:
        """The most that keeping one notch more in one decision adds to the usage.

        0 where everything is kept.
        """
        counts = np.asarray(counts)
        rows = []
        for step, options in enumerate(self._options):
            larger = options[options > counts[step]]
            if len(larger):
                rows.append(counts.copy())
                rows[-1][step] = larger[0]
        notches = np.array(rows, dtype=np.int64).reshape(-1, len(counts))
        return float(np.max(self.usage(notches) - self.usage(counts), initial=0))

    def check(self, plan: Plan) -> None:
        """Refuses a plan from elsewhere that is over a limit.

        Raises:
            ValueError: it is, or it names a group that the network does not have.
        """
        counts = self.space.counts(plan)
        for budget in self.budgets.limits:
            metric = budget.metric
            kept, most = self.value(metric, counts), self.limits[metric]
            if kept > most:
                raise ValueError(
                    f"the plan keeps {amount(kept, metric)}, more than the "
                    f"{amount(most, metric)} of the budget {budget}; keep less, or "
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
        lowest, highest = self.usage(plans)
        # The plan of lowest[0] was within the limits one step before, where its terms
        # may have been added up in another order.
        if lowest[0] > 1 + _ROOM / 2:
            raise ValueError(
                f"counts before decision {step} (={list(counts[:step])}) already "
                f"exceed the budget {self.budgets}; take them from `clamp`"
            )
        top = max(0, int(np.count_nonzero(lowest <= 1)) - 1)
        bottom = min(top, int(np.count_nonzero(highest < 1)))
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

    @cached_property
    def _held_to(self) -> Mapping[str, float]:
        return {
            metric: most * (1 - _ROOM if metric in TABLE_METRICS else 1)
            for metric, most in self.limits.items()
        }
