"""Searches that experiments compare: one network, budget, agent, embedding and seed.

All under the same evaluator, with the same number of evaluations; what was measured
stays in a folder, so that a second call goes on where the first one stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

import agmc
from agmc.compression.importance import l1
from agmc.cost.model import CostModel
from agmc.data.imagefolder import load_imagefolder
from agmc.embedding.autoencoder import GraphAutoencoder
from agmc.embedding.checkpoint import kept_autoencoder, load_autoencoder
from agmc.embedding.starting import SHIPPED, starting_file
from agmc.models.weights import load_model
from agmc.plan import Plan
from agmc.plan_space import PlanSpace
from agmc.report.curves import Mean
from agmc.search.best_so_far import best_so_far
from agmc.search.budgets import Budgets
from agmc.search.evaluator import Evaluator
from agmc.search.measured import measured_networks
from agmc.search.policy import Policy
from agmc.search.repair import errors_of, pruner_of, reconstruction_of
from agmc.search.uniform import uniform_plan
from agmc.training import Execution, Recipe, accuracy, batches_of, fit
from agmc.whole_file import digest_of, write_whole

EVALUATOR = {
    "search_images": 500,
    "recalibration_images": 128,
    "reconstruction_images": 128,
    "batch_size": 128,
}
EPISODES = 200
#: Of the networks that are searched.
FAMILY = {
    "resnet20": "resnet",
    "resnet56": "resnet",
    "plain20": "plain",
    "vgg16_bn_cifar": "vgg",
}
MEASURED = Path(__file__).parent / "sensitivity" / "measured"
#: Of networks that `--weights` need not have.
WEIGHTS = Path(__file__).parent / "weights"
#: One line a run, so that any machine can add to them; `Place.of` lays them out.
RUNS = Path(__file__).parent / "search_runs.jsonl"
EXECUTION = Execution(device="cpu")  # bfloat16 where there are instructions for it
STEPS = 200  # of the short training
RECIPE = Recipe(epochs=1, learning_rate=0.02, batch_size=64)
#: Split -> what the accuracy on it after the short training is called in `RUNS`.
TUNED = {"search": "tuned", "test": "tested"}


@dataclass(frozen=True)
class Case:
    """One search.

    Attributes:
        network: NETWORK_*.safetensors are its weights.
        budget: on the MACs, as `agmc.find_plan` takes it, "macs:0.5".
        agent: by name.
        seed: of the search.
        embedding: its name; not that of what it starts from.
        episodes: evaluations.
    """

    network: str
    budget: str
    agent: str
    seed: int
    embedding: str = "rules"
    episodes: int = EPISODES

    @property
    def name(self) -> str:
        """Of its folder and file."""
        parts = [self.network, self.budget.partition(":")[2].replace("/", "_")]
        if self.embedding != "rules":
            parts.append(self.embedding)
        return "_".join([*parts, self.agent, str(self.seed)])


class Prepared:
    """A network and its data, ready to be searched; loaded and traced once.

    Args:
        name: of the network.
        data: CIFAR-10 as an image folder.
        weights: folder with NAME_*.safetensors.
    """

    def __init__(self, name: str, data: str, weights: Path) -> None:
        self.splits = load_imagefolder(root=data)
        named = f"{name}_*.safetensors"
        file, *_ = [*weights.glob(named), *WEIGHTS.glob(named)]
        self.model = load_model(10, 3, name=name, weights=str(file)).eval()
        self.graph = agmc.trace(self.model, self.splits.example_input())
        self.costs = CostModel(self.graph)

    def search(
        self,
        case: Case,
        embedding: Any,
        folder: Path,
        policy: Policy | None = None,
        **evaluator: Any,
    ) -> agmc.Found:
        """The search of a case; the folder keeps its episodes.

        Under the evaluator of all searches, but for what is said of it.
        """
        return agmc.find_plan(
            self.model,
            self.splits,
            case.budget,
            embedding=embedding,
            agent=case.agent,
            evaluator=functools.partial(Evaluator, **{**EVALUATOR, **evaluator}),
            episodes=case.episodes,
            seed=case.seed,
            execution=EXECUTION,
            directory=folder,
            graph=self.graph,
            round_to=1,
            policy=policy,
        )

    @functools.cached_property
    def _pruner(self) -> Any:
        return pruner_of(self.model, self.graph, self.splits, l1, EXECUTION)

    @functools.cached_property
    def errors(self) -> np.ndarray:
        """What least squares cannot mend of every channel group."""
        return errors_of(self._pruner, self.splits, EXECUTION)

    @functools.cached_property
    def evaluator(self) -> Evaluator:
        """That of the searches."""
        return Evaluator(self._pruner, self.costs, self.splits, EXECUTION, **EVALUATOR)

    @functools.cached_property
    def whole(self) -> Evaluator:
        """On the whole search split, repaired on more images."""
        return Evaluator(
            *(self._pruner, self.costs, self.splits, EXECUTION), search_images=None
        )

    def uniform(self, budget: str) -> Plan:
        """The plan that keeps the same share everywhere."""
        return uniform_plan(Budgets.of(budget).bind(self.costs, PlanSpace(self.graph)))

    def tuned(self, plan: Plan, split: str) -> float:
        """Accuracy on a whole split after a short training."""
        module = self._pruner.prune(plan)
        repair = reconstruction_of(
            *(self.model, self.graph, self.splits, EXECUTION),
            images=EVALUATOR["reconstruction_images"],
            batch_size=EVALUATOR["batch_size"],
        )
        repair.apply(module, self._pruner.kept_positions(plan))
        train, generator = self.splits.train, torch.Generator().manual_seed(0)
        order = torch.randperm(len(train), generator=generator)
        some = train.select(order[: STEPS * RECIPE.batch_size])
        splits = dataclasses.replace(self.splits, train=some)
        fit(module, splits, RECIPE, execution=EXECUTION, seed=0)
        batches = batches_of(self.splits, split, execution=EXECUTION, batch_size=100)
        return accuracy(module, batches, execution=EXECUTION)


prepared = functools.cache(Prepared)


def lay(folder: Path, name: str, record: Any) -> None:
    """Puts what was measured before into a results folder that lacks it."""
    file = folder / f"{name}.json"
    if not file.exists():
        write_whole(file, json.dumps(record) + "\n")


def lay_lines(folder: Path, file: Path) -> None:
    """The same for every line of a file, a record with its name, where there is one."""
    for line in file.read_text().splitlines() if file.exists() else ():
        record = json.loads(line)
        lay(folder, record["name"], record)


def places(description: str | None) -> argparse.ArgumentParser:
    """A parser of what `Place.of` reads."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    return parser


