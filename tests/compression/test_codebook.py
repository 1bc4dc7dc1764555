from __future__ import annotations

import pytest
import torch

import agmc.compression.codebook
from agmc.compression.codebook import codebook


def test_clusters_by_hand():
    values = torch.tensor([[5.0, -1.0, 0.1], [5.2, -1.2, -0.1]])
    centroids, index = codebook(values, 3)
    assert centroids.tolist() == pytest.approx([-1.1, 0, 5.1], abs=1e-6)
    assert index.tolist() == [[2, 0, 1], [2, 0, 1]]


def test_every_value_has_the_nearest_centroid_and_every_centroid_is_the_mean():
    values = torch.randn(2000, generator=torch.Generator().manual_seed(0))
    for size in (1, 2, 4, 16, 256):
        centroids, index = codebook(values, size)
        assert len(centroids) <= size and centroids.equal(centroids.sort().values)
        nearest = (values[:, None] - centroids).abs().min(1).values
        assert (values - centroids[index]).abs().allclose(nearest)
        for k in range(len(centroids)):
            assert values[index == k].mean() == pytest.approx(
                float(centroids[k]), abs=1e-5
            )


LONELY = torch.tensor([0.0] * 10 + [1.0, 2.0, 3.0, 100.0])


def test_a_number_that_nothing_is_near_to_halves_the_widest_cluster():
    # Both beginnings leave 0, 1, 2 and 3 together, and 100 alone.
    for size, expected in (
        (2, [6 / 13, 100]),
        (3, [1 / 11, 2.5, 100]),  # 0 to 3 is cut at 1.5
        (4, [0, 1, 2.5, 100]),  # and then 2 to 3 would be next, but 1 is its own
        (5, [0, 1, 2, 3, 100]),
        (9, [0, 1, 2, 3, 100]),
    ):
        centroids, index = codebook(LONELY, size)
        assert centroids.tolist() == pytest.approx(expected)
        assert set(index.tolist()) == set(range(len(expected)))


def test_every_number_is_used_and_the_error_is_never_larger(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    drawn, rescued = [], 0
    for _ in range(60):
        count = int(torch.randint(2, 300, (1,), generator=generator))
        values = torch.randn(count, generator=generator) ** 5
        coarse = torch.randint(0, 2, (1,), generator=generator)
        drawn.append((values * 4).round() / 4 if coarse else values)

    def error(values, size):
        centroids, index = codebook(values, size)
        return float((values - centroids[index]).double().square().sum()), centroids

    found = [[error(values, size) for size in (4, 16, 64)] for values in drawn]
    monkeypatch.setattr(
        agmc.compression.codebook, "_halved", lambda _, ends: ends.unique()
    )
    for values, row in zip(drawn, found, strict=True):
        for size, (new, centroids) in zip((4, 16, 64), row, strict=True):
            assert len(centroids) == min(size, len(values.unique()))
            old, few = error(values, size)
            assert new <= old * (1 + 1e-6) + 1e-12
            rescued += len(few) < len(centroids)
    assert rescued > 20  # there was something to rescue


def test_neighbours_among_the_floats_are_told_apart():
    values = torch.tensor([1.0, 1.0 + 2**-23, 1.0 + 2**-22, 50.0])
    for first in (values, values.double()):
        centroids, index = codebook(first, 4)
        assert centroids.equal(values) and index.tolist() == [0, 1, 2, 3]


def test_more_numbers_are_closer_and_few_values_are_met_exactly():
    values = torch.randn(500, generator=torch.Generator().manual_seed(1))
    errors = []
    for size in (2, 4, 8, 16):
        centroids, index = codebook(values, size)
        errors.append(float((values - centroids[index]).square().mean()))
    assert errors == sorted(errors, reverse=True) and errors[3] < 0.05 * errors[0]
    few = torch.tensor([1.0, 2.0, 2.0, 7.0])
    centroids, index = codebook(few, 64)
    assert centroids[index].equal(few) and len(centroids) == 3
    centroids, index = codebook(torch.full((3, 2), 0.5), 4)
    assert centroids.tolist() == [0.5] and index.shape == (3, 2)
