"""Evaluator: Plan -> how accurate the network is that it leaves."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from torch import nn

from agmc.compression.prune import Pruner
from agmc.compression.quantize import Measured, Quantization
from agmc.compression.sparsify import sparsify
from agmc.cost.model import Cost, CostModel
from agmc.data import Splits
from agmc.graph.network import GraphNetwork
from agmc.plan import Plan, of_what_stays
from agmc.search.repair import check_repair, reconstruction_of
from agmc.training import (
    Execution,
    accuracy,
    batches_of,
    exact,
    recalibrate_batch_norm,
)


@dataclass(frozen=True)
class Evaluation:
    """What a plan leaves of a network, before any fine-tuning.

    Attributes:
        plan: that was evaluated.
        accuracy: on the search split, a share in [0, 1].
        cost: of the pruned network.
        seconds: that it took; near 0 where the plan was known.
        cached: whether the plan was known.
        failed: whether the evaluation could not be carried out: the workers died.
    """

    plan: Plan
    accuracy: float
    cost: Cost
    seconds: float = field(default=0.0, compare=False)
    cached: bool = field(default=False, compare=False)
    failed: bool = False


class Evaluator:
    """Prunes physically, repairs and measures; never the test split.

    Where nothing is removed there is nothing to repair.

    The plan's share of zeros is that of the repaired weights that are left.

    The images are normalised once and stay in memory, on the device. A plan that was
    seen before is not evaluated again.

    Args:
        pruner: of the trained network.
        cost_model: of the same network.
        splits: the data; `train` recalibrates, `search` is measured.
        execution: device and precision.
        search_images: images of the search split to measure on, the same for every
            plan and balanced over the classes; None takes all.
        reconstruction_images: training images that the least squares of
            `Reconstruction` are taken from, >= 0; 0 leaves the weights as they are.
        recalibration_images: training images that batch norm is recalibrated on, >= 0;
            0 leaves the statistics of the unpruned network.
        batch_size: images per forward pass, >= 1.
        quantization: how plans with bits round; the images of the recalibration
            measure the activations, so that there must be some.

    Raises:
        ValueError: a number is out of range.
    """

    def __init__(
        self,
        pruner: Pruner,
        cost_model: CostModel,
        splits: Splits,
        execution: Execution,
        *,
        search_images: int | None = 1000,
        reconstruction_images: int = 500,
        recalibration_images: int = 500,
        batch_size: int = 100,
        quantization: Quantization | None = None,
    ) -> None:
        if search_images is not None and search_images < 1:
            raise ValueError(
                f"search_images (={search_images}) must be >= 1, or null for all"
            )
        check_repair(reconstruction_images, recalibration_images, batch_size)
        self._pruner = pruner
        self._cost_model = cost_model
        self._execution = execution
        self._quantization = quantization or Quantization()
        self._search = batches_of(
            splits,
            "search",
            execution=execution,
            limit=search_images,
            batch_size=batch_size,
        )
        self._recalibration = None
        if recalibration_images:
            self._recalibration = batches_of(
                splits,
                "train",
                execution=execution,
                limit=recalibration_images,
                batch_size=batch_size,
            )
        self._reconstruction = reconstruction_of(
            pruner.model,
            pruner.graph,
            splits,
            execution,
            images=reconstruction_images,
            batch_size=batch_size,
        )
        self._known: dict[str, Evaluation] = {}
        self._measured: tuple[str, Measured] | None = None

    def __call__(self, plan: Plan) -> Evaluation:
        """The evaluation of a plan.

        Raises:
            ValueError: the plan has bits that cannot be had.
        """
        started = time.perf_counter()
        known = self._known.get(plan.digest)
        if known is not None:
            seconds = time.perf_counter() - started
            return replace(known, seconds=seconds, cached=True)
        module: nn.Module
        by = self._execution
        left = of_what_stays(self._pruner.graph, plan)
        if left.rounds:
            measured = self._measured_network(left)
            module, by = self._quantization.rounded(measured, left), exact(by)
            by.place(module)
        else:
            module = self._repaired(left)
        share = accuracy(module, self._search, execution=by)
        cost = self._cost(plan)
        seconds = time.perf_counter() - started
        evaluation = Evaluation(plan, share, cost, seconds)
        self._known[plan.digest] = evaluation
        return evaluation

    def give_up(self, plan: Plan) -> Evaluation:
        """What stands for the evaluation of a plan that kills whoever evaluates it."""
        return Evaluation(plan, 0.0, self._cost(plan), failed=True)

    def _repaired(self, plan: Plan) -> GraphNetwork:
        """What channels and zeros of a plan leave, on the device."""
        small = self._pruner.prune(plan)
        if self._reconstruction is not None and plan.removes:
            self._reconstruction.apply(small, self._pruner.kept_positions(plan))
        sparsify(small, plan.sparsity)
        self._execution.place(small)
        if self._recalibration is not None and plan.removes:
            recalibrate_batch_norm(
                small, self._recalibration, execution=self._execution
            )
        return small

    def _measured_network(self, plan: Plan) -> Measured:
        """The network that bits are about; plans in a row often share it."""
        key = replace(plan, weight_bits={}, act_bits={}).digest
        if plan.act_bits and self._recalibration is None:
            raise ValueError(
                "recalibration_images (=0) must be >= 1 where inputs of layers have "
                "bits: they are measured on these images"
            )
        if self._measured is None or self._measured[0] != key:
            images = [images for images, _ in self._recalibration or ()]
            self._measured = key, Measured(self._repaired(plan), images)
        return self._measured[1]

    def _cost(self, plan: Plan) -> Cost:
        return self._cost_model.of(plan)
