"""What is learned on some networks, on others: plans before anything is evaluated.

    python experiments/transfer/run.py --data FOLDER --weights FOLDER --results FOLDER

What is measured is kept in the results folder, so a second call goes on. Writes
results.csv, targets.json and the table in README.md beside this file.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import torch

from agmc.agents.agent import AgentContext
from agmc.agents.critic import Critic
from agmc.embedding.embedding import Embedding, EmbeddingContext
from agmc.embedding.measured import MeasuredEmbedding
from agmc.embedding.predicted import sensitivity
from agmc.embedding.rules import rules
from agmc.plan import Plan
from agmc.plan_space import PlanSpace
from agmc.report.experiment import Target, write_experiment
from agmc.search.budgets import Budgets
from agmc.search.goals import context_of, goal_of
from agmc.whole_file import write_whole
from experiments.parts import is_partial
from experiments.searches import FAMILY, Place, Prepared, places, with_head

HERE = Path(__file__).parent
BUDGETS = ("macs:0.5", "macs:0.3")
#: Who says what each decision matters.
TOLD_BY = ("the second head", "the error", "both")
TILTS = (0.1, 0.25, 0.4)
CHOSEN = f"tilt {TILTS[1]:g}"
RANDOM = 5
COMMAND = "python experiments/transfer/run.py --data F --weights F --results F"
#: Accuracy on 500 and on 5,000 images of the search split.
Shares = tuple[float, float]


def main() -> None:
    """Measures what is missing and writes the table."""
    parser = places(__doc__)
    parser.add_argument("--networks", nargs="+", default=[*FAMILY])
    options = parser.parse_args()
    place = Place.of(options)
    rows, targets = [], []
    for name in options.networks:
        for budget in BUDGETS:
            found = measured(place, name, budget)
            for told_by in TOLD_BY:
                row = {"network": name, "budget": budget, "told by": told_by}
                shares = {**found["uniform"], **found[told_by], **found["random"]}
                for plan, (few, whole) in shares.items():
                    row[plan] = f"{100 * few:.2f} / {100 * whole:.2f}"
                rows.append(row)
                ours, theirs = (100 * shares[plan][1] for plan in (CHOSEN, "uniform"))
                targets.append(
                    Target(
                        f"{name}, {budget}, {told_by}: 5,000 images, {CHOSEN}",
                        f"> {theirs:.2f} (uniform)",
                        f"{ours:.2f}",
                        ours > theirs,
                        COMMAND,
                    )
                )
    if is_partial(parser, options, "networks"):
        return
    note = f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}."
    write_experiment(HERE, rows, targets, note)


def measured(place: Place, name: str, budget: str) -> dict[str, dict[str, Shares]]:
    """Who told -> plan -> accuracies; "uniform" and "random" were told nothing."""
    file = place.results / f"{name}_{budget.partition(':')[2]}_first_plans.json"
    if file.exists():
        read: dict[str, dict[str, Shares]] = json.loads(file.read_text())
        return read
    network = place.prepared(name)
    space = PlanSpace(network.graph)
    goal = goal_of(Budgets.of(budget).bind(network.costs, space))
    of = functools.partial(sensitivity, fit=str(with_head(FAMILY[name], place.results)))
    look = EmbeddingContext(network.graph, space)
    seen = {
        "the second head": of(look),
        "the error": MeasuredEmbedding(rules(look), network.errors),
        "both": MeasuredEmbedding(of(look), network.errors),
    }

    def told(embedding: Embedding) -> AgentContext:
        return context_of(
            [goal],
            observation_dim=embedding.dim,
            episodes=1,
            seed=0,
            sensitivities=embedding.sensitivities,
        )

    nothing = told(rules(look))
    found = {"uniform": {"uniform": accuracies(network, space, first_plan(nothing, 0))}}
    for told_by in TOLD_BY:
        found[told_by] = {
            f"tilt {tilt:g}": accuracies(
                network, space, first_plan(told(seen[told_by]), tilt)
            )
            for tilt in TILTS
        }
    chance = [
        accuracies(network, space, by_chance(nothing, seed)) for seed in range(RANDOM)
    ]
    few, whole = np.mean(chance, axis=0).tolist()
    found["random"] = {f"random, mean of {RANDOM}": (few, whole)}
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


def accuracies(network: Prepared, space: PlanSpace, ratios: list[float]) -> Shares:
    names = [decision.name for decision in space]
    plan = Plan(dict(zip(names, ratios, strict=True)))
    return network.evaluator(plan).accuracy, network.whole(plan).accuracy


if __name__ == "__main__":
    main()
