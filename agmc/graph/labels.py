"""Labels: which channel every position of every activation belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from agmc.graph.model_graph import TensorSpec
from agmc.graph.program import Operation
from agmc.graph.union_find import UnionFind


@dataclass(frozen=True)
class Label:
    """The channels of one activation; all else about it does not matter to a plan.

    Attributes:
        dim: the one dimension along which its channels lie.
        atoms: int32 [size along dim]; 0 where a position can never go.
        zero: whether channels that a plan removes are zero here in the masked network
            (they need not be, after a sigmoid say, if all readers multiply them by
            weights that are zeroed as well).
    """

    dim: int
    atoms: np.ndarray
    zero: bool = True


class Labels:
    """The labels of all activations, while the network is walked through.

    Args:
        tensors: activation name -> shape.
        parameter_shapes: qualified name -> shape, of parameters, buffers and constants.
        integers: name -> values of buffers that hold positions of channels.
        sources: operation name -> place in the model's source, for messages.
    """

    def __init__(
        self,
        tensors: Mapping[str, TensorSpec],
        parameter_shapes: Mapping[str, tuple[int, ...]],
        integers: Mapping[str, np.ndarray],
        sources: Mapping[str, str],
    ) -> None:
        self.tensors = tensors
        self.parameter_shapes = parameter_shapes
        self.integers = integers
        self.sources = sources
        self.atoms = UnionFind()
        self.values: dict[str, Label] = {}
        #: Labels of the results of operations that make several; one if all are alike.
        self.parts: dict[str, Label | list[Label]] = {}
        self.slots: dict[tuple[str, int], np.ndarray] = {}
        #: Slots of weights that make new channels.
        self.made: set[tuple[str, int]] = set()
        self.untouchable: dict[str, str] = {}
        self.reasons: list[str] = []
        #: What elementwise operators make of zeros; known calls are not made again.
        self.outcomes: dict[str, float | None] = {}

    def shape(self, name: str) -> tuple[int, ...]:
        """Of an activation or parameter."""
        if name in self.tensors:
            return self.tensors[name].shape
        return self.parameter_shapes[name]

    def of(self, name: str) -> Label | None:
        """The label of what an operation reads; None where no channel can go.

        A vector among the parameters has channels of its own; a parameter with several
        dimensions that is read as an activation is left alone.
        """
        if name in self.values or name not in self.parameter_shapes:
            return self.values.get(name)
        shape = self.parameter_shapes[name]
        long = [dim for dim, size in enumerate(shape) if size > 1]
        if len(long) == 1 and name not in self.untouchable:
            if (name, long[0]) not in self.slots:
                self.slot(name, long[0], self.new(shape[long[0]]))
            return Label(long[0], self.slots[name, long[0]])
        if long:
            why = f"channels of {name!r} are left alone: the code computes with it"
            if self.keep_whole(name, why):
                self.reasons.append(why)
        return None

    def set(self, name: str, label: Label | None) -> None:
        """Labels an activation; None says that it holds nothing that can go."""
        if label is None or name not in self.tensors:
            return
        assert len(label.atoms) == self.shape(name)[label.dim], name
        if len(label.atoms) > 1:
            self.values[name] = label
        elif self.fix(label.atoms):
            self.reasons.append(f"the one channel of {name!r} is left alone")

    def along(self, name: str, dim: int) -> np.ndarray | None:
        """Atoms along one dimension, 0 where there are none.

        None where the channels lie along another dimension.
        """
        shape = self.shape(name)
        label = self.of(name)
        if label is None:
            return np.zeros(shape[dim], dtype=np.int32)
        return label.atoms if label.dim == dim % len(shape) else None

    def is_zero(self, name: str) -> bool:
        """Whether removed channels are zero here in the masked network."""
        label = self.values.get(name)
        return label is None or label.zero

    def new(self, count: int) -> np.ndarray:
        """Fresh atoms; one alone can never go, so it is no fresh one but 0."""
        if count == 1:
            return np.zeros(1, dtype=np.int32)
        return self.atoms.new(count)

    def slot(
        self, parameter: str, dim: int, atoms: np.ndarray, *, makes: bool = False
    ) -> None:
        """Says that position i along `dim` of a parameter belongs to `atoms[i]`.

        A parameter that is used twice joins the atoms of both uses.

        Args:
            parameter: qualified name.
            dim: of the parameter.
            atoms: int32 [size along dim].
            makes: whether the layer makes these channels.
        """
        present = self.slots.setdefault((parameter, dim), atoms)
        self.join(present, atoms)
        if makes:
            self.made.add((parameter, dim))
        if (why := self.untouchable.get(parameter)) and self.fix(atoms):
            self.reasons.append(why)

    def keep_whole(self, parameter: str, why: str) -> bool:
        """No part of a parameter can go, now or later; True if that changed anything.

        Args:
            parameter: qualified name.
            why: the warning, should a layer that is met later want to cut it.
        """
        self.untouchable.setdefault(parameter, why)
        cuts = [atoms for (name, _), atoms in self.slots.items() if name == parameter]
        return any([self.fix(atoms) for atoms in cuts])

    def join(self, first: np.ndarray, second: np.ndarray) -> None:
        """The channels must go together, element by element."""
        self.atoms.join(first, second)

    def fix(self, atoms: np.ndarray) -> bool:
        """The channels can never go; True if that changed anything."""
        if not self.atoms.roots(atoms).any():
            return False
        self.join(atoms, np.zeros_like(atoms))
        return True

    def leave_alone(
        self, operation: Operation, why: str, *, makes_channels: bool = False
    ) -> None:
        """Fixes all that the operation reads and makes, and says why.

        Args:
            operation: that no rule covers.
            why: ends the warning; there is none where nothing could go before.
            makes_channels: its result would have channels of its own: always warn.
        """
        reason = self.reason(operation, why)
        changed = makes_channels
        for name in operation.refs():
            if name in self.values:
                changed |= self.fix(self.values[name].atoms)
            elif name in self.parameter_shapes:
                changed |= self.keep_whole(name, reason)
            parts = self.parts.get(name, [])
            for part in parts if isinstance(parts, list) else [parts]:
                changed |= self.fix(part.atoms)
        if changed:
            self.reasons.append(reason)

    def reason(self, operation: Operation, why: str) -> str:
        """One line that names the operation, its layer and the line of its source."""
        place = f" in {operation.layer!r}" if operation.layer else ""
        source = self.sources.get(operation.name)
        at = f" ({source})" if source else ""
        return (
            f"channels that reach {operation.kind} {operation.name!r}{place}{at} are "
            f"left alone: {why}"
        )
