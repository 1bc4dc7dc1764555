"""Which cheap evaluation ranks plans as fine-tuning does?

    python experiments/proxy_fidelity/run.py --data FOLDER --weights FOLDER \
        --results FOLDER

What is measured is kept in the results folder, so a second call goes on, and in
measured/NETWORK.json, from where any machine does. Writes results.csv, targets.json and
the table in README.md beside this file.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import torch
from measure import PARTS, RECIPE, SHORT, STEPS, Measured
from ranks import spread
from table import Network

from agmc.data.imagefolder import load_imagefolder
from agmc.plan import Plan
from agmc.report.experiment import Target, write_experiment
from agmc.whole_file import write_whole
from experiments.searches import lay

HERE = Path(__file__).parent
MEASURED = HERE / "measured"
NETWORKS = ("resnet20", "resnet56")
PLANS = 24
CANDIDATES = 72
#: Plans that are fine-tuned with a second seed, for the noise.
AGAIN = (0, 7, 15, 22)


def main() -> None:
    """Measures what is missing and writes the table of what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS)
    parser.add_argument("--parts", nargs="*", default=PARTS, choices=PARTS)
    parser.add_argument("--plans", type=int, default=PLANS, help="how many of the 24")
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for kept in MEASURED.glob("*.json"):
        for stem, record in json.loads(kept.read_text()).items():
            lay(options.results, stem, record)
    for name in options.networks if options.parts else ():
        measure(name, options)
    write(options.results)


def measure(name: str, options: argparse.Namespace) -> None:
    """Takes the measurements of a network that are not in the results folder."""
    splits = load_imagefolder(root=options.data)
    (weights,) = options.weights.glob(f"{name}_*.safetensors")
    measured = Measured(name, weights, splits)
    file = options.results / f"{name}_plans.json"
    if not file.exists():
        found = measured.candidates(CANDIDATES, seed=0)
        chosen = spread(np.array([share for _, share in found]), PLANS)
        record = [
            {"keep_ratio": dict(found[i][0].keep_ratio), "accuracy": found[i][1]}
            for i in chosen
        ]
        write_whole(file, json.dumps(record, indent=1) + "\n")
        print(name, [entry["accuracy"] for entry in record], flush=True)
    plans = [Plan(entry["keep_ratio"]) for entry in json.loads(file.read_text())]
    # Every third first, so that the first few are spread over the quality as well.
    order = sorted(range(PLANS), key=lambda index: (index % 3, index))
    for index in order[: options.plans]:
        for part in options.parts:
            file = options.results / f"{name}_{index:02d}_{part}.json"
            if file.exists() or (part == "again" and index not in AGAIN):
                continue
            found = measured.part(part, plans[index])
            write_whole(file, json.dumps(found) + "\n")
            print(name, index, part, flush=True)


def write(results: Path) -> None:
    """The table of all plans that were fine-tuned and evaluated.

    Of a network that the folder knows nothing of, what was written before stays.
    """
    MEASURED.mkdir(exist_ok=True)
    rows, targets, notes = [], [], []
    for name in NETWORKS:
        network = Network(results, name)
        found = network.rows()
        if not found:
            rows += earlier_rows(name)
            targets += earlier_targets(name)
            continue
        rows += found
        targets += network.targets(PLANS)
        notes.append(" ".join(network.notes()))
        files = sorted(results.glob(f"{name}_*.json"))
        records = {file.stem: json.loads(file.read_text()) for file in files}
        write_whole(MEASURED / f"{name}.json", json.dumps(records) + "\n")
    version = (
        f"torch {torch.__version__}, one thread, "
        f"{torch.backends.cpu.get_cpu_capability()}; {STEPS} steps of "
        f"{RECIPE.batch_size} images, peak learning rate {RECIPE.learning_rate}; "
        f"training: {SHORT} such steps."
    )
    write_experiment(HERE, rows, targets, "\n\n".join([*notes, version]))


def earlier_rows(name: str) -> list[dict[str, str]]:
    """Of results.csv."""
    with (HERE / "results.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["network"] == name]


def earlier_targets(name: str) -> list[Target]:
    """Of targets.json."""
    records = json.loads((HERE / "targets.json").read_text())
    return [Target(**r) for r in records if r["name"].startswith(f"{name}:")]


if __name__ == "__main__":
    main()
