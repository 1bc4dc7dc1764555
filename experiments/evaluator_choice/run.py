"""Searches under two evaluators, and what their plans are worth after training.

    python experiments/evaluator_choice/run.py --data FOLDER --weights FOLDER \
        --results FOLDER

What is measured is kept in the results folder, so a second call goes on; searches with
both repairs are those of experiments/search_comparison. Writes runs.jsonl, results.csv,
targets.json and the table in README.md beside this file.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agmc.report.experiment import Target, write_experiment
from agmc.whole_file import write_whole
from experiments.searches import Case, Place, curve_of, lay_lines, percent, places

HERE = Path(__file__).parent
RUNS = HERE / "runs.jsonl"
BUDGETS = {"resnet20": "macs:0.5", "resnet56": "macs:0.3"}
#: What the evaluator does otherwise than that of all searches.
EVALUATORS: Mapping[str, Mapping[str, int]] = {
    "both repairs": {},
    "recalibration alone": {"reconstruction_images": 0},
}
SEEDS = 3
COMMAND = "python experiments/evaluator_choice/run.py --data F --weights F --results F"


def main() -> None:
    """Measures what is missing and writes the table of what is there."""
    parser = places(__doc__)
    parser.add_argument("--networks", nargs="*", default=[*BUDGETS])
    parser.add_argument("--seeds", nargs="*", type=int, default=range(SEEDS))
    options = parser.parse_args()
    place = Place.of(options)
    folder = place.results / "evaluators"
    folder.mkdir(exist_ok=True)
    lay_lines(folder, RUNS)
    for network in options.networks:
        for seed in options.seeds:
            for evaluator in EVALUATORS:
                measure(place, folder, network, seed, evaluator)
    write(folder)


def measure(
    place: Place, folder: Path, network: str, seed: int, evaluator: str
) -> None:
    """One search, its plan under both repairs, and after the short training."""
    case = Case(network, BUDGETS[network], "critic", seed)
    name = f"{case.name}_{evaluator.replace(' ', '_')}"
    file = folder / f"{name}.json"
    if file.exists():
        return
    prepared = place.prepared(network)
    if EVALUATORS[evaluator]:
        found = prepared.search(
            *(case, case.embedding, folder / name), **EVALUATORS[evaluator]
        )
        plan, seen = found.plan, curve_of(found)[-1]
        whole = prepared.whole(plan).accuracy
        tuned = prepared.tuned(plan, "search")
    else:
        place.run(case)
        (run,) = (r for r in place.records() if r["name"] == case.name)
        place.tune(run)
        seen, whole, tuned = run["curve"][-1], run["whole"], place.tuned(case.name)
    record = {
        "name": name,
        "network": network,
        "evaluator": evaluator,
        "seed": seed,
        "seen": seen,
        "whole": whole,
        "tuned": tuned,
    }
    write_whole(file, json.dumps(record) + "\n")
    print(record, flush=True)


def write(folder: Path) -> None:
    """The table of what is there."""
    files = sorted(folder.glob("*.json"))
    write_whole(RUNS, "".join(file.read_text() for file in files))
    runs = defaultdict(list)
    for file in files:
        record = json.loads(file.read_text())
        runs[record["network"], record["evaluator"]].append(record)
    rows, targets = [], []
    for (network, evaluator), found in sorted(runs.items()):
        row = {
            "network": network,
            "budget": BUDGETS[network],
            "evaluator": evaluator,
            "seeds": str(len(found)),
            "as the evaluator sees it": shares(found, "seen"),
            "5,000 images, both repairs": shares(found, "whole"),
            "after 200 steps of training": shares(found, "tuned"),
        }
        rows.append(row)
    for network in BUDGETS:
        both, alone = (runs[network, evaluator] for evaluator in EVALUATORS)
        if both and alone:
            ours, theirs = (np.mean([r["tuned"] for r in x]) for x in (both, alone))
            targets.append(
                Target(
                    f"{network}: after training, both repairs",
                    f">= {100 * theirs:.2f} (recalibration alone)",
                    f"{100 * ours:.2f}",
                    bool(ours >= theirs),
                    COMMAND,
                )
            )
    note = f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}."
    write_experiment(HERE, rows, targets, note)


def shares(runs: list[dict[str, Any]], key: str) -> str:
    """In percent, with the interval."""
    return percent([run[key] for run in runs])


if __name__ == "__main__":
    main()
