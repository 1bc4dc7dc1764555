"""Labels: which channel every element of every activation belongs to."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from agmc.graph.model_graph import TensorSpec
from agmc.graph.program import Operation


class Labels:
    """The atoms of all tensors, while the network is walked through."""

    def __init__(
        self,
        tensors: Mapping[str, TensorSpec],
        parameter_shapes: Mapping[str, tuple[int, ...]],
    ) -> None:
        self.tensors = tensors
        self.parameter_shapes = parameter_shapes
        self.values: dict[str, np.ndarray] = {}
        self.slots: dict[tuple[str, int], np.ndarray] = {}
        self.untouchable: dict[str, str] = {}
        self.reasons: list[str] = []
        self.parent = [0]

    def of(self, name: str) -> np.ndarray:
        """Labels of an activation; a parameter read as one is fixed."""
        if name in self.values:
            return self.values[name]
        if name in self.parameter_shapes:
            why = f"channels of {name!r} are left alone: the code computes with it"
            if self.keep_whole(name, why):
                self.reasons.append(why)
        return np.zeros((1,) * len(self.shape(name)), dtype=np.int64)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of an activation or parameter."""
        if name in self.tensors:
            return self.tensors[name].shape
        return self.parameter_shapes[name]

    def full(self, name: str) -> np.ndarray:
        """Labels at every element of an activation."""
        return np.broadcast_to(self.of(name), self.shape(name))

    def set(self, name: str, labels: np.ndarray) -> None:
        """Labels an activation, in the smallest array that broadcasts to it."""
        assert labels.ndim == len(self.shape(name)), name
        for dim in range(labels.ndim):
            first = np.take(labels, [0], axis=dim)
            if labels.shape[dim] > 1 and (labels == first).all():
                labels = first
        self.values[name] = labels

    def set_fixed(self, name: str) -> None:
        """Says that an activation holds nothing that can go."""
        if name in self.tensors:
            self.set(name, np.zeros((1,) * len(self.shape(name)), dtype=np.int64))

    def new(self, count: int) -> np.ndarray:
        """Fresh atoms."""
        start = len(self.parent)
        self.parent.extend(range(start, start + count))
        return np.arange(start, start + count)

    def along(self, name: str, dim: int) -> np.ndarray | None:
        """Atoms along one dimension; None where they differ along others as well."""
        labels = self.of(name)
        dim %= labels.ndim
        if any(size > 1 for i, size in enumerate(labels.shape) if i != dim):
            return None
        return np.broadcast_to(labels.reshape(-1), (self.shape(name)[dim],))

    def slot(self, parameter: str, dim: int, atoms: np.ndarray) -> None:
        """Says that position i along `dim` of a parameter belongs to `atoms[i]`.

        A parameter that is used twice joins the atoms of both uses.
        """
        present = self.slots.setdefault((parameter, dim), atoms)
        self.join(present, atoms)
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
        for a, b in {
            (int(a), int(b))
            for a, b in zip(first.reshape(-1), second.reshape(-1), strict=True)
        }:
            a, b = self.root(a), self.root(b)
            if a != b:
                self.parent[max(a, b)] = min(a, b)

    def root(self, atom: int) -> int:
        """The one atom that stands for all that go together with `atom`."""
        while self.parent[atom] != atom:
            self.parent[atom] = self.parent[self.parent[atom]]
            atom = self.parent[atom]
        return atom

    def fix(self, labels: np.ndarray) -> bool:
        """The channels can never go; True if that changed anything."""
        loose = [a for a in np.unique(labels).tolist() if self.root(a) != 0]
        for atom in loose:
            self.parent[self.root(atom)] = 0
        return bool(loose)

    def leave_alone(
        self, operation: Operation, why: str, *, makes_channels: bool = False
    ) -> None:
        """Fixes all that the operation reads and makes, and says why.

        Args:
            operation: that no rule covers.
            why: ends the warning; there is none where nothing could go before.
            makes_channels: its result would have channels of its own: always warn.
        """
        place = f" in {operation.layer!r}" if operation.layer else ""
        reason = (
            f"channels that reach {operation.kind} {operation.name!r}{place} are "
            f"left alone: {why}"
        )
        changed = makes_channels
        for name in operation.refs():
            if name in self.tensors:
                changed |= self.fix(self.of(name))
            elif name in self.parameter_shapes:
                changed |= self.keep_whole(name, reason)
        self.set_fixed(operation.name)
        if changed:
            self.reasons.append(reason)