@dataclass(frozen=True)
class Place:
    """Where the data, the weights and the results are."""

    data: str
    weights: Path
    results: Path

    @classmethod
    def of(cls, options: argparse.Namespace) -> Place:
        """What the command line says; the folder has all runs of before."""
        options.results.mkdir(parents=True, exist_ok=True)
        place = cls(options.data, options.weights, options.results)
        place._lay_out()
        return place

    def _lay_out(self) -> None:
        for line in RUNS.read_text().splitlines() if RUNS.exists() else ():
            record = json.loads(line)
            for name in TUNED.values():
                if name in record:
                    share = {"accuracy": record.pop(name)}
                    lay(self.results, f"{record['name']}_{name}", share)
            lay(self.results, record["name"], record)

    def keep(self) -> None:
        """Writes all runs of the folder to `RUNS`, beside those that are there."""
        self._lay_out()
        lines = []
        for record in self.records():
            for split, name in TUNED.items():
                if (share := self.tuned(record["name"], split)) is not None:
                    record[name] = share
            lines.append(record)
        write_whole(RUNS, "".join(json.dumps(line) + "\n" for line in lines))

    def tuned(self, name: str, split: str = "search") -> float | None:
        """Accuracy of the plan of a run after the short training, where measured."""
        file = self.results / f"{name}_{TUNED[split]}.json"
        if not file.exists():
            return None
        accuracy: float = json.loads(file.read_text())["accuracy"]
        return accuracy

    def prepared(self, network: str) -> Prepared:
        """The network, loaded once in each process."""
        torch.set_num_threads(1)
        return prepared(network, self.data, self.weights)

    def run(self, case: Case, embedding: Any = None) -> str:
        """One search and what its plan is worth, unless it is there already."""
        file = self.results / f"{case.name}.json"
        if file.exists():
            return f"{case.name}: done before"
        network = self.prepared(case.network)
        started, cpu = time.perf_counter(), time.process_time()
        found = network.search(
            case, embedding or case.embedding, self.results / case.name
        )
        spent = time.perf_counter() - started, time.process_time() - cpu
        curve = curve_of(found)
        record = {
            "name": case.name,
            "network": case.network,
            "budget": float(case.budget.partition(":")[2]),
            "agent": case.agent,
            "embedding": case.embedding,
            "seed": case.seed,
            "curve": curve,
            "keep_ratio": dict(found.plan.keep_ratio),
            **found.cost.known(),
            "whole": network.whole(found.plan).accuracy,
            "precision": str(EXECUTION.dtype).removeprefix("torch."),
            # Of the last call, where the search was cut off and went on.
            "seconds": spent[0],
            "cpu_seconds": spent[1],
        }
        write_whole(file, json.dumps(record) + "\n")
        return f"{case.name}: {curve[-1]:.3f}"

    def tune(self, record: dict[str, Any], split: str = "search") -> str:
        """What the plan of a run is worth after the short training."""
        file = self.results / f"{record['name']}_{TUNED[split]}.json"
        if file.exists():
            return f"{file.stem}: done before"
        network = self.prepared(record["network"])
        share = network.tuned(Plan(record["keep_ratio"]), split)
        write_whole(file, json.dumps({"accuracy": share}) + "\n")
        return f"{file.stem}: {share:.4f}"

    def records(self) -> Iterator[dict[str, Any]]:
        """Of all runs that are there."""
        for file in sorted(self.results.glob("*[0-9].json")):
            yield json.loads(file.read_text())


