"""A front of ten budgets in one search against searches made for single budgets.

    python experiments/pareto/run.py --data FOLDER --weights FOLDER --results FOLDER

What is measured is kept in the results folder, so a second call goes on. Writes
results.csv, targets.json and the table in README.md beside this file.
"""

from __future__ import annotations

import argparse
import functools
from pathlib import Path

import torch

import agmc
from agmc.compression.importance import l1
from agmc.cost.model import CostModel
from agmc.data.imagefolder import load_imagefolder
from agmc.models.weights import load_model
from agmc.plan import Plan, PlanSpace
from agmc.report.experiment import Target, write_experiment
from agmc.search.budgets import Budgets
from agmc.search.evaluator import Evaluator
from agmc.search.repair import pruner_of
from agmc.search.uniform import uniform_plan
from agmc.training import Execution

HERE = Path(__file__).parent
RANGE = "macs:0.3..0.8/10"
FRONT_EPISODES, EPISODES = 500, 200
IMAGES = {"recalibration_images": 100, "reconstruction_images": 500}
COMMAND = "python experiments/pareto/run.py --data F --weights F --results F"


def main() -> None:
    """Searches what is missing and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--alone", nargs="*", type=int, default=range(10))
    options = parser.parse_args()
    torch.set_num_threads(1)
    splits = load_imagefolder(root=options.data)
    (weights,) = options.weights.glob("resnet20_*.safetensors")
    model = load_model(10, 3, name="resnet20", weights=str(weights)).eval()
    graph = agmc.trace(model, splits.example_input())
    execution = Execution(device="cpu", precision="float32")
    costs = CostModel(graph)
    pruner = pruner_of(model, graph, splits, l1, execution)
    few, whole = (
        Evaluator(pruner, costs, splits, execution, search_images=images, **IMAGES)
        for images in (250, None)
    )

    def searched(budget: str, episodes: int) -> agmc.Found:
        return agmc.find_plan(
            model,
            splits,
            budget,
            embedding="rules",
            agent="critic",
            evaluator=functools.partial(Evaluator, search_images=250, **IMAGES),
            episodes=episodes,
            execution=execution,
            directory=options.results / budget.replace(":", "_").replace("/", "_"),
            graph=graph,
            round_to=1,
        )

    def accuracies(plan: Plan) -> tuple[float, float]:
        return 100 * few(plan).accuracy, 100 * whole(plan).accuracy

    front = searched(RANGE, FRONT_EPISODES).front
    rows, lost, lost_whole = [], [], []
    for place, point in enumerate(front):
        space = PlanSpace(graph)
        uniform = uniform_plan(Budgets.of(point.budget).bind(costs, space))
        found = {"uniform": accuracies(uniform), "front": accuracies(point.plan)}
        found["alone"] = None
        if place in options.alone:
            alone = searched(point.budget, EPISODES)
            found["alone"] = accuracies(alone.plan)
            lost.append(found["alone"][0] - found["front"][0])
            lost_whole.append(found["alone"][1] - found["front"][1])
        row = {"budget": point.budget}
        for name, images in (("250", 0), ("5,000", 1)):
            for kind, shares in found.items():
                text = "-" if shares is None else f"{shares[images]:.2f}"
                row[f"{kind}, {name}"] = text
        rows.append(row)
        print(row, flush=True)
    targets = [
        Target(
            f"points that the front loses to a search alone, {images} images, {what}",
            "<= 0.5",
            f"{value:.2f}",
            value <= 0.5,
            COMMAND,
        )
        for images, losses in (("250", lost), ("5,000", lost_whole))
        for what, value in (("most", max(losses)), ("mean", sum(losses) / len(losses)))
    ]
    note = (
        f"Seed 0; torch {torch.__version__}, one thread, "
        f"{torch.backends.cpu.get_cpu_capability()}."
    )
    write_experiment(HERE, rows, targets, note)


if __name__ == "__main__":
    main()
