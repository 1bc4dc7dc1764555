"""What layers with weights do to channels.

Letters: N batch, C channels, F features, G groups, * any number of spatial dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from agmc.graph.labels import Label, Labels
from agmc.graph.program import Operation, argument, name_of


def weights_are_plain(labels: Labels, operation: Operation) -> bool:
    """Whether weight, bias, ... are parameters; leaves the operation alone if not."""
    held = [name for name in map(name_of, operation.args[1:5]) if name is not None]
    plain = all(name in labels.parameter_shapes for name in held)
    if not plain:
        labels.leave_alone(
            operation, "the forward code computes its weights", makes_channels=True
        )
    return plain


def _keep(labels: Labels, held: Sequence[str]) -> None:
    """Vectors that no channel of an input can cut here, nor any other use of them."""
    for name in held:
        labels.slot(name, 0, np.zeros(labels.shape(name)[0], dtype=np.int32))


def convolution(labels: Labels, operation: Operation) -> None:
    """[N, C_in, *] -> [N, C_out, *]; weight [C_out, C_in / G, *].

    Transposed: weight [C_in, C_out / G, *].
    """
    source, weight = name_of(operation.args[0]), name_of(operation.args[1]) or ""
    bias = name_of(argument(operation, 2))
    transposed = operation.kind.startswith("conv_transpose")
    groups = argument(operation, 6, 1)
    assert source is not None
    if not weights_are_plain(labels, operation):
        return
    rank = len(labels.shape(operation.name))
    incoming = labels.along(source, 1) if rank == len(labels.shape(weight)) else None
    if incoming is None:
        labels.leave_alone(
            operation,
            "its input channels do not lie along dimension 1",
            makes_channels=True,
        )
        return
    num_out = labels.shape(operation.name)[1]
    outgoing = labels.new(num_out)
    by_group_in = incoming.reshape(groups, -1)
    by_group_out = outgoing.reshape(groups, -1)
    in_dim, out_dim = (0, 1) if transposed else (1, 0)
    if groups == 1:
        labels.slot(weight, in_dim, incoming)
        labels.slot(weight, out_dim, outgoing, makes=True)
    elif groups > min(by_group_in.shape[1], by_group_out.shape[1]):
        # Whole groups go: more choices than channels of a group. A depthwise
        # convolution is the case of one input channel a group.
        first = by_group_in[:, :1]
        labels.join(by_group_in, np.broadcast_to(first, by_group_in.shape))
        labels.join(by_group_out, np.broadcast_to(first, by_group_out.shape))
        depthwise = by_group_in.shape[1] == 1
        made = incoming if transposed else outgoing
        labels.slot(weight, 0, made, makes=not depthwise)
    else:
        # Groups stay equal: position j goes in all groups or in none.
        for by_group in (by_group_in, by_group_out):
            labels.join(by_group, np.broadcast_to(by_group[:1], by_group.shape))
        within = by_group_out[0] if transposed else by_group_in[0]
        first = incoming if transposed else outgoing
        labels.slot(weight, 0, first, makes=not transposed)
        labels.slot(weight, 1, within, makes=transposed)
    if bias is not None:
        labels.slot(bias, 0, outgoing)
    labels.set(operation.name, Label(1, outgoing))


def linear(labels: Labels, operation: Operation) -> None:
    """[..., F_in] -> [..., F_out]; weight [F_out, F_in]."""
    source, weight = name_of(operation.args[0]), name_of(operation.args[1]) or ""
    bias = name_of(argument(operation, 2))
    assert source is not None
    if not weights_are_plain(labels, operation):
        return
    if len(labels.shape(weight)) != 2:
        labels.leave_alone(operation, "its weight is no matrix")
        return
    incoming = labels.along(source, -1)
    if incoming is None:
        # It mixes positions and treats channels alike; its features are fixed.
        label = labels.of(source)
        assert label is not None
        why = labels.reason(operation, "channels do not lie along its features")
        for name in operation.refs():
            if name in labels.parameter_shapes and labels.keep_whole(name, why):
                labels.reasons.append(why)
        labels.set(
            operation.name, Label(label.dim, label.atoms, label.zero and bias is None)
        )
        return
    outgoing = labels.new(labels.parameter_shapes[weight][0])
    labels.slot(weight, 1, incoming)
    labels.slot(weight, 0, outgoing, makes=True)
    if bias is not None:
        labels.slot(bias, 0, outgoing)
    labels.set(operation.name, Label(len(labels.shape(operation.name)) - 1, outgoing))


def batch_norm(labels: Labels, operation: Operation) -> None:
    """[N, C, *] -> [N, C, *]; scale, shift, mean and variance [C] (or none)."""
    source = name_of(operation.args[0])
    assert source is not None
    if not weights_are_plain(labels, operation):
        return
    label = labels.of(source)
    held = [name for name in map(name_of, operation.args[1:5]) if name is not None]
    if label is None or label.dim != 1:
        _keep(labels, held)
        zero = False
    else:
        for name in held:
            labels.slot(name, 0, label.atoms)
        zero = name_of(operation.args[1]) is not None  # the zeroed scale decides
    if label is not None:
        labels.set(operation.name, Label(label.dim, label.atoms, zero))


def instance_norm(labels: Labels, operation: Operation) -> None:
    """[N, C, *] -> [N, C, *], every channel by itself."""
    source = name_of(operation.args[0])
    label = labels.of(source) if source else None
    if label is not None and label.dim != 1:
        labels.leave_alone(operation, "it normalises over the channels")
        return
    batch_norm(labels, operation)


def group_norm(labels: Labels, operation: Operation) -> None:
    """[N, C, *] -> [N, C, *]; a group is normalised as a whole, and goes as a whole."""
    source, num_groups = name_of(operation.args[0]), operation.args[1]
    held = [name for name in map(name_of, operation.args[2:4]) if name is not None]
    assert source is not None
    label = labels.of(source)
    if not weights_are_plain(labels, operation):
        return
    if label is None:
        _keep(labels, held)
        return
    if label.dim != 1:
        labels.leave_alone(operation, "it normalises over the channels")
        return
    if num_groups == 1:
        labels.leave_alone(operation, "it normalises over all channels together")
        return
    by_group = label.atoms.reshape(num_groups, -1)
    labels.join(by_group, np.broadcast_to(by_group[:, :1], by_group.shape))
    for name in held:
        labels.slot(name, 0, label.atoms)
    zero = bool(held) or label.zero
    labels.set(operation.name, Label(1, label.atoms, zero))


def layer_norm(labels: Labels, operation: Operation) -> None:
    """Normalises over the last dimensions; channels along others stay as they are."""
    source = name_of(operation.args[0])
    assert source is not None
    label = labels.of(source)
    if not weights_are_plain(labels, operation) or label is None:
        return
    rank = len(labels.shape(source))
    if label.dim >= rank - len(operation.args[1]):
        labels.leave_alone(operation, "it normalises over the channels")
    else:
        labels.set(operation.name, Label(label.dim, label.atoms, zero=False))


def prelu(labels: Labels, operation: Operation) -> None:
    """[N, C, *] -> [N, C, *]; one slope, or one per channel."""
    source, slope = name_of(operation.args[0]), name_of(operation.args[1]) or ""
    assert source is not None
    label = labels.of(source)
    if not weights_are_plain(labels, operation):
        return
    several = math.prod(labels.shape(slope)) > 1
    if label is not None and label.dim == 1 and several:
        labels.slot(slope, 0, label.atoms)
    elif several:
        _keep(labels, [slope])
    labels.set(operation.name, label)
