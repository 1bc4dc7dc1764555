from __future__ import annotations

import pytest
import torch

from agmc.compression.calibration import Grid, kl, minmax, mse, percentile, rounded
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


def test_kl_clips_outliers_and_keeps_the_bulk():
    values = torch.cat([normal(20_000).relu(), torch.tensor([60.0])])
    top = 15 * kl(seen(values), 4).scale
    assert 1.5 < top < 12  # of 60
    # Nothing to gain: evenly spread values are not clipped.
    even = torch.linspace(0.01, 1, 20_000)
    assert 15 * kl(seen(even), 4).scale > 0.9
