"""Checkpoint: a fitted graph auto-encoder as a file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from agmc.embedding.autoencoder import GraphAutoencoder
from agmc.embedding.pyg import EDGE_COLUMNS, NODE_COLUMNS
from agmc.finite import not_finite
from agmc.plan_space import PlanSpace
from agmc.tensor_file import read_tensors, write_tensors

FORMAT = "agmc graph auto-encoder 3"
_WAY_OUT = "give another file, or delete this one to fit a new one"
#: A file that asks for larger hidden layers or more of them is none of ours.
_LARGEST = {"dim": 4096, "hidden": 4096, "layers": 64}
_MOST_RATIOS = 64


def save_autoencoder(
    model: GraphAutoencoder, path: str | os.PathLike[str], *, key: str = ""
) -> None:
    """Writes the weights as safetensors, whole or not at all.

    Args:
        model: a fitted auto-encoder.
        path: of the file; its folder exists.
        key: any text that says what the weights were learned from.

    Raises:
        ValueError: a weight is not finite.
    """
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    if broken := not_finite(state):
        raise ValueError(
            f"the graph auto-encoder cannot be saved: {broken} holds NaN or infinity; "
            "fit it again with a smaller learning_rate"
        )
    header = {"key": key, "columns": _columns(), "sizes": model.sizes}
    write_tensors(path, FORMAT, header, state)


def load_autoencoder(path: str | os.PathLike[str]) -> GraphAutoencoder:
    """Reads what `save_autoencoder` wrote.

    Raises:
        ValueError: the file is missing, damaged, foreign, or of other graph attributes.
    """
    return _built(path, *read_tensors(path, FORMAT, way_out=_WAY_OUT))


def kept_autoencoder(
    path: Path | None, key: str, make: Callable[[], GraphAutoencoder]
) -> GraphAutoencoder:
    """The auto-encoder in a file of this key, else a new one, which the file then has.

    A file of another key is replaced.

    Args:
        path: of the file; None keeps nothing.
        key: see `save_autoencoder`.
        make: gives the new one.

    Raises:
        ValueError: the file is damaged or foreign; it is left alone.
    """
    if path is not None and path.exists():
        header, state = read_tensors(path, FORMAT, way_out=_WAY_OUT)
        if header.get("key") == key:
            return _built(path, header, state)
    model = make()
    if path is not None:
        save_autoencoder(model, path, key=key)
    return model


def network_key(space: PlanSpace, settings: Sequence[Any]) -> str:
    """Says what an auto-encoder is learned from.

    Weights are left out: a run that goes on with the network it began with must not
    fit again for a rounding error.
    """
    graph = space.graph
    text = json.dumps(
        [
            [(name, spec.shape) for name, spec in graph.tensors.items()],
            [(name, spec.shape) for name, spec in graph.parameters.items()],
            [(op.name, op.op, repr(op.args)) for op in graph.program.operations],
            [[d.name, *d.counts] for d in space],
            settings,
        ]
    )
    return hashlib.sha256(text.encode()).hexdigest()


def weights_digest(model: nn.Module, how: str = "") -> str:
    """Hex digits that name the weights of a module and how it is used."""
    digest = hashlib.sha256(how.encode())
    for name, value in model.state_dict().items():
        digest.update(f"{name} {value.tolist()}".encode())
    return digest.hexdigest()


def _built(
    path: str | os.PathLike[str], header: Mapping[str, Any], state: Mapping[str, Tensor]
) -> GraphAutoencoder:
    """The auto-encoder of a header and weights; the path is for messages."""
    if header.get("columns") != _columns():
        raise ValueError(
            f"{path} was fitted on other graph attributes than this version has; "
            "delete it to fit a new one"
        )
    try:
        model = GraphAutoencoder(**_checked_sizes(header))
        model.load_state_dict(state)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{path} is a damaged graph auto-encoder: weights are missing or do not "
            "fit each other; delete it to fit a new one"
        ) from error
    return model


def _columns() -> list[str]:
    return [column.name for column in (*NODE_COLUMNS, *EDGE_COLUMNS)]


def _checked_sizes(header: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the auto-encoder; nothing large is made before they are checked.

    Raises:
        KeyError: one is missing.
        TypeError: there are none.
        ValueError: one is of another kind, or too large.
    """
    sizes = header["sizes"]
    for name, largest in _LARGEST.items():
        if type(sizes[name]) is not int or not 1 <= sizes[name] <= largest:
            raise ValueError(f"{name} (={sizes[name]!r}) must be in [1, {largest}]")
    ratios = sizes["ratios"]
    if type(ratios) is not list or len(ratios) > _MOST_RATIOS:
        raise ValueError(f"ratios (={ratios!r}) must be a short list")
    return {name: sizes[name] for name in ("encoder", *_LARGEST, "ratios")}
