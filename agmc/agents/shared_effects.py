"""Shared effects: what keeping more is worth, by what is seen of a decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class SharedEffects:
    """A reward that is a sum over decisions, each after what is seen of it.

        sum_t slope(o_t) x_t + curve(o_t) x_t^2,   slope(o) = slopes_0 + slopes_1.. @ o

    with x the logarithm of a keep ratio relative to that of the uniform plan. Nothing
    in it belongs to one network, so it can be asked about the plans of another.

    Attributes:
        slopes: float64 `[1 + F]`, in units of the rewards' standard deviation and of
            the F features as they are.
        curves: likewise.
    """

    slopes: np.ndarray
    curves: np.ndarray

    @classmethod
    def none(cls, num_features: int) -> SharedEffects:
        """Nothing is known of F features."""
        return cls(np.zeros(1 + num_features), np.zeros(1 + num_features))

    @classmethod
    def of_state(cls, state: Mapping[str, Tensor]) -> SharedEffects:
        """Reads what `state` gave."""
        return cls(state["slopes"].double().numpy(), state["curves"].double().numpy())

    def state(self) -> dict[str, Tensor]:
        """As tensors, float64 `[1 + F]`."""
        return {
            "slopes": torch.from_numpy(self.slopes.copy()),
            "curves": torch.from_numpy(self.curves.copy()),
        }

    def expected(self, features: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """The reward of plans, 0 for the uniform one.

        Args:
            features: of the decisions, float64 `[D, F]`.
            numbers: x of N plans, float64 `[N, D]`.

        Returns:
            Float64 `[N]`.
        """
        seen = np.concatenate([np.ones((len(features), 1)), features], axis=1)
        reward: np.ndarray = numbers @ (seen @ self.slopes)
        return reward + numbers**2 @ (seen @ self.curves)

    def plus(self, other: SharedEffects, share: float) -> SharedEffects:
        """The sum of this and a multiple of another."""
        return SharedEffects(
            self.slopes + share * other.slopes, self.curves + share * other.curves
        )


def alike(features: np.ndarray) -> np.ndarray:
    """Describes decisions: what all have in common, and what was seen of each.

    Scaled so that the shared slopes have about the variance of one alone.

    Args:
        features: float64 `[D, F]`.

    Returns:
        Float64 `[D, 1 + number of features that vary]`.
    """
    rows = features - features.mean(0)
    spread = rows.std(0)
    rows = rows[:, spread > 1e-9] / spread[spread > 1e-9]
    rows = rows / np.sqrt(max(rows.shape[1], 1))
    described = np.concatenate([np.ones((len(rows), 1)), rows], axis=1)
    return described / np.sqrt(len(rows))


def in_own_units(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weights of what `alike` gives, as weights of the features as they are.

    Args:
        features: as of `alike`.
        weights: float64 `[1 + number of features that vary]`.

    Returns:
        Float64 `[1 + F]`: `[1, features] @ result == alike(features) @ weights`.
    """
    spread = features.std(0)
    varies = spread > 1e-9
    slopes = np.zeros(features.shape[1])
    slopes[varies] = weights[1:] / (spread[varies] * np.sqrt(max(varies.sum(), 1)))
    own = np.append(weights[0] - slopes @ features.mean(0), slopes)
    return own / np.sqrt(len(features))
