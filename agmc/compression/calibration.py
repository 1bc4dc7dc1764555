"""Calibration: the grid of numbers that an activation is rounded to.

Every function takes the `Range` of an activation and a number of bits, and returns the
`Grid` of 2 ** bits evenly spaced numbers, zero among them, that it holds for the best.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from agmc.compression.ranges import Range

#: Candidates of `mse`: shares of the range that was seen.
_SHARES = torch.linspace(0.02, 1.0, 99)
#: Of the histogram of `kl`, and from one of its candidates to the next.
_BINS, _STEP = 2048, 8


def check_images(calibration_images: int) -> None:
    """Refuses to measure activations on nothing.

    Raises:
        ValueError: there is not one image.
    """
    if calibration_images < 1:
        raise ValueError(f"calibration_images (={calibration_images}) must be >= 1")


def check_calibration(calibration: Calibration) -> None:
    """Refuses what does not make a `Grid` of a made-up `Range`.

    Raises:
        ValueError: it is no calibration, or a knob of it is out of range.
    """
    seen = Range(-1.0, 2.0, torch.linspace(-1, 2, 7), 1)
    try:
        grid = calibration(seen, 8)
    except ValueError:
        raise
    except Exception as error:  # whatever it is that was named
        why: object = error
    else:
        if isinstance(grid, Grid):
            return
        why = f"got a {type(grid).__name__}"
    name = getattr(calibration, "__name__", type(calibration).__name__)
    raise ValueError(
        f"calibration (={name}) must make a Grid of a Range and a number of bits, as "
        f"agmc.compression.calibration.mse does ({why})"
    )


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
    """The clipping of both ends alike with the smallest mean squared error."""
    grids = [
        Grid.of(share * seen.low, share * seen.high, bits) for share in _SHARES.tolist()
    ]
    return min(grids, key=lambda grid: _error(seen.sample, grid, bits))


def kl(seen: Range, bits: int) -> Grid:
    """The clipping that changes the distribution of the values least.

    Of one histogram of the values, for every threshold of their magnitude: the
    Kullback-Leibler divergence of the bins within, what lies outside counted at the
    ends, from the same bins without what lies outside, merged into 2 ** bits levels
    (Migacz 2017, 8-bit inference with TensorRT; HAQ, arXiv 1811.08886, section 3.4).
    Zeros, which every grid holds, do not count.
    """
    values = seen.sample[seen.sample != 0]
    if not len(values):
        return minmax(seen, bits)
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    counts = torch.histc(values, _BINS, low, high).double()
    width = (high - low) / _BINS
    zero = round(-low / width)
    levels = min(2**bits, _BINS)
    thresholds = range(max(zero, _BINS - zero), 0, -_STEP)
    kept = [(max(zero - t, 0), min(zero + t, _BINS)) for t in thresholds]
    first, last = min(
        (ends for ends in kept if ends[1] - ends[0] >= levels),
        key=lambda ends: _divergence(counts, ends, levels),
    )
    return Grid.of(low + first * width, low + last * width, bits)


def rounded(values: Tensor, grid: Grid, bits: int) -> Tensor:
    """The numbers of the grid nearest to the values, of the same shape."""
    return torch.fake_quantize_per_tensor_affine(
        values, grid.scale, grid.zero_point, 0, 2**bits - 1
    )


def _error(values: Tensor, grid: Grid, bits: int) -> float:
    return float((rounded(values, grid, bits) - values).square().mean())


def _divergence(counts: Tensor, ends: tuple[int, int], levels: int) -> float:
    """Of some of the bins, with the others counted at the ends, from themselves merged.

    Args:
        counts: of all bins, float64 [num_bins].
        ends: the first of at least `levels` bins, and the one behind the last.
        levels: that the bins are merged into, as many bins in each, one more or less.
    """
    first, last = ends
    inside = counts[first:last]
    reference = inside.clone()
    reference[0] += counts[:first].sum()
    reference[-1] += counts[last:].sum()
    filled = (inside > 0).double()
    level = torch.arange(len(inside)) * levels // len(inside)
    total, bins = torch.zeros(2, levels, dtype=counts.dtype).index_add(
        1, level, torch.stack([inside, filled])
    )
    # Each level spreads what it holds over those of its bins where anything was.
    coarse = (total / bins.clamp_min(1))[level] * filled
    p, q = reference / reference.sum(), coarse / coarse.sum().clamp_min(1)
    there = p > 0
    return float((p[there] * (p[there] / q[there].clamp_min(1e-9)).log()).sum())
