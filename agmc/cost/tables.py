"""Tables: what some metrics need besides the network."""

from __future__ import annotations

from dataclasses import dataclass

from agmc.cost.energy import EnergyTable
from agmc.cost.latency_table import LatencyTable


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Tables that metrics of a `CostModel` are summed up from.

    Attributes:
        latency: of `agmc profile`, for the metric `latency`; None: there is none.
        energy: of the user, for the metric `energy`; None: there is none.
    """

    latency: LatencyTable | None = None
    energy: EnergyTable | None = None
