"""Presence: what of a network is there when blocks are dropped."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from agmc.graph.model_graph import ModelGraph


class Presence:
    """Tells of many choices of blocks at once which operations and parameters stay.

    A *region* is all operations that lie in the same blocks. It is there if all these
    blocks are; a parameter is there if any operation that reads it is.

    Args:
        graph: the traced network.

    Arguments named `kept` are bool [..., num_blocks], in the order of `graph.blocks`.
    """

    def __init__(self, graph: ModelGraph) -> None:
        blocks_of: dict[str, list[int]] = {}
        for number, block in enumerate(graph.blocks):
            for name in block.operations:
                blocks_of.setdefault(name, []).append(number)
        regions = {(): 0} | {
            blocks: 1 + i
            for i, blocks in enumerate(dict.fromkeys(map(tuple, blocks_of.values())))
        }
        self._row = {name: regions[tuple(blocks)] for name, blocks in blocks_of.items()}
        self._needs = np.zeros((len(graph.blocks), len(regions)))
        for blocks, row in regions.items():
            self._needs[list(blocks), row] = 1
        column = {name: i for i, name in enumerate(graph.parameters)}
        self._reads = np.zeros((len(regions), len(column)))
        for operation in graph.program.operations:
            for name in operation.refs():
                if name in column:
                    self._reads[self._row.get(operation.name, 0), column[name]] = 1
        for name in graph.program.output_names():
            if name in column:
                self._reads[0, column[name]] = 1

    @property
    def num_regions(self) -> int:
        """Row 0 is what lies in no block."""
        return self._needs.shape[1]

    def rows(self, names: Iterable[str]) -> np.ndarray:
        """The region of every operation, int64 [number of names]; 0 for inputs."""
        return np.array([self._row.get(name, 0) for name in names], dtype=np.int64)

    def regions(self, kept: np.ndarray) -> np.ndarray:
        """Whether each is there: 0 or 1, float64 [..., num_regions]."""
        missing = 1.0 - np.asarray(kept, dtype=float)
        return (missing @ self._needs == 0).astype(float)

    def parameters(self, kept: np.ndarray) -> np.ndarray:
        """Likewise for `graph.parameters`: float64 [..., num_parameters]."""
        return (self.regions(kept) @ self._reads > 0).astype(float)
