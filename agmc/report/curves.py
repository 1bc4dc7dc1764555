"""Curves of searches: means over runs and how sure they are, area and level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

#: What `Mean.half` is, for those who read a table.
INTERVAL = "95 % Student t interval over runs"


@dataclass(frozen=True)
class Mean:
    """A mean over runs.

    Attributes:
        value: the mean.
        half: half of the width of the 95 % interval of Student's t; NaN for one run.
    """

    value: float
    half: float

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Mean | None:
        """Of the values that are there; None where there are none."""
        known = [value for value in values if value is not None]
        if not known:
            return None
        mean, half = means(np.array(known)[:, None])
        return cls(float(mean[0]), float(half[0]))


def means(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over runs, and half of the width of its 95 % interval (Student's t).

    Args:
        values: [num_runs, n].

    Returns:
        Both float64 [n]; the second is NaN for one run.
    """
    runs = len(values)
    mean = values.mean(axis=0)
    if runs < 2:
        return mean, np.full_like(mean, math.nan)
    error = values.std(axis=0, ddof=1) / math.sqrt(runs)
    return mean, stdtrit(runs - 1, 0.975) * error


def area_under(curve: np.ndarray, floor: float) -> float:
    """Mean height of a curve over its episodes; where it is NaN, `floor` counts."""
    return float(np.where(np.isnan(curve), floor, curve).mean())


def episodes_until(curve: np.ndarray, level: float) -> int | None:
    """Episodes after which a curve has reached a level; None where it never does."""
    reached = np.flatnonzero(curve >= level)
    return int(reached[0]) + 1 if len(reached) else None
