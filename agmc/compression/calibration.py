"""Calibration: the grid of numbers that an activation is rounded to.

Every function takes the `Range` of an activation and a number of bits, and returns the
`Grid` of 2 ** bits evenly spaced numbers, zero among them, that it holds for the best.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from agmc.compression.ranges import Range

#: Candidates of the searches: shares of the range that was seen.
_SHARES = torch.linspace(0.02, 1.0, 99)
_BINS = 2048


def check_images(calibration_images: int) -> None:
    """Refuses to measure activations on nothing.

    Raises:
        ValueError: there is not one image.
    """
    if calibration_images < 1:
        raise ValueError(f"calibration_images (={calibration_images}) must be >= 1")


class Grid(NamedTuple):
    """The numbers `(code - zero_point) * scale` with code in 0..2 ** bits - 1."""

    scale: float
    zero_point: int

    @classmethod
    def of(cls, low: float, high: float, bits: int) -> Grid:
        """The grid from `low` to `high`, widened to hold zero exactly."""
        low, high = min(low, 0.0), max(high, 0.0)
        most = 2**bits - 1
        scale = (high - low) / most
        if scale < torch.finfo(torch.float32).tiny:
            return cls(1.0, 0)  # nothing but zeros was seen
        return cls(scale, min(max(round(-low / scale), 0), most))


Calibration: TypeAlias = Callable[[Range, int], Grid]


def minmax(seen: Range, bits: int) -> Grid:
    """All that was seen fits."""
    return Grid.of(seen.low, seen.high, bits)


def percentile(seen: Range, bits: int, *, share: float = 0.9999) -> Grid:
    """The middle `share` of the values fits; the others are clipped.

    Raises:
        ValueError: `share` is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"share (={share}) must be in (0, 1]")
    # A rectified activation has its tail on one side.
    tail = 1 - share if seen.low >= 0 or seen.high <= 0 else (1 - share) / 2
    ends = torch.tensor([tail, 1 - tail], dtype=seen.sample.dtype)
    low, high = torch.quantile(seen.sample, ends).tolist()
    return Grid.of(low, high, bits)


def mse(seen: Range, bits: int) -> Grid:
    """The clipping with the smallest mean squared error of the sample."""
    return _best(seen, bits, lambda values, grid: _error(values, grid, bits))


def kl(seen: Range, bits: int) -> Grid:
    """The clipping that changes the distribution of the values least.

    The Kullback-Leibler divergence of the histogram of the clipped values, what lies
    outside counted at the ends, from the same histogram with only 2 ** bits levels
    (Migacz 2017, 8-bit inference with TensorRT; HAQ, arXiv 1811.08886, section 3.4).
    Zeros, which every grid holds, do not count.
    """
    return _best(seen, bits, lambda values, grid: _divergence(values, grid, bits))


def _best(seen: Range, bits: int, loss: Callable[[Tensor, Grid], float]) -> Grid:
    """The grid with the smallest loss among those that clip both ends alike."""
    grids = [
        Grid.of(share * seen.low, share * seen.high, bits) for share in _SHARES.tolist()
    ]
    return min(grids, key=functools.partial(loss, seen.sample))


def rounded(values: Tensor, grid: Grid, bits: int) -> Tensor:
    """The numbers of the grid nearest to the values, of the same shape."""
    return torch.fake_quantize_per_tensor_affine(
        values, grid.scale, grid.zero_point, 0, 2**bits - 1
    )


def _error(values: Tensor, grid: Grid, bits: int) -> float:
    return float((rounded(values, grid, bits) - values).square().mean())


def _divergence(values: Tensor, grid: Grid, bits: int) -> float:
    most = 2**bits - 1
    low, high = -grid.zero_point * grid.scale, (most - grid.zero_point) * grid.scale
    if high <= low:
        return torch.inf
    values = values[values != 0]
    clipped = values.clamp(low, high)
    reference = torch.histc(clipped, _BINS, low, high)
    inside = torch.histc(values[(values >= low) & (values <= high)], _BINS, low, high)
    centres = low + (torch.arange(_BINS) + 0.5) * (high - low) / _BINS
    level = torch.round((centres - low) / grid.scale).long().clamp(0, most)
    filled = (inside > 0).float()
    total = torch.zeros(most + 1).index_add(0, level, inside)
    bins = torch.zeros(most + 1).index_add(0, level, filled)
    # Each level spreads what it holds over those of its bins where anything was.
    coarse = (total / bins.clamp_min(1))[level] * filled
    p, q = reference / reference.sum(), coarse / coarse.sum().clamp_min(1)
    seen = p > 0
    return float((p[seen] * (p[seen] / q[seen].clamp_min(1e-9)).log()).sum())
