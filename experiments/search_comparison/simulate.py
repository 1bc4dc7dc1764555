"""Agents on a stand-in for the evaluator, which costs no time: for choosing knobs.

    python experiments/search_comparison/simulate.py --gather FOLDER
    python experiments/search_comparison/simulate.py --agents critic tpe --seeds 4
    python experiments/search_comparison/simulate.py --network resnet56 --seeds 5 \
        --embeddings rules autoencoder oracle --head FILE --knobs together=0.75

The first call writes plans that the runs in a results folder have evaluated, with their
accuracy, to evaluations.csv (of another network: NETWORK_evaluations.csv); the others
fit a Gaussian process to them and let agents search it. Plan by plan it adds the
residual of the process as noise. What the oracle shows of a decision is how much the
best of these plans keep of it: no embedding could tell an agent more in one number.
"""

from __future__ import annotations

import argparse
import ast
import csv
import functools
import itertools
import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

import agmc
from agmc.agents import Agent, AgentContext
from agmc.agents.gaussian_process import GaussianProcess
from agmc.cost.model import CostModel
from agmc.embedding.columns import Column
from agmc.embedding.embedding import Embedding, EmbeddingContext, no_corpus
from agmc.embedding.fixed import FixedEmbedding
from agmc.embedding.learned import autoencoder
from agmc.models import build
from agmc.plan import Plan, kept_channels
from agmc.plan_space import PlanSpace
from agmc.search.budgets import Budgets
from agmc.search.choices import AGENTS, EMBEDDINGS
from agmc.search.env import CompressionEnv
from agmc.search.evaluator import Evaluation
from agmc.search.goals import context_of, goal_of
from agmc.search.reward import error
from agmc.search.runner import search
from experiments.searches import curve_of

HERE = Path(__file__).parent
AFTER = (1, 10, 25, 50, 100, 200)
#: Plans that are gathered, and those that the process is fitted to.
GATHERED, FITTED = 1600, 700
BEST = 40  # plans that the oracle knows


