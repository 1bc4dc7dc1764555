"""Energy of a plan: what the user's table says of multiply-adds and of moved bytes."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from agmc.cost.activations import is_view
from agmc.graph.model_graph import ModelGraph
from agmc.graph.widths import Widths

#: Stands in a table for every kind of operator that it does not name.
ANY = "*"

_SHAPE = '{"conv2d": {"mac": 4.6, "byte": 160}, "*": {"mac": 4.6, "byte": 160}}'


@dataclass(frozen=True)
class EnergyTable:
    """Picojoules by kind of operator, given by the user as JSON.

    ```json
    {"conv2d": {"mac": 4.6, "byte": 20}, "*": {"mac": 4.6, "byte": 160}}
    ```

    Attributes:
        picojoules: kind of operator, as `agmc graph` names it (`conv2d`, `linear`,
            `batch_norm`, `relu`, `add`, ...), or "*" for all others -> "mac" (one
            multiply-add) and "byte" (one byte of an activation or a parameter that is
            read or written); numbers >= 0, one that is left out is 0.

    Raises:
        ValueError: the mapping is no such table.
    """

    picojoules: Mapping[str, Mapping[str, float]]

    def __post_init__(self) -> None:
        table = self.picojoules
        if not isinstance(table, Mapping) or not table:
            raise ValueError(f"no energy table: expected {_SHAPE}, in picojoules")
        for kind, entry in table.items():
            if not isinstance(entry, Mapping) or not set(entry) <= {"mac", "byte"}:
                raise ValueError(
                    f"energy table: {kind!r} (={entry!r}) must map mac and byte to "
                    f"picojoules, as in {_SHAPE}"
                )
            for name, value in entry.items():
                real = isinstance(value, int | float) and not isinstance(value, bool)
                if not real or not 0 <= value < math.inf:
                    raise ValueError(
                        f"energy table: {name} of {kind!r} (={value!r}) must be a "
                        "finite number of picojoules >= 0"
                    )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> EnergyTable:
        """Reads a table from a JSON file.

        Raises:
            ValueError: the file is no table.
            OSError: it cannot be read.
        """
        try:
            return cls(json.loads(Path(path).read_text()))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: {error}") from error

    def of(self, kind: str) -> tuple[float, float] | None:
        """Picojoules of a multiply-add and of a byte; None for an unknown kind."""
        entry = self.picojoules.get(kind, self.picojoules.get(ANY))
        if entry is None:
            return None
        return float(entry.get("mac", 0.0)), float(entry.get("byte", 0.0))


class EnergyModel:
    """Millijoules for one input: a sum over all operators of the network.

    Each operator pays for its multiply-adds and for every byte that it reads (its
    inputs and parameters) or writes (its output); views move nothing. Reuse in caches
    is for the table to average in.

    Args:
        graph: the traced network.
        table: of the user.
        widths: closed forms of the graph; made where None.

    Raises:
        ValueError: the table has no entry for a kind of operator of the network.
    """

    def __init__(
        self, graph: ModelGraph, table: EnergyTable, *, widths: Widths | None = None
    ) -> None:
        self._widths = Widths(graph) if widths is None else widths
        tensors = {name: i for i, name in enumerate(graph.tensors)}
        parameters = {name: i for i, name in enumerate(self._widths.parameters)}
        heads = {name: i for i, name in enumerate(self._widths.operations)}
        # For each region: what an operator of a dropped block moves goes with it.
        presence = self._widths.presence
        self._per_mac = np.zeros((len(heads), presence.num_regions))
        self._per_element = np.zeros((len(tensors), presence.num_regions))
        self._per_weight = np.zeros((len(parameters), presence.num_regions))
        rows = presence.rows(graph.operations)
        for operation, row in zip(graph.program.operations, rows, strict=True):
            if operation.kind == "sym_size":
                continue  # asks for a number, moves nothing
            found = table.of(operation.kind)
            if found is None:
                raise ValueError(
                    f"the energy table has no entry for {operation.kind!r} (in layer "
                    f'{operation.layer!r}); add it, or "*" for all other operators'
                )
            mac, byte = found
            if operation.name in heads:
                self._per_mac[heads[operation.name], row] += mac
            if is_view(graph, operation):
                continue
            for name in (*operation.refs(), operation.name):
                if name in tensors:
                    width = _item_size(graph.tensors[name].dtype)
                    self._per_element[tensors[name], row] += byte * width
                elif name in parameters:
                    width = _item_size(graph.parameters[name].dtype)
                    self._per_weight[parameters[name], row] += byte * width

    def evaluate(
        self, counts: np.ndarray, kept: np.ndarray | None = None
    ) -> np.ndarray:
        """Millijoules of many plans at once.

        Never falls when a count grows or a block is kept.

        Args:
            counts: kept channels, int [..., num_groups].
            kept: the blocks that stay, bool [..., num_blocks]; None for all.

        Returns:
            float64 [...].
        """
        picojoules = (
            self._widths.macs(counts) @ self._per_mac
            + self._widths.activation_elements(counts) @ self._per_element
            + self._widths.numels(counts) @ self._per_weight
        )
        if kept is not None:
            picojoules = picojoules * self._widths.presence.regions(kept)
        return picojoules.sum(-1) * 1e-9


def _item_size(dtype: str) -> int:
    return int(getattr(torch, dtype).itemsize)
