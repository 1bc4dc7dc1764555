"""Safetensors files that say in their header what they are."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from agmc.finite import not_finite
from agmc.whole_file import write_whole


def write_tensors(
    path: str | os.PathLike[str],
    format_name: str,
    header: Mapping[str, Any],
    state: Mapping[str, Tensor],
) -> None:
    """Writes a file of ours, whole or not at all; the same content, the same bytes.

    Args:
        path: of the file; its folder exists.
        format_name: "agmc", what the file holds and a version; `format` of its header.
        header: what else there is to say, as JSON has it.
        state: the tensors.
    """
    # One entry: several would stand in another order each time.
    metadata = {_kind(format_name): json.dumps({"format": format_name, **header})}
    write_whole(path, safetensors.torch.save(separate(state), metadata=metadata))


def separate(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU, each in memory of its own: safetensors takes no others."""
    return {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in state.items()
    }


def read_tensors(
    path: str | os.PathLike[str], wanted: str, *, way_out: str
) -> tuple[Mapping[str, Any], dict[str, Tensor]]:
    """Header and tensors of a file that `write_tensors` wrote.

    Args:
        path: of the file.
        wanted: the name of the format that it must have.
        way_out: what to do about another file, for the message.

    Raises:
        ValueError: the file is missing, damaged or of another format, or a tensor is
            not finite.
    """
    kind = _kind(wanted)
    if not Path(path).is_file():
        raise ValueError(f"{path} is no file, and no {kind}; {way_out}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header: Any = json.loads(metadata.get(kind, "{}"))
    except (safetensors.SafetensorError, OSError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is damaged, or no {kind}: {error}; {way_out}"
        ) from error
    found = header.get("format") if isinstance(header, dict) else None
    if found != wanted:
        raise ValueError(
            f"{path} is no {kind} (format {found!r}, not {wanted!r}); {way_out}"
        )
    if broken := not_finite(state):
        raise ValueError(
            f"{path} is a damaged {kind}: {broken} holds NaN or infinity; {way_out}"
        )
    return header, state


def _kind(format_name: str) -> str:
    """What a file holds, in words; the entry of its metadata that is the header."""
    return format_name.removeprefix("agmc ").rpartition(" ")[0]
