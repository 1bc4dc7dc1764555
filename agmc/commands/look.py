"""graph, profile, report and compare: commands that show something."""

from __future__ import annotations

import logging
from pathlib import Path

from torch import nn

from agmc.commands.steps import (
    data_and_model,
    model_of,
    refuse_ignored,
    show,
)
from agmc.cost.latency import LatencyModel
from agmc.cost.model import cost_of
from agmc.data import Splits
from agmc.export.checkpoint import load
from agmc.export.deployed import without_rounding
from agmc.export.profile import Profiler, table_path
from agmc.export.stopwatch import Stopwatch
from agmc.graph.trace import trace
from agmc.job import Job
from agmc.measure import graph_of
from agmc.plan import kept_channels
from agmc.report.compare import Comparison
from agmc.report.compare_page import write_comparison
from agmc.report.graph_page import write_graph_page
from agmc.report.groups import groups_table
from agmc.report.latency import latency_tables
from agmc.report.layers import layers_table
from agmc.report.page import write_report
from agmc.report.progress import Progress

_log = logging.getLogger("agmc")


def graph(job: Job) -> None:
    """Shows layers and channel groups of a network; writes them as a page."""
    refuse_ignored(job, "checkpoint")
    splits: Splits = job.make("data")
    if job.checkpoint:
        title = Path(job.checkpoint).name
        model: nn.Module = load(job.checkpoint)
    else:
        title, model = job.network, model_of(job, splits)
    floats = without_rounding(model)
    if floats is not None:
        _log.info("the network rounds; it is shown as it would be without")
    traced = trace(floats or model, splits.example_input())
    show(layers_table(traced), *([groups_table(traced)] if traced.groups else []))
    page, _ = write_graph_page(traced, job.directory, title=title)
    for reason in traced.unprunable:
        _log.info("%s", reason)
    if traced.blocks:
        names = ", ".join(block.name for block in traced.blocks)
        _log.info("blocks that a plan can drop: %s", names)
    cost = cost_of(traced)
    _log.info(
        "%d operations, %d channel groups, %s MACs, %s parameters",
        *(len(traced.program.operations), len(traced.groups)),
        *(f"{cost.macs:,}", f"{cost.params:,}"),
    )
    _log.info("%s", page)


def profile(job: Job) -> None:
    """Measures the operators of a network and compares their sum with the whole."""
    refuse_ignored(job)
    profiler: Profiler = job.make("profile")
    path = table_path(job.directory if job.cache is None else job.cache)
    with Progress() as progress:
        splits, model = data_and_model(job, progress)
        progress.stage("trace")
        graph = graph_of(model, splits)
        progress.stage("profile", total=profiler.plans, unit="network")
        table = profiler.extend(model, graph, path, on_plan=progress.step)
        progress.stage("compare")
        whole = kept_channels(graph, None)
        measured = Stopwatch(model, graph, seconds=profiler.seconds).measure(whole)
    operators, totals = latency_tables(LatencyModel(graph, table), whole, measured)
    show(operators, totals)
    _log.info("the table is in %s", path)


def report(job: Job) -> None:
    """Writes `report.html` of finished runs again."""
    for run in job.required_runs():
        _log.info("%s", write_report(Path(run)))


def compare(job: Job) -> None:
    """Compares runs: tables and curves, means and intervals over seeds."""
    comparison = Comparison.of(job.required_runs(), reference=job.reference)
    show(*comparison.tables(short=True))
    _log.info("%s", write_comparison(comparison, job.directory))
