"""PlanSpace: the decisions that a plan of one network takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import overload

import numpy as np
import torch

from agmc.graph.model_graph import ChannelGroup, ModelGraph
from agmc.plan import Plan, kept_channels


@dataclass(frozen=True)
class Decision:
    """How much of one part of a network stays.

    Attributes:
        name: of the channel group.
        counts: the numbers of kept channels to choose from, ascending; the last keeps
            all.
    """

    name: str
    counts: tuple[int, ...]

    @property
    def size(self) -> int:
        """Channels of the original network."""
        return self.counts[-1]

    def nearest(self, keep_ratio: float) -> int:
        """The allowed count nearest to `keep_ratio * size`; the larger of two."""
        wanted = keep_ratio * self.size
        return min(self.counts, key=lambda count: (abs(count - wanted), -count))


class PlanSpace(Sequence[Decision]):
    """All plans of one network: one `Decision` per prunable channel group, in order.

    Args:
        graph: the traced network.
        min_keep_ratio: smallest share of a group that may be kept, in (0, 1]; at
            least one channel always stays. AMC's 0.2.
        round_to: kept channels are a multiple of it (8 or 16 for vector units) unless
            all are kept; groups smaller than it are kept whole. A mapping from patterns
            of group names (`layer1.*`, see `fnmatch`) to such numbers rounds each group
            by the first pattern that fits, and those that none fits by 1.

    Raises:
        ValueError: an argument is out of range, or the network has no prunable group.
    """

    def __init__(
        self,
        graph: ModelGraph,
        *,
        min_keep_ratio: float = 0.2,
        round_to: int | Mapping[str, int] = 1,
    ) -> None:
        if not 0 < min_keep_ratio <= 1:
            raise ValueError(f"min_keep_ratio (={min_keep_ratio}) must be in (0, 1]")
        if not graph.groups:
            raise ValueError(
                "the network has no prunable channel group: "
                + ("; ".join(graph.unprunable) or "no convolution feeds another layer")
            )
        self.graph = graph
        steps = _steps([group.name for group in graph.groups], round_to)
        self.decisions = tuple(
            _decision(group, min_keep_ratio, step)
            for group, step in zip(graph.groups, steps, strict=True)
        )

    def __len__(self) -> int:
        return len(self.decisions)

    @overload
    def __getitem__(self, index: int) -> Decision: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Decision]: ...

    def __getitem__(self, index: int | slice) -> Decision | Sequence[Decision]:
        return self.decisions[index]

    def counts(self, plan: Plan | None) -> np.ndarray:
        """Kept channels of every decision, as `kept_channels`."""
        return kept_channels(self.graph, plan)

    def plan(self, counts: Sequence[int] | np.ndarray) -> Plan:
        """The plan that keeps `counts` channels, one number per decision."""
        if len(counts) != len(self):
            raise ValueError(f"{len(counts)} counts for {len(self)} decisions")
        for decision, count in zip(self, counts, strict=True):
            if count not in decision.counts:
                raise ValueError(
                    f"{decision.name} cannot keep {count} channels; it can keep "
                    f"{decision.counts}"
                )
        return Plan(
            {d.name: int(c) / d.size for d, c in zip(self, counts, strict=True)}
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


def _steps(names: Sequence[str], round_to: int | Mapping[str, int]) -> list[int]:
    """The step of every group.

    Raises:
        ValueError: a step is no whole number >= 1, or a pattern fits no group.
    """
    patterns = round_to if isinstance(round_to, Mapping) else {"*": round_to}
    for pattern, step in patterns.items():
        of = f" of {pattern!r}" if isinstance(round_to, Mapping) else ""
        if isinstance(step, bool) or not isinstance(step, int) or step < 1:
            raise ValueError(f"round_to{of} (={step}) must be a whole number >= 1")
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(
                f"round_to names {pattern!r}, which fits none of the channel groups "
                + ", ".join(names)
            )
    return [
        next((s for p, s in patterns.items() if fnmatchcase(name, p)), 1)
        for name in names
    ]


def _decision(group: ChannelGroup, min_keep_ratio: float, step: int) -> Decision:
    minimum = max(1, math.ceil(min_keep_ratio * group.size - 1e-9))
    first = math.ceil(min(minimum, group.size) / step) * step
    return Decision(group.name, (*range(first, group.size, step), group.size))
