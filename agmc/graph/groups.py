"""Channel groups: which channels must go together.

Every position of an activation or parameter along one of its dimensions is labelled
with the channel it belongs to (an *atom*: an integer). Labels follow the activations
through the network: a convolution makes new atoms, an addition or a gate joins the
atoms that meet, a flatten repeats them, a slice or concatenation moves them. Atom 0 is
fixed: it stands for everything that can never go, the inputs and outputs of the network
and whatever an unknown operator touches.

Removing an atom means cutting its positions out of every parameter. That equals
setting the same positions of all parameters (weights, biases, batch norm) to zero: a
layer that reads a removed channel multiplies it by zero weights, whatever its values,
and operators that mix channels without weights are only followed where the channels
are known to be zero.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from agmc.graph.channel_rules import rule_of
from agmc.graph.labels import Label, Labels
from agmc.graph.model_graph import (
    ChannelGroup,
    Channels,
    ParameterSlice,
    Shuffle,
    TensorSpec,
)
from agmc.graph.program import Program, refs_in
from agmc.graph.shuffles import find_shuffles


class UnprunableWarning(UserWarning):
    """Channels are left alone; the text says which operator and layer is the reason."""


@dataclass(frozen=True)
class FoundGroups:
    """What `find_groups` returns; the fields are those of `ModelGraph`."""

    groups: tuple[ChannelGroup, ...]
    channels: Mapping[str, Channels]
    group_atoms: tuple[np.ndarray, ...]
    shuffles: Mapping[str, Shuffle]
    unprunable: tuple[str, ...]


def find_groups(
    program: Program,
    tensors: Mapping[str, TensorSpec],
    parameter_shapes: Mapping[str, tuple[int, ...]],
    *,
    constants: Collection[str] = (),
    integers: Mapping[str, np.ndarray] | None = None,
    sources: Mapping[str, str] | None = None,
) -> FoundGroups:
    """Labels the whole network and collects the channels that go together.

    Args:
        program: the operations.
        tensors: activation name -> shape.
        parameter_shapes: qualified name -> shape, of parameters, buffers and constants.
        constants: those of them that lie outside the state dict and cannot be cut.
        integers: name -> values of buffers that index_select reads.
        sources: operation name -> place in the model's source, for the warnings.

    Warns:
        UnprunableWarning: once for every operator that keeps channels from going.
    """
    labels = Labels(tensors, parameter_shapes, integers or {}, sources or {})
    for name in constants:
        if name not in labels.integers:
            labels.keep_whole(
                name,
                f"channels of {name!r} are left alone: it lies outside the state dict",
            )
    shuffles = {}
    inside: set[str] = set()
    candidates = find_shuffles(program, tensors)
    for operation in program.operations:
        if operation.name in inside:
            continue
        shuffle = candidates.get(operation.name)
        label = labels.of(shuffle.source) if shuffle else None
        if shuffle and label and label.dim == shuffle.dim:
            last = shuffle.steps[-1]
            inside.update(shuffle.steps)
            labels.set(last, Label(label.dim, label.atoms[shuffle.order], label.zero))
            shuffles[last] = shuffle
        else:
            rule_of(operation)(labels, operation)
    for name in refs_in(program.outputs):
        if (label := labels.of(name)) is not None:
            labels.fix(label.atoms)
    found = _collect(labels, program, shuffles)
    for reason in found.unprunable:
        warnings.warn(reason, UnprunableWarning, stacklevel=4)
    return found


def _collect(
    labels: Labels, program: Program, shuffles: Mapping[str, Shuffle]
) -> FoundGroups:
    """Channels that lie in the same slices of the same parameters form a group.

    They also lie in the same activations, equally often: every group keeps at least
    one channel, so no activation ever loses all of its own.
    """
    order = {
        name: position
        for position, name in reversed(
            list(enumerate(name for op in program.operations for name in op.refs()))
        )
    }
    slots = sorted(
        labels.slots.items(), key=lambda item: (order[item[0][0]], item[0][1])
    )
    root_of = labels.atoms.roots(np.arange(len(labels.atoms), dtype=np.int32))
    roots_of_slot = [root_of[atoms] for _, atoms in slots]
    carried = {name: root_of[label.atoms] for name, label in labels.values.items()}
    signatures = _signatures(len(labels.atoms), roots_of_slot, list(carried.values()))
    cut = np.zeros(len(labels.atoms), dtype=bool)
    for roots in roots_of_slot:
        cut[roots] = True
    cut[0] = False
    members: dict[bytes, list[int]] = defaultdict(list)
    for root in np.flatnonzero(cut).tolist():
        members[signatures[root].tobytes()].append(root)
    group_of = np.full(len(labels.atoms), -1)
    rank_of = np.zeros(len(labels.atoms), dtype=np.int32)
    for number, roots_of_group in enumerate(members.values()):
        group_of[roots_of_group] = number
        rank_of[roots_of_group] = np.arange(len(roots_of_group))
    slices: list[list[ParameterSlice]] = [[] for _ in members]
    known: dict[bytes, list[tuple[int, np.ndarray]]] = {}
    for (key, _), roots in zip(slots, roots_of_slot, strict=True):
        same = roots.tobytes()  # as for all that batch norm has
        if same not in known:
            known[same] = list(_indices(roots, group_of, rank_of))
        for number, index in known[same]:
            slices[number].append(ParameterSlice(*key, index))
    tensors: list[list[str]] = [[] for _ in members]
    for name, roots in carried.items():
        for number in np.unique(group_of[roots]):
            if number >= 0:
                tensors[number].append(name)
    position_of = {key: position for position, (key, _) in enumerate(slots)}
    in_order = sorted(
        range(len(members)),
        key=lambda g: [position_of[cut.parameter, cut.dim] for cut in slices[g]],
    )
    roots_of_groups = list(members.values())
    groups, group_atoms, reasons = [], [], list(labels.reasons)
    names: dict[str, int] = defaultdict(int)
    for number in in_order:
        name = _layer_of(slices[number][0].parameter)
        size = len(roots_of_groups[number])
        if size == 1:  # the last of its kind can never go
            if slices[number][0].index.shape[1] > 1:
                reasons.append(
                    f"channels of {name!r} are left alone: they hang together as one"
                )
            continue
        names[name] += 1
        if names[name] > 1:
            name = f"{name}:{names[name]}"
        groups.append(
            ChannelGroup(
                name=name,
                size=size,
                slices=tuple(slices[number]),
                tensors=tuple(tensors[number]),
                producers=_producers(labels, slices[number]),
            )
        )
        group_atoms.append(np.array(roots_of_groups[number]))
    alive = np.zeros(len(labels.atoms), dtype=bool)
    for atoms in group_atoms:
        alive[atoms] = True
    channels = {
        name: Channels(labels.values[name].dim, np.where(alive[roots], roots, -1))
        for name, roots in carried.items()
        if alive[roots].any()
    }
    return FoundGroups(
        groups=tuple(groups),
        channels=channels,
        group_atoms=tuple(group_atoms),
        shuffles={last: s for last, s in shuffles.items() if last in channels},
        unprunable=tuple(reasons),
    )


def _indices(
    roots: np.ndarray, group_of: np.ndarray, rank_of: np.ndarray
) -> Iterator[tuple[int, np.ndarray]]:
    """The groups of a slot, with the positions of each as `ParameterSlice.index`."""
    for number, positions in _by_group(group_of[roots]):
        ranks = rank_of[roots[positions]]
        by_rank = np.argsort(ranks, kind="stable")
        yield number, positions[by_rank.reshape(int(ranks.max()) + 1, -1)]


def _signatures(
    count: int, slots: list[np.ndarray], carried: list[np.ndarray]
) -> np.ndarray:
    """Equal rows for atoms that lie equally often in the same places, int64 [count, 2].

    Every place has random numbers, which are summed over the positions of an atom: two
    times 63 bits make an accident as good as impossible.
    """
    draw = np.random.default_rng(0)
    result = np.zeros((2, count), dtype=np.int64)
    with np.errstate(over="ignore"):
        for roots in (*slots, *carried):
            for sums, number in zip(result, draw.integers(1, 2**62, 2), strict=True):
                np.add.at(sums, roots, number)
    return np.ascontiguousarray(result.T)


def _by_group(numbers: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Every group number >= 0 with the positions where it stands."""
    return [
        (int(number), np.flatnonzero(numbers == number))
        for number in np.unique(numbers)
        if number >= 0
    ]


def _layer_of(parameter: str) -> str:
    """The layer that owns a parameter; the parameter itself at the root."""
    return parameter.rpartition(".")[0] or parameter


def _producers(labels: Labels, slices: list[ParameterSlice]) -> tuple[str, ...]:
    """Layers that make the channels; a depthwise convolution only passes them on."""
    return tuple(
        dict.fromkeys(
            _layer_of(cut.parameter)
            for cut in slices
            if (cut.parameter, cut.dim) in labels.made
        )
    )
