"""SecondStage: what is decided when the channels are, on the network they have left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from agmc.cost.model import Cost, CostModel
from agmc.graph.model_graph import ModelGraph
from agmc.plan import PARTS, Plan
from agmc.plan_space import PlanSpace
from agmc.search.bound import BoundBudget
from agmc.search.budget import Budget
from agmc.search.budgets import Budgets
from agmc.search.find_plan import BuildAgent, BuildEmbedding


@dataclass(frozen=True, kw_only=True)
class SecondStage:
    """A second search, over the fine-tuned network that the first one has left.

    Channels first and then bits is the order of Zhan et al. (two-stage deep
    reinforcement learning) and of HAQ behind AMC: what a number of bits costs shows on
    a network that has recovered.

    Attributes:
        embedding: builder of what its agent sees, see `find_plan`.
        agent: builder of its agent.
        parts: of the plan that it decides about, see `PlanSpace`; channels it cannot.
        budget: METRIC:LIMIT on what its parts change, or several: bytes, and bops
            where bits are among them; shares are of the original network.
        episodes: of it, >= 1.

    Raises:
        ValueError: an argument is out of range.
    """

    embedding: BuildEmbedding
    agent: BuildAgent
    parts: Sequence[str] = ("weight_bits",)
    budget: str | Sequence[str] = "bytes:0.08"
    episodes: int = 60

    def __post_init__(self) -> None:
        known = [part for part in PARTS if part != "keep_ratio"]
        if not self.parts or set(self.parts) - set(known):
            raise ValueError(
                f"second.parts (={list(self.parts)}) must be one or more of "
                + ", ".join(known)
            )
        if self.episodes < 1:
            raise ValueError(f"second.episodes (={self.episodes}) must be >= 1")
        if not self.budgets.limits or self.budgets.ladder is not None:
            raise ValueError(
                f"second.budget (={self.budget}) must be METRIC:LIMIT, as bytes:0.08, "
                "or several of that"
            )
        metrics = ("bytes",) if set(self.parts) == {"sparsity"} else ("bytes", "bops")
        for limit in self.budgets.limits:
            if limit.metric not in metrics:
                raise ValueError(
                    f"second.budget (={limit}) must be on {' or '.join(metrics)}: "
                    f"{', '.join(self.parts)} change nothing else; a limit on "
                    f"{limit.metric} belongs into budget"
                )

    @cached_property
    def budgets(self) -> Budgets:
        """What is asked for, shares of the original network."""
        return Budgets.of(self.budget)

    def bind(self, cost_model: CostModel, arguments: Mapping[str, Any]) -> BoundBudget:
        """The budgets of both stages at once, before anything takes long.

        Args:
            cost_model: of the original network.
            arguments: of `PlanSpace`, of the first stage.

        Raises:
            ValueError: the smallest plan takes too much.
        """
        parts = [*arguments["parts"], *self.parts]
        space = PlanSpace(cost_model.graph, **{**arguments, "parts": parts})
        return self.budgets.bind(cost_model, space)

    def later(self, cost_model: CostModel, arguments: Mapping[str, Any]) -> BoundBudget:
        """What this stage asks of the first one, see `BoundBudget`.

        Args:
            cost_model: of the original network.
            arguments: of `PlanSpace`, of the first stage.

        Raises:
            ValueError: the smallest plan takes too much.
        """
        least = self.space(cost_model.graph, arguments, Plan({})).least
        space = PlanSpace(cost_model.graph, **{**arguments, "start": least})
        return self.budgets.bind(cost_model, space)

    def check(
        self, cost_model: CostModel, arguments: Mapping[str, Any], plan: Plan
    ) -> None:
        """Refuses, before any fine-tuning, channels that leave too much.

        Args:
            cost_model: of the original network.
            arguments: of `PlanSpace`, of the first stage.
            plan: of the first stage.

        Raises:
            ValueError: no plan of this stage is within the budget after that one.
        """
        space = self.space(cost_model.graph, arguments, plan)
        try:
            self.budgets.bind(cost_model, space)
        except ValueError as error:
            raise ValueError(
                f"second: {error}; or lower budget, so that fewer channels stay"
            ) from error

    def absolute(self, original: Cost) -> Budgets:
        """The budgets in the units of their metrics.

        Args:
            original: of the original network.
        """
        whole = original.known()
        return Budgets(
            tuple(
                Budget(limit.metric, f"{float(limit.limit) * whole[limit.metric]:.6f}")
                if limit.relative
                else limit
                for limit in self.budgets.limits
            )
        )

    def space(
        self, graph: ModelGraph, arguments: Mapping[str, Any], start: Plan
    ) -> PlanSpace:
        """The decisions.

        Args:
            graph: of the network.
            arguments: of `PlanSpace`, of the first stage.
            start: what the first stage has decided about this network.
        """
        return PlanSpace(
            graph, **{**arguments, "parts": list(self.parts), "start": start}
        )
