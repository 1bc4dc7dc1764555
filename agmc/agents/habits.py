"""Habits: what good plans of networks kept of decisions, by how these look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from agmc.agents.gaussian_process import distance

#: Of the kernel: at what distance of looks decisions have little in common, where two
#: by chance are sqrt(2) apart; and the variance of a step that looks do not explain,
#: relative to that of those which they do.
_LENGTH, _NOISE = 0.7, 0.5


@dataclass(frozen=True, eq=False)
class Habits:
    """Steps to good plans from those that searches begin with.

    Nothing in it belongs to one network: what to expect of a decision is read from
    those that look like it, in whatever network, by Gaussian process regression
    (Rasmussen and Williams 2006, algorithm 2.1) with a squared exponential kernel.

    Attributes:
        looks: float64 `[N, F]`, of N decisions: as `looks_of` says, or on a scale that
            all networks share, on which decisions may also be like none of these.
        steps: float64 `[N]`, of the logarithms of keep ratios.
    """

    looks: np.ndarray
    steps: np.ndarray

    @classmethod
    def none(cls, num_features: int) -> Habits:
        """Nothing is known of decisions with F features."""
        return cls(np.zeros((0, num_features)), np.zeros(0))

    @classmethod
    def of_state(cls, state: Mapping[str, Tensor]) -> Habits:
        """Reads what `state` gave."""
        return cls(state["looks"].double().numpy(), state["steps"].double().numpy())

    def state(self) -> dict[str, Tensor]:
        """As tensors, float64 `[N, F]` and `[N]`."""
        return {
            "looks": torch.from_numpy(self.looks.copy()),
            "steps": torch.from_numpy(self.steps.copy()),
        }

    def expected(self, looks: np.ndarray) -> np.ndarray:
        """The step to expect of each of D decisions, 0 where nothing is known.

        Args:
            looks: float64 `[D, F]`.

        Returns:
            Float64 `[D]`.
        """
        if not self.steps.size:
            return np.zeros(len(looks))
        own, asked = _scaled(self.looks, self.looks), _scaled(looks, self.looks)
        known = _alike(own, own) + _NOISE * np.eye(len(self.steps))
        steps: np.ndarray = _alike(asked, own) @ np.linalg.solve(known, self.steps)
        return steps

    def plus(self, other: Habits) -> Habits:
        """Both together."""
        return Habits(
            np.concatenate([self.looks, other.looks]),
            np.concatenate([self.steps, other.steps]),
        )


def looks_of(features: np.ndarray) -> np.ndarray:
    """How the decisions of a network look beside each other.

    Args:
        features: what is seen of each decision, float64 `[D, F]`.

    Returns:
        Float64 `[D, F]`, of mean 0 over the decisions; the squared lengths of the rows
        are 1 on average. A feature that is the same everywhere is 0.
    """
    return _scaled(features, features)


def described(looks: np.ndarray) -> np.ndarray:
    """What a `GaussianProcess` takes for `alike`: what all share, and how each looks.

    Scaled so that the shared slopes have about the variance of one alone.

    Args:
        looks: float64 `[D, F]`.

    Returns:
        Float64 `[D, 1 + F]`.
    """
    described = np.concatenate([np.ones((len(looks), 1)), looks], axis=1)
    return described / np.sqrt(len(looks))


def _scaled(features: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Features `[D, F]` less the mean of others `[N, F]`, in units of their spread.

    One that is the same for all of the others is left out: it has no unit.
    """
    spread = by.std(0)
    # Features are float32: what differs by their rounding does not differ.
    varies = spread > 1e-6 * np.abs(by).max(0, initial=0.0)
    away = np.where(varies, features - by.mean(0), 0.0)
    scaled: np.ndarray = away / np.where(varies, spread, 1.0)
    return scaled / np.sqrt(max(int(varies.sum()), 1))


def _alike(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The kernel of `[N, F]` and `[M, F]`, `[N, M]` in (0, 1]."""
    kernel: np.ndarray = np.exp(-0.5 * (distance(a, b) / _LENGTH) ** 2)
    return kernel
