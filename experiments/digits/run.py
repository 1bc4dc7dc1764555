"""The main job on the digits: plain `agmc`, timed as a whole process, with baselines.

    python experiments/digits/run.py --runs FOLDER

Every run is one `agmc` command with an empty cache, so that it trains its base network
too. Writes results.csv, targets.json and the table in README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from agmc.report.experiment import Target, write_experiment
from experiments.commands import read, versions

HERE = Path(__file__).parent
METHODS: dict[str, tuple[str, ...]] = {
    "plain agmc": (),
    "uniform": ("agent=uniform", "embedding=rules"),
    "random": ("agent=random", "embedding=rules"),
}
#: Of the plain job; the others are there to compare with and have the first.
SEEDS = (0, 1, 2)


def timed(overrides: list[str]) -> tuple[float, float]:
    """Seconds and peak memory in GiB of one process and its children."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "agmc", *overrides])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"agmc {' '.join(overrides)} failed")
    return time.perf_counter() - started, usage.ru_maxrss / 2**20


def main() -> None:
    """Runs everything and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, required=True)
    runs = parser.parse_args().runs.resolve()
    rows, results = [], []
    for method, overrides in METHODS.items():
        for seed in SEEDS if not overrides else SEEDS[:1]:
            out = runs / f"{method.split()[0]}-{seed}"
            timing = out / "timing.json"
            if not timing.exists():
                extra = [f"out={out}", f"cache={out / 'cache'}", f"seed={seed}"]
                seconds, memory = timed([*overrides, *extra])
                timing.write_text(json.dumps([seconds, memory]))
            seconds, memory = json.loads(timing.read_text())
            result = read(out)
            results.append(result)
            before, after = result["baseline"], result["compressed"]
            rows.append(
                {
                    "method": method,
                    "seed": str(seed),
                    "test baseline": f"{before['accuracy']['test']:.4f}",
                    "test pruned": (
                        f"{result['pre_finetune']['accuracy']['test']:.4f}"
                    ),
                    "test after": f"{after['accuracy']['test']:.4f}",
                    "MACs kept": f"{after['macs'] / before['macs']:.4f}",
                    "bytes kept": f"{after['bytes'] / before['bytes']:.4f}",
                    "kB": f"{after['bytes'] / 1000:.1f}",
                    "latency ratio": (
                        f"{after['latency_ms'] / before['latency_ms']:.2f}"
                    ),
                    "seconds": f"{seconds:.0f}",
                    "peak GiB": f"{memory:.2f}",
                }
            )
    write(rows, versions(results))


def write(rows: list[dict[str, str]], note: str) -> None:
    """The result files, with the targets of the plain job."""
    plain = [row for row in rows if row["method"] == next(iter(METHODS))]
    drops = [float(r["test baseline"]) - float(r["test after"]) for r in plain]
    figures = [
        ("seconds of the first run, worst", 240, [float(r["seconds"]) for r in plain]),
        ("peak memory, GiB, worst", 2, [float(r["peak GiB"]) for r in plain]),
        ("test accuracy lost, share, worst seed", 0.01, drops),
        ("test accuracy lost, share, mean", 0.01, [statistics.mean(drops)]),
        ("share of MACs kept, worst", 0.5, [float(r["MACs kept"]) for r in plain]),
        ("share of bytes kept, worst", 0.125, [float(r["bytes kept"]) for r in plain]),
    ]
    targets = [
        Target(
            name=name,
            target=f"<= {most}",
            measured=f"{max(values):.4g}",
            holds=round(max(values), 9) <= most,
            command="python experiments/digits/run.py --runs FOLDER",
        )
        for name, most, values in figures
    ]
    write_experiment(HERE, rows, targets, note)


if __name__ == "__main__":
    main()
