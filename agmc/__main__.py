"""The command line: reads the configuration, builds the rooms and runs a command.

The only file that knows Hydra.
"""

from __future__ import annotations

import logging
import os
import shlex
import statistics
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from torch import nn

from agmc.cost.model import METRICS, CostModel, cost_of
from agmc.data import Splits
from agmc.export.checkpoint import load
from agmc.export.onnx import save_onnx
from agmc.graph.model_graph import ModelGraph
from agmc.graph.trace import trace
from agmc.models import save_weights
from agmc.pipeline import Pipeline, graph_of, show_epochs, write_json
from agmc.plan import Plan, PlanSpace, kept_channels
from agmc.report.before_after import before_after, budget_text
from agmc.report.compare import compare_runs
from agmc.report.groups import groups_table
from agmc.report.page import write_report
from agmc.report.progress import Progress
from agmc.report.table import Table
from agmc.search.budget import Budget
from agmc.search.find_plan import find_plan
from agmc.training import Execution, accuracy, batches_of, train_base

_log = logging.getLogger("agmc")


def compress(config: DictConfig, directory: Path) -> None:
    """Trains or loads a network, finds a plan within the budget and carries it out."""
    budget = Budget.parse(str(config.budget))
    execution: Execution = instantiate(config.execution)
    with Progress() as progress:
        splits, model = _network(config, execution, progress)
        progress.stage("trace")
        model.cpu()  # traced, pruned and exported there
        graph = graph_of(model, splits)
        space = PlanSpace(
            graph,
            min_keep_ratio=config.compression.min_keep_ratio,
            channel_step=config.compression.channel_step,
        )
        bound = budget.bind(CostModel(graph), space)
        plan, record = _plan(config, directory, model, splits, graph, progress)
        pipeline = Pipeline(
            finetune=instantiate(config.finetune),
            importance=instantiate(config.compression.importance),
            recalibration_images=config.search.evaluator.recalibration_images,
            batch_size=config.search.evaluator.batch_size,
            execution=execution,
            seed=config.seed,
            settings=_settings(config),
            search=record,
            command=_command(),
        )
        limit = (budget.metric, bound.limit)
        result = pipeline.run(model, graph, splits, plan, limit, directory, progress)
    _show(before_after(result))
    _log.info("%s\neverything is in %s", budget_text(result), directory)


def _plan(
    config: DictConfig,
    directory: Path,
    model: nn.Module,
    splits: Splits,
    graph: ModelGraph,
    progress: Progress,
) -> tuple[Plan, dict[str, Any]]:
    """The plan of the file `config.plan`, or the best that the search finds."""
    if config.plan is not None:
        plan = Plan.load(config.plan)
        kept_channels(graph, plan)  # names of other groups are refused here
        return plan, {"plan": str(config.plan)}
    found = find_plan(
        model,
        splits,
        str(config.budget),
        embedding=instantiate(config.embedding),
        agent=instantiate(config.agent),
        reward=instantiate(config.reward),
        importance=instantiate(config.compression.importance),
        evaluator=instantiate(config.search.evaluator),
        min_keep_ratio=config.compression.min_keep_ratio,
        channel_step=config.compression.channel_step,
        episodes=config.search.episodes,
        seed=config.seed,
        corpus=instantiate(config.search.corpus),
        execution=instantiate(config.execution),
        directory=directory,
        graph=graph,
        on_stage=lambda name: progress.stage(
            name,
            total=config.search.episodes if name == "search" else None,
            unit="episode",
        ),
        on_episode=lambda done, total, best, left: progress.step(
            done, best_reward=best
        ),
    )
    evaluated = [e for e in found.episodes if not e.cached]
    return found.plan, {
        "reward": found.reward,
        "episodes": len(found.episodes),
        "evaluations": len(evaluated),
        "seconds_per_evaluation": statistics.median(e.seconds for e in evaluated),
    }


