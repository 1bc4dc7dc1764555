"""Reward: what an episode is worth, as plain functions of accuracy and cost.

A reward is any callable `(accuracy, cost) -> float` that grows with what is wanted;
accuracy is a share in [0, 1] of the search split.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from agmc.cost.model import Cost

Reward = Callable[[float, Cost], float]


def error(accuracy: float, cost: Cost) -> float:
    """Minus the error: `R = -(1 - accuracy)`, in [-1, 0].

    R_err of AMC (arXiv 1802.03494, section 3.4) for searches under a budget, where the
    cost is bound already; it is not read.
    """
    return -(1.0 - accuracy)


def error_log_macs(accuracy: float, cost: Cost) -> float:
    """Minus the error, weighed by the size: `R = -(1 - accuracy) * log(macs)`.

    R_FLOPs of AMC (arXiv 1802.03494, section 3.4), with the natural logarithm of
    multiply-adds: of two plans with the same error the cheaper one is worth more.
    """
    return -(1.0 - accuracy) * math.log(max(1, cost.macs))