def main() -> None:
    """Gathers evaluations or prints a line for each agent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gather", type=Path)
    parser.add_argument("--network", default="resnet20")
    parser.add_argument("--agents", nargs="*", default=["critic"])
    parser.add_argument("--embeddings", nargs="*", default=["rules"])
    parser.add_argument("--head", help="auto-encoder that predicts losses")
    parser.add_argument("--knobs", nargs="*", default=[], help="of the agents: NAME=X")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--episodes", type=int, default=AFTER[-1])
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.gather:
        gather(options.gather, options.network)
        return
    simulator = Simulator(options.network)
    print(simulator.text, flush=True)
    pairs = (knob.split("=") for knob in options.knobs)
    knobs = {name: ast.literal_eval(value) for name, value in pairs}
    after = [number for number in AFTER if number <= options.episodes]
    for agent, name in itertools.product(options.agents, options.embeddings):
        build = functools.partial(AGENTS[agent], **knobs)
        best, true = [], []
        for seed in range(options.seeds):
            embedding = embedding_of(simulator, name, options.head)
            curve, worth = play(simulator, build, embedding, seed, options.episodes)
            best.append([100 * curve[n - 1] for n in after])
            true.append(100 * worth)
        spread = np.std([row[-1] for row in best])
        means = ", ".join(f"{value:.2f}" for value in np.mean(best, axis=0))
        told = f"{means} ± {spread:.2f}; true {np.mean(true):.2f}"
        print(f"{agent}, {name}: {told}", flush=True)


def file_of(network: str) -> Path:
    """With the plans of a network."""
    prefix = "" if network == "resnet20" else f"{network}_"
    return HERE / f"{prefix}evaluations.csv"


def embedding_of(simulator: Simulator, name: str, head: str | None) -> Embedding:
    """By name; the oracle's is made of the simulator's plans."""
    look = EmbeddingContext(simulator.graph, simulator.space, 0, no_corpus, None)
    if name == "oracle":
        column = Column(
            "kept", "log keep ratio of the best plans less its mean, scaled"
        )
        return FixedEmbedding(simulator.space, [column], simulator.oracle())
    if name == "autoencoder" and head:
        return autoencoder(look, fit=head)
    return EMBEDDINGS[name](look)


def gather(results: Path, network: str) -> None:
    """Writes plans of a network at half of the MACs, each once."""
    found: dict[str, list[float]] = {}
    names: Sequence[str] = ()
    for log in sorted(results.glob(f"{network}_0.5_*/episodes.jsonl")):
        for line in log.read_text().splitlines():
            record = json.loads(line)
            if not record["probe"] and record["accuracy"] is not None:
                ratios = record["plan"]["keep_ratio"]
                names = list(ratios)
                row = [*ratios.values(), record["accuracy"]]
                found[record["plan"]["digest"]] = row
    some = np.random.default_rng(0).permutation(len(found))[:GATHERED]
    rows = [*found.values()]
    with file_of(network).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*names, "accuracy"])
        writer.writerows([f"{x:.6g}" for x in rows[i]] for i in sorted(some))


class Simulator:
    """An evaluator that knows what plans are worth from those in the file."""

    def __init__(self, network: str) -> None:
        with file_of(network).open() as file:
            self.names, *lines = csv.reader(file)
        table = np.array(lines, dtype=float)
        self.names = self.names[:-1]
        self._plans, self._shares = np.log(table[:, :-1]), table[:, -1]
        plans = self._plans
        self._middle = plans.mean(0)
        self._mean, self._spread = self._shares.mean(), self._shares.std()
        alike = np.ones((plans.shape[1], 1)) / np.sqrt(plans.shape[1])
        self._process = GaussianProcess(alike)
        order = np.random.default_rng(0).permutation(len(table))
        numbers = plans - self._middle
        scaled = (self._shares - self._mean) / self._spread
        some = order[:FITTED]
        self._process.fit(numbers[some], scaled[some])
        self._process.condition(numbers[some], scaled[some])
        rest = order[FITTED:]
        expected, _ = self._process.predict(numbers[rest])
        explained = 1 - np.var(expected - scaled[rest]) / np.var(scaled[rest])
        self._process.condition(numbers, scaled)
        noise = self._process.hyperparameters["noise"] ** 0.5
        self._noise = self._spread * noise
        self.text = (
            f"{len(table)} plans; of the variance of those it was not fitted to the "
            f"process explains {explained:.3f}; residual {100 * self._noise:.2f} points"
        )
        model = build(network, num_classes=10).eval()
        self.graph = agmc.trace(model, torch.randn(2, 3, 32, 32))
        self.space = PlanSpace(self.graph, round_to=1)
        self.costs = CostModel(self.graph)
        self.seed = 0

    def worth(self, plan: Plan) -> float:
        """The accuracy that a plan has without noise."""
        ratios = [plan.keep_ratio.get(name, 1.0) for name in self.names]
        numbers = np.log([ratios]) - self._middle
        mean: float = self._process.predict(numbers)[0].item()
        return mean * self._spread + self._mean

    def oracle(self) -> np.ndarray:
        """What the best plans keep of each decision, [num_decisions, 1] in [-1, 1]."""
        kept = self._plans[np.argsort(-self._shares)[:BEST]].mean(0)
        away = kept - kept.mean()
        by_name = dict(zip(self.names, away / np.abs(away).max(), strict=True))
        return np.array([[by_name[decision.name]] for decision in self.space])

    def __call__(self, plan: Plan) -> Evaluation:
        """With the noise of a plan, the same whenever it is asked for."""
        dice = np.random.default_rng([zlib.crc32(plan.digest.encode()), self.seed])
        share = self.worth(plan) + self._noise * float(dice.normal())
        return Evaluation(plan, share, self.costs.cost(kept_channels(self.graph, plan)))


def play(
    simulator: Simulator,
    build: Callable[[AgentContext], Agent],
    embedding: Embedding,
    seed: int,
    episodes: int,
) -> tuple[list[float], float]:
    """Best so far of one search, and what its plan is worth without noise."""
    simulator.seed = seed
    bound = Budgets.of("macs:0.5").bind(simulator.costs, simulator.space)
    env = CompressionEnv(
        [bound],
        embedding,
        simulator,
        error,
        original=simulator(Plan.uniform(simulator.space, 1.0)),
    )
    goal = goal_of(bound)
    context = context_of(
        [goal],
        observation_dim=env.observation_dim,
        episodes=episodes,
        seed=seed,
        look=env.look,
        sensitivities=embedding.sensitivities,
    )
    found = search(env, build(context), episodes=episodes)
    return curve_of(found), simulator.worth(found.plan)


if __name__ == "__main__":
    main()
