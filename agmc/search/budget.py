"""Budget: how much of a metric a plan may keep, as a guarantee for every episode."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from agmc.cost.model import METRICS, CostModel
from agmc.plan import Plan, PlanSpace

_FACTORS = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}
_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*([kKMG]?)(B?)")


@dataclass(frozen=True)
class Budget:
    """The most that a plan may keep of one metric.

    Attributes:
        metric: one of `agmc.cost.model.METRICS`.
        limit: a number in (0, 1] is the share of the original network that may be
            kept, a number above 1 is absolute; absolute numbers also as text with a
            decimal unit: "200k", "60M", "1.2G" and, for bytes, "500kB", "2MB". Kept
            as a number.

    Raises:
        ValueError: the metric is unknown or the limit is no such number.
    """

    metric: str
    limit: float | str

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ValueError(
                f"budget metric {self.metric!r} is unknown; choose one of "
                + ", ".join(METRICS)
            )
        object.__setattr__(self, "limit", _number(self.limit, self.metric))

    @classmethod
    def parse(cls, text: str) -> Budget:
        """The budget written as `METRIC:LIMIT`: "macs:0.5", "bytes:500kB".

        Raises:
            ValueError: the text is no budget.
        """
        metric, colon, limit = text.partition(":")
        if not colon:
            raise ValueError(
                f"budget {text!r} must be METRIC:LIMIT, as in macs:0.5 or params:200k"
            )
        return cls(metric.strip(), limit.strip())

    def __str__(self) -> str:
        return f"{self.metric}:{self.limit:.12g}"

    def bind(self, cost_model: CostModel, space: PlanSpace) -> BoundBudget:
        """The budget of one network.

        Raises:
            ValueError: no plan of the space can meet it; says what can be reached.
        """
        return BoundBudget(self, cost_model, space)


@dataclass(frozen=True, eq=False)
class BoundBudget:
    """A budget for one network; keeps every plan that is built step by step within it.

    Decisions are taken in the order of the space. At step t, with the counts before t
    fixed, let lo(k) be the cost with k channels kept here and the rest at their
    minimum, and hi(k) the cost with k kept here and the rest whole; both never fall
    with k. Allowed are the counts with lo(k) <= limit <= hi(k), and where there is
    none, the largest k with lo(k) <= limit (AMC, arXiv 1802.03494, algorithm 1, bounds
    from one side only and knows no rounding).

    **Guarantee.** If the whole network is not within the limit, every plan built from
    allowed counts costs at most `limit` and more than `limit - rounding_step(plan)`.
    Proof: lo <= limit holds at the start (else the budget is refused) and is kept by
    every allowed k, and after the last decision lo is the cost itself. While
    lo(k) <= limit <= hi(k) holds up to the end the cost is the limit; otherwise take
    the first step with no such k: there the notch above the allowed k has lo > limit,
    while hi(k) < limit leaves only whole groups for the rest, so that raising this one
    decision by one notch takes the final plan over the limit.

    A network that is within the limit as it is keeps everything.

    Attributes:
        budget: what was asked for.
        cost_model: of the network.
        space: the decisions.
    """

    budget: Budget
    cost_model: CostModel
    space: PlanSpace

    def __post_init__(self) -> None:
        if self.smallest > self.limit:
            share = math.ceil(1e4 * self.smallest / self.original) / 1e4
            raise ValueError(
                f"budget {self.budget} cannot be met: at least {self.smallest} "
                f"{self.budget.metric} stay ({share:.4f} of {self.original}); ask for "
                "more or lower min_keep_ratio"
            )

    @cached_property
    def original(self) -> int:
        """The metric of the whole network."""
        return int(self.cost(np.array([decision.size for decision in self.space])))

    @cached_property
    def smallest(self) -> int:
        """The metric with every decision at its minimum."""
        return int(self.cost(np.array([options[0] for options in self._options])))

    @cached_property
    def limit(self) -> float:
        """The most of the metric that may be kept, absolute."""
        limit = float(self.budget.limit)
        return limit * self.original if limit <= 1 else limit

    @cached_property
    def _options(self) -> tuple[np.ndarray, ...]:
        return tuple(np.array(decision.counts) for decision in self.space)

    def cost(self, counts: np.ndarray) -> np.ndarray:
        """The metric of counts [..., num_decisions], shape [...]."""
        return self.cost_model.evaluate(self.budget.metric, counts)

    def check(self, plan: Plan) -> None:
        """Refuses a plan from elsewhere that is over the budget.

        Raises:
            ValueError: it is, or it names a group that the network does not have.
        """
        kept = int(self.cost(self.space.counts(plan)))
        if kept > self.limit:
            raise ValueError(
                f"the plan keeps {kept} {self.budget.metric}, more than the "
                f"{self.limit:.0f} of the budget {self.budget}; keep less, or raise it"
            )

    def interval(
        self, counts: Sequence[int] | np.ndarray, step: int
    ) -> tuple[int, int]:
        """The smallest and the largest count allowed at decision `step`.

        Args:
            counts: kept channels per decision; only those before `step` are read.
            step: in [0, num_decisions).

        Raises:
            ValueError: the counts before `step` are over the budget already.
        """
        options = self._options[step]
        if self.original <= self.limit:
            return int(options[-1]), int(options[-1])
        plans = np.empty((2, len(options), len(self.space)), dtype=np.int64)
        plans[..., :step] = counts[:step]
        plans[..., step] = options
        plans[0, :, step + 1 :] = [rest[0] for rest in self._options[step + 1 :]]
        plans[1, :, step + 1 :] = [rest[-1] for rest in self._options[step + 1 :]]
        lowest, highest = self.cost(plans)
        top = int(np.count_nonzero(lowest <= self.limit)) - 1
        if top < 0:
            raise ValueError(
                f"counts before decision {step} (={list(counts[:step])}) already "
                f"exceed the budget {self.budget}; take them from `clamp`"
            )
        bottom = min(top, int(np.count_nonzero(highest < self.limit)))
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

    def rounding_step(self, counts: Sequence[int] | np.ndarray) -> int:
        """The most that keeping one notch more in one decision adds to the metric.

        0 where everything is kept.
        """
        counts = np.asarray(counts)
        notches = self._one_notch_more(counts)
        return int(np.max(self.cost(notches) - self.cost(counts), initial=0))

    def _one_notch_more(self, counts: np.ndarray) -> np.ndarray:
        """A row for every decision that is not whole, with that decision raised."""
        rows = []
        for step, options in enumerate(self._options):
            larger = options[options > counts[step]]
            if len(larger):
                rows.append(counts.copy())
                rows[-1][step] = larger[0]
        return np.array(rows, dtype=np.int64).reshape(-1, len(counts))


def uniform_keep_ratio(bound: BoundBudget) -> float:
    """The largest share, in (0, 1], that is within the limit if all decisions keep it.

    Found by bisection over plans rounded to whole channels, to within a millionth.
    """
    low, high = 0.0, 1.0
    if bound.cost(_rounded(bound, high)) <= bound.limit:
        return high
    # Twenty halvings give a number that float32 holds exactly: actions are float32, and
    # rounding must not lift the ratio over the edge that the bisection leads to.
    for _ in range(20):
        middle = (low + high) / 2
        if bound.cost(_rounded(bound, middle)) <= bound.limit:
            low = middle
        else:
            high = middle
    return low


def uniform_plan(bound: BoundBudget) -> Plan:
    """The same keep ratio everywhere, as large as the budget allows, then filled up.

    What rounding leaves of the budget at `uniform_keep_ratio` is used by keeping one
    notch more in decision after decision, in the order of the space, round after round
    until no notch fits, so that this baseline also costs more than
    `limit - rounding_step`.
    """
    counts = _rounded(bound, uniform_keep_ratio(bound))
    filling = True
    while filling:
        filling = False
        for step, decision in enumerate(bound.space):
            larger = [count for count in decision.counts if count > counts[step]]
            raised = counts.copy()
            raised[step] = larger[0] if larger else counts[step]
            if larger and bound.cost(raised) <= bound.limit:
                counts, filling = raised, True
    return bound.space.plan([int(count) for count in counts])


def _rounded(bound: BoundBudget, keep_ratio: float) -> np.ndarray:
    return np.array([decision.nearest(keep_ratio) for decision in bound.space])


def _number(limit: float | str, metric: str) -> float:
    """The limit as a number; see `Budget`."""
    way_out = "a share in (0, 1] or an absolute number above 1, as 0.5, 200k or 60M"
    number, unit = limit, ""
    if isinstance(limit, str):
        match = _NUMBER.fullmatch(limit)
        if match is None or (match[4] and metric != "bytes"):
            raise ValueError(f"budget limit of {metric} (={limit!r}) must be {way_out}")
        unit = match[3] + match[4]
        number = float(match[1] + (match[2] or "")) * _FACTORS[match[3]]
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ValueError(f"budget limit of {metric} (={limit!r}) must be {way_out}")
    if not 0 < number < math.inf or (unit and number <= 1):
        raise ValueError(f"budget limit of {metric} (={limit!r}) must be {way_out}")
    return float(number)
