"""Operators that mix elements without weights: pools, sums, products, softmax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agmc.graph.labels import Label, Labels
from agmc.graph.program import Operation, argument, name_of
from agmc.graph.shape_rules import source_of

#: Of channels that are zero everywhere they make zeros.
_KEEP_ZEROS = frozenset(
    {"sum", "mean", "amax", "amin", "max", "min", "cumsum", "flip", "roll", "norm"}
)


def pool(labels: Labels, operation: Operation) -> None:
    """[N, C, *] -> [N, C, *]: pools and upsampling over the last dimensions."""
    name, label = source_of(labels, operation)
    if label is None:
        return
    num_pooled = next((int(c) for c in operation.kind if c in "123"), 2)
    if label.dim >= len(labels.shape(name)) - num_pooled:
        labels.leave_alone(operation, "its channels lie along a pooled dimension")
    elif operation.name in labels.tensors:
        labels.set(operation.name, label)
    else:
        labels.parts[operation.name] = _values_and_positions(label)


def _values_and_positions(label: Label) -> list[Label]:
    """Of a zero too, the position is some number."""
    return [label, Label(label.dim, label.atoms, zero=False)]


def reduction(labels: Labels, operation: Operation) -> None:
    """Over some dimensions, which vanish or become 1; a sum leaves zeros out."""
    name, label = source_of(labels, operation)
    if label is None:
        return
    rank = len(labels.shape(name))
    position = 2 if operation.kind in ("norm", "linalg_vector_norm") else 1
    dims = argument(operation, position, operation.kwargs.get("dim"))
    if isinstance(dims, bool):  # `x.std(unbiased)`: over everything
        dims = None
    dims = [dims] if isinstance(dims, int) else dims
    dims = [d % rank for d in dims] if dims else list(range(rank))
    out_rank = (
        len(labels.shape(operation.name)) if operation.name in labels.tensors else None
    )
    if label.dim in dims:
        if operation.kind != "sum":
            labels.leave_alone(operation, f"the {operation.kind} runs over channels")
        elif not label.zero:
            labels.leave_alone(operation, "the sum runs over channels that are no zero")
        return
    if out_rank is None:  # values and positions
        kept = argument(operation, 2, operation.kwargs.get("keepdim", False))
    else:
        kept = out_rank == rank
    shift = 0 if kept else sum(d < label.dim for d in dims)
    zero = label.zero and operation.kind in _KEEP_ZEROS
    found = Label(label.dim - shift, label.atoms, zero)
    if out_rank is None:
        labels.parts[operation.name] = _values_and_positions(found)
    else:
        labels.set(operation.name, found)


def along_dimensions(labels: Labels, operation: Operation) -> None:
    """softmax, cumsum, flip, roll, ...: channels along other dimensions stay apart."""
    name, label = source_of(labels, operation)
    if label is None:
        return
    rank = len(labels.shape(name))
    position = 2 if operation.kind == "roll" else 1
    dims = argument(operation, position, operation.kwargs.get("dim"))
    dims = [dims] if isinstance(dims, int) else dims
    if not dims or label.dim in [d % rank for d in dims]:
        labels.leave_alone(operation, f"the {operation.kind} runs over channels")
        return
    zero = label.zero and operation.kind in _KEEP_ZEROS
    labels.set(operation.name, Label(label.dim, label.atoms, zero))


@dataclass(frozen=True)
class Product:
    """A sum of products of two values, as in Einstein's notation.

    Attributes:
        names: of both values.
        letters: for each, one letter per dimension.
        out: letters of the result.
    """

    names: tuple[str, str]
    letters: tuple[str, str]
    out: str


def product_of(operation: Operation, ranks: Sequence[int]) -> Product | None:
    """The letters of a matrix product or einsum; None for what has another form.

    Args:
        operation: matmul, mm, bmm, einsum or a vector product.
        ranks: of the two values.
    """
    alphabet = "abcdefgh"
    if operation.kind == "einsum":
        names = [name_of(x) for x in operation.args[1]]
        equation = operation.args[0].replace(" ", "")
        left, arrow, out = equation.partition("->")
        letters = left.split(",")
        if len(names) != 2 or not arrow or "." in equation:
            return None
        if any(len(set(part)) < len(part) for part in (*letters, out)):
            return None
        one, other = letters
    else:
        names = [name_of(x) for x in operation.args[:2]]
        if min(ranks) < 2:
            return None
        batch = alphabet[: max(ranks) - 2]
        one = batch[len(batch) - (ranks[0] - 2) :] + "ik"
        other = batch[len(batch) - (ranks[1] - 2) :] + "kj"
        out = batch + "ij"
    if names[0] is None or names[1] is None:
        return None
    return Product((names[0], names[1]), (one, other), out)


def product(labels: Labels, operation: Operation) -> None:
    """matmul, bmm, einsum: channels summed over go together on both sides."""
    operands = [n for n in operation.refs() if n in labels.tensors] + [
        n for n in operation.refs() if n in labels.parameter_shapes
    ]
    ranks = [len(labels.shape(n)) for n in operation.refs() if n in operands]
    found = product_of(operation, ranks) if len(ranks) == 2 else None
    if found is None:
        labels.leave_alone(operation, "its form is not known")
        return
    for side in (0, 1):
        if _is_matrix(labels, found.names[side]):
            _times_matrix(labels, operation, found, side)
            return
    _times(labels, operation, found)


def _is_matrix(labels: Labels, name: str) -> bool:
    return name in labels.parameter_shapes and len(labels.shape(name)) == 2


def _times_matrix(
    labels: Labels, operation: Operation, found: Product, side: int
) -> None:
    """A product with a matrix of weights is a linear layer without bias."""
    weight, source = found.names[side], found.names[1 - side]
    mine, theirs = found.letters[side], found.letters[1 - side]
    summed = [letter for letter in mine if letter not in found.out]
    made = [letter for letter in mine if letter in found.out and letter not in theirs]
    if len(summed) != 1 or len(made) != 1 or summed[0] not in theirs:
        labels.leave_alone(operation, "its form is not known")
        return
    incoming = labels.along(source, theirs.index(summed[0]))
    if incoming is None or weight in labels.untouchable:
        labels.leave_alone(operation, "its input features lie along another dimension")
        return
    dim = mine.index(made[0])
    outgoing = labels.new(labels.shape(weight)[dim])
    labels.slot(weight, mine.index(summed[0]), incoming)
    labels.slot(weight, dim, outgoing, makes=True)
    labels.set(operation.name, Label(found.out.index(made[0]), outgoing))


def _times(labels: Labels, operation: Operation, found: Product) -> None:
    """A product of two activations."""
    sides = [labels.of(name) for name in found.names]
    shapes = [labels.shape(name) for name in found.names]
    free: list[tuple[int, np.ndarray, bool]] = []
    for side, label in enumerate(sides):
        if label is None:
            continue
        letter = found.letters[side][label.dim]
        other = sides[1 - side]
        theirs = found.letters[1 - side]
        if letter not in theirs or shapes[1 - side][theirs.index(letter)] == 1:
            if letter in found.out:
                free.append((found.out.index(letter), label.atoms, label.zero))
            elif not label.zero:
                labels.leave_alone(operation, "it sums channels that are no zero")
                return
            continue
        if other is None or theirs[other.dim] != letter:
            labels.leave_alone(operation, "they meet values that no channel can leave")
            return
        zero = label.zero or other.zero
        if letter in found.out:
            free.append((found.out.index(letter), label.atoms, zero))
        elif not zero:
            labels.leave_alone(operation, "it sums channels that are no zero")
            return
        labels.join(label.atoms, other.atoms)
    if len({dim for dim, _, _ in free}) > 1:
        labels.leave_alone(operation, "channels of its operands cross each other")
    elif free:
        labels.set(operation.name, Label(*free[0]))


def attention(labels: Labels, operation: Operation) -> None:
    """softmax(q k^T) v over positions; q, k [..., L, E], v [..., L, E_v].

    Its scale is that of the original network: the literal is written out.
    """
    names = [name_of(x) for x in operation.args[:3]]
    labelled = [labels.of(name) if name else None for name in names]
    query, key, value = labelled
    last = [
        label is None or label.dim == len(labels.shape(name)) - 1
        for name, label in zip(names, labelled, strict=True)
        if name is not None
    ]
    if len(operation.args) > 3 or not all(last) or (query is None) != (key is None):
        labels.leave_alone(operation, "its channels do not lie along the last ones")
        return
    if query is not None and key is not None:
        if not (query.zero or key.zero):
            labels.leave_alone(operation, "it sums channels that are no zero")
            return
        labels.join(query.atoms, key.atoms)
    labels.set(operation.name, value)
