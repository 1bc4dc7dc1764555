"""The same agent over different embeddings, on the same searches.

    python experiments/embedding_comparison/run.py --data FOLDER --weights FOLDER \
        --results FOLDER --jobs 2

What is measured is kept in the results folder, so a second call goes on; that of
experiments/search_comparison gives the rows of other agents. Writes results.csv,
curves.csv, a chart for each setting, targets.json and the table in README.md beside
this file.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from table import rows_of, write

from agmc.embedding.learned import autoencoder
from agmc.embedding.measured import measured
from agmc.embedding.predicted import sensitivity
from agmc.embedding.sequential import sequential
from experiments.searches import (
    FAMILY,
    Case,
    Place,
    in_processes,
    median,
    places,
    with_head,
)

HERE = Path(__file__).parent
#: Network, budget and the agent that sees the embeddings.
SETTINGS = (
    ("resnet56", 0.5, "critic"),
    ("resnet20", 0.5, "critic"),
    ("plain20", 0.5, "critic"),
    ("resnet20", 0.3, "critic"),
    ("resnet56", 0.5, "ddpg"),
    ("resnet20", 0.5, "td3"),
)
SEEDS = 5
#: Critics read embeddings, actor-critics can train them.
NAMES: dict[str, tuple[str, ...]] = {
    "critic": (
        *("rules", "rules_weights", "autoencoder", "measured", "sensitivity"),
        *("random_projection", "onehot"),
    ),
    "ddpg": ("rules", "autoencoder"),
    "td3": ("rules", "autoencoder", "finetuned", "sequential", "multistage"),
}


def main() -> None:
    """Measures what is missing and writes the table of what is there."""
    parser = places(__doc__)
    parser.add_argument(
        "--jobs", type=int, default=1, help="processes, one thread each"
    )
    parser.add_argument("--networks", nargs="*", default=[*FAMILY])
    parser.add_argument("--budgets", nargs="*", type=float, default=[0.5, 0.3])
    parser.add_argument("--agents", nargs="*", default=[*NAMES])
    parser.add_argument("--embeddings", nargs="*")
    parser.add_argument("--seeds", nargs="*", type=int, default=range(SEEDS))
    parser.add_argument("--test", action="store_true", help="the plans of median seeds")
    options = parser.parse_args()
    place = Place.of(options)
    cases = [
        Case(network, f"macs:{budget:g}", agent, seed, embedding)
        for network, budget, agent in SETTINGS
        if network in options.networks
        and budget in options.budgets
        and agent in options.agents
        for seed in options.seeds
        for embedding in options.embeddings or NAMES[agent]
    ]
    heads = {
        family: str(with_head(family, options.results))
        for family in {FAMILY[case.network] for case in cases}
    }
    in_processes(options.jobs, functools.partial(run, place=place, heads=heads), cases)
    if options.test:
        tested = functools.partial(place.tune, split="test")
        in_processes(options.jobs, tested, median_runs(place))
    write(HERE, place, SETTINGS)


def median_runs(place: Place) -> list[dict[str, Any]]:
    """The run with the median result of every row of the table, each once."""
    rows = [runs for setting in SETTINGS for runs in rows_of(place, *setting).values()]
    medians = [median(runs) for runs in rows]
    return [*{run["name"]: run for run in medians}.values()]


def run(case: Case, *, place: Place, heads: Mapping[str, str]) -> str:
    """One search; second heads have learned nothing of the network's family."""
    fit = heads[FAMILY[case.network]]
    frozen = functools.partial(autoencoder, fit=fit)
    learned: dict[str, Any] = {
        "autoencoder": frozen,
        "finetuned": functools.partial(frozen, freeze=False),
        "measured": functools.partial(measured, of=frozen),
        "sensitivity": functools.partial(sensitivity, fit=fit),
        "sequential": functools.partial(sequential, graph_encoder=frozen),
    }
    return place.run(case, learned.get(case.embedding))


if __name__ == "__main__":
    main()
