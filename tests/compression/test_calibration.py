from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from agmc.compression.calibration import Grid, kl, minmax, mse, percentile, rounded
from agmc.compression.quantize import Quantization
from agmc.compression.ranges import Range

METHODS = (minmax, percentile, mse, kl)


def seen(values):
    ordered = values.sort().values
    return Range(float(ordered[0]), float(ordered[-1]), ordered, 1)


def normal(number=10_000):
    return torch.randn(number, generator=torch.Generator().manual_seed(0))


def test_a_grid_holds_zero():
    assert Grid.of(0.0, 25.5, 8) == Grid(pytest.approx(0.1), 0)
    assert Grid.of(5.0, 25.5, 8) == Grid(pytest.approx(0.1), 0)
    assert Grid.of(-1.0, 2.0, 2) == Grid(1.0, 1)
    assert Grid.of(-3.0, -1.0, 2) == Grid(1.0, 3)
    assert Grid.of(0.0, 0.0, 8) == Grid(1.0, 0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_all_methods_give_grids_for_all_activations(method, bits):
    for values in (normal(), normal().relu(), torch.zeros(100), -normal().abs()):
        grid = method(seen(values), bits)
        assert grid.scale > 0 and 0 <= grid.zero_point < 2**bits
        near = rounded(values, grid, bits)
        assert len(near.unique()) <= 2**bits
        assert float(rounded(torch.zeros(1), grid, bits)) == 0


def test_minmax_keeps_the_ends_and_percentile_clips_them():
    values = torch.cat([torch.linspace(0, 1, 10_000), torch.tensor([100.0])])
    assert minmax(seen(values), 8).scale == pytest.approx(100 / 255)
    assert percentile(seen(values), 8).scale == pytest.approx(1 / 255, rel=1e-2)
    assert percentile(seen(values), 8, share=1.0).scale == pytest.approx(100 / 255)
    with pytest.raises(ValueError, match=r"share \(=0\) must be in \(0, 1\]"):
        percentile(seen(values), 8, share=0)


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        (lambda seen, bits: None, r"must make a Grid .*got a NoneType"),
        (lambda seen: Grid(1.0, 0), "must make a Grid .*positional argument"),
        (lambda seen, bits: seen.slices, "must make a Grid .*'slices'"),
        (None, "calibration \\(=NoneType\\) must make a Grid"),
        (functools.partial(percentile, share=2), r"^share \(=2\) must be in"),
    ],
)
def test_what_is_no_calibration_is_refused_at_construction(calibration, message):
    with pytest.raises(ValueError, match=message):
        Quantization(calibration=calibration)


def test_mse_has_the_smallest_error():
    values = normal().relu()
    for bits in (2, 3, 4, 8):
        errors = {
            method: float(
                (rounded(values, method(seen(values), bits), bits) - values)
                .square()
                .mean()
            )
            for method in METHODS
        }
        assert errors[mse] == min(errors.values())


@pytest.mark.parametrize(("bits", "least", "most"), [(4, 2.5, 5), (8, 4, 7)])
def test_kl_clips_outliers_and_keeps_the_bulk(bits, least, most):
    # More than 256 of 2048 bins up to 50 bring nothing: they begin at 6.25.
    values = torch.cat([normal(16_383).relu(), torch.tensor([50.0])])
    assert least < (2**bits - 1) * kl(seen(values), bits).scale < most
    grid = kl(seen(-values), bits)
    assert least < grid.zero_point * grid.scale < most
    # Nothing to gain: evenly spread values are not clipped.
    even = torch.linspace(0.01, 1, 20_000)
    assert (2**bits - 1) * kl(seen(even), bits).scale > 0.9


def test_kl_clips_both_ends_at_one_magnitude():
    values = torch.cat([normal(16_382), torch.tensor([50.0, -25.0])])
    grid = kl(seen(values), 8)
    low, high = -grid.zero_point * grid.scale, (255 - grid.zero_point) * grid.scale
    assert 3 < -low < 6 and 3 < high < 6
    # An end that no value comes near to is no reason to clip the other one.
    above = torch.cat([normal(16_383).clamp_min(-0.3), torch.tensor([50.0])])
    grid = kl(seen(above), 8)
    low, high = -grid.zero_point * grid.scale, (255 - grid.zero_point) * grid.scale
    assert low == pytest.approx(-0.3, abs=grid.scale) and 3 < high < 7


@pytest.mark.parametrize("bits", [4, 8])
def test_kl_is_that_of_the_paper(bits):
    values = torch.cat([normal(8_000), torch.tensor([10.0])]).relu()
    counts, edges = np.histogram(values[values > 0].numpy(), 2048, (0, 10))
    divergences = {}
    for size in range(2**bits, 2049, 8):
        reference = counts[:size].astype(float)
        reference[-1] += counts[size:].sum()
        coarse = np.zeros(size)
        level = np.arange(size) * 2**bits // size
        for part in (np.flatnonzero(level == number) for number in range(2**bits)):
            there = part[counts[part] > 0]
            coarse[there] = counts[part].sum() / max(1, len(there))
        p, q = reference / reference.sum(), coarse / coarse.sum()
        there = p > 0
        ratio = p[there] / np.maximum(q[there], 1e-9)
        divergences[float(edges[size])] = (p[there] * np.log(ratio)).sum()
    best = min(divergences, key=divergences.get)
    assert 2 < best < 9
    top = (2**bits - 1) * kl(seen(values), bits).scale
    assert top == pytest.approx(best)
