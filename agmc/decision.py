"""Decision: how much of one part of a network stays, and among what that is chosen."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from agmc.graph.model_graph import ChannelGroup, ModelGraph
from agmc.plan import MOST_BITS, Plan, is_whole

#: Choices of a share of zeros are multiples of 1 / _SPARSITY_STEPS.
_SPARSITY_STEPS = 20
_MAPPINGS = ("share", "haq")
#: The part of a plan that names whole blocks.
DROPPED = "dropped"
_UNITS = {
    "keep_ratio": "channels",
    "sparsity": f"{_SPARSITY_STEPS}ths of its weights",
    DROPPED: "halves",
}


@dataclass(frozen=True)
class Decision:
    """How much of one part of a network stays.

    The share that stays is `count / size`, whatever it is a share of: that is what
    agents propose and see.

    Attributes:
        name: of the channel group, block or layer.
        counts: to choose from, ascending; the last keeps most: channels, 20ths of the
            weights, bits, or places among the bits; of a block, 1 drops and 2 keeps it.
        part: of the plan: one of `agmc.plan.PARTS`, or `DROPPED`.
        values: what the plan says for each of the counts, bits, or whether a block
            stays; () where that is a share.
        rounds_up: whether an action between two counts takes the upper one.
    """

    name: str
    counts: tuple[int, ...]
    part: str = "keep_ratio"
    values: tuple[int, ...] = ()
    rounds_up: bool = False

    @property
    def size(self) -> int:
        """The count that keeps most: all channels of the group, the most bits."""
        return self.counts[-1]

    @property
    def unit(self) -> str:
        """What is counted."""
        return _UNITS.get(self.part, "bits")

    def nearest(self, keep_ratio: float) -> int:
        """The allowed count nearest to `keep_ratio * size`; the larger of two."""
        wanted = keep_ratio * self.size
        if self.rounds_up:  # up to what float32 makes of a share
            least = wanted - 1e-6 * self.size
            return next((c for c in self.counts if c >= least), self.size)
        return min(self.counts, key=lambda count: (abs(count - wanted), -count))

    def value(self, count: int) -> float:
        """What a plan says where `count` is kept."""
        if self.part == "keep_ratio":
            return count / self.size
        if self.part == "sparsity":
            return 1 - count / self.size
        return self.values[self.counts.index(count)]

    def count_in(self, plan: Plan) -> int:
        """The count that comes nearest to what a plan says of a layer or block."""
        if self.part == DROPPED:
            return self.counts[0 if self.name in plan.dropped else -1]
        said = getattr(plan, self.part).get(self.name)
        if said is None:
            return self.size
        return min(self.counts, key=lambda count: abs(self.value(count) - said))


def channel_decisions(
    graph: ModelGraph, min_keep_ratio: float, round_to: int | Mapping[str, int]
) -> list[Decision]:
    """One decision for every channel group; arguments as of `PlanSpace`.

    Raises:
        ValueError: an argument is out of range, or the network has no prunable group.
    """
    if not 0 < min_keep_ratio <= 1:
        raise ValueError(f"min_keep_ratio (={min_keep_ratio}) must be in (0, 1]")
    if not graph.groups:
        raise ValueError(
            "the network has no prunable channel group: "
            + ("; ".join(graph.unprunable) or "no convolution feeds another layer")
        )
    steps = _steps([group.name for group in graph.groups], round_to)
    return [
        _channels(group, min_keep_ratio, step)
        for group, step in zip(graph.groups, steps, strict=True)
    ]


def block_decisions(graph: ModelGraph) -> list[Decision]:
    """One decision for every block: drop or keep.

    Raises:
        ValueError: the network has no block that could go.
    """
    if not graph.blocks:
        raise ValueError(
            "the network has no block that can be dropped as a whole: no value is "
            "added to what was computed from it"
        )
    return [Decision(block.name, (1, 2), DROPPED, (0, 1)) for block in graph.blocks]


def layer_decisions(
    layers: Sequence[str],
    parts: Sequence[str],
    start: Plan,
    *,
    weight_bits: Sequence[int],
    act_bits: Sequence[int],
    end_bits: int | None,
    max_sparsity: float,
    mapping: str,
) -> tuple[list[Decision], Plan]:
    """The decisions about layers, layer by layer; arguments as of `PlanSpace`.

    Returns:
        the decisions, and `start` with what is said of layers that are not decided.

    Raises:
        ValueError: an argument is out of range, or the network has no such layer.
    """
    bits = {
        "weight_bits": _checked_bits("weight_bits", weight_bits),
        "act_bits": _checked_bits("act_bits", act_bits),
    }
    if end_bits is not None:
        _checked_bits("end_bits", [end_bits])
    if not 0 < max_sparsity < 1:
        raise ValueError(f"max_sparsity (={max_sparsity}) must be in (0, 1)")
    if mapping not in _MAPPINGS:
        raise ValueError(
            f"mapping (={mapping!r}) must be one of {', '.join(_MAPPINGS)}"
        )
    if not layers:
        raise ValueError("the network has no layer with weights of its own")
    fewest = math.ceil((1 - max_sparsity) * _SPARSITY_STEPS - 1e-9)
    if "sparsity" in parts and fewest == _SPARSITY_STEPS:
        raise ValueError(
            f"max_sparsity (={max_sparsity}) must be >= {1 / _SPARSITY_STEPS} where "
            "sparsity is decided, in steps of that"
        )
    rounds = {"weight_bits", "act_bits"} & set(parts)
    said = {part: dict(getattr(start, part)) for part in bits}
    found = []
    for layer in layers:
        at_end = end_bits is not None and layer in (layers[0], layers[-1])
        if "sparsity" in parts:
            kept = tuple(range(max(1, fewest), _SPARSITY_STEPS + 1))
            found.append(Decision(layer, kept, "sparsity"))
        for part, choices in bits.items():
            if part in parts and not at_end and len(choices) > 1:
                found.append(_bits(layer, part, choices, mapping))
            elif part in parts or (part == "act_bits" and rounds):
                fixed = end_bits if at_end and end_bits is not None else choices[-1]
                said[part].setdefault(layer, fixed)
    return found, replace(start, **said)


def _bits(layer: str, part: str, choices: tuple[int, ...], mapping: str) -> Decision:
    counts = choices if mapping == "share" else tuple(range(1, len(choices) + 1))
    return Decision(layer, counts, part, choices, rounds_up=mapping == "haq")


def _checked_bits(name: str, choices: Sequence[int]) -> tuple[int, ...]:
    if isinstance(choices, str) or not isinstance(choices, Collection):
        raise ValueError(f"{name} (={choices!r}) must be a list, as [4, 8]")
    for bits in choices:
        if not is_whole(bits):
            raise ValueError(f"{name} (={bits}) must be a whole number")
        if not 1 <= bits <= MOST_BITS:
            raise ValueError(f"{name} (={bits}) must be in 1..{MOST_BITS}")
    if not choices:
        raise ValueError(f"{name} (=[]) must name at least one number of bits")
    return tuple(sorted({int(bits) for bits in choices}))


def _channels(group: ChannelGroup, min_keep_ratio: float, step: int) -> Decision:
    minimum = max(1, math.ceil(min_keep_ratio * group.size - 1e-9))
    first = math.ceil(min(minimum, group.size) / step) * step
    return Decision(group.name, (*range(first, group.size, step), group.size))


def _steps(names: Sequence[str], round_to: int | Mapping[str, int]) -> list[int]:
    """The step of every group.

    Raises:
        ValueError: a step is no whole number >= 1, or a pattern fits no group.
    """
    patterns = round_to if isinstance(round_to, Mapping) else {"*": round_to}
    for pattern, step in patterns.items():
        of = f" of {pattern!r}" if isinstance(round_to, Mapping) else ""
        if not is_whole(step) or step < 1:
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
