"""The whole line, from a trained network to the files of a run directory."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import nn

from agmc.compression.gradual import GradualMasks, GradualPruning
from agmc.compression.importance import Importance
from agmc.compression.original_class import in_original_class
from agmc.compression.sparsify import layer_weights, sparsify
from agmc.data import Splits
from agmc.export.checkpoint import load, save, to_bytes
from agmc.export.onnx import onnx_latency_ms, save_onnx
from agmc.graph.agreement import TOLERANCE, relative_difference
from agmc.graph.model_graph import ModelGraph
from agmc.plan import Plan, kept_channels
from agmc.report.page import write_report
from agmc.report.progress import Progress
from agmc.search.bound import BoundBudget
from agmc.search.repair import pruner_of, reconstruction_of
from agmc.search.verdict import broken, verdict
from agmc.training import (
    Batches,
    Distillation,
    EpochRecord,
    Execution,
    Team,
    accuracy,
    batches_of,
    distil,
    recalibrate_batch_norm,
)
from agmc.whole_file import write_whole

#: The names of more classes would make a small file large.
_MOST_CLASS_NAMES = 100


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """What happens after the plan is found, and the record of the whole.

    Attributes:
        finetune: the recipe; None leaves the fine-tuning out.
        importance: scores the channels; those with the highest stay.
        reconstruction_images: training images for the least squares; 0 = off.
        recalibration_images: training images for batch norm after pruning; 0 = off.
        batch_size: images per forward pass of an evaluation.
        execution: device and precision.
        seed: of the fine-tuning.
        gradual: when weights become zero during the fine-tuning, where the plan says
            that any do; without one they all do at once.
        team: that shares it; the first process does the rest alone.
    """

    finetune: Distillation | None
    importance: Importance
    reconstruction_images: int
    recalibration_images: int
    batch_size: int
    execution: Execution
    seed: int
    gradual: GradualPruning = GradualPruning()
    team: Team = Team()

    def run(
        self,
        model: nn.Module,
        graph: ModelGraph,
        splits: Splits,
        plan: Plan,
        budget: BoundBudget,
        directory: Path,
        progress: Progress,
        *,
        record: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Prunes, fine-tunes, exports, evaluates and writes the files of a run.

        Args:
            model: the trained network.
            graph: its graph.
            splits: the data; `test` is read once, at the end.
            plan: what stays of every channel group.
            budget: of the network.
            directory: of the run.
            progress: told about every stage.
            record: what else stands in the result: `settings` (model, data, ...),
                `search`, `seed`, `command`.

        Returns:
            the content of `result.json`; of the first process of a team only.

        Raises:
            ValueError: the compressed network breaks a budget, or a saved file
                differs from the network.
        """
        example = splits.example_input()
        plan.save(directory / "plan.json")

        progress.stage("prune")
        small = self.execution.place(self._pruned(model, graph, splits, plan))
        weights = {k: w for k, w in layer_weights(small).items() if k in plan.sparsity}
        dense = {name: weight.detach().clone() for name, weight in weights.items()}
        sparsify(small, plan.sparsity)
        search = self._batches(splits, "search")
        raw = {"search": accuracy(small, search, execution=self.execution)}
        unrecalibrated = _copy_of_state(small)
        if self.recalibration_images:
            some = self._batches(splits, "train", limit=self.recalibration_images)
            recalibrate_batch_norm(small, some, execution=self.execution)
        pruned = {"search": accuracy(small, search, execution=self.execution)}
        before_finetune = _copy_of_state(small)

        if self.finetune is not None:
            progress.stage("fine-tune", total=self.finetune.epochs, unit="epoch")
            for name, weight in weights.items():  # now they go a few at a time
                weight.data.copy_(dense[name])
            distil(
                small,
                model,
                splits,
                self.finetune,
                execution=self.execution,
                seed=self.seed,
                on_epoch=show_epochs(progress),
                after_step=GradualMasks(small, plan.sparsity, self.gradual),
                team=self.team,
            )
        if self.team.rank:
            return {}

        progress.stage("export")
        info = {
            "classes": list(splits.classes[:_MOST_CLASS_NAMES]),
            "mean": list(splits.mean),
            "std": list(splits.std),
            **record.get("settings", {}),
        }
        num_bytes = save(small, directory / "compressed.safetensors", info=info)
        small, model = small.cpu(), model.cpu()
        final = load(directory / "compressed.safetensors")
        _must_agree(small, final, example)
        original_bytes = len(to_bytes(model, example_input=example))
        save_onnx(final, directory / "compressed.onnx", example)
        with TemporaryDirectory(dir=directory, prefix=".baseline-") as folder:
            original = Path(folder) / "original.onnx"
            save_onnx(model, original, example)
            paths = [original, directory / "compressed.onnx"]
            latencies = onnx_latency_ms(paths, (example,))

        # From here on nothing is chosen any more, so the test split may be read.
        progress.stage("evaluate")
        test = self._batches(splits, "test")
        final = self.execution.place(final)
        model = self.execution.place(model)
        small = self.execution.place(small)
        compressed = self._accuracies(final, search, test)
        baseline = self._accuracies(model, search, test)
        small.load_state_dict(before_finetune)
        pruned["test"] = accuracy(small, test, execution=self.execution)
        small.load_state_dict(unrecalibrated)
        raw["test"] = accuracy(small, test, execution=self.execution)

        counts = kept_channels(graph, plan)
        whole = _sizes(budget, kept_channels(graph, None), original_bytes)
        sizes = _sizes(budget, counts, num_bytes)
        result: dict[str, Any] = {
            "baseline": {
                "accuracy": baseline,
                **whole,
                "latency_ms": latencies[0],
            },
            "pre_finetune": {
                "accuracy": pruned,
                "accuracy_without_recalibration": raw,
                **sizes,
                "latency_ms": latencies[1],
            },
            "compressed": {
                "accuracy": compressed,
                **sizes,
                "latency_ms": latencies[1],
            },
            "budget": verdict(
                budget, counts, num_bytes=num_bytes, accuracy=compressed["search"]
            ),
            "seconds": {k: round(v, 3) for k, v in progress.seconds.items()},
            "versions": versions(),
            **record,
        }
        # Who finds the result takes the run for finished: it comes last.
        write_report(directory, result)
        write_json(directory / "result.json", result)
        if wrong := broken(result["budget"]):
            raise ValueError(f"{wrong}; see {directory / 'result.json'}")
        return result

    def _pruned(
        self, model: nn.Module, graph: ModelGraph, splits: Splits, plan: Plan
    ) -> nn.Module:
        """The small network, repaired; of the model's own class if it can be."""
        pruner = pruner_of(model, graph, splits, self.importance, self.execution)
        pruned = pruner.prune(plan)
        reconstruction = reconstruction_of(
            model,
            graph,
            splits,
            self.execution,
            images=self.reconstruction_images,
            batch_size=self.batch_size,
        )
        if reconstruction is not None:
            reconstruction.apply(pruned, pruner.kept_positions(plan))
        device = next((weight.device for weight in model.parameters()), None)
        return in_original_class(model, pruned, splits.example_input().to(device))

    def _batches(self, splits: Splits, split: str, limit: int | None = None) -> Batches:
        return batches_of(
            splits,
            split,
            execution=self.execution,
            limit=limit,
            batch_size=self.batch_size,
        )

    def _accuracies(
        self, module: nn.Module, search: Batches, test: Batches
    ) -> dict[str, float]:
        return {
            "search": accuracy(module, search, execution=self.execution),
            "test": accuracy(module, test, execution=self.execution),
        }


