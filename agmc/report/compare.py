"""compare_runs: several run directories side by side."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agmc.report.quantity import (
    MISSING,
    duration_text,
    milliseconds_text,
    points_text,
    share_text,
)
from agmc.report.run_record import load_result, number, section
from agmc.report.table import Table

#: What a run was asked to do, from `settings` of `result.json`.
SETTINGS = ("model", "data", "embedding", "agent", "episodes")


def compare_runs(directories: Sequence[str | os.PathLike[str]]) -> Table:
    """One row a run: settings, test accuracy before and after, shares kept, time.

    Args:
        directories: run directories; one that is no run itself stands for all runs
            directly inside it, as a sweep leaves them. A column that no run fills is
            left out.

    Raises:
        ValueError: no directory is given, one holds no run, or a file is broken.
    """
    if not directories:
        raise ValueError("no run directories given; name at least one")
    runs = [run for directory in directories for run in _runs(Path(directory))]
    names = _names(runs)
    records = [
        {"run": name, **_row(load_result(run))}
        for name, run in zip(names, runs, strict=True)
    ]
    columns = tuple(
        column
        for column in records[0]
        if any(record[column] != MISSING for record in records)
    )
    return Table(
        title="",
        columns=columns,
        rows=tuple(tuple(record[c] for c in columns) for record in records),
        left=1 + sum(column in SETTINGS[:-1] for column in columns),
    )


def _row(result: Mapping[str, Any]) -> dict[str, str]:
    settings = section(result, "settings")
    before, after = section(result, "baseline"), section(result, "compressed")
    accuracy = number(before, "accuracy", "test"), number(after, "accuracy", "test")
    change = None if None in accuracy else accuracy[1] - accuracy[0]  # type: ignore[operator]
    stages = section(result, "seconds")
    seconds = [number(stages, stage) or 0.0 for stage in stages if stage != "total"]
    budget = section(result, "budget")
    return {
        **{key: _setting(settings.get(key)) for key in SETTINGS},
        "seed": _setting(result.get("seed")),
        "before": share_text(accuracy[0], decimals=2),
        "pruned": share_text(
            number(section(result, "pre_finetune"), "accuracy", "test"), decimals=2
        ),
        "after": share_text(accuracy[1], decimals=2),
        "change": points_text(change),
        **{
            f"{metric} kept": share_text(_kept(before, after, metric))
            for metric in ("macs", "params", "bytes")
        },
        "latency": milliseconds_text(number(after, "latency_ms")),
        "budget": ("holds" if budget.get("holds") is True else "FAILS")
        if budget
        else MISSING,
        "time": duration_text(sum(seconds) if seconds else None),
    }


def _kept(
    before: Mapping[str, Any], after: Mapping[str, Any], metric: str
) -> float | None:
    whole, rest = number(before, metric), number(after, metric)
    return None if not whole or rest is None else rest / whole


def _setting(value: object) -> str:
    return MISSING if value is None or value == "" else str(value)


def _runs(directory: Path) -> list[Path]:
    if (directory / "result.json").exists():
        return [directory]
    inside = sorted(
        (path.parent for path in directory.glob("*/result.json")),
        # A sweep numbers its runs: 2 comes before 10.
        key=lambda path: (not path.name.isdigit(), path.name.zfill(12), path.name),
    )
    if not inside:
        raise ValueError(
            f"{directory} holds no finished run: no result.json in it or one level down"
        )
    return inside


def _names(runs: Sequence[Path]) -> list[str]:
    """The last parts of the paths, as many as it takes to tell the runs apart."""
    parts = [run.resolve().parts for run in runs]
    for length in range(1, max(map(len, parts))):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(set(parts)):
            return names
    return [str(run) for run in runs]
