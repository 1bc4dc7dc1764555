"""The network of 12.52 MB for MNIST: channels, zeros and bits, in less than 0.10 MB.

    python experiments/gradual/run.py --data FOLDER --results FOLDER

FOLDER of the data holds MNIST/raw. What is trained is kept in the results folder, so a
second call goes on; `--parts`, `--rows` and `--seeds` do some of it. Writes
results.csv, seeds.csv, targets.json and the table in README.md beside this file.
"""

from __future__ import annotations

import argparse
import csv
import functools
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import agmc
from agmc.carry_out import Carried
from agmc.compression.gradual import GradualPruning
from agmc.compression.sparsify import layer_weights
from agmc.plan import Plan
from agmc.report.experiment import Target, write_experiment
from agmc.training import accuracy, batches_of
from agmc.whole_file import write_whole
from experiments.gradual.plans import BASE, EXECUTION, NOISE, Setting, Start

HERE = Path(__file__).parent
COMMAND = "python experiments/gradual/run.py --data FOLDER --results FOLDER"
PARTS = ("rows", "table")
SEEDS = (0, 1, 2)
MOST_BYTES = 100_000

#: That of the tutorial: from 50 to 90 % zeros everywhere, 8 bits without training. As
#: many epochs as `WIDER` has with floats.
PUBLISHED = Setting(
    kept=(32, 64, 1024),
    zeros=0.9,
    bits=8,
    epochs=(9, 0),
    dropout=0.4,
    gradual=GradualPruning(initial_share=0.5 / 0.9, end=0.5, frequency=100),
)
CHOSEN = Setting(kept=(16, 32, 128), zeros=0.9)
WIDER = replace(
    CHOSEN,
    kept=(24, 48, 256),
    zeros=0.92,
    epochs=(9, 5),
    learning_rates=(0.1, 0.02),
    distillation=0.7,
)
#: Of these rows the one with the highest accuracy on the search split is judged.
CANDIDATES = ("chosen", "smaller", "wider", "codebooks")
#: What a nat of information costs where noise says what goes.
BETA = 0.01


@dataclass(frozen=True)
class Row:
    """One way to make the network smaller.

    Attributes:
        label: in the table.
        setting: how much goes; None where nothing does.
        plan: for the setting; None where noise makes it.
    """

    label: str
    setting: Setting | None = None
    plan: Callable[[Start, Setting], Plan] | None = None

    def make(self, start: Start) -> Carried:
        """The network of a seed."""
        if self.setting is None:
            network = agmc.compress(start.model, Plan({}), start.example)
            return Carried(Plan({}), network, network, {}, EXECUTION)
        if self.plan is None:
            return start.noisy(self.setting, BETA)
        return start.carried(self.plan(start, self.setting), self.setting)

    def __str__(self) -> str:
        """All that is set for it, and the precision."""
        by = self.plan.__name__ if self.plan else f"{NOISE}, {BETA}"
        how = f"{self.setting}; {by}" if self.setting else None
        return f"{BASE}; {how}; {EXECUTION.dtype}"


#: Name of the files -> what they hold.
ROWS: Mapping[str, Row] = {
    "base": Row("trained"),
    "published": Row(
        "zeros and 8 bits alone, as published", PUBLISHED, Start.element_wise
    ),
    "chosen": Row("channels, zeros by LAMP, bits", CHOSEN, Start.chosen),
    "uniform": Row("uniform", CHOSEN, Start.uniform),
    "random": Row("random", CHOSEN, Start.random),
    "noise": Row("zeros by information dropout", CHOSEN),
    "smaller": Row(
        "96 % zeros instead of 90", replace(CHOSEN, zeros=0.96), Start.chosen
    ),
    "wider": Row("wider, longer, with a teacher", WIDER, Start.chosen),
    "codebooks": Row(
        "codebooks instead of even grids",
        replace(CHOSEN, weights="codebook"),
        Start.chosen,
    ),
}


