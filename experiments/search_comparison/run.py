"""All agents on the same searches, at equal evaluations.

    python experiments/search_comparison/run.py --data FOLDER --weights FOLDER \
        --results FOLDER --jobs 2

What is measured is kept in the results folder, so a second call goes on. Writes
results.csv, curves.csv, targets.json and the table in README.md beside this file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from pathlib import Path
from typing import Any

from table import write

from experiments.searches import Case, Place, in_processes, median, places

HERE = Path(__file__).parent
NETWORKS = ("resnet20", "resnet56")
BUDGETS = (0.5, 0.3)
SEEDS = 5
#: Of an agent, before the plan of its median seed is fine-tuned.
ENOUGH = 3
#: Agents without randomness run once.
FIXED = ("uniform", "greedy", "additive")
SEEDED = ("random", "tpe", "cmaes", "nsga2", "reinforce", "ppo", "ppo_vector")
SEEDED += ("ddpg", "td3", "critic")
AGENTS = FIXED + SEEDED


def main() -> None:
    """Measures what is missing and writes the table of what is there."""
    parser = places(__doc__)
    parser.add_argument(
        "--jobs", type=int, default=1, help="processes, one thread each"
    )
    parser.add_argument("--networks", nargs="*", default=NETWORKS)
    parser.add_argument("--budgets", nargs="*", type=float, default=BUDGETS)
    parser.add_argument("--agents", nargs="*", default=AGENTS)
    parser.add_argument("--seeds", nargs="*", type=int, default=range(SEEDS))
    options = parser.parse_args()
    place = Place.of(options)
    cases = [
        Case(network, f"macs:{budget:g}", agent, seed)
        for network in options.networks
        for budget in options.budgets
        for seed in options.seeds
        for agent in options.agents
        if seed == 0 or agent not in FIXED
    ]
    in_processes(options.jobs, place.run, cases)
    settings = {(case.network, case.budget) for case in cases}
    in_processes(options.jobs, place.tune, median_runs(place, settings))
    write(HERE, place)


def median_runs(
    place: Place, settings: Collection[tuple[str, str]]
) -> list[dict[str, Any]]:
    """Of every agent with runs enough, the one with the median result."""
    by_agent = defaultdict(list)
    for record in place.records():
        setting = record["network"], f"macs:{record['budget']:g}"
        if setting in settings and record["embedding"] == "rules":
            by_agent[*setting, record["agent"]].append(record)
    return [
        median(runs)
        for (*_, agent), runs in by_agent.items()
        if len(runs) >= (1 if agent in FIXED else ENOUGH)
    ]


if __name__ == "__main__":
    main()
