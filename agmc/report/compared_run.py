"""ComparedRun: a finished or unfinished run directory, found and read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from agmc.report.run_config import RunConfig
from agmc.report.run_record import (
    EpisodeRow,
    final_values,
    load_episodes,
    load_result,
    number,
    section,
)
from agmc.search.best_so_far import best_so_far

#: One of these makes a directory that of a run.
_SIGNS = ("result.json", "episodes.jsonl", ".hydra/config.yaml")


@dataclass(frozen=True)
class ComparedRun:
    """A run beside others.

    Attributes:
        name: the last parts of its path, as many as tell it from the others.
        config: what it was asked to do.
        result: the content of `result.json`; None where the run is not finished.
        episodes: of its search, as far as it is.
    """

    name: str
    config: RunConfig
    result: Mapping[str, Any] | None
    episodes: tuple[EpisodeRow, ...]

    @cached_property
    def curve(self) -> np.ndarray:
        """The best reward after every episode, see `best_so_far`.

        Probes, plans that failed and episodes without a finite reward are never best.
        """
        return best_so_far(row.reward if row.counts else None for row in self.episodes)

    @property
    def best(self) -> float | None:
        """The highest reward; None where no episode has one."""
        has = len(self.curve) and not np.isnan(self.curve[-1])
        return float(self.curve[-1]) if has else None

    @cached_property
    def values(self) -> dict[str, float]:
        """`final_values`, the share kept of every metric, and seconds."""
        result = self.result or {}
        found = final_values(result)
        for metric in ("macs", "params", "bytes"):
            whole = number(result, "baseline", metric)
            if whole and metric in found:
                found[f"{metric}_kept"] = found[metric] / whole
        stages = section(result, "seconds")
        seconds = {k: number(stages, k) or 0.0 for k in stages if k != "total"}
        if "search" in seconds:
            found["search_seconds"] = seconds["search"]
        if seconds:
            found["seconds"] = sum(seconds.values())
        return found

    @property
    def state(self) -> str:
        """Finished or not, and how far."""
        if self.result is not None:
            return "finished"
        wanted = self.config.episodes
        of = f" of {wanted}" if wanted is not None else ""
        return f"unfinished: {len(self.episodes)}{of} episodes"


def load_runs(
    directories: Sequence[str | os.PathLike[str]],
) -> tuple[ComparedRun, ...]:
    """Reads runs; a directory that is no run stands for the runs directly inside it.

    Raises:
        ValueError: no directory is given, one holds no run, or a file is broken.
    """
    if not directories:
        raise ValueError("no run directories given; name at least one")
    found = dict.fromkeys(run for d in directories for run in _runs(Path(d)))
    names = _names(list(found))
    return tuple(_load(run, name) for run, name in zip(found, names, strict=True))


def _load(directory: Path, name: str) -> ComparedRun:
    finished = (directory / "result.json").exists()
    result = load_result(directory) if finished else None
    config = RunConfig.load(directory, result)
    if not finished and config.command != "compress":
        raise ValueError(
            f"{directory} is that of agmc {config.command}; compare takes runs of "
            "agmc compress"
        )
    return ComparedRun(name, config, result, load_episodes(directory))


def _runs(directory: Path) -> Iterator[Path]:
    if not directory.is_dir():
        raise ValueError(f"{directory} is no directory; give that of a run or a sweep")
    if _is_run(directory):
        yield directory
        return
    inside = sorted(
        (path for path in directory.iterdir() if path.is_dir() and _is_run(path)),
        # A sweep numbers its runs: 2 comes before 10.
        key=lambda path: (not path.name.isdigit(), path.name.zfill(12), path.name),
    )
    # What else agmc has written there, an earlier comparison for one, is passed over.
    inside = [p for p in inside if RunConfig.load(p, None).command == "compress"]
    if not inside:
        raise ValueError(
            f"{directory} holds no run: no {', '.join(_SIGNS)} in it or one level down"
        )
    yield from inside


def _is_run(directory: Path) -> bool:
    return any((directory / sign).exists() for sign in _SIGNS)


def _names(runs: Sequence[Path]) -> list[str]:
    """The last parts of the paths, as many as it takes to tell the runs apart."""
    parts = [run.resolve().parts for run in runs]
    for length in range(1, max(map(len, parts))):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(set(parts)):
            return names
    return [str(run) for run in runs]