def train(config: DictConfig, directory: Path) -> None:
    """Trains a base network on the train split and writes `weights.safetensors`."""
    execution: Execution = instantiate(config.execution)
    with Progress() as progress:
        splits, model = _network(config, execution, progress)
        progress.stage("evaluate")
        result = _accuracies(model, splits, config, execution)
        model.cpu()
        graph = graph_of(model, splits)
    cost = cost_of(graph)
    result = {**result, "macs": cost.macs, "params": cost.params}
    save_weights(model, directory / "weights.safetensors")
    write_json(directory / "result.json", {"baseline": result, **_record(config)})
    _show_network(result)
    _log.info("weights are in %s", directory / "weights.safetensors")


def evaluate(config: DictConfig, directory: Path) -> None:
    """Measures a saved network on the data: accuracy, cost and size."""
    path = _required(config, "checkpoint", "a compressed.safetensors")
    network = load(path)
    splits: Splits = instantiate(config.data)
    shapes = list(network.program.input_shapes)
    if shapes != [(1, *splits.image_shape)]:
        raise ValueError(
            f"checkpoint {path} takes inputs of shape {shapes}, the images of "
            f"{splits.name!r} are {(1, *splits.image_shape)}"
        )
    graph = graph_of(network, splits)
    execution: Execution = instantiate(config.execution)
    cost = cost_of(graph)
    result = {
        **_accuracies(execution.place(network), splits, config, execution),
        "macs": cost.macs,
        "params": cost.params,
        "bytes": Path(path).stat().st_size,
    }
    write_json(directory / "result.json", {"evaluated": result, **_record(config)})
    _show_network(result)


def export(config: DictConfig, directory: Path) -> None:
    """Writes a saved network as `compressed.onnx`, checked in ONNX Runtime."""
    network = load(_required(config, "checkpoint", "a compressed.safetensors"))
    generator = torch.Generator().manual_seed(config.seed)
    examples = [
        torch.randn(2, *shape[1:], generator=generator)
        for shape in network.program.input_shapes
    ]
    target = directory / "compressed.onnx"
    difference = save_onnx(network, target, examples)
    _log.info("%s: agrees with the network to %.0e", target, difference)


def graph(config: DictConfig, directory: Path) -> None:
    """Shows the channel groups of a network and what may be saved on each."""
    splits: Splits = instantiate(config.data)
    checkpoint = config.checkpoint
    model = load(checkpoint) if checkpoint else _fresh_model(config, splits)
    traced = trace(model, splits.example_input())
    _show(groups_table(traced))
    for reason in traced.unprunable:
        _log.info("%s", reason)
    cost = cost_of(traced)
    _log.info(
        "%d operations, %d channel groups, %s MACs, %s parameters",
        *(len(traced.program.operations), len(traced.groups)),
        *(f"{cost.macs:,}", f"{cost.params:,}"),
    )


def report(config: DictConfig, directory: Path) -> None:
    """Writes `report.html` of finished runs again."""
    for run in _runs(config):
        _log.info("%s", write_report(Path(run)))


def compare(config: DictConfig, directory: Path) -> None:
    """Shows several runs side by side and writes the table as `compare.md`."""
    table = compare_runs(_runs(config))
    _show(table)
    (directory / "compare.md").write_text(table.markdown())


COMMANDS: dict[str, Callable[[DictConfig, Path], None]] = {
    command.__name__: command
    for command in (compress, train, evaluate, export, graph, report, compare)
}


def _network(
    config: DictConfig, execution: Execution, progress: Progress
) -> tuple[Splits, nn.Module]:
    """The data, and the network: from its weights, or trained on `train`."""
    progress.stage("data")
    splits: Splits = instantiate(config.data)
    model = _fresh_model(config, splits)
    if config.model.weights is None:
        recipe = instantiate(config.train)
        progress.stage("train", total=recipe.epochs, unit="epoch")
        train_base(
            model,
            splits,
            recipe,
            key=f"{config.model.name} {splits.num_classes} {splits.image_shape[0]}",
            execution=execution,
            seed=config.seed,
            cache=config.cache,
            on_epoch=show_epochs(progress),
        )
    return splits, execution.place(model).eval()


