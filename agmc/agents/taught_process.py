"""A Gaussian process that has been told what to expect."""

from __future__ import annotations

import numpy as np

from agmc.agents.gaussian_process import GaussianProcess
from agmc.agents.shared_effects import SharedEffects, alike, in_own_units


class TaughtProcess(GaussianProcess):
    """Regression on what is left of the rewards beside those that were expected.

    What was taught is believed as far as it has been true: it enters times a share,
    the least-squares fit to the rewards with one more plan of variance 1 that says 1.

    Args:
        features: what is seen of each decision, float64 `[D, F]`.
        taught: what is expected of plans; None: nothing.
    """

    def __init__(
        self, features: np.ndarray, taught: SharedEffects | None = None
    ) -> None:
        super().__init__(alike(features))
        self._features = features
        self._taught = taught
        self._share, self._middle = 1.0, 0.0

    def fit(self, plans: np.ndarray, rewards: np.ndarray) -> None:
        """See `GaussianProcess`."""
        super().fit(plans, rewards - self._told(plans, rewards))

    def condition(self, plans: np.ndarray, rewards: np.ndarray) -> None:
        """See `GaussianProcess`."""
        super().condition(plans, rewards - self._told(plans, rewards))

    def predict(self, plans: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `GaussianProcess`."""
        mean, deviation = super().predict(plans)
        return mean + self._expected(plans), deviation

    def effects(self) -> SharedEffects:
        """What decisions have in common, taught and found, after a `condition`."""
        slopes, curves = self.shared()
        found = SharedEffects(
            in_own_units(self._features, slopes), in_own_units(self._features, curves)
        )
        return found if self._taught is None else found.plus(self._taught, self._share)

    def _told(self, plans: np.ndarray, rewards: np.ndarray) -> np.ndarray:
        """Settles how far to believe, and gives what is then expected."""
        self._share, self._middle = 1.0, 0.0
        if self._taught is not None:
            expected = self._expected(plans)
            self._middle = float(expected.mean())
            away = expected - self._middle
            self._share = max(0.0, float((away @ rewards + 1) / (away @ away + 1)))
        return self._expected(plans)

    def _expected(self, plans: np.ndarray) -> np.ndarray:
        if self._taught is None:
            return np.zeros(len(plans))
        told = self._taught.expected(self._features, plans)
        return self._share * (told - self._middle)
