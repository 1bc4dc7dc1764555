"""Sensitivity: what every channel group costs in accuracy when it alone is pruned."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agmc.graph.model_graph import ModelGraph
from agmc.plan import Plan
from agmc.search.evaluator import Evaluation
from agmc.whole_file import write_whole

FORMAT = "agmc sensitivity 1"
RATIOS = (0.75, 0.5, 0.25)


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Accuracy of a network of which one channel group is pruned, the others whole.

    Attributes:
        ratios: keep ratios, each in (0, 1); the nearest whole number of channels is
            kept, at least one.
        baseline: accuracy of the whole network, a share in [0, 1].
        accuracy: float64 [num_groups, num_ratios], shares in [0, 1].
        groups: names of the channel groups, in the order of `ModelGraph.groups`.

    Raises:
        ValueError: a number is out of range, or shapes do not fit.
    """

    ratios: tuple[float, ...]
    baseline: float
    accuracy: np.ndarray
    groups: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_ratios(self.ratios)
        expected = (len(self.groups), len(self.ratios))
        if self.accuracy.shape != expected:
            raise ValueError(
                f"accuracy is {self.accuracy.shape}, expected {expected}: "
                "a row a group, a column a ratio"
            )
        if not _are_shares([self.baseline, *self.accuracy.ravel()]):
            raise ValueError("baseline and accuracy must lie in [0, 1]")

    @property
    def drops(self) -> np.ndarray:
        """Accuracy lost, `baseline - accuracy`, [num_groups, num_ratios]."""
        return self.baseline - self.accuracy

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes JSON, whole or not at all."""
        _write(path, self.groups, self.ratios, self.baseline, self.accuracy.tolist())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Sensitivity:
        """Reads what `save` or `measure_sensitivity` wrote.

        Raises:
            ValueError: the file is foreign or damaged, or not measured to its end.
            OSError: it cannot be read.
        """
        record = _read(path)
        groups, rows = record["groups"], record["accuracy"]
        if len(rows) < len(groups):
            raise ValueError(
                f"{path} has {len(rows)} of {len(groups)} groups; measure the others"
            )
        ratios = tuple(record["ratios"])
        table = np.array(rows, dtype=float).reshape(len(groups), len(ratios))
        return cls(ratios, record["baseline"], table, tuple(groups))


def measure_sensitivity(
    graph: ModelGraph,
    evaluator: Callable[[Plan], Evaluation],
    ratios: Sequence[float] = RATIOS,
    *,
    path: str | os.PathLike[str] | None = None,
    on_group: Callable[[str, int, int], None] | None = None,
) -> Sensitivity:
    """Prunes one channel group at a time and measures what is left.

    Takes `1 + num_groups * num_ratios` evaluations. With a path, every group is kept
    there once it is measured, and a call with the same arguments goes on.

    Args:
        graph: of the network.
        evaluator: of the same network, an `Evaluator`.
        ratios: see `Sensitivity`.
        path: JSON file; None keeps nothing.
        on_group: called after every group with its name, how many are measured and how
            many there are.

    Raises:
        ValueError: a ratio is out of range, or the file holds another measurement.
    """
    ratios = tuple(float(ratio) for ratio in ratios)
    _check_ratios(ratios)
    groups = tuple(group.name for group in graph.groups)
    baseline = evaluator(Plan({})).accuracy
    rows: list[list[float]] = []
    if path is not None and Path(path).exists():
        record = _read(path)
        for what, theirs, ours in (
            ("groups", tuple(record["groups"]), groups),
            ("ratios", tuple(record["ratios"]), ratios),
            # Other weights, images or repairs hardly ever give the same accuracy.
            ("baseline", record["baseline"], baseline),
        ):
            if theirs != ours:
                raise ValueError(
                    f"{path} holds another measurement: its {what} are {theirs}, here "
                    f"{ours}; delete it or give another path"
                )
        rows = record["accuracy"]
    for group in groups[len(rows) :]:
        rows.append([evaluator(Plan({group: ratio})).accuracy for ratio in ratios])
        if path is not None:
            _write(path, groups, ratios, baseline, rows)
        if on_group is not None:
            on_group(group, len(rows), len(groups))
    table = np.array(rows, dtype=float).reshape(len(groups), len(ratios))
    return Sensitivity(ratios, baseline, table, groups)


def _check_ratios(ratios: Sequence[float]) -> None:
    if not ratios or not all(0 < ratio < 1 for ratio in ratios):
        raise ValueError(f"ratios (={tuple(ratios)}) must be in (0, 1), at least one")


def _are_shares(values: Sequence[Any]) -> bool:
    return all(
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and 0 <= value <= 1
        for value in values
    )


def _write(
    path: str | os.PathLike[str],
    groups: Sequence[str],
    ratios: Sequence[float],
    baseline: float,
    rows: Sequence[Sequence[float]],
) -> None:
    record = {
        "format": FORMAT,
        "ratios": list(ratios),
        "baseline": baseline,
        "groups": list(groups),
        "accuracy": [list(row) for row in rows],
    }
    write_whole(path, json.dumps(record, indent=1) + "\n")


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A record whose parts have the right types and sizes; rows may be missing."""
    wrong = f"{path} is no measured sensitivity; delete it or give another path"
    try:
        record = json.loads(Path(path).read_text())
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(wrong) from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError(wrong)
    ratios, groups = record.get("ratios"), record.get("groups")
    rows = record.get("accuracy")
    whole = (
        isinstance(ratios, list)
        and _are_shares(ratios)
        and isinstance(groups, list)
        and all(isinstance(name, str) for name in groups)
        and _are_shares([record.get("baseline")])
        and isinstance(rows, list)
        and len(rows) <= len(groups)
        and all(
            isinstance(row, list) and len(row) == len(ratios) and _are_shares(row)
            for row in rows
        )
    )
    if not whole:
        raise ValueError(wrong)
    return record
