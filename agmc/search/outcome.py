"""Outcome: what a reward is a function of."""

from __future__ import annotations

from dataclasses import dataclass

from agmc.cost.model import Cost


@dataclass(frozen=True)
class Outcome:
    """What a plan leaves of a network, beside the network itself.

    Attributes:
        accuracy: of the plan on the search split, before fine-tuning, in [0, 1].
        cost: of the plan.
        original_accuracy: of the plan that keeps everything, evaluated likewise.
        original_cost: of the plan that keeps everything.
    """

    accuracy: float
    cost: Cost
    original_accuracy: float
    original_cost: Cost

    def share(self, metric: str) -> float:
        """The share of a metric that the plan keeps, 1 for the whole network.

        Args:
            metric: a field of `Cost`: macs, params, bytes, activation_bytes, bops;
                latency and energy where there is a table for them.

        Raises:
            ValueError: no such metric, or no table for it.
        """
        kept = getattr(self.cost, metric, None)
        if kept is None:
            known = ", ".join(self.cost.known())
            raise ValueError(
                f"metric {metric!r} is none of {known}; latency and energy need "
                "latency_table=FILE or energy_table=FILE"
            )
        return kept / getattr(self.original_cost, metric)

    @property
    def accuracy_share(self) -> float:
        """The share of the original accuracy that is left; may be above 1."""
        return self.accuracy / max(self.original_accuracy, 1e-9)
