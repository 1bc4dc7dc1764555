"""train, evaluate and export: commands about one network."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import nn

from agmc.commands.encoder import can_be_fitted, fit_encoder
from agmc.commands.steps import (
    check_classes,
    data_and_model,
    measure_file,
    naming,
    progress_of,
    refuse_ignored,
    train_network,
)
from agmc.data import Splits
from agmc.export.checkpoint import load
from agmc.export.onnx import save_onnx
from agmc.job import Job
from agmc.measure import graph_of
from agmc.models import fresh_in, save_weights
from agmc.pipeline import write_json
from agmc.training import Execution, team
from agmc.training.freeze import frozen

_log = logging.getLogger("agmc")


def train(job: Job) -> None:
    """Trains a base network on the train split and writes `weights.safetensors`.

    It begins with `model.weights` where there are any, of another number of classes
    perhaps.
    Where the command line chooses an embedding that can be fitted, it is that.
    """
    if job.overrides("embedding") and can_be_fitted(job.make("embedding")):
        fit_encoder(job)
        return
    refuse_ignored(job)
    execution: Execution = job.make("execution")
    freeze = job.make("train").freeze
    if freeze and job.weights is None:
        raise ValueError(
            f"train.freeze (={list(freeze)}) would keep fresh weights as they are; "
            "name those of a trained network with model.weights"
        )
    weights = job.directory / "weights.safetensors"
    with team() as own, progress_of(job) as progress:
        splits, model = data_and_model(job, progress, other_classes=True)
        _check_frozen(model, freeze, job.weights)
        graph = graph_of(model, splits)  # refuses what cannot be compressed later
        train_network(job, model, graph, splits, execution, progress, own)
        if own.rank:
            return
        save_weights(model, weights, classes=splits.classes)
        progress.stage("evaluate")
        measured = measure_file(job, model, splits, weights)
    write_json(
        job.directory / "result.json", {"baseline": measured.record(), **job.record}
    )
    _log.info("%s\nweights are in %s", measured, weights)


def _check_frozen(model: nn.Module, freeze: Sequence[str], weights: str | None) -> None:
    """Refuses what fits no layer, and layers that other classes have made new."""
    with frozen(model, freeze) as layers:
        held = {id(weight) for layer in layers for weight in layer.parameters()}
    fresh = fresh_in(model, weights) if held and weights is not None else []
    if names := [name for name in fresh if id(model.get_parameter(name)) in held]:
        raise ValueError(
            f"train.freeze (={list(freeze)}) would keep {', '.join(names)} as they "
            "are, which are new: the weights are for other classes; leave them out"
        )


def evaluate(job: Job) -> None:
    """Measures a saved network on the data: accuracy, cost and size."""
    refuse_ignored(job, "checkpoint")
    path = job.required_checkpoint()
    network = load(path)
    splits: Splits = job.make("data")
    shapes = list(network.program.input_shapes)
    if shapes != [(1, *splits.image_shape)]:
        raise ValueError(
            f"checkpoint {path} takes inputs of shape {shapes}, the images of "
            f"{splits.name!r} are {(1, *splits.image_shape)}"
        )
    check_classes(path, network.info.get("classes", []), splits)
    with naming(path):
        measured = measure_file(job, network, splits, path)
    write_json(
        job.directory / "result.json", {"evaluated": measured.record(), **job.record}
    )
    _log.info("%s", measured)


def export(job: Job) -> None:
    """Writes a saved network as `compressed.onnx`, checked in ONNX Runtime."""
    refuse_ignored(job, "checkpoint")
    path = job.required_checkpoint()
    network = load(path)
    generator = torch.Generator().manual_seed(job.seed)
    examples = [
        torch.randn(2, *shape[1:], generator=generator)
        for shape in network.program.input_shapes
    ]
    target = job.directory / "compressed.onnx"
    with naming(path):
        difference = save_onnx(network, target, examples, int4=job.int4)
    _log.info("%s: agrees with the network to %.0e", target, difference)
