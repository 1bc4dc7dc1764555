"""PlanSpace: the decisions that a plan of one network takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import overload

import numpy as np
import torch

from agmc.decision import (
    DROPPED,
    Decision,
    block_decisions,
    channel_decisions,
    layer_decisions,
)
from agmc.graph.model_graph import ModelGraph
from agmc.graph.weighted import weighted_layers
from agmc.plan import (
    PARTS,
    LayerParts,
    Plan,
    kept_blocks,
    kept_channels,
    layer_parts,
)

#: What can be decided.
_DECIDED = (PARTS[0], DROPPED, *PARTS[1:])


class PlanSpace(Sequence[Decision]):
    """All plans of one network: what may be decided, in order, and among what.

    Decisions about channel groups come first, in the order of the groups, then those
    about blocks, then those about layers, layer by layer.

    Args:
        graph: the traced network.
        min_keep_ratio: smallest share of a group that may be kept, in (0, 1]; at
            least one channel always stays. AMC's 0.2.
        round_to: kept channels are a multiple of it (8 or 16 for vector units) unless
            all are kept; groups smaller than it are kept whole. A mapping from patterns
            of group names (`layer1.*`, see `fnmatch`) to such numbers rounds each group
            by the first pattern that fits, and those that none fits by 1.
        parts: what is decided: any of "keep_ratio", "dropped" (whole blocks),
            "sparsity", "weight_bits" and "act_bits".
        weight_bits: to choose from, whole numbers in 1..16; one alone is no decision.
        act_bits: of the inputs of layers, likewise; where weights have bits and inputs
            are not decided, all inputs have `max(act_bits)`.
        end_bits: of weights and inputs of the first and the last layer, which networks
            are most sensitive to (HAQ, arXiv 1811.08886, has 8); None: decided like
            those of the others.
        max_sparsity: largest share of zeros in a layer, in (0, 1); the choices are
            twentieths.
        mapping: how an action in [0, 1] becomes bits: "share" takes the bits nearest to
            the action times the most bits; "haq" cuts [0, 1] into as many equal parts
            as there are choices (HAQ).
        start: what holds besides the decisions: a plan with parts that are decided no
            more, or elsewhere.

    Raises:
        ValueError: an argument is out of range, `start` names a part that the network
            does not have, or there is nothing to decide.
    """

    def __init__(
        self,
        graph: ModelGraph,
        *,
        min_keep_ratio: float = 0.2,
        round_to: int | Mapping[str, int] = 1,
        parts: Sequence[str] = ("keep_ratio",),
        weight_bits: Sequence[int] = (2, 3, 4, 5, 6, 7, 8),
        act_bits: Sequence[int] = (4, 5, 6, 7, 8),
        end_bits: int | None = 8,
        max_sparsity: float = 0.9,
        mapping: str = "share",
        start: Plan | None = None,
    ) -> None:
        if not parts or set(parts) - set(_DECIDED):
            raise ValueError(
                f"parts (={list(parts)}) must be one or more of {', '.join(_DECIDED)}"
            )
        self.graph = graph
        self.parts = tuple(part for part in _DECIDED if part in parts)
        self.start = Plan({}) if start is None else start
        decisions: list[Decision] = []
        if "keep_ratio" in parts:
            decisions += channel_decisions(graph, min_keep_ratio, round_to)
        if DROPPED in parts:
            decisions += block_decisions(graph)
        if set(parts) - {"keep_ratio", DROPPED}:
            found, self.start = layer_decisions(
                list(weighted_layers(graph.program)),
                self.parts,
                self.start,
                weight_bits=weight_bits,
                act_bits=act_bits,
                end_bits=end_bits,
                max_sparsity=max_sparsity,
                mapping=mapping,
            )
            decisions += found
        if not decisions:
            raise ValueError(
                f"nothing is to be decided about {', '.join(parts)}: give more "
                "choices, or end_bits=null"
            )
        self.decisions = tuple(decisions)
        if start is not None:
            _ = self._given  # refuses what the network does not have

    def __len__(self) -> int:
        return len(self.decisions)

    @overload
    def __getitem__(self, index: int) -> Decision: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Decision]: ...

    def __getitem__(self, index: int | slice) -> Decision | Sequence[Decision]:
        return self.decisions[index]

    @cached_property
    def sizes(self) -> np.ndarray:
        """The count of every decision that keeps most, int64 [num_decisions]."""
        return np.array([decision.size for decision in self], dtype=np.int64)

    @property
    def only_channels(self) -> bool:
        """Whether every decision is about a channel group, one about each."""
        return self.parts == ("keep_ratio",)

    @property
    def whole(self) -> Plan:
        """The plan that changes nothing."""
        return Plan({d.name: 1.0 for d in self if d.part == "keep_ratio"})

    @property
    def least(self) -> Plan:
        """The plan that keeps least."""
        return self.plan([decision.counts[0] for decision in self])

    def counts(self, plan: Plan | None) -> np.ndarray:
        """What a plan keeps by every decision, int64 [num_decisions].

        Channels as the plan has them, which may be between the choices; of the rest the
        nearest choice. None, and what the plan says nothing of, keeps most.

        Raises:
            ValueError: the plan names a group, block or layer that the network does not
                have.
        """
        channels = kept_channels(self.graph, plan)
        if plan is not None and plan.dropped:
            kept_blocks(self.graph, plan)  # refuses blocks that are unknown
        if self.only_channels:
            return channels
        layer_parts(self.graph, plan)  # refuses layers that are unknown
        kept = dict(zip([g.name for g in self.graph.groups], channels, strict=True))
        plan = Plan({}) if plan is None else plan
        return np.array(
            [
                kept[d.name] if d.part == "keep_ratio" else d.count_in(plan)
                for d in self
            ],
            dtype=np.int64,
        )

    def plan(self, counts: Sequence[int] | np.ndarray) -> Plan:
        """The plan that keeps `counts`, one number per decision."""
        if len(counts) != len(self):
            raise ValueError(f"{len(counts)} counts for {len(self)} decisions")
        said = {part: dict(getattr(self.start, part)) for part in PARTS}
        decided = {decision.name for decision in self if decision.part == DROPPED}
        dropped = {*self.start.dropped} - decided
        for decision, count in zip(self, counts, strict=True):
            if count not in decision.counts:
                raise ValueError(
                    f"{decision.name} cannot keep {count} {decision.unit}; it can keep "
                    f"{decision.counts}"
                )
            value = decision.value(int(count))
            if decision.part != DROPPED:
                said[decision.part][decision.name] = value
            elif not value:
                dropped.add(decision.name)
        said["sparsity"] = {k: share for k, share in said["sparsity"].items() if share}
        return Plan(**said, dropped=dropped)

    def amounts(
        self, counts: np.ndarray
    ) -> tuple[np.ndarray, LayerParts | None, np.ndarray | None]:
        """What a cost model reads of many plans at once.

        Args:
            counts: int [..., num_decisions].

        Returns:
            kept channels, int64 [..., num_groups]; the parts of all layers, each
            [..., num_layers], or None where no plan of the space says anything of
            layers; the blocks that stay, bool [..., num_blocks], or None for all.
        """
        start, decided = self.start, {*self.parts}
        says_layers = decided & {*PARTS[1:]} or start.layers
        if self.only_channels and not start.layers and not start.dropped:
            return counts, None, None
        counts = np.asarray(counts)
        lead = counts.shape[:-1]
        channels, stays, *said = (
            np.broadcast_to(given, (*lead, len(given))).copy() for given in self._given
        )
        parts = LayerParts(*said)
        for index, (decision, place) in enumerate(zip(self, self._places, strict=True)):
            chosen = counts[..., index]
            if decision.part == "keep_ratio":
                channels[..., place] = chosen
            elif decision.part == DROPPED:
                stays[..., place] = chosen == decision.size
            elif decision.part == "sparsity":
                parts.density[..., place] = chosen / decision.size
            else:
                kept = np.array(decision.values)[
                    np.searchsorted(decision.counts, chosen)
                ]
                getattr(parts, decision.part)[..., place] = kept
        has_blocks = DROPPED in decided or start.dropped
        return (
            channels,
            parts if says_layers else None,
            stays if has_blocks else None,
        )

    def uniform(self, keep_ratio: float) -> Plan:
        """The plan that keeps the same share everywhere, as nearly as it can.

        Raises:
            ValueError: the share is not in (0, 1].
        """
        if not 0 < keep_ratio <= 1:
            raise ValueError(f"keep_ratio (={keep_ratio}) must be in (0, 1]")
        return self.plan([decision.nearest(keep_ratio) for decision in self])

    def sample(self, generator: torch.Generator) -> Plan:
        """A plan with every count drawn uniformly from those allowed."""
        draws = torch.rand(len(self), generator=generator).tolist()
        return self.plan(
            [d.counts[int(u * len(d.counts))] for d, u in zip(self, draws, strict=True)]
        )

    def described(self) -> list[object]:
        """All that the plans of the space depend on, besides the network, as JSON."""
        rows = [[d.part, d.name, d.rounds_up, *d.counts, *d.values] for d in self]
        return [*rows, self.start.to_json()]

    @cached_property
    def _given(self) -> tuple[np.ndarray, ...]:
        """What holds besides the decisions: channels, blocks, and parts of layers."""
        graph, start = self.graph, self.start
        stays = kept_blocks(graph, start)
        return (kept_channels(graph, start), stays, *layer_parts(graph, start))

    @cached_property
    def _places(self) -> tuple[int, ...]:
        """The group, block or layer of every decision, by its number."""
        layers = list(weighted_layers(self.graph.program))
        names = dict.fromkeys(self.parts, layers) | {
            "keep_ratio": [group.name for group in self.graph.groups],
            DROPPED: [block.name for block in self.graph.blocks],
        }
        return tuple(names[d.part].index(d.name) for d in self)
