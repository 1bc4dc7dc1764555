"""read_tensors: safetensors files that say in their header what they are."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
from torch import Tensor


def read_tensors(
    path: str | os.PathLike[str], wanted: str, *, way_out: str, entry: str | None = None
) -> tuple[Mapping[str, Any], dict[str, Tensor]]:
    """Header and tensors of a file of ours.

    Args:
        path: of the file.
        wanted: `format` of its header: "agmc", what it holds and a version.
        way_out: what to do about another file, for the message.
        entry: of the metadata, that is the header as JSON; None: the metadata are it.

    Raises:
        ValueError: the file is missing, damaged or of another format, or a tensor is
            not finite.
    """
    kind = wanted.removeprefix("agmc ").rpartition(" ")[0]
    if not Path(path).is_file():
        raise ValueError(f"{path} is no file, and no {kind}; {way_out}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header: Any = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if entry is not None:
            header = json.loads(header.get(entry, "{}"))
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


def not_finite(state: Mapping[str, Tensor]) -> str:
    """Name of the first tensor with NaN or infinity; empty where there is none."""
    return next((name for name, t in state.items() if not t.isfinite().all()), "")
