"""Measured: networks with the sensitivity of their channel groups, to learn from."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from agmc.graph.model_graph import ModelGraph
from agmc.models import build, load_weights
from agmc.search.corpus import traced
from agmc.search.sensitivity import Sensitivity

#: In a folder of measurements: how its networks are built.
NETWORKS = "networks.json"


class MeasuredNetwork(NamedTuple):
    """A network and what its channel groups cost.

    Attributes:
        family: of its architecture.
        graph: traced.
        sensitivity: of its channel groups, in their order.
    """

    family: str
    graph: ModelGraph
    sensitivity: Sensitivity


def measured_networks(
    folder: str | os.PathLike[str],
    *,
    on_network: Callable[[str], None] = lambda name: None,
) -> dict[str, MeasuredNetwork]:
    """Reads a folder of measurements, see `experiments/sensitivity`.

    `networks.json` says by name how each network is built: its `family`, `build` (as
    `agmc.models.build` takes it, for 3 channels and 10 classes), `arguments`, and the
    `image_size` in pixels. For every name there is what `measure_sensitivity` has
    written, `NAME.json`, and there may be the weights it was measured with,
    `NAME.safetensors`; else they are fresh.

    Args:
        folder: that holds them.
        on_network: called with every name, before that network is read.

    Raises:
        ValueError: a file is damaged, or a measurement is of another network than the
            one described, or of other keep ratios than the first.
        OSError: a file cannot be read.
    """
    folder = Path(folder)
    result: dict[str, MeasuredNetwork] = {}
    ratios = None
    for name, how in _described(folder / NETWORKS).items():
        on_network(name)
        try:
            graph = _traced(how, folder / f"{name}.safetensors")
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"{folder / NETWORKS}: {name} cannot be built and traced: {error}"
            ) from error
        path = folder / f"{name}.json"
        sensitivity = Sensitivity.load(path)
        ratios = ratios or sensitivity.ratios
        groups = tuple(group.name for group in graph.groups)
        if not groups:
            raise ValueError(f"{path}: {name} has no channel group; leave it out")
        for what, theirs, ours in (
            ("groups", sensitivity.groups, groups),
            ("ratios", sensitivity.ratios, ratios),
        ):
            if theirs != ours:
                raise ValueError(
                    f"{path} does not fit {NETWORKS} beside it: its {what} are "
                    f"{theirs}, expected {ours}; measure {name} again"
                )
        result[name] = MeasuredNetwork(how["family"], graph, sensitivity)
    return result


def _traced(how: Mapping[str, Any], weights: Path) -> ModelGraph:
    """The graph of a network, of 3 channels and 10 classes, as it is described."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build(how["build"], num_classes=10, **how["arguments"])
    if weights.exists():
        load_weights(model, weights)
    return traced(model, how["image_size"])


def _described(path: Path) -> dict[str, dict[str, Any]]:
    """What `networks.json` says, its parts of the right types."""
    try:
        record = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no JSON file: {error}") from error
    parts = {"family": str, "build": str, "arguments": dict, "image_size": int}
    if not isinstance(record, dict) or not record:
        raise ValueError(f"{path} must hold an object with a network at least")
    for name, how in record.items():
        for part, kind in parts.items():
            if not isinstance(how, dict) or not isinstance(how.get(part), kind):
                raise ValueError(
                    f"{path}: {name!r} must be an object with {part} "
                    f"({kind.__name__}) in it"
                )
    return record
