"""Carrying out a plan: from a trained network to the small one, trained again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from agmc.compression.calibration import check_images
from agmc.compression.gradual import GradualPruning
from agmc.compression.importance import Importance
from agmc.compression.original_class import in_original_class
from agmc.compression.quantize import Quantization, graph_network
from agmc.compression.sparsify import MagnitudePruning, Thinned, shares_of_zeros
from agmc.data import Splits
from agmc.fine_tuning import FineTuning
from agmc.graph.model_graph import ModelGraph
from agmc.noise_pruning import NoisePruning
from agmc.plan import Plan, of_what_stays
from agmc.report.progress import Progress
from agmc.search.repair import pruner_of, reconstruction_of
from agmc.training import (
    Batches,
    Distillation,
    Execution,
    Team,
    batches_of,
    exact,
    recalibrate_batch_norm,
)


@dataclass(frozen=True)
class Carried:
    """What a plan has made of a network.

    Attributes:
        plan: the whole of it, with what was decided on the fine-tuned network.
        network: the small network as it is to be exported, on the CPU or the device.
        floats: the small network before it was quantised; the same one where it is not.
        states: of `floats`, before the fine-tuning: "raw", without a recalibration, and
            "pruned".
        execution: device and precision of `network`.
    """

    plan: Plan
    network: nn.Module
    floats: nn.Module
    states: Mapping[str, Mapping[str, Tensor]]
    execution: Execution


@dataclass(frozen=True, kw_only=True)
class CarryOut:
    """How plans are carried out.

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
        zeros: which weights become zero beside those of the plan, behind the
            fine-tuning, which then comes once more; None: there are no more.
        quantization: how it is rounded, where the plan has bits.
        calibration_images: training images that the activations are then measured on,
            >= 1.
        quantized_finetune: the recipe for what is rounded; None leaves it out.
        team: that shares the fine-tuning.
        then: decides more about the fine-tuned network: the network and the plan so far
            -> the whole plan; None: there is no more.
        kept: file for the fine-tuned network, where more is decided about it: a run
            that goes on must decide about the same one; None keeps nothing.

    Raises:
        ValueError: there are no images to measure on.
    """

    finetune: Distillation | None
    importance: Importance
    reconstruction_images: int
    recalibration_images: int
    batch_size: int
    execution: Execution
    seed: int
    gradual: GradualPruning = GradualPruning()
    zeros: NoisePruning | MagnitudePruning | None = None
    quantization: Quantization = Quantization()
    calibration_images: int = 500
    quantized_finetune: Distillation | None = None
    team: Team = Team()
    then: Callable[[nn.Module, Plan], Plan] | None = None
    kept: Path | None = None

    def __post_init__(self) -> None:
        check_images(self.calibration_images)

    def __call__(
        self,
        model: nn.Module,
        graph: ModelGraph,
        splits: Splits,
        plan: Plan,
        progress: Progress,
    ) -> Carried:
        """The small network.

        Args:
            model: the trained network; teaches the small one.
            graph: its graph.
            splits: only `train` is read.
            plan: what stays.
            progress: told about every stage.
        """
        progress.stage("prune")
        self.execution.place(model)
        small = self.execution.place(self._pruned(model, graph, splits, plan))
        plan = of_what_stays(graph, plan)
        thin = Thinned(small, plan.sparsity)
        states = {"raw": _copy_of_state(small)}
        if self.recalibration_images and plan.removes:
            some = self.batches(splits, "train", limit=self.recalibration_images)
            recalibrate_batch_norm(small, some, execution=self.execution)
        states["pruned"] = _copy_of_state(small)
        tuning = FineTuning(
            teacher=model,
            splits=splits,
            recipe=self.finetune,
            gradual=self.gradual,
            zeros=self.zeros,
            execution=self.execution,
            seed=self.seed,
            team=self.team,
            progress=progress,
        )
        tuning(small, thin, kept=self.kept if self.then is not None else None)
        if self.zeros is not None:
            plan = replace(plan, sparsity=shares_of_zeros(small))
        if self.then is not None:
            before, plan = plan, self.then(small, plan)
            self.execution.place(small)
            if plan.sparsity != before.sparsity:
                tuning.with_zeros(small, Thinned(small, plan.sparsity))
        if not plan.rounds:
            return Carried(plan, small, small, states, self.execution)
        by = exact(self.execution)
        progress.stage("quantise")
        some = self.batches(splits, "train", limit=self.calibration_images)
        rounded = self.quantization.apply(
            graph_network(small), plan, (images for images, _ in some)
        )
        if self.quantized_finetune is not None:
            tuning = replace(tuning, recipe=self.quantized_finetune, execution=by)
            tuning.with_bits(rounded, plan.sparsity)
        return Carried(plan, rounded, small, states, by)

    def batches(self, splits: Splits, split: str, limit: int | None = None) -> Batches:
        """Of one split, in the size of an evaluation."""
        return batches_of(
            splits,
            split,
            execution=self.execution,
            limit=limit,
            batch_size=self.batch_size,
        )

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
        if plan.dropped:  # the model's own code would run these blocks
            return pruned
        device = next((weight.device for weight in model.parameters()), None)
        return in_original_class(model, pruned, splits.example_input().to(device))


def _copy_of_state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}
