"""Policies that were learned on small networks, on others.

    python experiments/policy_transfer/run.py --data FOLDER --weights FOLDER \
        --results FOLDER

What is measured is kept in the results folder, so a second call goes on; searches from
scratch are shared with experiments/search_comparison and
experiments/embedding_comparison. Writes results.csv, targets.json and the table in
README.md beside this file.
"""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agmc.embedding.learned import autoencoder
from agmc.embedding.measured import measured
from agmc.report.experiment import Target, write_experiment
from agmc.search.policy import Policy
from agmc.whole_file import write_whole
from experiments.searches import (
    FAMILY,
    Case,
    Place,
    best_of,
    curve_of,
    lay_lines,
    percent,
    places,
    with_head,
)

HERE = Path(__file__).parent
#: One line for each search that began with a policy; laid out in the results folder.
RUNS = HERE / "runs.jsonl"
BUDGET = "macs:0.5"
#: Target -> the networks that its policies come from.
ROUTES = {
    "resnet56": {"resnet20": ("resnet20",), "mix": ("resnet20", "plain20")},
    "plain20": {"resnet20": ("resnet20",)},
    "vgg16_bn_cifar": {"resnet20": ("resnet20",), "mix": ("resnet20", "plain20")},
}
EMBEDDINGS = ("autoencoder", "measured", "rules")
SEEDS = 3
FEW, MANY = 20, 200
AFTER = (1, 6, 11, 21)  # with the plan before any evaluation
COMMAND = "python experiments/policy_transfer/run.py --data F --weights F --results F"


def main() -> None:
    """Measures what is missing and writes the table."""
    parser = places(__doc__)
    parser.add_argument("--targets", nargs="*", default=[*ROUTES])
    parser.add_argument("--routes", nargs="*", default=["resnet20", "mix"])
    parser.add_argument("--embeddings", nargs="*", default=EMBEDDINGS)
    parser.add_argument("--seeds", nargs="*", type=int, default=range(SEEDS))
    parser.add_argument("--scratch", nargs="*", type=int, default=range(SEEDS))
    options = parser.parse_args()
    place = Place.of(options)
    folder = place.results / "policies"
    folder.mkdir(exist_ok=True)
    lay_lines(folder, RUNS)
    for target in options.targets:
        print(place.run(Case(target, BUDGET, "uniform", 0)), flush=True)
        for seed, embedding in product(options.scratch, options.embeddings):
            case = Case(target, BUDGET, "critic", seed, embedding, MANY)
            print(place.run(case, seen_in(place, target, embedding)), flush=True)
        for name, sources in ROUTES[target].items():
            if name in options.routes:
                for seed, embedding in product(options.seeds, options.embeddings):
                    transferred(place, target, name, sources, embedding, seed)
    write(place)


def seen_in(place: Place, target: str, embedding: str) -> Any:
    """The embedding; a second head has learned nothing of the target's family."""
    if embedding == "rules":
        return embedding
    head = with_head(FAMILY[target], place.results)
    learned = functools.partial(autoencoder, fit=str(head))
    return (
        functools.partial(measured, of=learned) if embedding == "measured" else learned
    )


def transferred(
    place: Place,
    target: str,
    name: str,
    sources: tuple[str, ...],
    embedding: str,
    seed: int,
) -> None:
    """Searches the sources one after the other, then the target for a few."""
    folder = place.results / "policies"
    file = folder / f"{target}_from_{name}_{embedding}_{seed}.json"
    if file.exists():
        return
    seen = seen_in(place, target, embedding)
    load = None
    for number, source in enumerate(sources):
        so_far = "_".join(sources[: number + 1])
        seeing = embedding
        if embedding != "rules":
            seeing += f"_without_{FAMILY[target]}"
        stem = f"{so_far}_{seeing}_{seed}"
        policy = Policy(load=load, save=str(folder / f"{stem}.safetensors"))
        case = Case(source, BUDGET, "critic", seed, embedding, MANY)
        place.prepared(source).search(case, seen, folder / stem, policy)
        load = policy.save
    case = Case(target, BUDGET, "critic", seed, embedding, FEW + 1)
    network = place.prepared(target)
    found = network.search(case, seen, folder / file.stem, Policy(load=load))
    record = {
        "name": file.stem,
        "target": target,
        "policy of": name,
        "embedding": embedding,
        "curve": curve_of(found),
        "whole": network.whole(found.plan).accuracy,
    }
    write_whole(file, json.dumps(record) + "\n")
    print(file.stem, best_of(record, 1), best_of(record, FEW + 1), flush=True)


def write(place: Place) -> None:
    """The table of what is there."""
    place.keep()
    files = sorted((place.results / "policies").glob("*_from_*.json"))
    write_whole(RUNS, "".join(file.read_text() for file in files))
    rows, targets = [], []
    for target in ROUTES:
        scratch = defaultdict(list)
        for run in place.records():
            if (run["network"], f"macs:{run['budget']:g}") == (target, BUDGET):
                scratch[run["agent"], run["embedding"]].append(run)
        moved = defaultdict(list)
        for run in (json.loads(file.read_text()) for file in files):
            if run["target"] == target:
                moved[run["policy of"], run["embedding"]].append(run)
        seen = [name for name in EMBEDDINGS if scratch["critic", name]]
        compared = [("uniform", "rules"), *(("critic", name) for name in seen)]
        if not moved or not scratch["uniform", "rules"]:
            continue
        for (source, embedding), runs in moved.items():
            rows.append(row(target, f"critic, policy of {source}", embedding, runs))
        for agent, embedding in compared:
            runs = scratch[agent, embedding]
            rows.append(row(target, f"{agent}, from scratch", embedding, runs))
        uniform = 100 * best_of(scratch["uniform", "rules"][0], 1)
        for (source, embedding), runs in moved.items():
            told = f"{target}, policy of {source}, {embedding}"
            first, few = mean(runs, 1), mean(runs, FEW + 1)
            targets.append(
                Target(
                    f"{told}: first plan",
                    f"> {uniform:.2f} (uniform)",
                    f"{first:.2f}",
                    first > uniform,
                    COMMAND,
                )
            )
            if embedding not in seen:
                continue
            alone = mean(scratch["critic", embedding], 1)
            targets.append(
                Target(
                    f"{told}: first plan, against none",
                    f"> {alone:.2f} (without a policy)",
                    f"{first:.2f}",
                    first > alone,
                    COMMAND,
                )
            )
            aim = mean(scratch["critic", embedding], MANY)
            targets.append(
                Target(
                    f"{told}: best of 20",
                    f">= {aim:.2f} (best of 200 from scratch)",
                    f"{few:.2f}",
                    few >= aim,
                    COMMAND,
                )
            )
    note = f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}."
    write_experiment(HERE, rows, targets, note)


def row(
    target: str, searched: str, embedding: str, runs: list[dict[str, Any]]
) -> dict[str, str]:
    """One way to search a network."""
    cells = {
        "network": target,
        "agent": searched,
        "embedding": embedding,
        "seeds": str(len(runs)),
    }
    for number in AFTER:
        name = "first plan" if number == 1 else f"and {number - 1} more"
        cells[name] = percent([best_of(run, number) for run in runs])
    whole = len(runs[0]["curve"]) >= MANY
    cells["best of 200"] = percent([run["curve"][-1] for run in runs]) if whole else "-"
    cells["5,000 images"] = percent([run["whole"] for run in runs])
    return cells


def mean(runs: list[dict[str, Any]], number: int) -> float:
    """Best of the first evaluations, in percent."""
    return float(np.mean([100 * best_of(run, number) for run in runs]))


if __name__ == "__main__":
    main()
