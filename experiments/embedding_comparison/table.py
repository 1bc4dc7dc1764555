"""The table of the embedding comparison: curves, what they reach when, and targets."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import ttest_ind

from agmc.report.curves import Mean, area_under, episodes_until, means
from agmc.report.experiment import Target, write_experiment
from agmc.report.line_chart import Line, line_chart, style_of
from experiments.searches import Place, best_of, median, percent

AFTER = (1, 10, 25, 50, 100, 200)
COMMAND = (
    "python experiments/embedding_comparison/run.py --data F --weights F --results F"
)
BASE, LEARNED = "rules", "autoencoder"
#: What other agents reach at the same evaluations, from experiments/search_comparison.
OTHERS = ("uniform", "random", "additive")
Runs = Sequence[dict[str, Any]]


def write(
    folder: Path, place: Place, settings: Sequence[tuple[str, float, str]]
) -> None:
    """Writes what the results folder has of every setting."""
    place.keep()
    rows, targets, drawn = [], [], {}
    for network, budget, agent in settings:
        runs = rows_of(place, network, budget, agent)
        if BASE not in runs:
            continue
        where = f"{network}, macs {budget:g}, {agent}"
        drawn[where] = runs
        aim = float(np.mean([run["curve"][-1] for run in runs[BASE]]))
        for name, given in runs.items():
            cells = {"network": network, "macs kept": f"{budget:g}"}
            tested = place.tuned(median(given)["name"], "test")
            cells.update(row(agent, name, given, aim))
            cells["fine-tuned, test"] = "-" if tested is None else f"{100 * tested:.2f}"
            rows.append(cells)
        if len(runs.get(LEARNED, ())) > 1 and len(runs[BASE]) > 1:
            targets += targets_of(where, runs, aim)
    if not rows:
        return
    note = f"torch {torch.__version__}, one thread a run."
    write_experiment(folder, rows, targets, note)
    draw(folder, drawn)


def rows_of(place: Place, network: str, budget: float, agent: str) -> dict[str, Runs]:
    """Embedding, or another agent, -> its runs."""
    found = defaultdict(list)
    for run in place.records():
        if (run["network"], run["budget"]) == (network, budget):
            if run["agent"] == agent:
                found[run["embedding"]].append(run)
            elif run["agent"] in OTHERS:
                found[f"(agent {run['agent']})"].append(run)
    best = {
        name: np.mean([r["curve"][-1] for r in runs]) for name, runs in found.items()
    }
    return {name: found[name] for name in sorted(found, key=lambda name: -best[name])}


def row(agent: str, name: str, runs: Runs, aim: float) -> dict[str, str]:
    """One embedding in one setting, or an agent that sees none."""
    cells = {"agent": runs[0]["agent"]}
    cells["embedding"] = name if cells["agent"] == agent else "-"
    cells["seeds"] = f"{len(runs)}"
    cells["precision"] = ", ".join(sorted({run["precision"] for run in runs}))
    for number in AFTER:
        shares = [best_of(run, number) for run in runs]
        cells[f"best of {number}"] = "-" if min(shares) == 0 else percent(shares)
    mean = curves(runs).mean(axis=0)
    reached = episodes_until(mean, aim - 1e-9)
    cells[f"evaluations to the final best of {BASE}"] = str(reached or "-")
    area = f"{100 * area_under(mean, 0.0):.2f}"
    cells["area under the curve"] = "-" if np.isnan(mean).any() else area
    cells["5,000 images"] = percent([run["whole"] for run in runs])
    return cells


def curves(runs: Runs) -> np.ndarray:
    """Best so far of every run after every evaluation, NaN before the first."""
    rows = [[best_of(run, n + 1) for n in range(AFTER[-1])] for run in runs]
    return np.where(np.array(rows) > 0, rows, np.nan)


def targets_of(where: str, runs: dict[str, Runs], aim: float) -> list[Target]:
    """Half of the evaluations, and intervals that do not overlap."""
    learned, base = runs[LEARNED], runs[BASE]
    reached = episodes_until(curves(learned).mean(axis=0), aim - 1e-9)
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
        ours, theirs = (
            Mean.of([100 * best_of(run, number) for run in runs])
            for runs in (learned, base)
        )
        assert ours is not None and theirs is not None
        result.append(
            Target(
                f"{where}: best of {number}, intervals apart",
                f"> {theirs.value:.2f} ± {theirs.half:.2f} ({BASE})",
                f"{ours.value:.2f} ± {ours.half:.2f}",
                ours.value - ours.half > theirs.value + theirs.half,
                COMMAND,
            )
        )
        low, high = difference(learned, base, number)
        result.append(
            Target(
                f"{where}: best of {number}, {LEARNED} less {BASE} (Welch, 95 %)",
                *("> 0", f"{low:+.2f} to {high:+.2f}", low > 0, COMMAND),
            )
        )
    return result


def difference(learned: Runs, base: Runs, number: int) -> tuple[float, float]:
    """The 95 % interval of what the mean of one is above that of the other, points."""
    ours, theirs = (
        [100 * best_of(r, number) for r in runs] for runs in (learned, base)
    )
    low, high = ttest_ind(ours, theirs, equal_var=False).confidence_interval()
    return float(low), float(high)


def draw(folder: Path, drawn: dict[str, dict[str, Runs]]) -> None:
    """curves.csv with every run; charts of the means with their 95 % intervals."""
    after = (1, *range(5, AFTER[-1] + 1, 5))
    with (folder / "curves.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["setting", "embedding", "seed", *after])
        for setting, runs in drawn.items():
            for name, given in runs.items():
                for run in given:
                    shares = [f"{best_of(run, n):.3f}" for n in after]
                    writer.writerow([setting, name, run["seed"], *shares])
            lines = [
                Line(name, style_of(place), *means(100 * curves(given)))
                for place, (name, given) in enumerate(runs.items())
            ]
            names = {"x_name": "evaluations", "y_name": "best so far, %"}
            chart = line_chart(lines, title=setting, **names, alone=True)
            name = setting.replace(", macs ", "_").replace(", ", "_").replace(".", "_")
            (folder / f"{name}.svg").write_text(chart + "\n")
