"""FileSize: the bytes of the file that a plan leaves of a network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch

from agmc.cost.description import bytes_around_tensors, bytes_by_region
from agmc.cost.rounded import Rounded
from agmc.cost.rounded_description import RoundedDescription
from agmc.cost.storage import SAID_BITS
from agmc.graph.model_graph import ModelGraph
from agmc.graph.program import argument, name_of
from agmc.graph.widths import Widths
from agmc.plan import FLOAT_BITS, LayerParts

#: By how much a file with zeros may be larger than expected.
_ROOM_FOR_CHANCE = 1.02

#: What is said of a table of places beyond the reshapes that it takes the place of, or
#: of one that was there before beyond its shape and type.
_BYTES_PER_TABLE = 20


class FileSize:
    """How large files are (`agmc.save`), for many plans at once.

    Arguments are those of `agmc.cost.model.CostModel.evaluate`; results float64 [...].

    Args:
        widths: of the network.
        codebooks: whether weights with bits are from codebooks.
        info: what the writer of the file says of the network.
    """

    def __init__(
        self, widths: Widths, *, codebooks: bool, info: Mapping[str, Any] | None
    ) -> None:
        graph = widths.graph
        self.rounded = Rounded(widths, codebooks=codebooks)
        self._widths = widths
        sizes = item_sizes(graph)
        self._item_sizes = np.array([sizes[name] for name in widths.parameters])
        self._around_tensors = bytes_around_tensors(graph, info)
        self._around_tensors += _BYTES_PER_TABLE * len(_bits_of_places(graph))
        self._described = RoundedDescription(widths, codebooks=codebooks, info=info)
        forms = [widths.size_form((s.source, s.dim)) for s in graph.shuffles.values()]
        self._shuffled = np.array([offset for offset, _ in forms])
        self._shuffled_of = np.array([slope for _, slope in forms]).reshape(
            len(forms), len(graph.groups)
        )
        self._whole = np.array([len(s.order) for s in graph.shuffles.values()])

    def expected(
        self,
        counts: np.ndarray,
        parts: LayerParts | None = None,
        kept: np.ndarray | None = None,
    ) -> np.ndarray:
        """The size, but for how long the runs of zeros are.

        What is said of rounding is written down for every plan, in milliseconds.
        """
        values = self._data(counts, parts, kept)
        around = np.broadcast_to(self._around(kept), values.shape).copy()
        if parts is not None:
            every = [np.asarray(counts), *parts, *(() if kept is None else (kept,))]
            rows = [np.broadcast_to(x, (*values.shape, x.shape[-1])) for x in every]
            for i in np.ndindex(values.shape):
                one = LayerParts(*(part[i] for part in rows[1:4]))
                if _has_bits(one):
                    blocks = None if kept is None else rows[4][i]
                    around[i] = self._described(rows[0][i], one, blocks)
        return values + around

    def most(
        self,
        counts: np.ndarray,
        parts: LayerParts | None = None,
        kept: np.ndarray | None = None,
    ) -> np.ndarray:
        """What no file exceeds; never falls when anything of a plan grows.

        How long the runs of zeros in a file are is a matter of chance, but no tensor
        takes more than it would without zeros.
        """
        around = self._around(kept)
        if parts is not None:
            around = around + self._described.added(*self.rounded.numbers(parts, kept))
        values = self._data(counts, parts, kept) + around
        if parts is None or not (parts.density < 1).any():
            return values
        dense = parts._replace(density=np.ones_like(parts.density))
        values = values + SAID_BITS / 8 * parts.density.shape[-1]  # of other codings
        with_room = np.ceil(np.rint(values) * _ROOM_FOR_CHANCE)
        return np.minimum(with_room, self._data(counts, dense, kept) + around)

    def _data(
        self, counts: np.ndarray, parts: LayerParts | None, kept: np.ndarray | None
    ) -> np.ndarray:
        """Of the tensors, tables of places included where channels are shuffled."""
        values = self._widths.numels(counts, kept) @ self._item_sizes
        if parts is not None:
            values = values - self.rounded.bytes_saved(counts, parts, kept)
        if len(self._whole):
            sizes = np.asarray(counts) @ self._shuffled_of.T + self._shuffled
            bits = np.ceil(np.log2(np.maximum(sizes, 2)))
            tables = np.ceil(sizes * bits / 8) + _BYTES_PER_TABLE
            values = values + np.where(sizes < self._whole, tables, 0).sum(-1)
        return values

    def _around(self, kept: np.ndarray | None) -> np.ndarray:
        if kept is None:
            return np.array(float(self._around_tensors))
        gone = 1 - self._widths.presence.regions(kept)
        return self._around_tensors - gone @ self._described_regions

    @cached_property
    def _described_regions(self) -> np.ndarray:
        return bytes_by_region(self._widths.graph, self._widths.presence)


def item_sizes(graph: ModelGraph) -> dict[str, float]:
    """Bytes of an element of every parameter and buffer in the saved file."""
    sizes = {
        name: float(getattr(torch, spec.dtype).itemsize)
        for name, spec in graph.parameters.items()
    }
    return sizes | {name: bits / 8 for name, bits in _bits_of_places(graph).items()}


def _bits_of_places(graph: ModelGraph) -> dict[str, int]:
    """Table of places in a dimension -> bits of one; the file packs whole numbers."""
    found = {}
    for operation in graph.program.operations:
        if operation.kind == "index_select":
            values, places = (name_of(argument(operation, i)) for i in (0, 2))
            if values in graph.tensors and places in graph.parameters:
                assert values is not None and places is not None
                size = graph.tensors[values].shape[operation.args[1]]
                found[places] = math.ceil(math.log2(max(size, 2)))
    return found


def _has_bits(parts: LayerParts) -> bool:
    """Whether anything is rounded."""
    bits = np.minimum(parts.weight_bits, parts.act_bits)
    return bool((bits < FLOAT_BITS).any())
