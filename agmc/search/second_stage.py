"""SecondStage: what is decided when the channels are, on the network they have left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from agmc.cost.description import bytes_around_tensors
from agmc.cost.model import Cost, CostModel
from agmc.graph.model_graph import ModelGraph
from agmc.graph.weighted import weighted_layers
from agmc.plan import PARTS, Plan
from agmc.plan_space import PlanSpace
from agmc.search.bound import BoundBudget
from agmc.search.budget import Budget
from agmc.search.budgets import Budgets
from agmc.search.choices import BuildAgent, BuildEmbedding

#: More bits than integers have, and fewer than floats: counts as the slower of both.
_EITHER_BITS = 16
#: By how much of its length the description of a network may grow when it is pruned.
#: Where channels are shuffled, the small network also has tables of their places, for
#: which there is no room here.
_ROOM = 0.1


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
                    f"second.budget (={limit}) must be on {' or '.join(metrics)}; a "
                    f"limit on {limit.metric} belongs into budget, and holds for the "
                    "whole plan"
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
            ValueError: the smallest plan takes too much, or both stages decide about
                the same part.
        """
        both = set(arguments["parts"]) & set(self.parts)
        if both:
            raise ValueError(
                f"parts and second.parts would both decide about {', '.join(both)}; "
                "leave it to one of them"
            )
        parts = [*arguments["parts"], *self.parts]
        space = PlanSpace(cost_model.graph, **{**arguments, "parts": parts})
        return self.budgets.bind(cost_model, space)

    def later(
        self, cost_model: CostModel, arguments: Mapping[str, Any], first: Budgets
    ) -> BoundBudget:
        """What this stage asks of the first one, see `BoundBudget`.

        Its own budget, as if all that it decides were at its least; and a limit of the
        first stage on latency where this one decides about bits, as if integers were
        as slow as floats, which they may be slower than.

        Args:
            cost_model: of the original network.
            arguments: of `PlanSpace`, of the first stage.
            first: the budgets of the first stage; of a range, those at one limit.

        Raises:
            ValueError: the smallest plan takes too much.
        """
        self.bind(cost_model, arguments)  # says best what cannot be met
        graph, time = cost_model.graph, None
        limits = [limit for limit in first.limits if limit.metric == "latency"]
        if limits and {"weight_bits", "act_bits"} & set(self.parts):
            either = dict.fromkeys(weighted_layers(graph.program), _EITHER_BITS)
            start = Plan({}, weight_bits=either, act_bits=either)
            slow = PlanSpace(graph, **{**arguments, "start": start})
            time = Budgets(tuple(limits)).bind(cost_model, slow)
        least = self.space(graph, arguments, Plan({})).least
        space = PlanSpace(graph, **{**arguments, "start": least})
        return self._with_room(cost_model).bind(cost_model, space, time)

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

    def _with_room(self, cost_model: CostModel) -> Budgets:
        """Absolute; the file of the small network describes it in other words."""
        room = _ROOM * bytes_around_tensors(cost_model.graph)
        return Budgets(
            tuple(
                Budget("bytes", f"{max(1.0, float(limit.limit) - room):.6f}")
                if limit.metric == "bytes"
                else limit
                for limit in self.absolute(cost_model.of(None)).limits
            )
        )

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
