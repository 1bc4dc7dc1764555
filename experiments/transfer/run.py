"""What is learned on some networks, on others: plans before anything is evaluated.

    python experiments/transfer/run.py --data FOLDER --weights FOLDER --results FOLDER

What is measured is kept in the results folder, so a second call goes on. Writes
results.csv, targets.json and the table in README.md beside this file.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from agmc.agents.agent import AgentContext
from agmc.agents.critic import Critic
from agmc.embedding.embedding import EmbeddingContext
from agmc.embedding.predicted import sensitivity
from agmc.plan import Plan
from agmc.plan_space import PlanSpace
from agmc.report.experiment import Target, write_experiment
from agmc.search.budgets import Budgets
from agmc.search.goals import context_of, goal_of
from agmc.whole_file import write_whole
from experiments.searches import FAMILY, Place, Prepared, places, with_head

HERE = Path(__file__).parent
BUDGETS = ("macs:0.5", "macs:0.3")
TILTS = (0.0, 0.1, 0.25, 0.4)
RANDOM = 5
COMMAND = "python experiments/transfer/run.py --data F --weights F --results F"


def main() -> None:
    """Measures what is missing and writes the table."""
    parser = places(__doc__)
    parser.add_argument("--networks", nargs="*", default=["resnet20", "resnet56"])
    options = parser.parse_args()
    place = Place.of(options)
    rows, targets = [], []
    for name in options.networks:
        for budget in BUDGETS:
            shares = measured(place, name, budget)
            row = {"network": name, "budget": budget}
            for plan, (few, whole) in shares.items():
                row[plan] = f"{100 * few:.2f} / {100 * whole:.2f}"
            rows.append(row)
            ours, theirs = (100 * shares[plan][1] for plan in ("tilt 0.25", "uniform"))
            targets.append(
                Target(
                    f"{name}, {budget}: 5,000 images, tilt 0.25",
                    f"> {theirs:.2f} (uniform)",
                    f"{ours:.2f}",
                    ours > theirs,
                    COMMAND,
                )
            )
    note = f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}."
    write_experiment(HERE, rows, targets, note)


def measured(place: Place, name: str, budget: str) -> dict[str, tuple[float, float]]:
    """Plan -> accuracy on 500 and on 5,000 images of the search split."""
    file = place.results / f"{name}_{budget.partition(':')[2]}_zero_shot.json"
    if file.exists():
        return {plan: (a, b) for plan, (a, b) in json.loads(file.read_text()).items()}
    network = place.prepared(name)
    space = PlanSpace(network.graph)
    goal = goal_of(Budgets.of(budget).bind(network.costs, space))
    head = with_head(FAMILY[name], place.results)
    seen = sensitivity(EmbeddingContext(network.graph, space), fit=str(head))
    context = context_of(
        [goal],
        observation_dim=seen.dim,
        episodes=1,
        seed=0,
        sensitivities=seen.sensitivities,
    )
    found = {
        "uniform" if tilt == 0 else f"tilt {tilt:g}": accuracies(
            network, space, first_plan(context, tilt)
        )
        for tilt in TILTS
    }
    chance = [
        accuracies(network, space, by_chance(context, seed)) for seed in range(RANDOM)
    ]
    few, whole = np.mean(chance, axis=0).tolist()
    found[f"random, mean of {RANDOM}"] = few, whole
    write_whole(file, json.dumps(found) + "\n")
    print(name, budget, found, flush=True)
    return found


def first_plan(context: AgentContext, tilt: float) -> list[float]:
    """What the critic plays before anything was evaluated."""
    agent = Critic(context, tilt=tilt)
    agent.begin_episode(0)
    nothing = torch.zeros(context.observation_dim)
    return [agent.act(nothing) for _ in range(context.num_decisions)]


def by_chance(context: AgentContext, seed: int) -> list[float]:
    """Random keep ratios that the budget leaves."""
    assert context.choices is not None
    random = np.random.default_rng(seed)
    asked = random.uniform(size=context.num_decisions).tolist()
    return list(context.choices.clamp(asked))


def accuracies(
    network: Prepared, space: PlanSpace, ratios: list[float]
) -> tuple[float, float]:
    names = [decision.name for decision in space]
    plan = Plan(dict(zip(names, ratios, strict=True)))
    return network.evaluator(plan).accuracy, network.whole(plan).accuracy


if __name__ == "__main__":
    main()