@dataclass(frozen=True)
class Place:
    """Where the data and the results are."""

    data: str
    results: Path

    @functools.cache  # noqa: B019 - there is one place
    def start(self, seed: int) -> Start:
        """The trained network of a seed, trained or loaded once."""
        return Start(self.data, self.results, seed)

    def make(self, name: str, seed: int) -> None:
        """A network, its file, and all that is known but for the test split.

        Raises:
            ValueError: there is one that was made with other settings.
        """
        file = self.results / f"{name}-{seed}.json"
        if self.has(name, seed):
            if json.loads(file.read_text())["made with"] != str(ROWS[name]):
                raise ValueError(f"{file} was made with other settings; remove it")
            return
        start = self.start(seed)
        started, cpu = time.perf_counter(), time.process_time()
        carried = ROWS[name].make(start)
        spent = time.perf_counter() - started, time.process_time() - cpu
        path = file.with_suffix(".safetensors")
        weights = layer_weights(carried.floats).values()
        record = {
            "name": name,
            "seed": seed,
            "shapes": [list(weight.shape) for weight in weights],
            "weights": sum(int(weight.count_nonzero()) for weight in weights),
            "bytes": agmc.save(carried.network, path),
            "bytes with zlib": agmc.save(
                carried.network, path.with_suffix(".zlib"), entropy="zlib"
            ),
            "search": share(path, start, "search"),
            "seconds": spent[0],
            "CPU seconds": spent[1],
            "made with": str(ROWS[name]),
        }
        write_whole(file, json.dumps(record) + "\n")
        print(record, flush=True)

    def has(self, name: str, seed: int) -> bool:
        """Whether it was made."""
        return (self.results / f"{name}-{seed}.json").exists()

    def tested(self, name: str, seed: int) -> dict[str, Any]:
        """The same with the accuracy of the file on the test split, read once."""
        file = self.results / f"{name}-{seed}-test.json"
        if not file.exists():
            path = self.results / f"{name}-{seed}.safetensors"
            found = share(path, self.start(seed), "test")
            write_whole(file, json.dumps(found) + "\n")
        made = json.loads((self.results / f"{name}-{seed}.json").read_text())
        del made["made with"]
        return {**made, "test": json.loads(file.read_text())}


def share(path: Path, start: Start, split: str) -> float:
    """Accuracy of what stands in a file."""
    batches = batches_of(start.splits, split, execution=EXECUTION)
    return accuracy(EXECUTION.place(agmc.load(path)), batches, execution=EXECUTION)


def main() -> None:
    """Trains what is missing and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--rows", nargs="+", default=ROWS, choices=ROWS)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.results.mkdir(parents=True, exist_ok=True)
    place = Place(options.data, options.results)
    if "rows" in options.parts:
        for seed in options.seeds:
            for name in options.rows:
                place.make(name, seed)
    if "table" in options.parts:
        write(place)


def write(place: Place) -> None:
    """The result files, of what is there."""
    runs = {
        name: [place.tested(name, seed) for seed in SEEDS if place.has(name, seed)]
        for name in ROWS
    }
    base = {run["seed"]: run for run in runs["base"]}
    rows = [line(ROWS[name].label, of, base) for name, of in runs.items() if of]
    whole = [name for name in CANDIDATES if len(runs[name]) == len(base)]
    best = max(whole, key=lambda name: _mean(runs[name], "search"))
    lost = [-gain(run, base) for run in runs[best]]
    size = max(run["bytes"] for run in runs[best])
    missing = "" if len(base) == len(SEEDS) else f" ({len(base)} seeds so far)"
    figures = [
        ("bytes of the file, without zlib, largest", MOST_BYTES, size),
        ("points of test accuracy lost, mean", 0, statistics.mean(lost)),
        ("points of test accuracy lost, worst", 0, max(lost)),
    ]
    targets = [
        Target(
            f"{ROWS[best].label}: {name} of {len(SEEDS)} seeds",
            f"<= {most}",
            f"{round(value, 3)}" + missing,
            round(value, 9) <= most and not missing,
            COMMAND,
        )
        for name, most, value in figures
    ]
    seconds = sum(run["CPU seconds"] for of in runs.values() for run in of)
    note = (
        f"torch {torch.__version__}, one thread, "
        f"{torch.backends.cpu.get_cpu_capability()}; {seconds / 60:.0f} minutes of CPU "
        "time without the training of the base networks."
    )
    write_experiment(HERE, rows, targets, note)
    every = [run for of in runs.values() for run in of]
    with (HERE / "seeds.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(every[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(every)


def _mean(runs: Sequence[Mapping[str, Any]], key: str) -> float:
    return statistics.mean(run[key] for run in runs)


def gain(run: Mapping[str, Any], base: Mapping[int, Mapping[str, Any]]) -> float:
    """Points of test accuracy more than the trained network of the same seed."""
    return 100 * float(run["test"] - base[run["seed"]]["test"])


def line(
    label: str,
    runs: Sequence[Mapping[str, Any]],
    base: Mapping[int, Mapping[str, Any]],
) -> dict[str, str]:
    """A row of the table: sizes are the largest of the seeds, accuracies all."""
    return {
        "network": label,
        "weights": f"{max(run['weights'] for run in runs):,}",
        "bytes": f"{max(run['bytes'] for run in runs):,}",
        "bytes with zlib": f"{max(run['bytes with zlib'] for run in runs):,}",
        "search %": " ".join(f"{100 * run['search']:.2f}" for run in runs),
        "test %": " ".join(f"{100 * run['test']:.2f}" for run in runs),
        "mean to trained": f"{statistics.mean(gain(r, base) for r in runs):+.2f}",
    }


if __name__ == "__main__":
    main()
