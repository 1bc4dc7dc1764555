"""Transfer learning, then channels, zeros and bits: cat against dog with MobileNet-V2.

    python experiments/cats_and_dogs/run.py --data FOLDER --runs FOLDER

FOLDER of --data holds CIFAR-10 as train/CLASS/* and test/CLASS/*. Every step is one
`agmc` command; one that is finished is skipped, a search that was cut off goes on.
Writes results.csv, targets.json and the table in README.md beside this file.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agmc.report.experiment import Target, write_experiment
from experiments.commands import (
    agmc,
    finished,
    points_lost,
    row_of,
    times_smaller,
    versions,
)

HERE = Path(__file__).parent
COMMAND = "python experiments/cats_and_dogs/run.py --data FOLDER --runs FOLDER"
PETS = ("cat", "dog")
OTHERS = "airplane automobile bird deer frog horse ship truck".split()
NETWORK = ("model=torchvision", "model.name=mobilenet_v2", "data.size=64")
BASE = ("train.epochs=12",)
#: The first layers know edges and colours, whatever the classes.
TRANSFER = (
    "train.epochs=8",
    "train.learning_rate=0.05",
    "train.freeze=['features.[0-3]']",
)
COMPRESS = (
    "budget=params:0.4",
    "search.episodes=60",
    "compression.second.parts=[sparsity,weight_bits]",
    "compression.second.budget=bytes:0.08",
)
METHODS = {
    "agmc": (),
    "uniform": ("agent=uniform", "embedding=rules"),
    "random": ("agent=random", "embedding=rules"),
}
#: The baselines have the first.
SEEDS = (0, 1)


def main() -> None:
    """Runs what is missing and writes the table of what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--methods", nargs="*", default=[*METHODS], choices=[*METHODS])
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    options = parser.parse_args()
    runs: Path = options.runs.resolve()
    data = ("data=imagefolder", f"data.root={options.data.resolve()}")

    def classes(names: Sequence[str]) -> str:
        return f"data.classes=[{','.join(names)}]"

    shared = (*NETWORK, *data)
    agmc(runs / "base", "train", *shared, classes(OTHERS), *BASE)
    start = f"model.weights={runs / 'base' / 'weights.safetensors'}"
    for seed in options.seeds:
        pets = (*shared, classes(PETS), f"seed={seed}")
        moved = runs / f"pets-{seed}"
        agmc(moved, "train", *pets, start, *TRANSFER)
        given = f"model.weights={moved / 'weights.safetensors'}"
        for method in options.methods:
            overrides = METHODS[method]
            if not overrides or seed == SEEDS[0]:
                out = runs / f"{method}-{seed}"
                agmc(out, "compress", *pets, given, *COMPRESS, *overrides)
    found = finished({(m, s): runs / f"{m}-{s}" for m in METHODS for s in SEEDS})
    gained = [result for (method, _), result in found.items() if not METHODS[method]]
    if gained:
        write([row_of(*key, result) for key, result in found.items()], gained)


def write(rows: list[dict[str, str]], results: list[dict[str, Any]]) -> None:
    """The result files, with the targets of agmc's rows."""
    smaller = min(times_smaller(result) for result in results)
    lost = statistics.mean(points_lost(result) for result in results)
    number = f"{len(results)} seed{'s' * (len(results) > 1)}"
    targets = [
        Target(
            f"times that the file is smaller, least of {number}",
            *(">= 10", f"{smaller:.1f}", smaller >= 10, COMMAND),
        ),
        Target(
            f"points of test accuracy lost, mean of {number}",
            *("<= 0.4", f"{lost:.2f}", lost <= 0.4, COMMAND),
        ),
    ]
    write_experiment(HERE, rows, targets, versions(results))


if __name__ == "__main__":
    main()
