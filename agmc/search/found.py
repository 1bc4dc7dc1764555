"""Found: what a search ends in."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agmc.cost.model import Cost
from agmc.plan import Plan
from agmc.search.bound import BoundBudget
from agmc.search.episode_log import EpisodeRecord


@dataclass(frozen=True)
class FrontPoint:
    """The plan of the highest reward within one of several budgets.

    Attributes:
        budget: as text, "macs:0.5".
        plan: within it; that of a tighter budget where none is better.
        reward: of the plan.
        accuracy: on the search split without fine-tuning, a share in [0, 1].
        cost: of the plan.
    """

    budget: str
    plan: Plan
    reward: float
    accuracy: float
    cost: Cost


@dataclass(frozen=True)
class Found:
    """The plan of the highest reward, the first of equals, and how it was found.

    Attributes:
        plan: the best plan; of several budgets, within the tightest.
        reward: of the plan.
        accuracy: on the search split without fine-tuning, a share in [0, 1].
        cost: of the plan.
        episodes: all of them, in order.
        front: one point for each of several budgets, the tightest first; else empty.
    """

    plan: Plan
    reward: float
    accuracy: float
    cost: Cost
    episodes: tuple[EpisodeRecord, ...]
    front: tuple[FrontPoint, ...] = ()

    @classmethod
    def best_of(
        cls, episodes: Sequence[EpisodeRecord], bounds: Sequence[BoundBudget] = ()
    ) -> Found:
        """The result of a search of these episodes.

        Args:
            episodes: in order.
            bounds: the budgets of the search, the tightest first. Of a single one
                nothing is read: every episode but a probe is within it.

        Raises:
            ValueError: there are only probes, and plans whose evaluation failed, or
                none within a budget.
        """
        within = [record for record in episodes if record.counts]
        if not within:
            failed = sum(record.failed for record in episodes)
            raise ValueError(
                f"the workers died on {failed} of {len(episodes)} episodes, and no "
                "other is a result; give them more memory"
                if failed
                else f"the agent used up all {len(episodes)} episodes for measurements "
                "outside of the budget; give it more episodes"
            )
        front = _front(within, bounds) if len(bounds) > 1 else ()
        best = front[0] if front else max(within, key=lambda record: record.reward)
        return cls(
            *(best.plan, best.reward, best.accuracy, best.cost), tuple(episodes), front
        )

    def summary(self) -> dict[str, Any]:
        """What the record of a run says of its search."""
        evaluated = [past.seconds for past in self.episodes if not past.cached]
        return {
            "reward": self.reward,
            "episodes": len(self.episodes),
            "evaluations": len(evaluated),
            "seconds_per_evaluation": (
                statistics.median(evaluated) if evaluated else None
            ),
        }


def _front(
    records: Sequence[EpisodeRecord], bounds: Sequence[BoundBudget]
) -> tuple[FrontPoint, ...]:
    points = []
    for bound in bounds:
        usage = [float(bound.usage(bound.space.counts(r.plan))) for r in records]
        held = [r for r, used in zip(records, usage, strict=True) if used <= 1]
        if not held:
            raise ValueError(
                f"no episode is within the budget {bound.budgets}; give the search at "
                f"least {len(bounds)} episodes"
            )
        best = max(held, key=lambda record: record.reward)
        points.append(
            FrontPoint(
                *(str(bound.budgets), best.plan, best.reward, best.accuracy, best.cost)
            )
        )
    return tuple(points)
