"""The table of the search comparison: best of N, with intervals, and its targets."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agmc.report.experiment import Target, write_experiment
from experiments.searches import Place, best_of, median, percent

AFTER = (10, 25, 50, 100, 200)
COMMAND = "python experiments/search_comparison/run.py --data F --weights F --results F"
OURS = "critic"


def write(folder: Path, place: Place) -> None:
    """Writes what the results folder has of every setting."""
    runs: dict[tuple[str, float], dict[str, list[dict[str, Any]]]]
    runs = defaultdict(lambda: defaultdict(list))
    for run in place.records():
        if run["embedding"] != "rules":
            continue  # that of experiments/embedding_comparison
        runs[run["network"], run["budget"]][run["agent"]].append(run)
    rows, targets = [], []
    for (network, budget), agents in sorted(runs.items(), reverse=True):
        order = sorted(agents, key=lambda agent: -final(agents[agent]))
        for agent in order:
            rows.append(row(network, budget, agents[agent], place.results))
        if OURS in agents and len(agents) > 1:
            other = next(agent for agent in order if agent != OURS)
            ours, theirs = final(agents[OURS]), final(agents[other])
            seeds = min(len(agents[OURS]), len(agents[other]))
            targets.append(
                Target(
                    f"{network}, macs {budget}: best of 200 of {OURS}, mean of 5 seeds",
                    f"> {100 * theirs:.2f} ({other}, the best other agent)",
                    f"{100 * ours:.2f} ({seeds} seeds)",
                    ours > theirs and seeds == 5,
                    COMMAND,
                )
            )
    parts = [part for agents in runs.values() for part in agents.values()]
    write_curves(folder, [run for part in parts for run in part])
    note = (
        f"torch {torch.__version__}, one thread a run, "
        f"{torch.backends.cpu.get_cpu_capability()}; CPU seconds are of a whole search."
    )
    write_experiment(folder, rows, targets, note)


def row(
    network: str, budget: float, runs: Sequence[dict[str, Any]], results: Path
) -> dict[str, str]:
    """One agent in one setting."""
    cells = {
        "network": network,
        "macs kept": f"{budget:g}",
        "agent": runs[0]["agent"],
        "seeds": f"{len(runs)}",
    }
    for number in AFTER:
        cells[f"best of {number}"] = shown(
            [best_of(run, number) for run in runs if len(run["curve"])]
        )
    cells["5,000 images"] = percent([run["whole"] for run in runs])
    file = results / f"{median(runs)['name']}_tuned.json"
    tuned = json.loads(file.read_text())["accuracy"] if file.exists() else None
    cells["fine-tuned"] = "-" if tuned is None else f"{100 * tuned:.2f}"
    cells["CPU s"] = f"{np.median([run['cpu_seconds'] for run in runs]):.0f}"
    return cells


def final(runs: Sequence[dict[str, Any]]) -> float:
    """Mean of the best after all evaluations."""
    return float(np.mean([run["curve"][-1] for run in runs]))


def shown(shares: Sequence[float]) -> str:
    """As `percent`, where something was evaluated within the budget by then."""
    return "-" if min(shares) == 0.0 else percent(shares)


def write_curves(folder: Path, runs: Sequence[dict[str, Any]]) -> None:
    """Best so far of every run, every tenth evaluation."""
    with (folder / "curves.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        after = (1, *range(10, 201, 10))
        writer.writerow(["network", "macs kept", "agent", "seed", *after])
        for run in runs:
            key = [run[name] for name in ("network", "budget", "agent", "seed")]
            writer.writerow([*key, *(f"{best_of(run, n):.3f}" for n in after)])
