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
        self.reasons: list[str] = []
        self.parent = [0]

    def of(self, name: str) -> np.ndarray:
        """Labels of an activation; parameters read as activations are fixed."""
        if name in self.values:
            return self.values[name]
        shape = self.tensors[name].shape if name in self.tensors else ()
        return np.zeros((1,) * len(shape), dtype=np.int64)

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

    def leave_alone(self, operation: Operation, why: str) -> None:
        """Fixes all that the operation reads and makes, and says why."""
        changed = [
            self.fix(self.of(name)) for name in operation.refs() if name in self.tensors
        ]
        self.set_fixed(operation.name)
        if any(changed):
            place = f" in {operation.layer!r}" if operation.layer else ""
            self.reasons.append(
                f"channels that reach {operation.kind} {operation.name!r}{place} are "
                f"left alone: {why}"
            )
