"""Plan: what is kept of a network, and the space of all plans of one network."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch

from agmc.graph.model_graph import ChannelGroup, ModelGraph
from agmc.whole_file import write_whole

#: What a plan speaks of.
PARTS = ("keep_ratio", "sparsity", "weight_bits", "act_bits")
MOST_BITS = 16


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
    """What stays of a network: channels, weights and bits.

    Attributes:
        keep_ratio: channel group name -> share in (0, 1]; a group not named keeps all.
        sparsity: layer name (see `agmc.graph.weighted.weighted_layers`) -> share of its
            weights that are zero, in [0, 1); a layer not named keeps all.
        weight_bits: layer name -> bits of a weight, a whole number in 1..16; weights of
            a layer not named stay float32.
        act_bits: layer name -> bits of its input, a whole number in 1..16; the input of
            a layer not named stays float32.

    Raises:
        ValueError: a number is out of range.
    """

    keep_ratio: Mapping[str, float]
    sparsity: Mapping[str, float] = field(default_factory=dict)
    weight_bits: Mapping[str, int] = field(default_factory=dict)
    act_bits: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for part in PARTS:
            object.__setattr__(self, part, dict(getattr(self, part)))
        for name, ratio in self.keep_ratio.items():
            if not _is_number(ratio) or not 0 < ratio <= 1:
                raise ValueError(f"keep_ratio of {name!r} (={ratio}) must be in (0, 1]")
        for name, share in self.sparsity.items():
            if not _is_number(share) or not 0 <= share < 1:
                raise ValueError(f"sparsity of {name!r} (={share}) must be in [0, 1)")
        for part in ("weight_bits", "act_bits"):
            for name, bits in getattr(self, part).items():
                whole = isinstance(bits, int) and not isinstance(bits, bool)
                if not whole or not 1 <= bits <= MOST_BITS:
                    raise ValueError(
                        f"{part} of {name!r} (={bits}) must be a whole number in "
                        f"1..{MOST_BITS}; leave the layer out to keep float32"
                    )

    @classmethod
    def uniform(cls, space: PlanSpace, keep_ratio: float) -> Plan:
        """The same `keep_ratio` for every decision, rounded to whole channels."""
        if not 0 < keep_ratio <= 1:
            raise ValueError(f"keep_ratio (={keep_ratio}) must be in (0, 1]")
        return space.plan([decision.nearest(keep_ratio) for decision in space])

    @cached_property
    def digest(self) -> str:
        """Twelve hex digits that name the plan."""
        parts = [
            sorted((k, round(v, 9)) for k, v in part.items())
            for part in self._said.values()
        ]
        text = json.dumps(parts[0] if len(parts) == 1 else [*self._said, *parts])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def _said(self) -> dict[str, Mapping[str, float]]:
        """The parts that say something; the channels always do."""
        parts = {part: getattr(self, part) for part in PARTS}
        return {k: v for k, v in parts.items() if v or k == "keep_ratio"}

    def to_json(self) -> dict[str, dict[str, float]]:
        """`{"keep_ratio": {group: ratio}}`, and the other parts where there are any."""
        return {part: dict(values) for part, values in self._said.items()}

    @classmethod
    def from_json(cls, record: Any) -> Plan:
        """Reads what `to_json` made.

        Raises:
            ValueError: it is no plan.
        """
        if not isinstance(record, Mapping) or "keep_ratio" not in record:
            raise ValueError('expected {"keep_ratio": {group: ratio}}')
        if unknown := sorted(set(record) - set(PARTS)):
            raise ValueError(f"{unknown[0]!r} is none of {', '.join(PARTS)}")
        for part, values in record.items():
            if not isinstance(values, Mapping):
                raise ValueError(f"{part} must map names to numbers")
        return cls(**{part: values for part, values in record.items()})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `to_json`, whole or not at all."""
        write_whole(path, json.dumps(self.to_json(), indent=2) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Plan:
        """Reads what `save` wrote.

        Raises:
            ValueError: the file is no plan.
            OSError: it cannot be read.
        """
        try:
            return cls.from_json(json.loads(Path(path).read_text()))
        except (ValueError, RecursionError) as error:  # no text and no JSON as well
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


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
