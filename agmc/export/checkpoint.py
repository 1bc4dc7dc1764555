"""Checkpoint: a network as one bit-packed file that needs no source code.

The file is safetensors (https://github.com/huggingface/safetensors) with the metadata
`{"format": "agmc", "version": "2"}` and two tensors, both uint8 of one dimension:

- `description`: JSON through zlib, an object with `program` (the operations, see
  `agmc.graph.program_json.program_to_json`), `info` (what the writer wants to say),
  `tensors` (a record for each of the program's `parameters`, then each of its
  `buffers`) and `crc32` (of `data`, as zlib counts it).
- `data`: the payloads of these tensors, in the same order, nothing between them. Each
  is whole bytes; all numbers are little-endian, packed from the lowest bit on (see
  `agmc.export.packing`); elements are in row-major order.

A record is an object of `shape` and, where they are not as usual:

| key | what | as usual |
|---|---|---|
| `dtype` | type in memory, torch's name | `float32` |
| `bits` | of a code, 1 to 64 | those of the type |
| `minimum` | value of code 0, of whole numbers and truth values | 0 |
| `coding` | `bitmap` or `run-length`, see `agmc.export.sparse_coding` | `plain` |
| `entries` | of these two: codes that stand in the payload | 0 |
| `fill` | of these two: the code that is left out | 0 |
| `gap_bits` | of `run-length`: bits of a gap, 1 to 16 | 0 |
| `zlib` | bytes of the payload after zlib | 0: it did not go through |

To read a tensor: take its bytes (the size follows from the record), inflate them if
`zlib` says so, undo the coding, and make values of the codes. A code is

- for whole numbers and truth values: the value minus `minimum`;
- for floating-point numbers with all bits of their type: these bits (0.0 for -0.0);
- for float32 with fewer bits: a level of the operation that quantises this weight, see
  `agmc.export.quantized_weights`. Of the weight that is read, the operation makes what
  it made of the weight that was saved, bit for bit.

Nothing in a file is executed but the pure ATen operators that
`agmc.graph.operators.operator_of` admits. What is damaged is found: the description by
the checksum of zlib, the data by `crc32`. Descriptions above 4 MiB and payloads of less
than 1/1024 of their tensor's size in memory are refused, so a small file cannot fill
the memory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from agmc.export.packed_file import damaged, read_packed_file, to_packed_file
from agmc.export.quantized_weights import check_codebooks, quantizers
from agmc.export.stored_tensor import StoredTensor, codes_of, store
from agmc.export.words import DTYPES, from_codes, is_finite, to_codes
from agmc.graph.network import GraphNetwork, tensors_of
from agmc.graph.program import Program
from agmc.graph.program_json import program_from_json, program_to_json
from agmc.graph.trace import trace
from agmc.whole_file import write_whole

#: Tensors of modules inside so many others have no place in a network.
_DEEPEST = 100


def save(
    module: nn.Module,
    path: str | os.PathLike[str],
    *,
    example_input: Tensor | Sequence[Tensor] | None = None,
    info: Mapping[str, Any] | None = None,
    entropy: str | None = None,
) -> int:
    """Writes a network whole or not at all.

    Args:
        module: what `agmc.compress` or `agmc.load` returned, trained on perhaps; any
            other network, and one of these whose layers were exchanged since, with an
            `example_input` to trace it.
        path: of the file.
        example_input: a Tensor or a tuple of Tensors, batch first.
        info: JSON values that `load` gives back as `module.info`.
        entropy: "zlib" packs every payload further where that makes it smaller; None
            leaves them as they are.

    Returns:
        the size of the file in bytes.

    Raises:
        ValueError: the module's operations are unknown and no example was given, a
            weight is not finite, a quantised weight has no exact codes, or `info` is no
            JSON.
        OSError: the file cannot be written.
    """
    content = to_bytes(module, example_input=example_input, info=info, entropy=entropy)
    write_whole(path, content)
    return len(content)


def to_bytes(
    module: nn.Module,
    *,
    example_input: Tensor | Sequence[Tensor] | None = None,
    info: Mapping[str, Any] | None = None,
    entropy: str | None = None,
) -> bytes:
    """What `save` writes."""
    check_entropy(entropy)
    program, constants = _program_of(module, example_input)
    tensors = {**constants, **tensors_of(module)}
    if gone := [name for name in _names(program) if name not in tensors]:
        raise ValueError(
            f"the network has no {gone[0]} any more, it was changed since it was "
            "compressed: hand in example_input=..."
        )
    try:
        described = dict(info or {})
        json.dumps(described)
    except (TypeError, ValueError) as error:
        raise ValueError(f"info must hold JSON values only: {error}") from error
    try:
        state = {name: tensors[name].detach().cpu() for name in _names(program)}
        stored = _stored(program, state, deflate=entropy is not None)
        description = {
            "program": program_to_json(program),
            "info": described,
            "tensors": [record.to_json() for record, _ in stored],
        }
        return to_packed_file(description, b"".join(payload for _, payload in stored))
    except ValueError as error:
        raise ValueError(f"the network cannot be saved: {error}") from error


def check_entropy(entropy: str | None) -> None:
    """Refuses a packing that there is not.

    Raises:
        ValueError: it is neither "zlib" nor None.
    """
    if entropy not in ("zlib", None):
        raise ValueError(f"entropy (={entropy!r}) must be 'zlib' or None")


def load(path: str | os.PathLike[str]) -> GraphNetwork:
    """Reads what `save` wrote: a network that runs with agmc and torch alone.

    Returns:
        the network in evaluation mode on the CPU, with its `info`.

    Raises:
        ValueError: the file is truncated, damaged or of another kind.
        OSError: it cannot be read.
    """
    path, description, data = _read(path)
    try:
        program = program_from_json(description.get("program"))
        records = _records(program, description.get("tensors"))
        network = GraphNetwork(program, _state(program, records, data))
        network.info = dict(description["info"])
        return network.eval()
    except Exception as error:  # a broken description can break its reader in any way
        raise damaged(path, error) from error


def stored_tensors(path: str | os.PathLike[str]) -> tuple[StoredTensor, ...]:
    """What a file says of its tensors: elements, bits, coding and bytes of each.

    Raises:
        ValueError, OSError: as `load`.
    """
    path, description, _ = _read(path)
    try:
        program = program_from_json(description.get("program"))
        return _records(program, description.get("tensors"))
    except ValueError as error:
        raise damaged(path, error) from error


def _read(path: str | os.PathLike[str]) -> tuple[Path, dict[str, Any], np.ndarray]:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist")
    return path, *read_packed_file(path)


def _names(program: Program) -> tuple[str, ...]:
    """Of the tensors, in the order of the file."""
    names = program.parameters + program.buffers
    if len(set(names)) != len(names):
        raise ValueError("a tensor is named twice")
    if any(name.count(".") > _DEEPEST for name in names):
        raise ValueError(f"a tensor lies inside more than {_DEEPEST} modules")
    return names


def _stored(
    program: Program, state: Mapping[str, Tensor], *, deflate: bool
) -> list[tuple[StoredTensor, bytes]]:
    """Record and payload of every tensor."""
    for name, tensor in state.items():
        if str(tensor.dtype).removeprefix("torch.") not in DTYPES:
            raise ValueError(
                f"{name} is of type {tensor.dtype}; use {', '.join(DTYPES)}"
            )
    _check(program, state, "; train it again with a smaller learning rate")
    quantised = quantizers(program)
    found = []
    for name in _names(program):
        tensor = state[name]
        if name in quantised and tensor.dtype is torch.float32:
            try:
                codes = quantised[name].codes(tensor, state)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
            bits, minimum = quantised[name].bits, 0
        else:
            codes, bits, minimum = to_codes(tensor)
        found.append(store(name, tensor, codes, bits, minimum, deflate=deflate))
    return found


def _records(program: Program, described: Any) -> tuple[StoredTensor, ...]:
    names = _names(program)
    if not isinstance(described, list) or len(described) != len(names):
        raise ValueError(f"not every one of {len(names)} tensors is described")
    return tuple(map(StoredTensor.from_json, names, described))


def _state(
    program: Program, records: Sequence[StoredTensor], data: np.ndarray
) -> dict[str, Tensor]:
    """The tensors by name."""
    if (size := sum(record.bytes for record in records)) != len(data):
        raise ValueError(
            f"{size:,} bytes of tensors are described, {len(data):,} there"
        )
    state: dict[str, Tensor] = {}
    levels: dict[str, np.ndarray] = {}
    end = 0
    for record in records:
        start, end = end, end + record.bytes
        codes = codes_of(record, data[start:end])
        dtype = DTYPES[record.dtype]
        if record.has_levels:
            levels[record.name] = codes
        else:
            state[record.name] = from_codes(codes, record.shape, dtype, record.minimum)
    quantised = quantizers(program)
    for record in records:
        if record.has_levels:
            quantizer = quantised.get(record.name)
            if quantizer is None or quantizer.bits != record.bits:
                raise ValueError(
                    f"no operation makes {record.bits} bits of {record.name}"
                )
            codes = levels.pop(record.name)
            state[record.name] = quantizer.weight(codes, record.shape, state)
    _check(program, state)
    return state


def _check(program: Program, state: Mapping[str, Tensor], way_out: str = "") -> None:
    for name, tensor in state.items():
        if tensor.is_floating_point() and not is_finite(tensor):
            raise ValueError(f"{name} holds NaN or infinity{way_out}")
    check_codebooks(program, state)


def _program_of(
    module: nn.Module, example_input: Tensor | Sequence[Tensor] | None
) -> tuple[Program, Mapping[str, Tensor]]:
    if isinstance(module, GraphNetwork):
        return module.program, {}
    if example_input is not None:
        graph = trace(module, example_input)
        return graph.program, graph.constants
    program = getattr(module, "agmc_program", None)
    if isinstance(program, Program):
        return program, getattr(module, "agmc_constants", {})
    raise ValueError(
        f"the operations of this {type(module).__name__} are unknown: hand in "
        "example_input=..., or save what agmc.compress returned"
    )
