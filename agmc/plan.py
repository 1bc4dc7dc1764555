"""Plan: what is kept of a network, and the space of all plans of one network."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
import torch

from agmc.graph.model_graph import ChannelGroup, ModelGraph
from agmc.whole_file import write_whole


@dataclass(frozen=True)
class Decision:
    """How many channels of one group stay.

    Attributes:
        name: of the channel group.
        size: channels of the original network.
        minimum: fewest channels that may stay, >= 1.
        step: kept channels are a multiple of it, or `size`.
    """

    name: str
    size: int
    minimum: int
    step: int

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """The numbers of kept channels to choose from, ascending, `size` the last."""
        first = math.ceil(self.minimum / self.step) * self.step
        return (*range(first, self.size, self.step), self.size)

    def nearest(self, keep_ratio: float) -> int:
        """The allowed count nearest to `keep_ratio * size`; the larger of two."""
        wanted = keep_ratio * self.size
        return min(self.counts, key=lambda count: (abs(count - wanted), -count))


@dataclass(frozen=True)
class Plan:
    """The share of channels kept of every group.

    Attributes:
        keep_ratio: channel group name -> share in (0, 1]; a group not named keeps all.
    """

    keep_ratio: Mapping[str, float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "keep_ratio", dict(self.keep_ratio))
        for name, ratio in self.keep_ratio.items():
            number = isinstance(ratio, (int, float)) and not isinstance(ratio, bool)
            if not number or not 0 < ratio <= 1:
                raise ValueError(f"keep_ratio of {name!r} (={ratio}) must be in (0, 1]")

    @classmethod
    def uniform(cls, space: PlanSpace, keep_ratio: float) -> Plan:
        """The same `keep_ratio` for every decision, rounded to whole channels."""
        if not 0 < keep_ratio <= 1:
            raise ValueError(f"keep_ratio (={keep_ratio}) must be in (0, 1]")
        return space.plan([decision.nearest(keep_ratio) for decision in space])

    @cached_property
    def digest(self) -> str:
        """Twelve hex digits that name the plan."""
        text = json.dumps(sorted((k, round(v, 9)) for k, v in self.keep_ratio.items()))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `{"keep_ratio": {group: ratio}}` as JSON, whole or not at all."""
        text = json.dumps({"keep_ratio": dict(self.keep_ratio)}, indent=2)
        write_whole(path, text + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Plan:
        """Reads what `save` wrote.

        Raises:
            ValueError: the file is no plan.
            OSError: it cannot be read.
        """
        try:
            record = json.loads(Path(path).read_text())
            ratios = {str(k): v for k, v in record["keep_ratio"].items()}
        except (
            *(json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError),
            RecursionError,
        ) as error:
            raise ValueError(
                f'{path} is no plan: expected {{"keep_ratio": {{group: ratio}}}}'
            ) from error
        except AttributeError as error:
            raise ValueError(
                f"{path} is no plan: keep_ratio must map group names to ratios"
            ) from error
        try:
            return cls(ratios)
        except ValueError as error:
            raise ValueError(f"{path} is no plan: {error}") from error


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

    def sample(self, generator: torch.Generator) -> Plan:
        """A plan with every count drawn uniformly from those allowed."""
        draws = torch.rand(len(self), generator=generator).tolist()
        return self.plan(
            [d.counts[int(u * len(d.counts))] for d, u in zip(self, draws, strict=True)]
        )


def kept_channels(graph: ModelGraph, plan: Plan | None) -> np.ndarray:
    """Channels that a plan keeps of every group, int64 [num_groups]; all for None.

    The nearest whole number to `keep_ratio * size`, at least 1.

    Raises:
        ValueError: the plan names a group that the network does not have.
    """
    sizes = np.array([group.size for group in graph.groups], dtype=np.int64)
    if plan is None:
        return sizes
    names = [group.name for group in graph.groups]
    unknown = sorted(set(plan.keep_ratio) - set(names))
    if unknown:
        raise ValueError(
            f"the plan names unknown channel groups {unknown}; the network has {names}"
        )
    ratios = np.array([plan.keep_ratio.get(name, 1.0) for name in names])
    return np.maximum(1, np.floor(ratios * sizes + 0.5)).astype(np.int64)


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
    return Decision(group.name, group.size, min(minimum, group.size), step)
