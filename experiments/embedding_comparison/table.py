"""The table of the embedding comparison: curves, what they reach when, and targets."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib import pyplot

from agmc.report.experiment import Target, write_experiment
from experiments.searches import Place, best_of, interval, percent

AFTER = (1, 10, 25, 50, 100, 200)
COMMAND = (
    "python experiments/embedding_comparison/run.py --data F --weights F --results F"
)
BASE, LEARNED = "rules", "sensitivity"
#: What other agents reach at the same evaluations, from experiments/search_comparison.
OTHERS = ("uniform", "random", "additive")
Runs = Sequence[dict[str, Any]]


def write(folder: Path, place: Place, settings: Sequence[tuple[str, float]]) -> None:
    """Writes what the results folder has of every setting."""
    rows, targets, drawn = [], [], {}
    for network, budget in settings:
        runs = rows_of(place, network, budget)
        if BASE not in runs:
            continue
        drawn[f"{network}, macs {budget:g}"] = runs
        aim = float(np.mean([run["curve"][-1] for run in runs[BASE]]))
        for name, given in runs.items():
            rows.append(row(network, budget, name, given, aim, place))
        if len(runs.get(LEARNED, ())) > 1 and len(runs[BASE]) > 1:
            targets += targets_of(network, budget, runs, aim)
    if not rows:
        return
    note = (
        f"torch {torch.__version__}, one thread a run, "
        f"{torch.backends.cpu.get_cpu_capability()}."
    )
    write_experiment(folder, rows, targets, note)
    draw(folder, drawn)


def rows_of(place: Place, network: str, budget: float) -> dict[str, Runs]:
    """Embedding, or another agent, -> its runs."""
    found = defaultdict(list)
    for run in place.records():
        if (run["network"], run["budget"]) == (network, budget):
            if run["agent"] == "critic":
                found[run.get("embedding", BASE)].append(run)
            elif run["agent"] in OTHERS:
                found[f"(agent {run['agent']})"].append(run)
    best = {
        name: np.mean([r["curve"][-1] for r in runs]) for name, runs in found.items()
    }
    return {name: found[name] for name in sorted(found, key=lambda name: -best[name])}


def row(
    network: str, budget: float, name: str, runs: Runs, aim: float, place: Place
) -> dict[str, str]:
    """One embedding in one setting."""
    cells = {
        "network": network,
        "macs kept": f"{budget:g}",
        "embedding": name,
        "seeds": f"{len(runs)}",
    }
    for number in AFTER:
        shares = [best_of(run, number) for run in runs]
        cells[f"best of {number}"] = "-" if min(shares) == 0 else percent(shares)
    reached = first_above(mean_curve(runs), aim)
    cells["evaluations to the final best of rules"] = "-"
    if reached is not None:
        cells["evaluations to the final best of rules"] = f"{reached}"
    cells["area under the curve"] = f"{100 * mean_curve(runs).mean():.2f}"
    cells["5,000 images"] = percent([run["whole"] for run in runs])
    return cells


def mean_curve(runs: Runs) -> np.ndarray:
    """Mean best so far, after every evaluation [200]."""
    return np.mean([[best_of(run, n + 1) for n in range(AFTER[-1])] for run in runs], 0)


def first_above(curve: np.ndarray, aim: float) -> int | None:
    """After how many evaluations the aim is reached."""
    above = np.flatnonzero(curve >= aim - 1e-9)
    return int(above[0]) + 1 if len(above) else None


def targets_of(
    network: str, budget: float, runs: dict[str, Runs], aim: float
) -> list[Target]:
    """Half of the evaluations, and intervals that do not overlap."""
    where = f"{network}, macs {budget:g}"
    learned, base = runs[LEARNED], runs[BASE]
    reached = first_above(mean_curve(learned), aim)
    result = [
        Target(
            f"{where}: evaluations of {LEARNED} to the final best of {BASE}",
            "<= 100",
            "not in 200" if reached is None else str(reached),
            reached is not None and reached <= AFTER[-1] // 2,
            COMMAND,
        )
    ]
    for number in (50, 100, 200):
        ours, half = interval([best_of(run, number) for run in learned])
        theirs, other = interval([best_of(run, number) for run in base])
        result.append(
            Target(
                f"{where}: best of {number}, intervals apart",
                f"> {100 * theirs:.2f} ± {100 * other:.2f} ({BASE})",
                f"{100 * ours:.2f} ± {100 * half:.2f}",
                ours - half > theirs + other,
                COMMAND,
            )
        )
    return result


def draw(folder: Path, drawn: dict[str, dict[str, Runs]]) -> None:
    """curves.csv with every run, curves.png with means and 95 % intervals."""
    after = (1, *range(5, AFTER[-1] + 1, 5))
    with (folder / "curves.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["setting", "embedding", "seed", *after])
        for setting, runs in drawn.items():
            for name, given in runs.items():
                for run in given:
                    shares = [f"{best_of(run, n):.3f}" for n in after]
                    writer.writerow([setting, name, run["seed"], *shares])
    matplotlib.use("Agg")
    figure, axes = pyplot.subplots(
        1, len(drawn), figsize=(5.5 * len(drawn), 4), squeeze=False
    )
    for axis, (setting, runs) in zip(axes[0], drawn.items(), strict=True):
        for name, given in runs.items():
            curve = 100 * mean_curve(given)
            steps = np.arange(1, len(curve) + 1)
            (line,) = axis.plot(steps, curve, label=name)
            if len(given) > 1:
                half = [
                    100 * interval([best_of(run, n) for run in given])[1] for n in steps
                ]
                axis.fill_between(
                    steps,
                    curve - half,
                    curve + half,
                    color=line.get_color(),
                    alpha=0.15,
                )
        low = 100 * mean_curve(runs[BASE])[0] - 2
        axis.set(title=setting, xlabel="evaluations", ylabel="best so far, %")
        axis.set_ylim(bottom=low)
        axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(folder / "curves.png", dpi=70)
