"""A front of ten budgets in one search against searches made for single budgets.

    python experiments/pareto/run.py --data FOLDER --weights FOLDER --results FOLDER

What is measured is kept in the results folder, so a second call goes on. Writes
results.csv, targets.json and the table in README.md beside this file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from agmc.plan import Plan
from agmc.report.experiment import Target, write_experiment
from agmc.search.ladder import Ladder
from agmc.whole_file import write_whole
from experiments.parts import is_partial
from experiments.searches import Case, Place, Prepared, percent, places

HERE = Path(__file__).parent
NETWORK = "resnet20"
RANGE = "macs:0.3..0.75/10"
FRONT_EPISODES = 500
ALONE = ("macs:0.3", "macs:0.5", "macs:0.75")
SEEDS = 3
COMMAND = "python experiments/pareto/run.py --data F --weights F --results F"


def main() -> None:
    """Searches what is missing and writes the table."""
    parser = places(__doc__)
    rungs = [str(budget) for budget in Ladder.parse(RANGE).budgets]
    parser.add_argument("--alone", nargs="+", default=ALONE, choices=rungs)
    parser.add_argument("--seeds", nargs="*", type=int, default=range(SEEDS))
    options = parser.parse_args()
    place = Place.of(options)
    fronts = [
        measured(place, Case(NETWORK, RANGE, "critic", seed, episodes=FRONT_EPISODES))
        for seed in options.seeds
    ]
    alone = {
        budget: [
            measured(place, Case(NETWORK, budget, "critic", seed))[0]
            for seed in options.seeds
        ]
        for budget in rungs
        if budget in options.alone
    }
    network = place.prepared(NETWORK)
    uniform = [shares_of(network, network.uniform(budget)) for budget in rungs]
    if not is_partial(parser, options, "alone", "seeds"):
        write(rungs, uniform, fronts, alone)


#: Accuracy of a plan on the images of the search and on the whole search split.
Shares = tuple[float, float]


def measured(place: Place, case: Case) -> list[Shares]:
    """The plans of a search, unless they are there already; the tightest first."""
    file = place.results / f"{case.name}_plans.json"
    if not file.exists():
        network = place.prepared(NETWORK)
        found = network.search(case, case.embedding, place.results / case.name)
        plans = [point.plan for point in found.front] or [found.plan]
        rows = [shares_of(network, plan) for plan in plans]
        write_whole(file, json.dumps(rows) + "\n")
    points: list[Shares] = [(a, b) for a, b in json.loads(file.read_text())]
    print(case.name, *(f"{100 * a:.2f} {100 * b:.2f}" for a, b in points), flush=True)
    return points


def shares_of(network: Prepared, plan: Plan) -> Shares:
    return network.evaluator(plan).accuracy, network.whole(plan).accuracy


def write(
    budgets: Sequence[str],
    uniform: Sequence[Shares],
    fronts: Sequence[Sequence[Shares]],
    alone: dict[str, Sequence[Shares]],
) -> None:
    """The table of all budgets, and what the front loses where both were searched."""
    rows: list[dict[str, str]] = []
    losses: dict[str, list[float]] = {"500": [], "5,000": []}
    for place, budget in enumerate(budgets):
        row = {"budget": budget}
        for images, name in enumerate(losses):
            front = [points[place][images] for points in fronts]
            row[f"uniform, {name}"] = percent([uniform[place][images]])
            row[f"front, {name}"] = percent(front)
            row[f"alone, {name}"] = "-"
            if budget in alone:
                single = [shares[images] for shares in alone[budget]]
                row[f"alone, {name}"] = percent(single)
                losses[name].append(100 * float(np.mean(single) - np.mean(front)))
        rows.append(row)
    targets = [
        Target(
            f"points that the front loses to a search alone, {images} images, {what}",
            "<= 0.5",
            f"{value:.2f}",
            value <= 0.5,
            COMMAND,
        )
        for images, lost in losses.items()
        for what, value in (("most", max(lost)), ("mean", float(np.mean(lost))))
    ]
    note = (
        f"{len(fronts)} seeds; torch {torch.__version__}, one thread, "
        f"{torch.backends.cpu.get_cpu_capability()}."
    )
    write_experiment(HERE, rows, targets, note)


if __name__ == "__main__":
    main()
