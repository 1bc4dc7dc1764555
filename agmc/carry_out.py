"""Carrying out a plan: from a trained network to the small one, trained again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from agmc.compression.gradual import GradualMasks, GradualPruning
from agmc.compression.held import Held
from agmc.compression.importance import Importance
from agmc.compression.original_class import in_original_class
from agmc.compression.quantize import Quantization, graph_network
from agmc.compression.sparsify import layer_weights, sparsify
from agmc.compression.whole_biases import round_biases
from agmc.data import Splits
from agmc.graph.model_graph import ModelGraph
from agmc.plan import Plan
from agmc.report.progress import Progress
from agmc.search.repair import pruner_of, reconstruction_of
from agmc.training import (
    Batches,
    Distillation,
    EpochRecord,
    Execution,
    Team,
    batches_of,
    distil,
    exact,
    recalibrate_batch_norm,
)

#: Training images that the activations are measured on.
_CALIBRATION_IMAGES = 500


@dataclass(frozen=True)
class Carried:
    """What a plan has made of a network.

    Attributes:
        network: the small network as it is to be exported, on the CPU or the device.
        floats: the small network before it was quantised; the same one where it is not.
        states: of `floats`, before the fine-tuning: "raw", without a recalibration, and
            "pruned".
        execution: device and precision of `network`.
    """

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
        quantization: how it is rounded, where the plan has bits.
        quantized_finetune: the recipe for what is rounded; None leaves it out.
        team: that shares the fine-tuning.
    """

    finetune: Distillation | None
    importance: Importance
    reconstruction_images: int
    recalibration_images: int
    batch_size: int
    execution: Execution
    seed: int
    gradual: GradualPruning = GradualPruning()
    quantization: Quantization = Quantization()
    quantized_finetune: Distillation | None = None
    team: Team = Team()

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
        small = self.execution.place(self._pruned(model, graph, splits, plan))
        weights = {k: w for k, w in layer_weights(small).items() if k in plan.sparsity}
        dense = {name: weight.detach().clone() for name, weight in weights.items()}
        sparsify(small, plan.sparsity)
        states = {"raw": _copy_of_state(small)}
        if self.recalibration_images:
            some = self.batches(splits, "train", limit=self.recalibration_images)
            recalibrate_batch_norm(small, some, execution=self.execution)
        states["pruned"] = _copy_of_state(small)
        if self.finetune is not None:
            progress.stage("fine-tune", total=self.finetune.epochs, unit="epoch")
            for name, weight in weights.items():  # now they go a few at a time
                weight.data.copy_(dense[name])
            masks = GradualMasks(small, plan.sparsity, self.gradual)
            self._train(
                small, model, splits, self.finetune, self.execution, progress, masks
            )
        if not plan.rounds:
            return Carried(small, small, states, self.execution)
        by = exact(self.execution)
        progress.stage("quantise")
        some = self.batches(splits, "train", limit=_CALIBRATION_IMAGES)
        rounded = self.quantization.apply(
            graph_network(small), plan, (images for images, _ in some)
        )
        if self.quantized_finetune is not None:
            recipe = self.quantized_finetune
            progress.stage("fine-tune bits", total=recipe.epochs, unit="epoch")
            by.place(rounded)
            held = Held(rounded, plan.sparsity)
            self._train(rounded, model, splits, recipe, by, progress, held)
            round_biases(rounded)
        return Carried(rounded, small, states, by)

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
        device = next((weight.device for weight in model.parameters()), None)
        return in_original_class(model, pruned, splits.example_input().to(device))

    def _train(
        self,
        small: nn.Module,
        teacher: nn.Module,
        splits: Splits,
        recipe: Distillation,
        execution: Execution,
        progress: Progress,
        after_step: Callable[[int, int], None],
    ) -> None:
        distil(
            small,
            teacher,
            splits,
            recipe,
            execution=execution,
            seed=self.seed,
            on_epoch=show_epochs(progress),
            after_step=after_step,
            team=self.team,
        )


def show_epochs(progress: Progress) -> Callable[[EpochRecord], None]:
    """Tells of every epoch of a training."""

    def show(record: EpochRecord) -> None:
        note = f"loss {record.loss:.3f}, train accuracy {record.accuracy:.3f}"
        progress.step(record.epoch, note=note)
        values = ("loss", "accuracy", "learning_rate")
        progress.track(record.epoch, {name: getattr(record, name) for name in values})

    return show


def _copy_of_state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}
