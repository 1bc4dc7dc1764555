"""One rule on one operation: what the tests of rules share."""

from __future__ import annotations

from agmc.graph.labels import Label, Labels
from agmc.graph.model_graph import TensorSpec
from agmc.graph.program import Operation

IMAGE = (1, 4, 2, 2)


def after(rule, op, shape, *arguments, parameters=None, kwargs=None, **operands):
    """Labels after an operation 'y' of one result, or of several if `shape` is None.

    Operands are named as (shape, dim, zero) and have the channels 1, 2, ... along dim;
    without others there is an image 'x' with 4 channels.
    """
    operands = operands or {"x": (IMAGE, 1, True)}
    tensors = {name: TensorSpec(size) for name, (size, *_) in operands.items()}
    if shape is not None:
        tensors["y"] = TensorSpec(shape)
    labels = Labels(tensors, parameters or {}, {}, {})
    for name, (size, dim, zero) in operands.items():
        if dim is not None:
            labels.set(name, Label(dim, labels.new(size[dim]), zero))
    op = op if "." in op else f"{op}.default"
    rule(labels, Operation("y", f"aten.{op}", arguments, kwargs or {}))
    return labels


def roots(labels, name="y"):
    return labels.atoms.roots(labels.of(name).atoms).tolist()


def slots(labels):
    return {key: labels.atoms.roots(at).tolist() for key, at in labels.slots.items()}


def passes(labels, dim, zero=True):
    """The channels 1, 2, 3, 4 come out along `dim`."""
    label = labels.of("y")
    found = label is not None and (label.dim, roots(labels), label.zero)
    return found == (dim, [1, 2, 3, 4], zero) and not labels.reasons


def stops(labels, kind, why):
    """All channels that came in are fixed, and the one reason is `why`."""
    line = f"channels that reach {kind} 'y' are left alone: {why}"
    fixed = not any(any(roots(labels, name)) for name in labels.values)
    return "y" not in labels.values and fixed and labels.reasons == [line]
