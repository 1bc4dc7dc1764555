"""Checkpoint: a fitted graph auto-encoder as a file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import safetensors
from safetensors.torch import save
from torch import Tensor

from agmc.embedding.autoencoder import GraphAutoencoder
from agmc.embedding.pyg import EDGE_COLUMNS, NODE_COLUMNS
from agmc.whole_file import write_whole

FORMAT = "agmc graph auto-encoder 1"


def save_autoencoder(
    model: GraphAutoencoder, path: str | os.PathLike[str], *, key: str = ""
) -> None:
    """Writes the weights as safetensors, whole or not at all.

    Args:
        model: a fitted auto-encoder.
        path: of the file; its folder exists.
        key: any text that says what the weights were learned from.
    """
    header = {"format": FORMAT, "key": key, "columns": _columns()}
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    write_whole(path, save(state, metadata=header))


def load_autoencoder(path: str | os.PathLike[str]) -> GraphAutoencoder:
    """Reads what `save_autoencoder` wrote.

    Raises:
        ValueError: the file is missing, damaged, foreign, or of other graph attributes.
    """
    header, state = _read(path)
    if header.get("columns") != _columns():
        raise ValueError(
            f"{path} was fitted on other graph attributes than this version has; "
            "delete it to fit a new one"
        )
    try:
        dim, hidden = state["encoder.output.weight"].shape
        layers = sum(name.startswith("encoder.norms.") for name in state) // 2
        model = GraphAutoencoder(dim=dim, hidden=hidden, layers=layers)
        model.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{path} is a damaged graph auto-encoder: weights are missing or do not "
            "fit each other; delete it to fit a new one"
        ) from error
    return model


def key_of(path: str | os.PathLike[str]) -> str:
    """The key that a graph auto-encoder was saved with.

    Raises:
        ValueError: the file is missing, damaged or foreign.
    """
    return _read(path)[0].get("key", "")


def _columns() -> str:
    return json.dumps([column.name for column in (*NODE_COLUMNS, *EDGE_COLUMNS)])


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Header and tensors of a file that says it is a graph auto-encoder."""
    if not Path(path).is_file():
        raise ValueError(f"{path} is no file; give the file of a graph auto-encoder")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = dict(file.metadata() or {})
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} is no graph auto-encoder ({error}); give another file or delete it"
        ) from error
    if header.get("format") != FORMAT:
        raise ValueError(
            f"{path} is no graph auto-encoder (format {header.get('format')!r}, not "
            f"{FORMAT!r}); give another file or delete it"
        )
    return header, state
