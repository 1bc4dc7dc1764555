from __future__ import annotations

import pytest
import torch

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
