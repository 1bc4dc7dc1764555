"""How well one list of numbers ranks plans like another."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Agreement:
    """A rank correlation, or a difference of two, and its bootstrap interval of 95 %.

    Not a number where a score is the same for all plans.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "none"
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def agreements(
    first: np.ndarray, second: np.ndarray, *, draws: int = 2000, seed: int = 0
) -> tuple[Agreement, Agreement]:
    """Spearman's rho and Kendall's tau-b of two scores of the same plans.

    Both follow from the signs of all pairwise differences: the sum of a row of signs
    is an average rank up to a constant. The intervals are percentiles over plans drawn
    with replacement; draws in which a score is constant say nothing and are left out.

    Args:
        first: [num_plans].
        second: [num_plans].
        draws: of the bootstrap, >= 1.
        seed: of the draws.
    """
    rho, tau = _resampled(first, second, draws, seed)
    return _agreement(rho), _agreement(tau)


def gain(
    first: np.ndarray,
    other: np.ndarray,
    aim: np.ndarray,
    *,
    draws: int = 2000,
    seed: int = 0,
) -> Agreement:
    """How much better `first` ranks like `aim` than `other` does: difference in rho.

    Every draw of the bootstrap takes the same plans for both.

    Args:
        first: [num_plans].
        other: [num_plans].
        aim: [num_plans].
        draws: of the bootstrap, >= 1.
        seed: of the draws.
    """
    ours, _ = _resampled(first, aim, draws, seed)
    theirs, _ = _resampled(other, aim, draws, seed)
    return _agreement(ours - theirs)


def _resampled(
    first: np.ndarray, second: np.ndarray, draws: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rho and tau-b [1 + draws]: of all plans, then of each draw."""
    number = len(first)
    drawn = np.random.default_rng(seed).integers(number, size=(draws, number))
    index = np.concatenate([np.arange(number)[None], drawn])
    signs = [np.sign(x[:, None] - x[None, :]) for x in (first, second)]
    return _correlations(*(s[index[:, :, None], index[:, None, :]] for s in signs))


def _agreement(values: np.ndarray) -> Agreement:
    finite = values[1:][np.isfinite(values[1:])]
    bounds = (2.5, 97.5)
    low, high = np.percentile(finite, bounds) if len(finite) else (math.nan,) * 2
    return Agreement(float(values[0]), float(low), float(high))


def _correlations(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rho and tau-b [N] of signs [N, num_plans, num_plans]."""

    def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        axes = tuple(range(1, a.ndim))
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = np.sqrt((a * a).sum(axes) * (b * b).sum(axes))
            return (a * b).sum(axes) / scale

    return cosine(x.sum(-1), y.sum(-1)), cosine(x, y)


def spread(scores: np.ndarray, number: int) -> list[int]:
    """`number` positions, evenly over the quantiles of `scores`, lowest first."""
    order = np.argsort(scores, kind="stable")
    places = (np.arange(number) + 0.5) * len(order) / number
    return [int(order[int(place)]) for place in places]


def ceiling(repeated: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Noise of a score, and the correlation that it leaves to a perfect evaluation.

    Args:
        repeated: [pairs, 2], the score of the same plan with two seeds.
        scores: [num_plans], with one seed.

    Returns:
        the standard deviation between seeds, and sqrt(1 - its square / the variance of
        the scores), the correlation of what is measured with what it would be without
        noise; in [0, 1].
    """
    noise = float(np.mean((repeated[:, 0] - repeated[:, 1]) ** 2) / 2)
    variance = float(np.var(scores, ddof=1))
    return noise**0.5, max(0.0, 1 - noise / variance) ** 0.5
