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

    def row(name: str, **cells: str) -> None:
        rows.append({"measured": name, **{a: cells.get(a, "-") for a in AGENTS}})

    def target(name: str, bound: str, measured: str, holds: bool) -> None:
        targets.append(Target(name, bound, measured, holds, COMMAND))

    evaluation, other, made_up = {}, {}, {}
    for agent in AGENTS:
        if one := found.get(f"share {agent}"):
            evaluation[agent] = statistics.mean(one["evaluation"])
            other[agent] = statistics.mean(one["else"])
            part = other[agent] / (evaluation[agent] + other[agent])
            target(
                f"share of {len(one['else'])} episodes that is no evaluation, {agent}",
                *("<= 10 %", f"{part:.1%}", part <= 0.1),
            )
        if one := found.get(f"memory {agent}"):
            made_up[agent] = one
    if evaluation:
        row("CPU s of an evaluation", **_each(evaluation, 3))
        row("CPU s of all else", **_each(other, 3))
    if made_up:
        last = max(map(int, next(iter(made_up.values()))["bytes"]))
        for end in (WHOLE, last):
            late = {
                agent: _else(one["seconds"], end - 100, end)
                for agent, one in made_up.items()
            }
            row(
                f"CPU s of all else, episodes {end - 100:,} to {end:,}",
                **_each(late, 3),
            )
            # By then every agent learns: its warm-up is a share of all episodes.
            for agent in late.keys() & evaluation if end == last else ():
                part = late[agent] / (late[agent] + evaluation[agent])
                target(
                    f"the same of episodes {end - 100:,} to {end:,}, {agent}",
                    *("<= 10 %", f"{part:.1%}", part <= 0.1),
                )
        for episode in (LEAST, last):
            sizes = {a: one["bytes"][str(episode)] / 1e6 for a, one in made_up.items()}
            row(f"MB after {episode:,} episodes", **_each(sizes, 1))
        for agent, one in made_up.items():
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
            for what, key in (
                ("wall s an episode", "wall"),
                ("CPU s an episode", "cpu"),
                ("cores that others used", "others"),
            ):
                row(f"{what}, {names[workers]}", critic=_median(turns, key))
        walls = [
            statistics.median(t["wall"] for t in turns) for turns in paced.values()
        ]
        row(
            "throughput of two workers over that of one",
            critic=f"{walls[1] / walls[0]:.2f}",
        )
        if "critic" in made_up:
            seconds = WHOLE * walls[0] + made_up["critic"]["seconds"][str(WHOLE)]
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


def _median(turns: list[dict[str, float]], key: str) -> str:
    return f"{statistics.median(turn[key] for turn in turns):.2f}"


def _each(values: dict[str, float], digits: int) -> dict[str, str]:
    return {agent: f"{value:.{digits}f}" for agent, value in values.items()}
