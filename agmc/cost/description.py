"""What a saved file holds besides tensors: the description of the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from agmc.cost.storage import packed_json, tensor_record
from agmc.graph.model_graph import ModelGraph
from agmc.graph.presence import Presence
from agmc.graph.program import Program
from agmc.graph.program_json import program_to_json

#: What stands around description and data in a file of less than a gigabyte, at most.
HEADER_BYTES = 208

#: Shapes of a pruned network repeat less than those of the original, so that zlib makes
#: them longer by up to so many bytes a tensor.
_BYTES_PER_SHAPE = 2

#: As long as the longest checksum.
_CHECKSUM = 2**32 - 1


def bytes_around_tensors(
    graph: ModelGraph, info: Mapping[str, Any] | None = None
) -> int:
    """The most bytes that a file takes besides the data of its tensors.

    Args:
        graph: the traced network.
        info: what the writer of the file says of it, see `agmc.save`.
    """
    shapes = len(graph.parameters) * _BYTES_PER_SHAPE
    return description_bytes(graph, info=info) + shapes + HEADER_BYTES


def description_bytes(
    graph: ModelGraph,
    without: Collection[str] = (),
    info: Mapping[str, Any] | None = None,
) -> int:
    """Bytes of the description of a network.

    Args:
        graph: the traced network.
        without: names of operations that are left out, with the tensors that only they
            read.
        info: what the writer of the file says of the network.
    """
    program = graph.program
    operations = tuple(op for op in program.operations if op.name not in without)
    read = {name for operation in operations for name in operation.refs()}
    read.update(program.output_names())
    parameters = tuple(name for name in program.parameters if name in read)
    buffers = tuple(name for name in program.buffers if name in read)
    left = dataclasses.replace(
        program, operations=operations, parameters=parameters, buffers=buffers
    )
    specs = [graph.parameters[name] for name in (*parameters, *buffers)]
    return packed_bytes(left, [tensor_record(s.shape, s.dtype) for s in specs], info)


def packed_bytes(
    program: Program,
    records: Sequence[Mapping[str, Any]],
    info: Mapping[str, Any] | None,
) -> int:
    """Bytes of a description as it stands in a file.

    Args:
        program: the operations.
        records: of its tensors, see `tensor_record`.
        info: what the writer of the file says of the network.
    """
    description = {
        "program": program_to_json(program),
        "info": dict(info or {}),
        "tensors": list(records),
        "crc32": _CHECKSUM,
    }
    return len(packed_json(description))


def bytes_by_region(graph: ModelGraph, presence: Presence) -> np.ndarray:
    """How much shorter the description is without a region, float64 [num_regions].

    Together they go for no less: what two regions have in common is written once, and
    counted as the own of none. Row 0 always stays, and is 0.
    """
    whole = description_bytes(graph)
    rows = presence.rows(graph.operations)
    names = np.array(list(graph.operations), dtype=object)
    return np.array(
        [0.0]
        + [
            float(max(0, whole - description_bytes(graph, set(names[rows == row]))))
            for row in range(1, presence.num_regions)
        ]
    )
