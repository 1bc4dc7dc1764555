"""in_turns: timing several things fairly on a machine that does other things too."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

#: Calls of everything before time is taken.
WARM_UP = 2
_FEWEST, _MOST = 6, 100


def in_turns(
    turns: Sequence[Callable[[], Any]], budget: float
) -> Iterator[list[float]]:
    """Seconds of processor time of every one, round by round.

    All work must happen on the calling thread.

    Args:
        turns: what is called, one after the other, in every round.
        budget: seconds to take, about; 6 to 100 rounds.
    """
    for _ in range(WARM_UP):
        started = time.thread_time()
        for turn in turns:
            turn()
        whole = time.thread_time() - started
    for _ in range(min(_MOST, max(_FEWEST, math.ceil(budget / whole)))):
        seconds = []
        for turn in turns:
            started = time.thread_time()
            turn()
            seconds.append(time.thread_time() - started)
        yield seconds


def quiet_median(samples: np.ndarray, stretches: int = 5) -> np.ndarray:
    """The lowest of the medians of consecutive stretches of samples [calls, ...]."""
    parts = np.array_split(samples, min(stretches, max(1, len(samples) // 3)))
    return np.min([np.median(part, axis=0) for part in parts], axis=0)