def with_head(left_out: str, results: Path) -> Path:
    """The encoder of the package, its second head learned from other families.

    Args:
        left_out: the family that it is to know nothing of.
        results: folder for the file.
    """
    path = results / f"without_{left_out}.safetensors"
    shipped = starting_file(SHIPPED, encoder="gin")
    files = [shipped, *sorted(MEASURED.glob("*.json"))]

    def make() -> GraphAutoencoder:
        networks = measured_networks(MEASURED)
        model = load_autoencoder(shipped)
        others = [n for n in networks.values() if n.family != left_out]
        model.head().learn(
            [model.measured(n.graph, n.sensitivity.drops) for n in others]
        )
        return model

    kept_autoencoder(path, json.dumps([left_out, *map(digest_of, files)]), make)
    return path


def in_processes(jobs: int, work: Callable[[Any], str], cases: Iterable[Any]) -> None:
    """Works on all cases, one thread each, and prints a line for every one."""
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for line in pool.map(work, cases):
            print(line, flush=True)


def curve_of(found: agmc.Found) -> list[float]:
    """Best so far after each evaluation, 0 before the first within the budget."""
    shares = [None if r.probe else r.accuracy for r in found.episodes]
    curve: list[float] = np.nan_to_num(best_so_far(shares)).tolist()
    return curve


def median(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The run with the median result, the lower of the two in the middle."""
    ordered = sorted(runs, key=lambda run: (run["curve"][-1], run["seed"]))
    return ordered[(len(ordered) - 1) // 2]


def best_of(run: dict[str, Any], number: int) -> float:
    """The highest accuracy of the first evaluations within the budget."""
    curve: list[float] = run["curve"]
    return curve[min(number, len(curve)) - 1]


def percent(shares: Sequence[float]) -> str:
    """Mean in percent, with half of its 95 % interval where there are several."""
    mean = Mean.of([100 * share for share in shares])
    assert mean is not None
    return f"{mean.value:.2f}" + ("" if len(shares) == 1 else f" ± {mean.half:.2f}")
