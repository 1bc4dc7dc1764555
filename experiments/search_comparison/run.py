"""All agents on the same searches, at equal evaluations.

    python experiments/search_comparison/run.py --data FOLDER --weights FOLDER \
        --results FOLDER --jobs 2

What is measured is kept in the results folder, so a second call goes on. Writes
results.csv, curves.csv, targets.json and the table in README.md beside this file.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import multiprocessing
import time
from collections import defaultdict
from collections.abc import Collection
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from table import median, write

import agmc
from agmc.compression.importance import l1
from agmc.cost.model import CostModel
from agmc.data.imagefolder import load_imagefolder
from agmc.models.weights import load_model
from agmc.plan import Plan
from agmc.search.best_so_far import best_so_far
from agmc.search.evaluator import Evaluator
from agmc.search.repair import pruner_of, reconstruction_of
from agmc.training import Execution, Recipe, accuracy, batches_of, fit
from agmc.whole_file import write_whole

HERE = Path(__file__).parent
NETWORKS = ("resnet20", "resnet56")
BUDGETS = (0.5, 0.3)
EPISODES = 200
SEEDS = 5
#: Agents without randomness run once.
FIXED = ("uniform", "greedy", "additive")
SEEDED = ("random", "tpe", "cmaes", "nsga2", "reinforce", "ppo", "ppo_vector")
SEEDED += ("ddpg", "td3", "critic")
AGENTS = FIXED + SEEDED
EVALUATOR = {
    "search_images": 500,
    "recalibration_images": 128,
    "reconstruction_images": 128,
    "batch_size": 128,
}
STEPS = 200  # of the short training
RECIPE = Recipe(epochs=1, learning_rate=0.02, batch_size=64)


@dataclass(frozen=True)
class Case:
    """One search."""

    network: str
    budget: float
    agent: str
    seed: int

    @property
    def name(self) -> str:
        """Of its folder and file."""
        return f"{self.network}_{self.budget}_{self.agent}_{self.seed}"


def main() -> None:
    """Measures what is missing and writes the table of what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument(
        "--jobs", type=int, default=1, help="processes, one thread each"
    )
    parser.add_argument("--networks", nargs="*", default=NETWORKS)
    parser.add_argument("--budgets", nargs="*", type=float, default=BUDGETS)
    parser.add_argument("--agents", nargs="*", default=AGENTS)
    parser.add_argument("--seeds", nargs="*", type=int, default=range(SEEDS))
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    cases = [
        Case(network, budget, agent, seed)
        for network in options.networks
        for budget in options.budgets
        for seed in options.seeds
        for agent in options.agents
        if seed == 0 or agent not in FIXED
    ]
    work = functools.partial(
        run, data=options.data, weights=options.weights, results=options.results
    )
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.jobs, mp_context=context) as pool:
        for line in pool.map(work, cases):
            print(line, flush=True)
        settings = {(case.network, case.budget) for case in cases}
        tune = functools.partial(
            tuned, data=options.data, weights=options.weights, results=options.results
        )
        for line in pool.map(tune, median_runs(options.results, settings)):
            print(line, flush=True)
    write(HERE, options.results)


def median_runs(
    results: Path, settings: Collection[tuple[str, float]]
) -> list[dict[str, Any]]:
    """Of every agent whose runs are all there, the one with the median result."""
    by_agent = defaultdict(list)
    for file in sorted(results.glob("*[0-9].json")):
        record = json.loads(file.read_text())
        if (record["network"], record["budget"]) in settings:
            key = record["network"], record["budget"], record["agent"]
            by_agent[key].append(record)
    return [
        median(runs)
        for (_, _, agent), runs in by_agent.items()
        if len(runs) == (1 if agent in FIXED else SEEDS)
    ]


