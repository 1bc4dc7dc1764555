"""Operators that work element by element: activations, sums, gates."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from agmc.graph.labels import Label, Labels
from agmc.graph.operators import operator_of, overload_of
from agmc.graph.program import Operation, map_refs

#: Element by element in evaluation mode, though torch does not tag them so.
_UNTAGGED = frozenset(
    {
        *("hardswish", "dropout", "feature_dropout", "alpha_dropout", "log_sigmoid"),
        *("feature_alpha_dropout", "to", "_to_copy", "type_as", "contiguous"),
        *("detach", "alias", "lift_fresh_copy", "native_dropout", "rrelu"),
        *("expand_as", "zeros_like", "ones_like", "full_like"),
    }
)

#: For operands whose removed channels are no zeros: of both signs, small and large, so
#: that neither a threshold nor the difference of two operands passes for a zero.
_STAND_INS = (0.731, -0.52, 1.9e3, 3.7e-4, -8.3e2, 7.1, -2.9e-4, 0.173)


def is_pointwise(operation: Operation) -> bool:
    """Whether an operator maps each element by itself, after broadcasting."""
    function = overload_of(operation.op)
    if function is None or len(function._schema.returns) != 1:
        return False
    return torch.Tag.pointwise in function.tags or operation.kind in _UNTAGGED


def pointwise(labels: Labels, operation: Operation) -> None:
    """Channels that meet go together; broadcast operands need not follow."""
    out_shape = labels.shape(operation.name)
    rank = len(out_shape)
    operands = [
        name
        for name in dict.fromkeys(operation.refs())
        if name in labels.tensors or name in labels.parameter_shapes
    ]
    found = {}
    for name in operands:
        direct = name in labels.parameter_shapes and name not in labels.values
        label = None if direct and len(operands) > 1 else labels.of(name)
        if label is not None:
            found[name] = label
    dims = {label.dim + rank - len(labels.shape(n)) for n, label in found.items()}
    if not dims:
        for name in operands:
            if name in labels.parameter_shapes:
                _meet_nothing(labels, operation, name)
        return
    if len(dims) > 1:
        labels.leave_alone(operation, "channels of its operands cross each other")
        return
    (dim,) = dims
    size = out_shape[dim]
    zeros: dict[str, bool] = {}
    atoms: np.ndarray | None = None
    meets_fixed = False
    for name in operands:
        shape = labels.shape(name)
        own = dim - (rank - len(shape))
        full = own >= 0 and shape[own] == size
        if name in found:
            zeros[name] = found[name].zero
            if atoms is not None:
                labels.join(atoms, found[name].atoms)
            atoms = found[name].atoms
        elif full and name in labels.parameter_shapes:
            zeros[name] = True  # a parameter is cut with its channels
        else:
            zeros[name] = False
            meets_fixed |= full
    assert atoms is not None
    for name in operands:
        if name in labels.parameter_shapes and name not in found:
            own = dim - (rank - len(labels.shape(name)))
            if zeros[name]:
                labels.slot(name, own, atoms)
            else:
                _meet_nothing(labels, operation, name)
    if meets_fixed:
        labels.leave_alone(operation, "they meet values that no channel can leave")
        return
    outcome = _at_zero(labels, operation, zeros)
    if outcome is None:
        labels.leave_alone(operation, "it maps zero to no finite number")
        return
    labels.set(operation.name, Label(dim, atoms, zero=outcome == 0))


def _meet_nothing(labels: Labels, operation: Operation, parameter: str) -> None:
    """A parameter that meets no channels along any of its dimensions stays whole."""
    why = labels.reason(operation, f"{parameter!r} meets channels that cannot go")
    if labels.keep_whole(parameter, why):
        labels.reasons.append(why)


def _at_zero(
    labels: Labels, operation: Operation, zeros: dict[str, bool]
) -> float | None:
    """What an operator makes of removed channels; None if that is not finite.

    Operands whose removed channels are zero are 0, all others some other number, so
    that the result is 0 only where the operator keeps zeros.
    """
    ranks = {name: str(i) for i, name in enumerate(zeros)}

    def stand_in(name: str) -> str:
        return f"{ranks.get(name)} {zeros.get(name)}"

    tree = map_refs((operation.args, dict(operation.kwargs)), stand_in)
    key = f"{operation.op} {tree}"
    if key not in labels.outcomes:
        labels.outcomes[key] = _outcome(operation, zeros)
    return labels.outcomes[key]


def _outcome(operation: Operation, zeros: dict[str, bool]) -> float | None:
    ranks = {name: rank for rank, name in enumerate(zeros)}
    outcomes = []
    for trial in range(1 if all(zeros.values()) else len(_STAND_INS)):

        def number(name: str, trial: int = trial) -> Tensor | int:
            if name not in zeros:  # a size
                return 1
            place = (trial + 3 * ranks[name]) % len(_STAND_INS)
            return torch.tensor(0.0 if zeros[name] else _STAND_INS[place])

        try:
            outcome = operator_of(operation.op)(
                *map_refs(operation.args, number),
                **map_refs(dict(operation.kwargs), number),
            )
            outcomes.append(float(outcome))
        except (RuntimeError, TypeError):  # such as a condition that has to be Boolean
            return 1.0
    if not math.isfinite(outcomes[0]):
        return None
    return next((value for value in outcomes if value), 0.0)  # NaN is no zero
