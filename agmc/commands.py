"""The commands of agmc in plain Python: each builds its rooms in flow order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from agmc.cost.latency import LatencyModel
from agmc.cost.model import CostModel, cost_of
from agmc.data import Splits
from agmc.export.checkpoint import load
from agmc.export.onnx import save_onnx
from agmc.export.profile import Profiler, table_path
from agmc.export.stopwatch import Stopwatch
from agmc.export.tables import tables_for
from agmc.graph.model_graph import ModelGraph
from agmc.graph.trace import trace
from agmc.job import Job
from agmc.measure import Measurement, graph_of, measure
from agmc.models import save_weights
from agmc.pipeline import Pipeline, show_epochs, summary, write_json
from agmc.plan import Plan, PlanSpace, kept_channels
from agmc.report.before_after import before_after, budget_text
from agmc.report.compare import Comparison
from agmc.report.compare_page import write_comparison
from agmc.report.graph_page import write_graph_page
from agmc.report.groups import groups_table
from agmc.report.latency import latency_tables
from agmc.report.layers import layers_table
from agmc.report.page import write_report
from agmc.report.progress import Progress
from agmc.report.run_record import final_values
from agmc.report.table import Table
from agmc.report.watch import Watch
from agmc.search.budget import Budgets
from agmc.search.find_plan import find_plan
from agmc.search.reward import reward_for
from agmc.search.workers import Workers
from agmc.training import Execution, train_base

_log = logging.getLogger("agmc")


def compress(job: Job) -> None:
    """Trains or loads a network, finds a plan within the budget and carries it out."""
    budgets = Budgets.of(job.budget)
    tables = tables_for(budgets.metrics, job.latency_table, job.energy_table, job.cache)
    given = None if job.plan is None else Plan.load(job.plan)
    execution: Execution = job.make("execution")
    finetune, rooms = job.make("finetune"), _rooms_of_the_search(job)
    reward_for(budgets, rooms["reward"])  # a conflict shows before the training
    rooms["tables"] = tables
    with _progress(job) as progress:
        splits, model = _data_and_model(job, progress)
        # What cannot be done is refused here, before the training.
        progress.stage("trace")
        graph = graph_of(model, splits)
        fewest, step = job.min_keep_ratio, job.round_to
        if given is not None:  # may go further than the search would
            fewest, step = 1e-9, 1
        space = PlanSpace(graph, min_keep_ratio=fewest, round_to=step)
        bound = budgets.bind(CostModel(graph, tables), space)
        if given is not None:
            bound.check(given)
        if job.weights is None:
            _train(job, model, splits, execution, progress)
            progress.stage("trace")
            graph = graph_of(model, splits)  # knows the statistics of the weights
        if given is not None:
            plan, search = given, {"plan": job.plan}
        else:
            plan, search = _search(job, rooms, model, splits, graph, progress)
        pipeline = Pipeline(
            finetune=finetune,
            importance=rooms["importance"],
            reconstruction_images=job.reconstruction_images,
            recalibration_images=job.recalibration_images,
            batch_size=job.batch_size,
            execution=execution,
            seed=job.seed,
        )
        result = pipeline.run(
            *(model, graph, splits, plan, bound, job.directory, progress),
            record={"search": search, **job.record},
        )
        progress.track(0, final_values(result), of="final")
    _show(before_after(result))
    _log.info("%s\neverything is in %s", budget_text(result), job.directory)


def _rooms_of_the_search(job: Job) -> dict[str, Any]:
    """The arguments of `find_plan` that are rooms: mistakes in them show at once."""
    same = ("embedding", "agent", "reward", "execution")
    return {name: job.make(name) for name in same} | {
        "importance": job.make("compression.importance"),
        "evaluator": job.make("search.evaluator"),
        "corpus": job.make("search.corpus"),
        "workers": Workers(**job.workers),
    }


def _search(
    job: Job,
    rooms: Mapping[str, Any],
    model: nn.Module,
    splits: Splits,
    graph: ModelGraph,
    progress: Progress,
) -> tuple[Plan, dict[str, Any]]:
    """The best plan that the search finds, and what the record says of the search."""
    watch = Watch(progress, str(Budgets.of(job.budget)))
    found = find_plan(
        model,
        splits,
        job.budget,
        **rooms,
        min_keep_ratio=job.min_keep_ratio,
        round_to=job.round_to,
        episodes=job.episodes,
        seed=job.seed,
        directory=job.directory,
        graph=graph,
        on_stage=lambda name: progress.stage(
            name, total=job.episodes if name == "search" else None, unit="episode"
        ),
        on_episode=watch,
    )
    watch.finish(found.episodes)
    return found.plan, summary(found)


def train(job: Job) -> None:
    """Trains a base network on the train split and writes `weights.safetensors`."""
    if job.weights is not None:
        raise ValueError(
            f"train starts from fresh weights: leave out model.weights "
            f"(={job.weights!r})"
        )
    execution: Execution = job.make("execution")
    weights = job.directory / "weights.safetensors"
    with _progress(job) as progress:
        splits, model = _data_and_model(job, progress)
        graph_of(model, splits)  # refuses what cannot be compressed later
        _train(job, model, splits, execution, progress)
        save_weights(model, weights)
        progress.stage("evaluate")
        measured = _measured(job, model, splits, weights)
    write_json(
        job.directory / "result.json", {"baseline": measured.record(), **job.record}
    )
    _log.info("%s\nweights are in %s", measured, weights)


def evaluate(job: Job) -> None:
    """Measures a saved network on the data: accuracy, cost and size."""
    path = job.required_checkpoint()
    network = load(path)
    splits: Splits = job.make("data")
    shapes = list(network.program.input_shapes)
    if shapes != [(1, *splits.image_shape)]:
        raise ValueError(
            f"checkpoint {path} takes inputs of shape {shapes}, the images of "
            f"{splits.name!r} are {(1, *splits.image_shape)}"
        )
    measured = _measured(job, network, splits, path)
    write_json(
        job.directory / "result.json", {"evaluated": measured.record(), **job.record}
    )
    _log.info("%s", measured)


def export(job: Job) -> None:
    """Writes a saved network as `compressed.onnx`, checked in ONNX Runtime."""
    network = load(job.required_checkpoint())
    generator = torch.Generator().manual_seed(job.seed)
    examples = [
        torch.randn(2, *shape[1:], generator=generator)
        for shape in network.program.input_shapes
    ]
    target = job.directory / "compressed.onnx"
    difference = save_onnx(network, target, examples)
    _log.info("%s: agrees with the network to %.0e", target, difference)


def graph(job: Job) -> None:
    """Shows layers and channel groups of a network; writes them as a page."""
    splits: Splits = job.make("data")
    model = load(job.checkpoint) if job.checkpoint else _model(job, splits)
    traced = trace(model, splits.example_input())
    _show(layers_table(traced), *([groups_table(traced)] if traced.groups else []))
    page, _ = write_graph_page(traced, job.directory, title=job.network)
    for reason in traced.unprunable:
        _log.info("%s", reason)
    cost = cost_of(traced)
    _log.info(
        "%d operations, %d channel groups, %s MACs, %s parameters",
        *(len(traced.program.operations), len(traced.groups)),
        *(f"{cost.macs:,}", f"{cost.params:,}"),
    )
    _log.info("%s", page)


def profile(job: Job) -> None:
    """Measures the operators of a network and compares their sum with the whole."""
    profiler: Profiler = job.make("profile")
    path = table_path(job.directory if job.cache is None else job.cache)
    with Progress() as progress:
        splits, model = _data_and_model(job, progress)
        progress.stage("trace")
        graph = graph_of(model, splits)
        progress.stage("profile", total=profiler.plans, unit="network")
        table = profiler.extend(model, graph, path, on_plan=progress.step)
        progress.stage("compare")
        whole = kept_channels(graph, None)
        measured = Stopwatch(model, graph, seconds=profiler.seconds).measure(whole)
    operators, totals = latency_tables(LatencyModel(graph, table), whole, measured)
    _show(operators, totals)
    _log.info("the table is in %s", path)


def report(job: Job) -> None:
    """Writes `report.html` of finished runs again."""
    for run in job.required_runs():
        _log.info("%s", write_report(Path(run)))


def compare(job: Job) -> None:
    """Compares runs: tables and curves, means and intervals over seeds."""
    comparison = Comparison.of(job.required_runs(), reference=job.reference)
    _show(*comparison.tables(short=True))
    _log.info("%s", write_comparison(comparison, job.directory))


def _progress(job: Job) -> Progress:
    """What shows the run and, where the configuration says so, tracks it."""
    return Progress(tracker=job.make("tracking")(job.directory, job.record))


def _data_and_model(job: Job, progress: Progress) -> tuple[Splits, nn.Module]:
    progress.stage("data")
    splits: Splits = job.make("data")
    return splits, _model(job, splits)


def _model(job: Job, splits: Splits) -> nn.Module:
    """The network, with its weights where the configuration names a file."""
    torch.manual_seed(job.seed)
    build = job.make("model")
    return build(splits.num_classes, splits.image_shape[0]).eval()


def _train(
    job: Job,
    model: nn.Module,
    splits: Splits,
    execution: Execution,
    progress: Progress,
) -> None:
    """Trains on the train split, or takes the trained network from the cache."""
    recipe = job.make("train")
    progress.stage("train", total=recipe.epochs, unit="epoch")
    train_base(
        model,
        splits,
        recipe,
        key=f"{job.network} {splits.num_classes} {splits.image_shape[0]}",
        execution=execution,
        seed=job.seed,
        cache=job.cache,
        on_epoch=show_epochs(progress),
    )
    model.cpu()  # traced, pruned and exported there


def _measured(job: Job, model: nn.Module, splits: Splits, path: Path) -> Measurement:
    return measure(
        model,
        splits,
        num_bytes=path.stat().st_size,
        execution=job.make("execution"),
        batch_size=job.batch_size,
    )


def _show(*tables: Table) -> None:
    for table in tables:
        Console().print(table.rich())


COMMANDS: dict[str, Callable[[Job], None]] = {
    command.__name__: command
    for command in (compress, train, evaluate, export, graph, profile, report, compare)
}