def show_epochs(progress: Progress) -> Callable[[EpochRecord], None]:
    """Tells of every epoch of a training."""

    def show(record: EpochRecord) -> None:
        note = f"loss {record.loss:.3f}, train accuracy {record.accuracy:.3f}"
        progress.step(record.epoch, note=note)
        values = ("loss", "accuracy", "learning_rate")
        progress.track(record.epoch, {name: getattr(record, name) for name in values})

    return show


def versions() -> dict[str, str]:
    """Of what decides the numbers of a run."""
    packages = ("agmc", "torch", "torchvision", "torch-geometric", "onnxruntime")
    found = {name: importlib.metadata.version(name) for name in packages}
    return {
        "python": platform.python_version(),
        **found,
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON file whole or not at all."""
    write_whole(path, json.dumps(content, indent=2) + "\n")


def _sizes(
    budget: BoundBudget, counts: np.ndarray, num_bytes: int
) -> dict[str, int | float]:
    """What stands in every record, and the metrics that a budget is on."""
    metrics = dict.fromkeys(("macs", "params", "bytes", *budget.budgets.metrics))
    found = {metric: budget.value(metric, counts) for metric in metrics}
    return {**found, "bytes": num_bytes}


def _copy_of_state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def _must_agree(module: nn.Module, loaded: nn.Module, example: torch.Tensor) -> None:
    with torch.no_grad():
        difference = relative_difference(loaded(example), module(example))
    if not difference <= TOLERANCE:
        raise ValueError(
            f"the saved network differs from the one in memory by {difference:.1e} of "
            f"the largest output, more than {TOLERANCE:.0e}"
        )
