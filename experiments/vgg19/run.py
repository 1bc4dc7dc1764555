"""VGGNet on CIFAR-10, 20.04 M parameters: channels, zeros and bits, in 0.8 MB and less.

    python experiments/vgg19/run.py --data FOLDER --runs FOLDER

FOLDER of --data holds CIFAR-10 as train/CLASS/* and test/CLASS/*. Every step is one
`agmc` command; one that is finished is skipped, a search that was cut off goes on;
`--rows` and `--seeds` do some of it. Writes results.csv, targets.json and the table in
README.md beside this file, with the rows that are there once the first is.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agmc.report.experiment import Target, write_experiment
from experiments.commands import agmc, finished, points_lost, row_of, versions

HERE = Path(__file__).parent
COMMAND = "python experiments/vgg19/run.py --data FOLDER --runs FOLDER"
#: What the runs have in common: conf/experiment/vgg19_cifar10.yaml.
SHARED = "experiment=vgg19_cifar10"
#: Shares of the 80 MB: of 0.8 MB, and the curve beyond, to 0.4 MB and less.
SIZES = {"0.8 MB": "0.0098", "0.4 MB": "0.0049", "0.2 MB": "0.00245"}
#: Name of a row -> file size, overrides.
ROWS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "agmc, 0.8 MB": ("0.8 MB", ()),
    "agmc, 0.4 MB": ("0.4 MB", ()),
    "agmc, 0.2 MB": ("0.2 MB", ()),
    "uniform, 0.8 MB": ("0.8 MB", ("agent=uniform", "embedding=rules")),
    "random, 0.8 MB": ("0.8 MB", ("agent=random", "embedding=rules")),
}
MOST_BYTES, MOST_PARAMS = 800_000, 1_000_000


def main() -> None:
    """Runs what is missing and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    options = parser.parse_args()
    runs: Path = options.runs.resolve()
    shared = (SHARED, f"data.root={options.data.resolve()}")
    agmc(runs / "base", "train", *shared)
    given = f"model.weights={runs / 'base' / 'weights.safetensors'}"

    def place(name: str, seed: int) -> Path:
        return runs / f"{name.replace(', ', '-').replace(' ', '')}-{seed}"

    for seed in options.seeds:
        for name in options.rows:
            size, overrides = ROWS[name]
            limit = f"compression.second.budget=bytes:{SIZES[size]}"
            words = (*shared, given, f"seed={seed}", limit, *overrides)
            agmc(place(name, seed), "compress", *words)
    write(finished({(n, s): place(n, s) for n in ROWS for s in range(10)}))


def write(found: Mapping[tuple[str, int], Mapping[str, Any]]) -> None:
    """The result files, with the targets of the first row."""
    rows = [row_of(*key, result) for key, result in found.items()]
    judged = next(iter(ROWS))
    results = [result for (name, _), result in found.items() if name == judged]
    if not results:
        print(f"{judged} is not there yet, and with it no table")
        return
    seeds = f"{judged}, worst of {len(results)} seed{'s' * (len(results) > 1)}"
    size = max(result["compressed"]["bytes"] for result in results)
    params = max(result["compressed"]["params"] for result in results)
    lost = max(points_lost(result) for result in results)
    figures = [
        (f"{seeds}: bytes of the file", size, MOST_BYTES),
        (f"{seeds}: parameters", params, MOST_PARAMS),
        (f"{seeds}: points of test accuracy lost", round(lost, 2), 0),
    ]
    targets = [
        Target(name, f"<= {most}", str(value), value <= most, COMMAND)
        for name, value, most in figures
    ]
    write_experiment(HERE, rows, targets, versions(results))


if __name__ == "__main__":
    main()
