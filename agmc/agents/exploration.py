"""How far an agent explores: warm-up, decay of the noise, and draws on [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import torch

_UNIT = NormalDist()


@dataclass(frozen=True)
class NoiseSchedule:
    """Exploration tied to the length of the search.

    AMC multiplies sigma by 0.95 an episode whatever the length, so the noise is gone
    after some 100 episodes. Here it decays exponentially from `initial_sigma` in the
    first episode after the warm-up to `final_sigma` in the last one:
    `sigma(e) = initial * (final / initial) ** ((e - warmup) / (last - warmup))`.

    Attributes:
        num_episodes: episodes of the whole search, >= 1.
        warmup_share: share in [0, 1) of the episodes that act uniformly at random.
        initial_sigma: standard deviation after the warm-up, > 0, in action units.
        final_sigma: standard deviation in the last episode, in (0, initial_sigma].

    Raises:
        ValueError: for a number outside its range.
    """

    num_episodes: int
    warmup_share: float
    initial_sigma: float
    final_sigma: float

    def __post_init__(self) -> None:
        """Reject schedules that never act or grow noisier."""
        if not 0.0 <= self.warmup_share < 1.0:
            raise ValueError(
                f"warmup_share (={self.warmup_share}) must lie in [0, 1); "
                "0 explores around the policy from the first episode"
            )
        if not 0.0 < self.final_sigma <= self.initial_sigma:
            raise ValueError(
                f"final_sigma (={self.final_sigma}) must lie in (0, initial_sigma="
                f"{self.initial_sigma}]; equal values keep the noise constant"
            )

    @property
    def warmup_episodes(self) -> int:
        """Episodes of uniform random actions at the start; at least one follows."""
        return min(round(self.warmup_share * self.num_episodes), self.num_episodes - 1)

    def sigma(self, index: int) -> float | None:
        """Return the noise of episode `index` (from 0), or None in the warm-up."""
        return None if index < self.warmup_episodes else self.after_warmup(index)

    def after_warmup(self, index: int) -> float:
        """Return the noise of episode `index` (from 0), which is past the warm-up."""
        done = index - self.warmup_episodes
        span = max(1, self.num_episodes - 1 - self.warmup_episodes)
        share = min(1.0, done / span)
        return self.initial_sigma * (self.final_sigma / self.initial_sigma) ** share


def truncated_normal(mean: float, sigma: float, *, generator: torch.Generator) -> float:
    """Draw from N(mean, sigma) restricted to [0, 1], by inverting its distribution.

    Args:
        mean: in [0, 1].
        sigma: standard deviation before the truncation, > 0.
        generator: gives exactly one uniform number.
    """
    low = _UNIT.cdf(-mean / sigma)
    high = _UNIT.cdf((1.0 - mean) / sigma)
    uniform = torch.rand((), generator=generator, dtype=torch.float64).item()
    # The inverse is finite on the open interval only.
    share = min(max(low + uniform * (high - low), 1e-300), 1.0 - 2.0**-53)
    return min(max(mean + sigma * _UNIT.inv_cdf(share), 0.0), 1.0)
