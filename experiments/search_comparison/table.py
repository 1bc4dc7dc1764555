"""The table of the search comparison: best of N, with intervals, and its targets."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agmc.report.experiment import Target, write_experiment
from experiments.searches import Place, best_of, median, percent

AFTER = (10, 25, 50, 100, 200)
COMMAND = "python experiments/search_comparison/run.py --data F --weights F --results F"
OURS = "critic"
#: Alone they are no measure of a search.
BASELINES = ("uniform", "random", "additive", "greedy")


def write(folder: Path, place: Place) -> None:
    """Writes what the results folder has of every setting.

    Rows that the tables beside this file have, and the folder has fewer runs of, stay.
    """
    place.keep()
    runs = defaultdict(list)
    for run in place.records():
        if run["embedding"] == "rules":  # others: experiments/embedding_comparison
            runs[run["network"], f"{run['budget']:g}", run["agent"]].append(run)
    rows = earlier(folder / "results.csv")
    for key in [key for key in runs if key in rows]:
        if len(runs[key]) < int(rows[key]["seeds"]):
            del runs[key]
    rows.update({key: row(*key[:2], runs[key], place) for key in runs})
    order = sorted(rows, key=lambda key: (key[:2], final(rows[key])), reverse=True)
    targets = []
    for setting in dict.fromkeys(key[:2] for key in order):
        agents = {key[2]: rows[key] for key in order if key[:2] == setting}
        if OURS in agents and agents.keys() - {OURS, *BASELINES}:
            targets.append(target_of(*setting, agents))
    write_curves(folder, [run for given in runs.values() for run in given], order)
    note = (
        f"torch {torch.__version__}, one thread a run; CPU seconds are of a whole "
        "search."
    )
    write_experiment(folder, [rows[key] for key in order], targets, note)


def earlier(file: Path) -> dict[tuple[str, ...], dict[str, str]]:
    """Network, share and agent -> row of a table that was written before."""
    with file.open(newline="") as text:
        rows = list(csv.DictReader(text))
    return {(row["network"], row["macs kept"], row["agent"]): row for row in rows}


def final(cells: Mapping[str, str]) -> float:
    """Mean of the best after all evaluations, in percent."""
    return float(cells[f"best of {AFTER[-1]}"].split()[0])


def target_of(
    network: str, budget: str, agents: Mapping[str, Mapping[str, str]]
) -> Target:
    """Ours against the best of the others."""
    others = [agent for agent in agents if agent != OURS]
    other = max(others, key=lambda agent: final(agents[agent]))
    ours, theirs = final(agents[OURS]), final(agents[other])
    seeds = int(agents[OURS]["seeds"])
    return Target(
        f"{network}, macs {budget}: best of 200 of {OURS}, mean of {seeds} seeds",
        f"> {theirs:.2f} ({other}, {said(agents[other])})",
        f"{ours:.2f} ({said(agents[OURS])})",
        ours > theirs and seeds >= 5,
        COMMAND,
    )


def said(cells: Mapping[str, str]) -> str:
    """Behind which a mean is."""
    return f"{cells['seeds']} seeds, {cells['precision']}"


def row(
    network: str, budget: str, runs: Sequence[dict[str, Any]], place: Place
) -> dict[str, str]:
    """One agent in one setting."""
    cells = {
        "network": network,
        "macs kept": budget,
        "agent": runs[0]["agent"],
        "seeds": f"{len(runs)}",
    }
    for number in AFTER:
        cells[f"best of {number}"] = shown(
            [best_of(run, number) for run in runs if len(run["curve"])]
        )
    cells["5,000 images"] = percent([run["whole"] for run in runs])
    tuned = place.tuned(median(runs)["name"])
    cells["fine-tuned"] = "-" if tuned is None else f"{100 * tuned:.2f}"
    cells["CPU s"] = f"{np.median([run['cpu_seconds'] for run in runs]):.0f}"
    cells["precision"] = ", ".join(sorted({run["precision"] for run in runs}))
    return cells


def shown(shares: Sequence[float]) -> str:
    """As `percent`, where something was evaluated within the budget by then."""
    return "-" if min(shares) == 0.0 else percent(shares)


def write_curves(
    folder: Path, runs: Sequence[dict[str, Any]], order: Sequence[tuple[str, ...]]
) -> None:
    """Best so far of every run behind the rows, every tenth evaluation."""
    after = [str(number) for number in (1, *range(10, 201, 10))]
    rows = {}
    for run in runs:
        key = (run["network"], f"{run['budget']:g}", run["agent"], str(run["seed"]))
        rows[key] = [f"{best_of(run, int(n)):.3f}" for n in after]
    stay = {*order} - {key[:3] for key in rows}
    with (folder / "curves.csv").open(newline="") as file:
        _, *before = csv.reader(file)
    rows.update({tuple(r[:4]): r[4:] for r in before if tuple(r[:3]) in stay})
    with (folder / "curves.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["network", "macs kept", "agent", "seed", *after])
        writer.writerows([*key, *rows[key]] for key in sorted(rows))
