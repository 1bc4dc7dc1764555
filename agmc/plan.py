"""Plan: what is kept of a network."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from agmc.graph.model_graph import Block, ModelGraph
from agmc.graph.weighted import check_layers, weighted_layers
from agmc.whole_file import write_whole

#: What a plan says by a number for each name; besides, it names what is `dropped`.
PARTS = ("keep_ratio", "sparsity", "weight_bits", "act_bits")
MOST_BITS = 16
#: Of weights and of activations, unless a plan says other bits: float32.
FLOAT_BITS = 32


class Decides(Protocol):
    """A space of plans, see `agmc.plan_space.PlanSpace`."""

    def uniform(self, keep_ratio: float) -> Plan:
        """The same share of everything."""


@dataclass(frozen=True)
class Plan:
    """What stays of a network: channels, weights, bits and blocks.

    What it says of channels and layers inside a dropped block is not carried out.

    Attributes:
        keep_ratio: channel group name -> share in (0, 1]; a group not named keeps all.
        sparsity: layer name (see `agmc.graph.weighted.weighted_layers`) -> share of its
            weights that are zero, in [0, 1); a layer not named keeps all.
        weight_bits: layer name -> bits of a weight, a whole number in 1..16; weights of
            a layer not named stay float32.
        act_bits: layer name -> bits of its input, a whole number in 1..16. An input is
            rounded where it is made, for all that reads it, and then so is what is
            added, multiplied or averaged, or made by the layer for an activation
            function other than a rectifier, to 8 bits; a layer not named reads floats
            where none of that has rounded them.
        dropped: names of the blocks that go as a whole, see `ModelGraph.blocks`.

    Raises:
        ValueError: a number is out of range, or `dropped` are no names.
    """

    keep_ratio: Mapping[str, float]
    sparsity: Mapping[str, float] = field(default_factory=dict)
    weight_bits: Mapping[str, int] = field(default_factory=dict)
    act_bits: Mapping[str, int] = field(default_factory=dict)
    dropped: Collection[str] = frozenset()

    def __post_init__(self) -> None:
        for part in PARTS:
            said = {k: _plain(value) for k, value in dict(getattr(self, part)).items()}
            object.__setattr__(self, part, said)
        for name, ratio in self.keep_ratio.items():
            if not _is_number(ratio) or not 0 < ratio <= 1:
                raise ValueError(f"keep_ratio of {name!r} (={ratio}) must be in (0, 1]")
        for name, share in self.sparsity.items():
            if not _is_number(share) or not 0 <= share < 1:
                raise ValueError(f"sparsity of {name!r} (={share}) must be in [0, 1)")
        for part in ("weight_bits", "act_bits"):
            for name, bits in getattr(self, part).items():
                if not is_whole(bits) or not 1 <= bits <= MOST_BITS:
                    raise ValueError(
                        f"{part} of {name!r} (={bits}) must be a whole number in "
                        f"1..{MOST_BITS}; leave the layer out to keep float32"
                    )
        names = self.dropped
        listed = isinstance(names, Collection) and not isinstance(names, (str, Mapping))
        if not listed or not all(isinstance(name, str) for name in names):
            raise ValueError(f"dropped (={names!r:.80}) must be a list of block names")
        object.__setattr__(self, "dropped", frozenset(names))

    @classmethod
    def uniform(cls, space: Decides, keep_ratio: float) -> Plan:
        """The same `keep_ratio` for every decision, rounded to whole channels."""
        return space.uniform(keep_ratio)

    @cached_property
    def digest(self) -> str:
        """Twelve hex digits that name the plan."""
        said = self.to_json()
        parts: list[Any] = [
            sorted((k, round(v, 9)) for k, v in said[part].items())
            for part in PARTS
            if part in said
        ]
        if self.dropped:
            parts.append(said["dropped"])
        text = json.dumps(parts[0] if len(parts) == 1 else [*said, *parts])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def removes(self) -> bool:
        """Whether any channel, weight or block goes."""
        channels = any(ratio != 1 for ratio in self.keep_ratio.values())
        return channels or any(self.sparsity.values()) or bool(self.dropped)

    @property
    def rounds(self) -> bool:
        """Whether any weight or activation is rounded to fewer bits."""
        return bool(self.weight_bits or self.act_bits)

    @property
    def layers(self) -> frozenset[str]:
        """Names of all layers that the plan speaks of."""
        return frozenset((*self.sparsity, *self.weight_bits, *self.act_bits))

    def to_json(self) -> dict[str, Any]:
        """`{"keep_ratio": {group: ratio}}`, and the other parts where there are any."""
        said: dict[str, Any] = {
            part: dict(getattr(self, part))
            for part in PARTS
            if getattr(self, part) or part == "keep_ratio"
        }
        if self.dropped:
            said["dropped"] = sorted(self.dropped)
        return said

    @classmethod
    def from_json(cls, record: Any) -> Plan:
        """Reads what `to_json` made.

        Raises:
            ValueError: it is no plan.
        """
        if not isinstance(record, Mapping) or "keep_ratio" not in record:
            raise ValueError('expected {"keep_ratio": {group: ratio}}')
        known = (*PARTS, "dropped")
        if unknown := sorted(set(record) - set(known)):
            raise ValueError(f"{unknown[0]!r} is none of {', '.join(known)}")
        for part, values in record.items():
            if part in PARTS and not isinstance(values, Mapping):
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


class LayerParts(NamedTuple):
    """What plans say of every layer of `weighted_layers`, in their order.

    Attributes:
        density: share of the weights that is not zero, float64 [..., num_layers].
        weight_bits: `FLOAT_BITS` where a plan says nothing, int64 [..., num_layers].
        act_bits: of the input, likewise.
    """

    density: np.ndarray
    weight_bits: np.ndarray
    act_bits: np.ndarray


def layer_parts(graph: ModelGraph, plan: Plan | None) -> LayerParts:
    """What a plan says of every layer, arrays [num_layers].

    Raises:
        ValueError: the plan names a layer that the network does not have.
    """
    layers = weighted_layers(graph.program)
    plan = Plan({}) if plan is None else plan
    check_layers(plan.layers, layers)
    bits = (
        np.array([part.get(name, FLOAT_BITS) for name in layers], dtype=np.int64)
        for part in (plan.weight_bits, plan.act_bits)
    )
    zeros = np.array([plan.sparsity.get(name, 0.0) for name in layers], dtype=float)
    return LayerParts(1 - zeros, *bits)


def kept_blocks(graph: ModelGraph, plan: Plan | None) -> np.ndarray:
    """Which of `graph.blocks` stay, bool [num_blocks]; all for None.

    Raises:
        ValueError: the plan drops a block that the network does not have.
    """
    names = [block.name for block in graph.blocks]
    dropped = frozenset[str]() if plan is None else frozenset(plan.dropped)
    if unknown := sorted(dropped - set(names)):
        raise ValueError(
            f"the plan drops unknown blocks {unknown}; the network has "
            + (", ".join(names) or "none that can go")
        )
    return np.array([name not in dropped for name in names], dtype=bool)


def dropped_blocks(graph: ModelGraph, plan: Plan) -> tuple[Block, ...]:
    """The blocks that go.

    Raises:
        ValueError: as of `kept_blocks`.
    """
    kept = kept_blocks(graph, plan)
    return tuple(b for b, stays in zip(graph.blocks, kept, strict=True) if not stays)


def of_what_stays(graph: ModelGraph, plan: Plan) -> Plan:
    """The plan without the zeros and bits of layers that lie in dropped blocks.

    Raises:
        ValueError: as of `kept_blocks`.
    """
    gone = {name for block in dropped_blocks(graph, plan) for name in block.operations}
    if not gone:
        return plan
    layers = weighted_layers(graph.program)
    names = {name for name, operation in layers.items() if operation.name in gone}
    return replace(
        plan,
        **{
            part: {k: v for k, v in getattr(plan, part).items() if k not in names}
            for part in ("sparsity", "weight_bits", "act_bits")
        },
    )


def is_whole(value: object) -> bool:
    """Whether it is a whole number, of Python or of numpy; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    """Numbers of numpy as those of Python, which can be written down; else as it is."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return value
    return int(value) if isinstance(value, Integral) else float(value)
