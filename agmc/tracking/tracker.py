"""Tracker: where the curves of a run go while it runs."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Tracker(ABC):
    """Keeps curves, each a value at ascending steps.

    A run that was killed and goes on hands in its first points again: what a curve
    already has, and everything before, is not written a second time.
    """

    def __init__(self) -> None:
        self._last_steps: dict[str, int] = {}

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a point to every curve.

        Args:
            step: >= 0.
            values: name of a curve -> its value; one that is not finite, or not after
                the last step of its curve, is left out.
        """
        new = {
            name: float(value)
            for name, value in values.items()
            if math.isfinite(value) and step > self._last_step(name)
        }
        if new:
            self._last_steps.update(dict.fromkeys(new, step))
            self._write(step, new)

    @abstractmethod
    def close(self, *, finished: bool) -> None:
        """Writes what is left; `finished` is False where an error has ended the run."""

    @abstractmethod
    def _write(self, step: int, values: Mapping[str, float]) -> None:
        """Writes points that are new."""

    @abstractmethod
    def _written(self, name: str) -> int:
        """The last step of a curve that an earlier run has written; -1 for none."""

    def _last_step(self, name: str) -> int:
        if name not in self._last_steps:
            self._last_steps[name] = self._written(name)
        return self._last_steps[name]


def none(directory: Path, record: Mapping[str, Any]) -> None:
    """No tracker.

    Args:
        directory: of the run.
        record: what stands in its result: `settings`, `seed`, `command`.
    """
