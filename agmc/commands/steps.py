"""Steps that several commands take."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from rich.console import Console
from torch import nn

from agmc.data import Splits
from agmc.fine_tuning import show_epochs
from agmc.graph.model_graph import ModelGraph
from agmc.graph.program_json import program_to_json
from agmc.job import Job
from agmc.measure import Measurement, measure
from agmc.models import classes_of
from agmc.report.progress import Progress
from agmc.report.table import Table
from agmc.search.run_key import run_key
from agmc.training import Execution, Team, train_base

_log = logging.getLogger("agmc")


def progress_of(job: Job) -> Progress:
    """What shows the run and, where the configuration says so, tracks it."""
    return Progress(tracker=job.make("tracking")(job.directory, job.record))


def refuse_ignored(job: Job, *allowed: str) -> None:
    """Raises ValueError where a file is named that the command would not look at.

    Args:
        job: with its command.
        allowed: of `measured` and `checkpoint`, what it does read.
    """
    readers = {
        "measured": "`agmc train embedding=autoencoder` reads it",
        "checkpoint": "evaluate, export and graph read it",
    }
    for name, why in readers.items():
        value = getattr(job, name)
        if value is not None and name not in allowed:
            raise ValueError(
                f"{name} (={value!r}) would be ignored: {why}; leave it out"
            )


def data_and_model(
    job: Job, progress: Progress, *, other_classes: bool = False
) -> tuple[Splits, nn.Module]:
    """The stage of that name: the splits and the network they go with.

    Args:
        job: names both.
        progress: told about the stage.
        other_classes: whether the network may take over weights that tell other classes
            apart.
    """
    progress.stage("data")
    splits: Splits = job.make("data")
    return splits, model_of(job, splits, other_classes=other_classes)


def model_of(job: Job, splits: Splits, *, other_classes: bool = False) -> nn.Module:
    """The network, with its weights where the configuration names a file."""
    torch.manual_seed(job.seed)
    build = job.make("model")
    also = {"other_classes": True} if other_classes else {}
    model: nn.Module = build(splits.num_classes, splits.image_shape[0], **also).eval()
    if job.weights is not None:
        names = classes_of(job.weights)
        if not other_classes or len(names) == splits.num_classes:
            check_classes(job.weights, names, splits)
    return model


def check_classes(path: str | Path, names: Sequence[str], splits: Splits) -> None:
    """Refuses classes in another order; only says so where they have other names.

    Args:
        path: of the network.
        names: that it says its first outputs stand for; none where it says nothing.
        splits: with the classes of the data.

    Raises:
        ValueError: the classes of the data are these in another order.
    """
    own = list(splits.classes[: len(names)])
    if list(names) == own:
        return
    if sorted(names) == sorted(own):
        raise ValueError(
            f"{path} has the classes {', '.join(names)} in this order; set "
            f"data.classes=[{','.join(names)}]"
        )
    some = ", ".join(names[:3]), ", ".join(own[:3])
    _log.warning("%s tells %s, ... apart, and the data has %s, ...", path, *some)


def train_network(
    job: Job,
    model: nn.Module,
    graph: ModelGraph,
    splits: Splits,
    execution: Execution,
    progress: Progress,
    team: Team,
) -> None:
    """Trains on the train split, or takes the trained network from the cache.

    Args:
        job: has the recipe and the cache.
        model: trained in place; on the CPU afterwards.
        graph: of the model as it is now.
        splits: `train` is read.
        execution: device and precision.
        progress: told about every epoch.
        team: that shares the training.
    """
    recipe = job.make("train")
    progress.stage("train", total=recipe.epochs, unit="epoch")
    key = ""
    if job.cache is not None:  # the code may be other than it was
        said = {name: value.tolist() for name, value in graph.constants.items()}
        program = json.dumps([program_to_json(graph.program), said])
        key = run_key(model, splits, program=program, layers=repr(model))
    train_base(
        model,
        splits,
        recipe,
        key=key,
        execution=execution,
        seed=job.seed,
        cache=job.cache,
        on_epoch=show_epochs(progress),
        team=team,
    )
    model.cpu()  # traced, pruned and exported there


def measure_file(job: Job, model: nn.Module, splits: Splits, path: Path) -> Measurement:
    """What a network is, whose file that is, on the search and the test split."""
    return measure(
        model,
        splits,
        num_bytes=path.stat().st_size,
        execution=job.make("execution"),
        batch_size=job.batch_size,
    )


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """What goes wrong inside with a saved network is told with its file.

    Raises:
        ValueError: its operations cannot be run, or do not fit what they are given.
    """
    try:
        yield
    except ValueError as error:
        raise ValueError(f"checkpoint {path}: {error}") from error
    except RuntimeError as error:  # torch may add where in its own code
        reason = str(error).partition("\n")[0]
        raise ValueError(f"checkpoint {path} cannot be run: {reason}") from error


def show(*tables: Table) -> None:
    """Prints tables one below the other."""
    for table in tables:
        Console().print(table.rich())
