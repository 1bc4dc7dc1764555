"""Outcome: what a reward is a function of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from agmc.cost.model import METRICS, Cost, CostModel


@dataclass(frozen=True)
class Outcome:
    """What a plan leaves of a network, beside the network itself.

    Attributes:
        accuracy: of the plan on the search split, before fine-tuning, in [0, 1].
        cost: of the plan.
        original_accuracy: of the network itself on the same images, in [0, 1].
        original_cost: of the network itself.
        table_shares: `latency` and `energy`, where there is a table for them -> share
            of the original's that the plan keeps.
    """

    accuracy: float
    cost: Cost
    original_accuracy: float
    original_cost: Cost
    table_shares: Mapping[str, float] = field(default_factory=dict)

    def share(self, metric: str) -> float:
        """The share of a metric that the plan keeps, 1 for the whole network.

        Args:
            metric: one of `agmc.search.limit.BUDGET_METRICS`.

        Raises:
            ValueError: no such metric, or no table for it.
        """
        if metric in METRICS:
            return getattr(self.cost, metric) / max(
                1, getattr(self.original_cost, metric)
            )
        if metric not in self.table_shares:
            known = ", ".join((*METRICS, *self.table_shares))
            raise ValueError(
                f"metric {metric!r} is none of {known}; latency and energy need "
                "latency_table=FILE or energy_table=FILE"
            )
        return self.table_shares[metric]

    @property
    def accuracy_share(self) -> float:
        """The share of the original accuracy that is left; may be above 1."""
        return self.accuracy / max(self.original_accuracy, 1e-9)


class Original:
    """The network itself, which outcomes are compared with.

    Args:
        cost_model: of the network.
        sizes: channels of its groups, int [num_groups].
        accuracy: on the search split, in [0, 1].
    """

    def __init__(
        self, cost_model: CostModel, sizes: np.ndarray, accuracy: float
    ) -> None:
        self._cost_model = cost_model
        self._accuracy = accuracy
        self._cost = cost_model.cost(sizes)
        self._by_table = {
            metric: cost_model.evaluate(metric, sizes).item()
            for metric in cost_model.metrics
            if metric not in METRICS
        }

    def outcome(self, accuracy: float, cost: Cost, counts: np.ndarray) -> Outcome:
        """What came of keeping `counts` channels, int [num_groups]."""
        shares = {
            metric: self._cost_model.evaluate(metric, counts).item() / max(whole, 1e-12)
            for metric, whole in self._by_table.items()
        }
        return Outcome(accuracy, cost, self._accuracy, self._cost, shares)
