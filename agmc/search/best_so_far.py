"""best_so_far: the highest value up to every episode of a search."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from agmc.search.episode_log import EpisodeRecord


def best_so_far(values: Iterable[float | None]) -> np.ndarray:
    """The highest value up to every episode, float64 [num_episodes].

    Args:
        values: one an episode, in order; None (or NaN) for an episode that counts but
            is never the best: a probe, a plan that failed.

    Returns:
        Never falls; NaN before the first value.
    """
    numbers = [math.nan if value is None else value for value in values]
    return np.fmax.accumulate(np.array(numbers, dtype=np.float64))


def better(best: EpisodeRecord | None, record: EpisodeRecord) -> EpisodeRecord | None:
    """The best episode after one more: of the highest reward, the first of equals.

    Args:
        best: before; None where no episode counts yet.
        record: of the next episode; one that does not count changes nothing.
    """
    if record.counts and (best is None or record.reward > best.reward):
        return record
    return best
