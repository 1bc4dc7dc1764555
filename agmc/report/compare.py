"""Comparison: runs and sweeps side by side, means over seeds with intervals."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from agmc.report.compared_run import ComparedRun, load_runs
from agmc.report.curves import Mean, area_under, episodes_until, means
from agmc.report.quantity import MISSING, duration_text
from agmc.report.run_config import differing
from agmc.report.table import Table

#: Columns of the tables: key of `ComparedRun.values`, head, scale and decimals.
_COLUMNS = (
    ("original_test_accuracy", "test before %", 100, 2),
    ("pruned_search_accuracy", "search pruned %", 100, 2),
    ("pruned_test_accuracy", "test pruned %", 100, 2),
    ("search_accuracy", "search after %", 100, 2),
    ("test_accuracy", "test after %", 100, 2),
    ("macs_kept", "MACs kept %", 100, 1),
    ("params_kept", "parameters kept %", 100, 1),
    ("bytes_kept", "bytes kept %", 100, 1),
    ("latency_ms", "latency ms", 1, 2),
)
#: Left out where there is little room.
_LONG = {
    *("test before %", "search pruned %", "search after %"),
    *("area", "test pruned %", "MACs kept %", "parameters kept %", "bytes kept %"),
    *("latency ms", "search time"),
}
_LEVEL = "episodes to reference"
_REACHED = "runs that reach it"


@dataclass(frozen=True)
class Group:
    """Finished runs that differ in nothing but their seeds.

    Attributes:
        task: what they are about, `key=value, ...`; "" where all runs share it.
        name: how they do it, likewise; "all runs" where nothing differs.
        runs: at least one.
    """

    task: str
    name: str
    runs: tuple[ComparedRun, ...]

    @cached_property
    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean best-so-far reward and half of its 95 % interval, float64 [n] each.

        As long as the shortest search; NaN where not every run has a best yet.
        """
        length = min(len(run.curve) for run in self.runs)
        return means(np.stack([run.curve[:length] for run in self.runs]))

    @cached_property
    def level(self) -> float | None:
        """Mean of the final bests; None where a run has no search."""
        final = self.curve[0]
        return float(final[-1]) if len(final) and not np.isnan(final[-1]) else None

    def mean(self, key: str) -> Mean | None:
        """Of one of `ComparedRun.values`, over the runs that have it."""
        return Mean.of([run.values.get(key) for run in self.runs])


