"""Agents on a stand-in for the evaluator, which costs no time: for choosing knobs.

    python experiments/search_comparison/simulate.py --gather FOLDER
    python experiments/search_comparison/simulate.py --agents critic tpe --seeds 4

The first call writes the plans that the runs in a results folder have evaluated, with
their accuracy, to evaluations.csv; the second fits a Gaussian process to them and lets
agents search it. Plan by plan it adds the residual of the process as noise.
"""

from __future__ import annotations

import argparse
import csv
import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

import agmc
from agmc.agents import AgentContext
from agmc.agents.gaussian_process import GaussianProcess
from agmc.cost.model import CostModel
from agmc.embedding.embedding import EmbeddingContext, no_corpus
from agmc.embedding.rules import rules
from agmc.models import build
from agmc.plan import Plan, kept_channels
from agmc.plan_space import PlanSpace
from agmc.search.best_so_far import best_so_far
from agmc.search.budgets import Budgets
from agmc.search.env import CompressionEnv
from agmc.search.evaluator import Evaluation
from agmc.search.find_plan import AGENTS
from agmc.search.goals import goal_of
from agmc.search.reward import error
from agmc.search.runner import search

FILE = Path(__file__).parent / "evaluations.csv"
AFTER = (10, 25, 50, 100, 200)


def main() -> None:
    """Gathers evaluations or prints a line for each agent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gather", type=Path)
    parser.add_argument("--agents", nargs="*", default=["critic", "tpe", "random"])
    parser.add_argument("--seeds", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.gather:
        gather(options.gather)
        return
    simulator = Simulator()
    print(simulator.text, flush=True)
    for agent in options.agents:
        best, true = [], []
        for seed in range(options.seeds):
            curve, worth = play(simulator, agent, seed)
            best.append([100 * curve[n - 1] for n in AFTER])
            true.append(100 * worth)
        spread = np.std([row[-1] for row in best])
        means = ", ".join(f"{value:.2f}" for value in np.mean(best, axis=0))
        print(f"{agent}: {means} ± {spread:.2f}; true {np.mean(true):.2f}", flush=True)


def gather(results: Path) -> None:
    """Writes every plan of ResNet-20 at half of the MACs once."""
    found: dict[str, list[float]] = {}
    names: Sequence[str] = ()
    for log in sorted(results.glob("resnet20_0.5_*/episodes.jsonl")):
        for line in log.read_text().splitlines():
            record = json.loads(line)
            if not record["probe"]:
                ratios = record["plan"]["keep_ratio"]
                names = list(ratios)
                row = [*ratios.values(), record["accuracy"]]
                found[record["plan"]["digest"]] = row
    with FILE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*names, "accuracy"])
        writer.writerows([f"{x:.6g}" for x in row] for row in found.values())


class Simulator:
    """An evaluator that knows what plans are worth from those in the file."""

    def __init__(self) -> None:
        with FILE.open() as file:
            self.names, *lines = csv.reader(file)
        table = np.array(lines, dtype=float)
        self.names = self.names[:-1]
        plans, self._shares = np.log(table[:, :-1]), table[:, -1]
        self._middle = plans.mean(0)
        self._mean, self._spread = self._shares.mean(), self._shares.std()
        alike = np.ones((plans.shape[1], 1)) / np.sqrt(plans.shape[1])
        self._process = GaussianProcess(alike)
        order = np.random.default_rng(0).permutation(len(table))
        numbers = plans - self._middle
        scaled = (self._shares - self._mean) / self._spread
        some = order[:700]
        self._process.fit(numbers[some], scaled[some])
        self._process.condition(numbers[some], scaled[some])
        rest = order[700:]
        expected, _ = self._process.predict(numbers[rest])
        explained = 1 - np.var(expected - scaled[rest]) / np.var(scaled[rest])
        self._process.condition(numbers, scaled)
        noise = self._process.hyperparameters["noise"] ** 0.5
        self._noise = self._spread * noise
        self.text = (
            f"{len(table)} plans; of the variance of those it was not fitted to the "
            f"process explains {explained:.3f}; residual {100 * self._noise:.2f} points"
        )
        network = build("resnet20", num_classes=10).eval()
        self.graph = agmc.trace(network, torch.randn(2, 3, 32, 32))
        self.space = PlanSpace(self.graph)
        self.costs = CostModel(self.graph)
        self.seed = 0

    def worth(self, plan: Plan) -> float:
        """The accuracy that a plan has without noise."""
        ratios = [plan.keep_ratio.get(name, 1.0) for name in self.names]
        numbers = np.log([ratios]) - self._middle
        mean: float = self._process.predict(numbers)[0].item()
        return mean * self._spread + self._mean

    def __call__(self, plan: Plan) -> Evaluation:
        """With the noise of a plan, the same whenever it is asked for."""
        dice = np.random.default_rng([zlib.crc32(plan.digest.encode()), self.seed])
        share = self.worth(plan) + self._noise * float(dice.normal())
        return Evaluation(plan, share, self.costs.cost(kept_channels(self.graph, plan)))


def play(simulator: Simulator, agent: str, seed: int) -> tuple[list[float], float]:
    """Best so far of one search, and what its plan is worth without noise."""
    simulator.seed = seed
    bound = Budgets.of("macs:0.5").bind(simulator.costs, simulator.space)
    look = EmbeddingContext(simulator.graph, simulator.space, 0, no_corpus, None)
    env = CompressionEnv(
        [bound],
        rules(look),
        simulator,
        error,
        original=simulator(Plan.uniform(simulator.space, 1.0)),
    )
    goal = goal_of(bound)
    context = AgentContext(
        *(env.observation_dim, env.num_decisions, AFTER[-1], seed),
        goal.uniform_keep_ratios,
        choices=goal.choices,
    )
    found = search(env, AGENTS[agent](context), episodes=AFTER[-1])
    shares = [None if r.probe else r.accuracy for r in found.episodes]
    curve = np.nan_to_num(best_so_far(shares)).tolist()  # 0 before the first
    return curve, simulator.worth(found.plan)


if __name__ == "__main__":
    main()
