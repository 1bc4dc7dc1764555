"""Checkpoint: a network as one safetensors file that needs no source code.

The tensors stand under their qualified names. The file's metadata hold `format`
("agmc"), `version`, `program` (the operations as JSON, compressed with zlib, in
base64) and `info` (what the writer wants to say, JSON). Nothing in it is executed but
the pure ATen operators that `agmc.graph.operators.operator_of` admits.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from agmc.graph.network import GraphNetwork
from agmc.graph.program import Program, program_from_json, program_to_json
from agmc.graph.trace import trace
from agmc.whole_file import write_whole

_FORMAT = "agmc"
_VERSION = "1"
#: A description larger than this is no network but an attack.
_LARGEST_DESCRIPTION = 64 * 2**20


def save(
    module: nn.Module,
    path: str | os.PathLike[str],
    *,
    example_input: Tensor | Sequence[Tensor] | None = None,
    info: Mapping[str, Any] | None = None,
) -> int:
    """Writes a network whole or not at all.

    Args:
        module: what `agmc.compress` or `agmc.load` returned; any other network with an
            `example_input` to trace it.
        path: of the file.
        example_input: a Tensor or a tuple of Tensors, batch first.
        info: JSON values that `load` gives back as `module.info`.

    Returns:
        the size of the file in bytes.

    Raises:
        ValueError: the module's operations are unknown and no example was given, a
            weight is not finite, or `info` is no JSON.
        OSError: the file cannot be written.
    """
    content = to_bytes(module, example_input=example_input, info=info)
    write_whole(path, content)
    return len(content)


def to_bytes(
    module: nn.Module,
    *,
    example_input: Tensor | Sequence[Tensor] | None = None,
    info: Mapping[str, Any] | None = None,
) -> bytes:
    """What `save` writes."""
    program, constants = _program_of(module, example_input)
    tensors = {
        **constants,
        **dict(module.named_buffers(remove_duplicate=False)),
        **dict(module.named_parameters(remove_duplicate=False)),
    }
    for name in program.parameters + program.buffers:
        if not _is_finite(tensors[name]):
            raise ValueError(
                f"the network cannot be saved: {name} holds NaN or infinity; train it "
                "again with a smaller learning rate"
            )
    try:
        described = json.dumps(dict(info or {}))
    except (TypeError, ValueError) as error:
        raise ValueError(f"info must hold JSON values only: {error}") from error
    packed = zlib.compress(json.dumps(program_to_json(program)).encode(), 9)
    return safetensors.torch.save(
        {
            name: tensors[name]
            .detach()
            .cpu()
            .clone(memory_format=torch.contiguous_format)
            for name in program.parameters + program.buffers
        },
        {
            "format": _FORMAT,
            "version": _VERSION,
            "program": base64.b64encode(packed).decode(),
            "info": described,
        },
    )


def load(path: str | os.PathLike[str]) -> GraphNetwork:
    """Reads what `save` wrote: a network that runs with agmc and torch alone.

    Returns:
        the network in evaluation mode on the CPU, with its `info`.

    Raises:
        ValueError: the file is truncated, damaged or of another kind.
        OSError: it cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path} is truncated, or no safetensors file: {error}"
        ) from error
    if metadata.get("format") != _FORMAT:
        raise ValueError(
            f"{path} is no agmc checkpoint: it holds weights without a network; load "
            "them into their network (model.weights=FILE) and compress that"
        )
    if metadata.get("version") != _VERSION:
        raise ValueError(
            f"{path} has format version {metadata.get('version')!r}, this agmc reads "
            f"{_VERSION!r}; update agmc"
        )
    try:
        program = _unpack(metadata["program"])
        network = GraphNetwork(program, state)
        network.info = dict(json.loads(metadata["info"]))
    except Exception as error:  # a broken description can break its reader in any way
        raise ValueError(f"{path} is damaged: {error!s:.300}") from error
    for name, value in network.state_dict().items():
        if not _is_finite(value):
            raise ValueError(f"{path} is damaged: {name} holds NaN or infinity")
    return network.eval()


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


def _is_finite(value: Tensor) -> bool:
    return not value.is_floating_point() or bool(value.isfinite().all())


def _unpack(text: str) -> Program:
    try:
        reader = zlib.decompressobj()
        content = reader.decompress(
            base64.b64decode(text, validate=True), _LARGEST_DESCRIPTION
        )
        if not reader.eof:
            raise ValueError("the description of the network is cut off or too large")
    except (zlib.error, binascii.Error) as error:
        raise ValueError(
            f"the description of the network is broken: {error}"
        ) from error
    return program_from_json(json.loads(content))