def tuned(record: dict[str, Any], *, data: str, weights: Path, results: Path) -> str:
    """What the plan of a run is worth after the short training."""
    file = results / f"{record['name']}_tuned.json"
    if file.exists():
        return f"{file.stem}: done before"
    torch.set_num_threads(1)
    network = prepared(record["network"], data, weights)
    share = network.tuned(Plan(record["keep_ratio"]))
    write_whole(file, json.dumps({"accuracy": share}) + "\n")
    return f"{file.stem}: {share:.4f}"


def run(case: Case, *, data: str, weights: Path, results: Path) -> str:
    """One search and what its plan is worth, unless it is there already."""
    file = results / f"{case.name}.json"
    if file.exists():
        return f"{case.name}: done before"
    torch.set_num_threads(1)
    network = prepared(case.network, data, weights)
    execution = Execution(device="cpu", precision="float32")
    started, cpu = time.perf_counter(), time.process_time()
    found = agmc.find_plan(
        network.model,
        network.splits,
        f"macs:{case.budget}",
        embedding="rules",
        agent=case.agent,
        evaluator=functools.partial(Evaluator, **EVALUATOR),
        episodes=1 if case.agent == "uniform" else EPISODES,
        seed=case.seed,
        execution=execution,
        directory=results / case.name,
        graph=network.graph,
        round_to=1,
    )
    shares = [None if r.probe else r.accuracy for r in found.episodes]
    curve = np.nan_to_num(best_so_far(shares)).tolist()  # 0 before the first
    write_whole(
        file,
        json.dumps(
            {
                "name": case.name,
                "network": case.network,
                "budget": case.budget,
                "agent": case.agent,
                "seed": case.seed,
                "curve": curve,
                "keep_ratio": dict(found.plan.keep_ratio),
                "macs": found.cost.macs,
                "whole": network.whole(found.plan),
                "seconds": time.perf_counter() - started,
                "cpu_seconds": time.process_time() - cpu,
            }
        )
        + "\n",
    )
    return f"{case.name}: {curve[-1]:.3f}"


@dataclass(frozen=True, eq=False)
class Prepared:
    """A network and its data, ready to be searched."""

    model: torch.nn.Module
    splits: agmc.data.Splits
    graph: agmc.ModelGraph

    @functools.cached_property
    def evaluator(self) -> Evaluator:
        """On the whole search split."""
        execution = Execution(device="cpu", precision="float32")
        return Evaluator(
            pruner_of(self.model, self.graph, self.splits, l1, execution),
            CostModel(self.graph),
            self.splits,
            execution,
        )

    def whole(self, plan: Plan) -> float:
        """Accuracy of a plan on the whole search split."""
        return self.evaluator(plan).accuracy

    def tuned(self, plan: Plan) -> float:
        """The same after a short training of the pruned network."""
        execution = Execution(device="cpu", precision="float32")
        pruner = pruner_of(self.model, self.graph, self.splits, l1, execution)
        module = pruner.prune(plan)
        repair = reconstruction_of(
            self.model,
            self.graph,
            self.splits,
            execution,
            images=EVALUATOR["reconstruction_images"],
            batch_size=EVALUATOR["batch_size"],
        )
        repair.apply(module, pruner.kept_positions(plan))
        train, generator = self.splits.train, torch.Generator().manual_seed(0)
        order = torch.randperm(len(train), generator=generator)
        some = train.select(order[: STEPS * RECIPE.batch_size])
        splits = dataclasses.replace(self.splits, train=some)
        fit(module, splits, RECIPE, execution=execution, seed=0)
        batches = batches_of(self.splits, "search", execution=execution, batch_size=100)
        return accuracy(module, batches, execution=execution)


@functools.cache
def prepared(name: str, data: str, weights: Path) -> Prepared:
    """Loaded and traced once in each process."""
    splits = load_imagefolder(root=data)
    (file,) = weights.glob(f"{name}_*.safetensors")
    model = load_model(10, 3, name=name, weights=str(file)).eval()
    return Prepared(model, splits, agmc.trace(model, splits.example_input()))


if __name__ == "__main__":
    main()
