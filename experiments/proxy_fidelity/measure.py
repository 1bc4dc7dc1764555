"""One network: its plans, what they are worth after fine-tuning, and cheap guesses."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from agmc.compression.importance import l1
from agmc.compression.prune import Pruner
from agmc.compression.reconstruct import Reconstruction
from agmc.cost.model import CostModel
from agmc.data import Splits
from agmc.graph.trace import trace
from agmc.models.weights import load_model
from agmc.plan import Plan
from agmc.plan_space import PlanSpace
from agmc.search.budgets import Budgets
from agmc.search.uniform import uniform_plan
from agmc.training import Execution, Recipe, batches_of, fit, recalibrate_batch_norm

BATCH = 100  # of a measurement, the evaluator's default
FIRST = 10  # batches of the search split that part "first" measures; "rest" the others
WHOLE = 500  # images of a repair, the evaluator's default
FEWER_IMAGES = (128, 250)
STEPS = 100  # of fine-tuning
SHORT = 50  # of the training that is one of the cheap evaluations
RECIPE = Recipe(epochs=1, learning_rate=0.02, batch_size=64)

#: Images that reconstruction and recalibration read.
Repair = tuple[int, int]
REPAIRS: dict[str, Repair] = {
    "nothing": (0, 0),
    "recalibration": (0, WHOLE),
    "reconstruction": (WHOLE, 0),
    "both": (WHOLE, WHOLE),
}
FEWER: dict[str, Repair] = {
    f"{name} {images}": (images * (rebuilt > 0), images * (recalibrated > 0))
    for images in FEWER_IMAGES
    for name, (rebuilt, recalibrated) in REPAIRS.items()
    if name != "nothing"
}
#: What is measured of every plan, and read as one JSON file each.
PARTS = ("finetune", "first", "training", "again", "fewer", "rest")


class Measured:
    """A trained network and everything that is measured of it, on one thread.

    Args:
        name: of the network.
        weights: its checkpoint.
        splits: the data; `test` is not read.
    """

    def __init__(self, name: str, weights: Path, splits: Splits) -> None:
        self._splits = splits
        self._execution = Execution(device="cpu")
        model = load_model(10, 3, name=name, weights=str(weights)).eval()
        graph = trace(model, splits.example_input())
        self._space = PlanSpace(graph)
        self._budget = Budgets.of("macs:0.5").bind(CostModel(graph), self._space)
        self._pruner = Pruner(model, graph, importance=l1)
        self._recalibrations = {n: self._train(n) for n in (*FEWER_IMAGES, WHOLE)}
        self._reconstructions = {
            number: Reconstruction(model, graph, (x for x, _ in batches))
            for number, batches in self._recalibrations.items()
        }
        self._search = list(
            batches_of(splits, "search", execution=self._execution, batch_size=BATCH)
        )

    def candidates(self, number: int, seed: int) -> list[tuple[Plan, float]]:
        """The uniform plan and random ones, and the accuracy that spreads them.

        Every other plan draws its ratios from U(0, 1), the rest from a normal
        distribution around the ratios of the uniform plan; the budget then clamps them,
        decision by decision. Accuracy: both repairs, on training images that no repair
        reads.
        """
        generator = np.random.default_rng(seed)
        uniform = uniform_plan(self._budget)
        ratios = np.array([uniform.keep_ratio.get(d.name, 1.0) for d in self._space])
        images = list(self._train(2 * WHOLE))[WHOLE // BATCH :][:3]
        plans = [uniform]
        while len(plans) < number:
            wide = generator.uniform(size=len(ratios))
            near = np.clip(generator.normal(ratios, 0.15), 0, 1)
            counts = np.array([decision.size for decision in self._space])
            for step, action in enumerate(wide if len(plans) % 2 else near):
                counts[step] = self._budget.clamp(float(action), counts, step)
            plans.append(self._space.plan(counts))
        found = []
        for plan in plans:
            batches = _measure(self._repaired(plan, (WHOLE, FEWER_IMAGES[-1])), images)
            found.append((plan, sum(b[0] for b in batches) / (len(images) * BATCH)))
        return found

    def part(self, part: str, plan: Plan) -> dict[str, Any]:
        """Evaluation -> CPU seconds before the measurement, and the batches of it.

        A batch is [images right, summed loss, CPU seconds].
        """
        if part in ("finetune", "again", "training"):
            seed = ("finetune", "again", "training").index(part)
            started = time.process_time()
            module = self._repaired(plan, REPAIRS["both"])
            self._train_briefly(module, SHORT if part == "training" else STEPS, seed)
            spent = time.process_time() - started
            return {part: _record(spent, _measure(module, self._search))}
        batches = self._search[FIRST:] if part == "rest" else self._search[:FIRST]
        found = {}
        for name, repair in (FEWER if part == "fewer" else REPAIRS).items():
            started = time.process_time()
            module = self._repaired(plan, repair)
            spent = time.process_time() - started
            found[name] = _record(spent, _measure(module, batches))
        return found

    def _train(self, limit: int) -> Any:
        return batches_of(
            self._splits,
            "train",
            execution=self._execution,
            limit=limit,
            batch_size=BATCH,
        )

    def _repaired(self, plan: Plan, repair: Repair) -> nn.Module:
        rebuilt, recalibrated = repair
        small = self._pruner.prune(plan)
        if rebuilt:
            reconstruction = self._reconstructions[rebuilt]
            reconstruction.apply(small, self._pruner.kept_positions(plan))
        module = self._execution.place(small)
        if recalibrated:
            batches = self._recalibrations[recalibrated]
            recalibrate_batch_norm(module, batches, execution=self._execution)
        return module

    def _train_briefly(self, module: nn.Module, steps: int, seed: int) -> None:
        """Fine-tunes on images of its own seed, each seen once."""
        train = self._splits.train
        number = steps * RECIPE.batch_size
        generator = torch.Generator().manual_seed(seed)
        chosen = train.select(torch.randperm(len(train), generator=generator)[:number])
        few = dataclasses.replace(self._splits, train=chosen)
        fit(module, few, RECIPE, execution=self._execution, seed=seed)


def _record(seconds: float, batches: list[list[float]]) -> dict[str, Any]:
    return {"seconds": seconds, "batches": batches}


def _measure(module: nn.Module, batches: list[Any]) -> list[list[float]]:
    module.eval()
    found = []
    with torch.inference_mode():
        for images, labels in batches:
            started = time.process_time()
            logits = module(images)
            right = int((logits.argmax(1) == labels).sum())
            loss = float(F.cross_entropy(logits, labels, reduction="sum"))
            found.append([right, loss, time.process_time() - started])
    return found