def _fresh_model(config: DictConfig, splits: Splits) -> nn.Module:
    torch.manual_seed(config.seed)
    build = instantiate(config.model)
    return build(splits.num_classes, splits.image_shape[0])


def _accuracies(
    model: nn.Module, splits: Splits, config: DictConfig, execution: Execution
) -> dict[str, Any]:
    return {
        "accuracy": {
            name: accuracy(
                model,
                batches_of(
                    splits,
                    name,
                    execution=execution,
                    batch_size=config.search.evaluator.batch_size,
                ),
                execution=execution,
            )
            for name in ("search", "test")
        }
    }


def _settings(config: DictConfig) -> dict[str, Any]:
    choices = HydraConfig.get().runtime.choices
    return {
        "model": config.model.name,
        "data": choices["data"],
        "embedding": choices["embedding"],
        "agent": choices["agent"],
        "episodes": config.search.episodes,
        "budget": str(config.budget),
    }


def _record(config: DictConfig) -> dict[str, Any]:
    return {
        "settings": _settings(config),
        "seed": config.seed,
        "command": _command(),
    }


def _command() -> str:
    return shlex.join(["agmc", *HydraConfig.get().overrides.task])


def _required(config: DictConfig, key: str, what: str) -> str:
    if config[key] is None:
        raise ValueError(f"{config.command} needs {key}=FILE: {what}")
    return str(config[key])


def _runs(config: DictConfig) -> list[str]:
    runs = config.runs if OmegaConf.is_list(config.runs) else [config.runs]
    if not runs:
        raise ValueError(f"{config.command} needs runs=DIRECTORY or runs=[A,B]")
    return [str(run) for run in runs]


def _show(table: Table) -> None:
    Console().print(table.rich())


def _show_network(result: dict[str, Any]) -> None:
    shares = [f"{split} {share:.2%}" for split, share in result["accuracy"].items()]
    sizes = [f"{result[m]:,} {m}" for m in METRICS if m in result]
    _log.info("accuracy: %s; %s", ", ".join(shares), ", ".join(sizes))


@hydra.main(config_path=None, config_name="config", version_base="1.3")
def _run(config: DictConfig) -> None:
    if config.command not in COMMANDS:
        raise ValueError(
            f"unknown command {config.command!r}; choose one of {', '.join(COMMANDS)}"
        )
    directory = Path(HydraConfig.get().runtime.output_dir)
    COMMANDS[config.command](config, directory)


def main() -> None:
    """The console script `agmc`: exits with 2 and one line when the user erred."""
    _command_first(sys.argv)
    if not any(argument in sys.argv for argument in ("--config-dir", "-cd")):
        sys.argv[1:1] = ["--config-dir", str(_config_directory())]
    # Hydra would print its own kind of error; with this it hands it on.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    warnings.showwarning = lambda message, *_, **__: _log.warning("%s", message)
    try:
        _run()
    except (ValueError, OSError, HydraException, OmegaConfBaseException) as error:
        _log.debug("", exc_info=error)
        print(f"agmc: error: {_one_line(error)}", file=sys.stderr)
        sys.exit(2)


def _command_first(arguments: list[str]) -> None:
    """Turns `agmc train model=...` into the override `command=train`."""
    if len(arguments) > 1 and arguments[1].isidentifier():
        arguments[1] = f"command={arguments[1]}"


def _config_directory() -> Path:
    """conf/ inside the installed package, or beside it in the repository."""
    package = Path(__file__).parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def _one_line(error: BaseException) -> str:
    """The innermost message that was meant for the user."""
    while error.__cause__ is not None and isinstance(error, HydraException):
        error = error.__cause__
    return " ".join(str(error).split()) or type(error).__name__


if __name__ == "__main__":
    main()
