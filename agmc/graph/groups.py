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
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from agmc.graph.channel_rules import rule_of
from agmc.graph.labels import Labels
from agmc.graph.model_graph import ChannelGroup, ParameterSlice, TensorSpec
from agmc.graph.program import Program, argument, refs_in


class UnprunableWarning(UserWarning):
    """Channels are left alone; the text says which operator and layer is the reason."""


#: (slice, positions) and (activation, positions) of one channel.
_Signature = tuple[tuple[tuple[int, int], ...], tuple[tuple[str, int], ...]]


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
    constants: Collection[str] = (),
) -> FoundGroups:
    """Labels the whole network and collects the channels that go together.

    Args:
        program: the operations.
        tensors: activation name -> shape.
        parameter_shapes: qualified name -> shape, of parameters, buffers and constants.
        constants: those of them that lie outside the state dict and cannot be cut.

    Warns:
        UnprunableWarning: once for every operator that keeps channels from going.
    """
    labels = Labels(tensors, parameter_shapes)
    for name in program.inputs:
        labels.set_fixed(name)
    for name in constants:
        labels.keep_whole(
            name, f"channels of {name!r} are left alone: it lies outside the state dict"
        )
    for operation in program.operations:
        rule_of(operation)(labels, operation)
    for name in refs_in(program.outputs):
        labels.fix(labels.of(name))
    found = _collect(labels, program)
    for reason in found.unprunable:
        warnings.warn(reason, UnprunableWarning, stacklevel=4)
    return found


def _collect(labels: Labels, program: Program) -> FoundGroups:
    """Channels that lie in the same slices of the same parameters form a group.

    They also lie in the same activations, equally often: every group keeps at least
    one channel, so no activation ever loses all of its own.
    """
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
    atoms_of = {name: roots[marks] for name, marks in labels.values.items()}
    carriers: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for tensor, marks in atoms_of.items():
        for root, times in zip(*np.unique(marks, return_counts=True), strict=True):
            carriers[int(root)].append((tensor, int(times)))
    members: dict[_Signature, list[int]] = defaultdict(list)
    for root, where in places.items():
        cuts = tuple((slot, len(found)) for slot, found in where.items())
        members[cuts, tuple(carriers[root])].append(root)
    ordered = sorted(members.items(), key=lambda item: [s for s, _ in item[0][0]])
    groups = []
    names: dict[str, int] = defaultdict(int)
    for (signature, carrier), group_roots in ordered:
        name = _layer_of(slots[signature[0][0]][0][0])
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
                tensors=tuple(tensor for tensor, _ in carrier),
                producers=_producers(program, slices, labels.parameter_shapes),
            )
        )
    return FoundGroups(
        groups=tuple(groups),
        atoms={n: np.where(a == 0, -1, a) for n, a in atoms_of.items()},
        group_atoms=tuple(np.array(group_roots) for _, group_roots in ordered),
        unprunable=tuple(labels.reasons),
    )


def _layer_of(parameter: str) -> str:
    """The layer that owns a parameter; the parameter itself at the root."""
    return parameter.rpartition(".")[0] or parameter


def _producers(
    program: Program,
    slices: tuple[ParameterSlice, ...],
    parameter_shapes: Mapping[str, tuple[int, ...]],
) -> tuple[str, ...]:
    """Layers that make the channels; a depthwise convolution only passes them on."""
    made = {cut.parameter for cut in slices if cut.dim == 0}
    result: dict[str, None] = {}
    for operation in program.operations:
        names = list(operation.refs())
        if operation.kind in ("conv1d", "conv2d", "conv3d", "linear"):
            groups = argument(operation, 6, 1) if operation.kind != "linear" else 1
            if names[1] in made and (groups == 1 or parameter_shapes[names[1]][1] > 1):
                result[_layer_of(names[1])] = None
    return tuple(result)
