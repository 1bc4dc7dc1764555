"""Accuracy before fine-tuning: nothing, recalibration, reconstruction, both.

    python experiments/reconstruction/run.py --data FOLDER --weights FOLDER

Writes results.csv, targets.json and the table in README.md beside this file.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch

from agmc.compression import importance as importances
from agmc.compression.importance import gradients
from agmc.compression.prune import Pruner
from agmc.compression.reconstruct import Reconstruction
from agmc.cost.model import CostModel
from agmc.data.imagefolder import load_imagefolder
from agmc.graph.trace import trace
from agmc.models.weights import load_model
from agmc.plan import Plan
from agmc.plan_space import PlanSpace
from agmc.report.experiment import Target, write_experiment
from agmc.search.budgets import Budgets
from agmc.search.uniform import uniform_plan
from agmc.training import Execution, accuracy, batches_of, recalibrate_batch_norm

HERE = Path(__file__).parent
IMPORTANCES = (
    "l1",
    "l2",
    "batch_norm_scale",
    "taylor",
    "geometric_median",
    "lamp",
    "random",
)
#: Plan -> percent of a prototype of the same repairs on a ResNet-20 of 87.4 %.
PROTOTYPE = {"inner 0.5": 69.6, "inner 0.35": 48.5}


def main() -> None:
    """Measures both networks and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--images", type=int, default=2000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    splits = load_imagefolder(root=options.data)
    execution = Execution(device="cpu", precision="float32")
    search = batches_of(
        splits, "search", execution=execution, limit=options.images, batch_size=100
    )
    train = batches_of(splits, "train", execution=execution, limit=500, batch_size=100)
    few = batches_of(splits, "train", execution=execution, limit=500, batch_size=10)
    rows, seconds, walls = [], [], []
    best: dict[tuple[str, str], dict[str, float]] = {}
    for network in ("resnet20", "resnet56"):
        (weights,) = options.weights.glob(f"{network}_*.safetensors")
        model = load_model(10, 3, name=network, weights=str(weights)).eval()
        graph = trace(model, splits.example_input())
        space, costs = PlanSpace(graph), CostModel(graph)
        started = time.perf_counter()
        reconstruction = Reconstruction(model, graph, (x for x, _ in train))
        measured = time.perf_counter() - started
        print(f"{network}: moments in {measured:.1f} s", flush=True)
        inner = [d.name for d in space if ".conv1" in d.name]
        uniform = uniform_plan(Budgets.of("macs:0.5").bind(costs, space))
        plans = {
            "none": Plan({}),
            "uniform": uniform,
            "inner 0.5": Plan(dict.fromkeys(inner, 0.5)),
            "inner 0.35": Plan(dict.fromkeys(inner, 0.35)),
        }
        found = gradients(model, few)
        cases = [("l1", name) for name in plans]
        cases += [(name, "uniform") for name in IMPORTANCES[1:]]
        for importance, name in cases:
            plan = plans[name]
            pruner = Pruner(
                model,
                graph,
                importance=getattr(importances, importance),
                gradients=found,
            )
            shares = {}
            for repair in ("nothing", "recalibration", "reconstruction", "both"):
                small = pruner.prune(plan)
                if repair in ("reconstruction", "both"):
                    positions = pruner.kept_positions(plan)
                    started, before = time.perf_counter(), time.process_time()
                    reconstruction.apply(small, positions)
                    if plan.keep_ratio:
                        walls.append((network, time.perf_counter() - started))
                        seconds.append((network, time.process_time() - before))
                module = execution.place(small)
                if repair in ("recalibration", "both"):
                    recalibrate_batch_norm(module, train, execution=execution)
                shares[repair] = accuracy(module, search, execution=execution)
            best[network, f"{importance} {name}"] = shares
            kept = costs.cost(space.counts(plan)).macs
            rows.append(
                {
                    "network": network,
                    "importance": importance,
                    "plan": name,
                    "MACs kept": f"{kept / costs.cost(space.counts(None)).macs:.3f}",
                    **{r: f"{100 * share:.1f}" for r, share in shares.items()},
                }
            )
            print(rows[-1], flush=True)
    command = "python experiments/reconstruction/run.py --data FOLDER --weights FOLDER"
    targets = []
    for network in ("resnet20", "resnet56"):
        shares = best[network, "l1 uniform"]
        gain = 100 * (shares["both"] - shares["recalibration"])
        targets.append(
            Target(
                f"{network}: points that reconstruction adds to recalibration",
                "> 0",
                f"{gain:.1f}",
                gain > 0,
                command,
            )
        )
        for kind, times in (("CPU", seconds), ("wall", walls)):
            spent = statistics.median(s for n, s in times if n == network)
            targets.append(
                Target(
                    f"{network}: {kind} seconds of a solve, median",
                    "< 0.1",
                    f"{spent:.3f}",
                    spent < 0.1,
                    command,
                )
            )
    for plan, bound in PROTOTYPE.items():
        share = 100 * best["resnet20", f"l1 {plan}"]["both"]
        targets.append(
            Target(
                f"resnet20, {plan}: % right with both repairs",
                f">= {bound}",
                f"{share:.1f}",
                share >= bound,
                command,
            )
        )
    note = (
        f"torch {torch.__version__}, one thread, "
        f"{torch.backends.cpu.get_cpu_capability()}; {options.images} search images."
    )
    write_experiment(HERE, rows, targets, note)


if __name__ == "__main__":
    main()