@dataclass(frozen=True)
class Comparison:
    """Runs, and groups of those that are finished.

    Attributes:
        runs: all, in the order given.
        groups: of the finished ones, those about the same thing next to each other.
        reference: name of the group that others are measured against.
    """

    runs: tuple[ComparedRun, ...]
    groups: tuple[Group, ...]
    reference: str

    @classmethod
    def of(
        cls,
        directories: Sequence[str | os.PathLike[str]],
        *,
        reference: str | None = None,
    ) -> Comparison:
        """Reads and groups runs by the keys of their configuration that differ.

        Args:
            directories: of runs; one that is no run itself stands for all runs directly
                inside it, as a sweep leaves them.
            reference: name of a group or part of it, `rules` for `embedding=rules`;
                None: the first group.

        Raises:
            ValueError: no directory is given, one holds no run, a file is broken, or no
                single group is called like the reference.
        """
        runs = load_runs(directories)
        about, how = differing([run.config for run in runs])
        members: dict[tuple[str, str], list[ComparedRun]] = {}
        for run in runs:
            if run.result is not None:
                key = run.config.text(about), run.config.text(how) or "all runs"
                members.setdefault(key, []).append(run)
        tasks = list(dict.fromkeys(task for task, _ in members))
        groups = tuple(
            Group(*key, tuple(members[key]))
            for key in sorted(members, key=lambda key: tasks.index(key[0]))
        )
        return cls(runs, groups, _reference(groups, reference))

    @property
    def tasks(self) -> dict[str, tuple[Group, ...]]:
        """Task -> its groups."""
        found: dict[str, list[Group]] = {}
        for group in self.groups:
            found.setdefault(group.task, []).append(group)
        return {task: tuple(groups) for task, groups in found.items()}

    def goal(self, group: Group) -> float | None:
        """The final best of the reference on the task of a group; None without one."""
        for other in self.tasks[group.task]:
            if other.name == self.reference:
                return other.level
        return None

    def area(self, group: Group) -> Mean | None:
        """Mean height of the best-so-far curves over their episodes.

        Episodes before the first plan within the budget count with the lowest reward of
        all compared searches on the task.
        """
        rewards = [
            row.reward
            for other in self.tasks[group.task]
            for run in other.runs
            for row in run.episodes
            if row.reward is not None and row.counts
        ]
        curves = [run.curve for run in group.runs if len(run.curve)]
        return Mean.of([area_under(c, min(rewards)) for c in curves] if rewards else [])

    def reached(self, group: Group) -> tuple[int | None, int]:
        """Episodes until the mean curve is at `goal`, and how many runs come there."""
        goal = self.goal(group)
        if goal is None:
            return None, 0
        goal -= 1e-9 * max(1.0, abs(goal))  # a mean is rounded
        runs = [episodes_until(run.curve, goal) for run in group.runs]
        return episodes_until(group.curve[0], goal), sum(n is not None for n in runs)

    def tables(self, *, short: bool = False) -> tuple[Table, ...]:
        """The groups, where there are any, and the runs.

        Args:
            short: leaves columns out, for the width of a terminal.
        """
        groups = [self._group_row(group) for group in self.groups]
        runs = [_run_row(run) for run in self.runs]
        title = f"groups; the reference is {self.reference}"
        found = [_table(title, groups, short)] if groups else []
        return (*found, _table("runs", runs, short))

    def _group_row(self, group: Group) -> dict[str, str]:
        until, reaching = self.reached(group)
        goal = self.goal(group)
        return {
            "about": group.task or MISSING,
            "group": group.name,
            "runs": str(len(group.runs)),
            "best reward": _mean(Mean.of([run.best for run in group.runs]), 1, 4),
            "area": _mean(self.area(group), 1, 4),
            _LEVEL: MISSING
            if goal is None
            else "never"
            if until is None
            else f"{until}",
            _REACHED: MISSING if goal is None else f"{reaching} of {len(group.runs)}",
            **{
                head: _mean(group.mean(key), scale, decimals)
                for key, head, scale, decimals in _COLUMNS
            },
            "search time": _duration(group.mean("search_seconds")),
            "time": _duration(group.mean("seconds")),
        }


def _run_row(run: ComparedRun) -> dict[str, str]:
    budget = (run.result or {}).get("budget")
    holds = isinstance(budget, Mapping) and budget.get("holds") is True
    return {
        "run": run.name,
        "seed": run.config.seed,
        "state": run.state,
        "budget": ("holds" if holds else "FAILS") if budget else MISSING,
        "best reward": MISSING if run.best is None else f"{run.best:.4f}",
        **{
            head: _mean(Mean.of([run.values.get(key)]), scale, decimals)
            for key, head, scale, decimals in _COLUMNS
        },
        "time": duration_text(run.values.get("seconds")),
    }


def _reference(groups: Sequence[Group], wanted: str | None) -> str:
    names = list(dict.fromkeys(group.name for group in groups))
    if wanted is None or not names:
        return names[0] if names else MISSING
    found = [name for name in names if name == wanted] or [
        name for name in names if wanted in _words(name)
    ]
    if len(found) != 1:
        raise ValueError(
            f"reference {wanted!r} is {'no group' if not found else 'several groups'}; "
            f"choose one of {'; '.join(names)}"
        )
    return found[0]


def _words(name: str) -> set[str]:
    parts = name.split(", ")
    return {*parts, *(part.partition("=")[2] for part in parts)}


def _mean(mean: Mean | None, scale: float, decimals: int) -> str:
    if mean is None:
        return MISSING
    text = f"{scale * mean.value:.{decimals}f}"
    # The interval of one run is not known.
    known = not np.isnan(mean.half)
    return f"{text} ± {scale * mean.half:.{decimals}f}" if known else text


def _duration(mean: Mean | None) -> str:
    return duration_text(None if mean is None else mean.value)


def _table(title: str, rows: Sequence[Mapping[str, str]], short: bool) -> Table:
    """Without the columns that no row fills."""
    columns = tuple(
        column
        for column in rows[0]
        if any(row[column] != MISSING for row in rows)
        and not (short and column in _LONG)
    )
    words = {"about", "group", "run", "seed", "state", "budget"}
    return Table(
        title=title,
        columns=columns,
        rows=tuple(tuple(row[c] for c in columns) for row in rows),
        left=sum(column in words for column in columns),
    )
