"""Evaluator: Plan -> how accurate the network is that it leaves."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from agmc.compression.prune import Pruner
from agmc.compression.quantize import Quantization
from agmc.compression.sparsify import sparsify
from agmc.cost.model import Cost, CostModel
from agmc.data import Splits
from agmc.plan import Plan
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
            measure the activations.

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

    def __call__(self, plan: Plan) -> Evaluation:
        """The evaluation of a plan."""
        started = time.perf_counter()
        known = self._known.get(plan.digest)
        if known is not None:
            seconds = time.perf_counter() - started
            return replace(known, seconds=seconds, cached=True)
        small = self._pruner.prune(plan)
        if self._reconstruction is not None:
            self._reconstruction.apply(small, self._pruner.kept_positions(plan))
        sparsify(small, plan.sparsity)
        module = self._execution.place(small)
        if self._recalibration is not None:
            recalibrate_batch_norm(
                module, self._recalibration, execution=self._execution
            )
        by = self._execution
        if plan.rounds:
            images = [images for images, _ in self._recalibration or ()]
            module = by.place(self._quantization.apply(module, plan, images))
            by = exact(by)
        share = accuracy(module, self._search, execution=by)
        cost = self._cost(plan)
        seconds = time.perf_counter() - started
        evaluation = Evaluation(plan, share, cost, seconds)
        self._known[plan.digest] = evaluation
        return evaluation

    def give_up(self, plan: Plan) -> Evaluation:
        """What stands for the evaluation of a plan that kills whoever evaluates it."""
        return Evaluation(plan, 0.0, self._cost(plan), failed=True)

    def _cost(self, plan: Plan) -> Cost:
        return self._cost_model.of(plan)
