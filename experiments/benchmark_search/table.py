"""The table of this benchmark, from the files of a results folder."""

from __future__ import annotations

import json
import platform
import statistics
from pathlib import Path
from typing import Any

import torch

from agmc.report.experiment import Target, write_experiment

AGENTS = ("critic", "ddpg")
COMMAND = (
    "python experiments/benchmark_search/run.py --data FOLDER --weights FILE "
    "--results FOLDER"
)
WHOLE = 300  # episodes that the time of a search is told for
LEAST = 500  # episodes after which the memory should grow no more


def write(folder: Path, results: Path) -> None:
    """Writes results.csv, targets.json and the table of what is there.

    Args:
        folder: of the README.
        results: files of `run.py`.
    """
    found = {file.stem: json.loads(file.read_text()) for file in results.glob("*.json")}
    rows: list[dict[str, str]] = []
    targets: list[Target] = []

    def row(name: str, *cells: str) -> None:
        cells += ("-",) * (len(AGENTS) - len(cells))
        rows.append({"measured": name, **dict(zip(AGENTS, cells, strict=True))})

    def target(name: str, bound: str, measured: str, holds: bool) -> None:
        targets.append(Target(name, bound, measured, holds, COMMAND))

    shares = [found.get(f"share {agent}") for agent in AGENTS]
    made_up = [found.get(f"memory {agent}") for agent in AGENTS]
    if all(shares):
        episodes = len(shares[0]["else"])
        evaluation = [statistics.mean(one["evaluation"]) for one in shares]
        other = [statistics.mean(one["else"]) for one in shares]
        row("CPU s of an evaluation", *(f"{value:.3f}" for value in evaluation))
        row("CPU s of all else", *(f"{value:.3f}" for value in other))
        for agent, a, b in zip(AGENTS, evaluation, other, strict=True):
            part = b / (a + b)
            target(
                f"share of {episodes} episodes that is not evaluation, {agent}",
                *("<= 10 %", f"{part:.1%}", part <= 0.1),
            )
    if all(made_up):
        pace = [_else(one["seconds"], WHOLE - 100, WHOLE) for one in made_up]
        row(
            f"CPU s of all else, episodes {WHOLE - 100} to {WHOLE}",
            *(f"{value:.3f}" for value in pace),
        )
        last = max(map(int, made_up[0]["bytes"]))
        late = [_else(one["seconds"], last - 100, last) for one in made_up]
        row(
            f"CPU s of all else, episodes {last - 100:,} to {last:,}",
            *(f"{value:.3f}" for value in late),
        )
        for episode in (LEAST, last):
            sizes = (one["bytes"][str(episode)] / 1e6 for one in made_up)
            row(f"MB after {episode:,} episodes", *(f"{size:.1f}" for size in sizes))
        if all(shares):
            for agent, a, b in zip(AGENTS, evaluation, pace, strict=True):
                part = b / (a + b)
                target(
                    f"the same around episode {WHOLE}, {agent}",
                    *("<= 10 %", f"{part:.1%}", part <= 0.1),
                )
        for agent, one in zip(AGENTS, made_up, strict=True):
            before, after = one["bytes"][str(LEAST)], one["bytes"][str(last)]
            growth = after / before - 1
            target(
                f"memory grows from episode {LEAST} to {last:,} by, {agent}",
                "< 2 %",
                f"{growth:.1%} ({(after - before) / 1e6:.1f} MB)",
                growth < 0.02,
            )
    paced = {workers: _turns(found, workers) for workers in (2, 1)}
    if all(paced.values()):
        names = {2: "two workers, a thread each", 1: "one worker, two threads"}
        for workers, turns in paced.items():
            row(f"wall s an episode, {names[workers]}", _median(turns, "wall", 2))
            row(f"CPU s an episode, {names[workers]}", _median(turns, "cpu", 2))
            row(f"cores that others used, {names[workers]}", _median(turns, "others"))
        walls = [
            statistics.median(t["wall"] for t in turns) for turns in paced.values()
        ]
        row("throughput of two workers over that of one", f"{walls[1] / walls[0]:.2f}")
        if all(made_up):
            seconds = WHOLE * walls[0] + made_up[0]["seconds"][str(WHOLE)]
            target(
                f"minutes of {WHOLE} episodes on two cores (extrapolated), critic",
                *("<= 10", f"{seconds / 60:.1f}", seconds <= 600),
            )
    note = (
        f"ResNet-56, torch {torch.__version__}, Python {platform.python_version()}, "
        f"{torch.backends.cpu.get_cpu_capability()}."
    )
    write_experiment(folder, rows, targets, note)


def _else(seconds: dict[str, float], begin: int, end: int) -> float:
    """CPU seconds an episode between two episodes."""
    return (seconds[str(end)] - seconds[str(begin)]) / (end - begin)


def _turns(found: dict[str, Any], workers: int) -> list[dict[str, float]]:
    return [one for name, one in found.items() if name.startswith(f"pace {workers} ")]


def _median(turns: list[dict[str, float]], key: str, digits: int = 1) -> str:
    return f"{statistics.median(turn[key] for turn in turns):.{digits}f}"
