"""Channel groups: which channels must go together.

Every element of every activation and parameter is labelled with the channel it
belongs to (an *atom*: an integer). Labels are arrays that broadcast to the labelled
tensor, and follow it through the network: a convolution makes new atoms, an addition
joins the atoms that meet, a flatten repeats them, a slice or concatenation moves them.
Atom 0 is fixed: it stands for everything that can never go, the inputs and outputs
of the network and whatever an unknown operator touches.

Removing an atom means cutting its positions out of every parameter. That equals
setting the same positions of all parameters (weights, biases, batch norm) to zero, as
long as operators map zero channels to zero channels; the rules below hold that.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from agmc.graph.channel_rules import rule_of
from agmc.graph.labels import Labels
from agmc.graph.model_graph import ChannelGroup, ParameterSlice, TensorSpec
from agmc.graph.program import Program, refs_in


class UnprunableWarning(UserWarning):
    """Channels are left alone; the text says which operator and layer is the reason."""


@dataclass(frozen=True)
class FoundGroups:
    """What `find_groups` returns; the fields are those of `ModelGraph`."""

    groups: tuple[ChannelGroup, ...]
    atoms: Mapping[str, np.ndarray]
    group_atoms: tuple[np.ndarray, ...]
    unprunable: tuple[str, ...]


def find_groups(
    program: Program,
    tensors: Mapping[str, TensorSpec],
    parameter_shapes: Mapping[str, tuple[int, ...]],
) -> FoundGroups:
    """Labels the whole network and collects the channels that go together.

    Warns:
        UnprunableWarning: once for every operator that keeps channels from going.
    """
    labels = Labels(tensors, parameter_shapes)
    for name in program.inputs:
        labels.set_fixed(name)
    for operation in program.operations:
        rule_of(operation)(labels, operation)
    for name in refs_in(program.outputs):
        labels.fix(labels.of(name))
    found = _collect(labels, program)
    for reason in found.unprunable:
        warnings.warn(reason, UnprunableWarning, stacklevel=4)
    return found


def _collect(labels: Labels, program: Program) -> FoundGroups:
    """Channels that lie in the same slices of the same parameters form a group."""
    roots = np.array([labels.root(atom) for atom in range(len(labels.parent))])
    order = {
        name: position
        for position, name in reversed(
            list(enumerate(name for op in program.operations for name in op.refs()))
        )
    }
    slots = sorted(
        labels.slots.items(), key=lambda item: (order[item[0][0]], item[0][1])
    )
    places: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for slot_index, (_, atoms) in enumerate(slots):
        for position, root in enumerate(roots[atoms].tolist()):
            if root:
                places[root][slot_index].append(position)
    members: dict[tuple[tuple[int, int], ...], list[int]] = defaultdict(list)
    for root, where in places.items():
        signature = tuple((slot, len(found)) for slot, found in where.items())
        members[signature].append(root)
    atoms_of = {name: roots[marks] for name, marks in labels.values.items()}
    groups = []
    names: dict[str, int] = defaultdict(int)
    for signature, group_roots in sorted(
        members.items(), key=lambda item: [slot for slot, _ in item[0]]
    ):
        name = slots[signature[0][0]][0][0].rpartition(".")[0]
        names[name] += 1
        if names[name] > 1:
            name = f"{name}:{names[name]}"
        slices = tuple(
            ParameterSlice(
                *slots[slot][0],
                np.array([places[root][slot] for root in group_roots]),
            )
            for slot, _ in signature
        )
        groups.append(
            ChannelGroup(
                name=name,
                size=len(group_roots),
                slices=slices,
                tensors=tuple(
                    tensor
                    for tensor, marks in atoms_of.items()
                    if np.isin(marks, group_roots).any()
                ),
                producers=_producers(program, slices),
            )
        )
    return FoundGroups(
        groups=tuple(groups),
        atoms={n: np.where(a == 0, -1, a) for n, a in atoms_of.items()},
        group_atoms=tuple(
            np.array(found)
            for _, found in sorted(
                members.items(), key=lambda item: [slot for slot, _ in item[0]]
            )
        ),
        unprunable=tuple(labels.reasons),
    )


def _producers(program: Program, slices: tuple[ParameterSlice, ...]) -> tuple[str, ...]:
    """Layers whose weight has the channels as its outputs but not as its inputs."""
    made = {cut.parameter for cut in slices if cut.dim == 0}
    result: dict[str, None] = {}
    for operation in program.operations:
        names = list(operation.refs())
        if operation.kind in ("conv1d", "conv2d", "conv3d", "linear"):
            depthwise = len(operation.args) > 6 and operation.args[6] > 1
            if names[1] in made and not depthwise:
                result[names[1].rpartition(".")[0]] = None
    return tuple(result)
