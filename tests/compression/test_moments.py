from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from agmc.compression.moments import Moments, samples_of


def test_moments_by_hand():
    moments = Moments(torch.tensor([[7.0, 7.0]]))  # only the origin of the sums
    moments.add(torch.tensor([[1.0, 2.0]]))
    moments.add(torch.tensor([[3.0, -2.0]]))
    assert moments.count == 2
    assert moments.mean().tolist() == [2, 0]
    assert moments.second(centred=True).tolist() == [[1, -2], [-2, 4]]
    assert moments.second(centred=False).tolist() == [[5, -2], [-2, 4]]


def test_far_from_zero_the_variance_is_not_lost():
    torch.manual_seed(0)
    x = 1e4 + torch.randn(1000, 3)
    moments = Moments(x[:100])
    for batch in x.split(100):
        moments.add(batch)
    expected = torch.cov(x.double().T, correction=0)
    assert torch.allclose(moments.second(centred=True).double(), expected, atol=1e-3)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(2, 3, 3, bias=False),
        nn.Conv2d(2, 3, (3, 1), stride=(2, 1), padding=(1, 0), bias=False),
        nn.Conv2d(2, 3, 2, dilation=2, padding=1, bias=False),
    ],
)
def test_samples_times_weights_are_the_outputs(layer):
    x = torch.randn(4, 2, 7, 6)
    generator = torch.Generator().manual_seed(0)
    samples = samples_of(layer, x, positions=100, generator=generator)
    made = samples @ layer.weight.flatten(1).T
    expected = layer(x).movedim(1, -1).reshape(-1, 3)
    assert made.shape == expected.shape
    # The places come in another order.
    assert torch.allclose(made.sort(0).values, expected.sort(0).values, atol=1e-5)
    assert torch.allclose(samples.sum(), F.unfold(x, *_window(layer)).sum(), atol=1e-3)


def _window(layer):
    return layer.kernel_size, layer.dilation, layer.padding, layer.stride


def test_a_linear_layer_takes_every_vector():
    x = torch.randn(2, 5, 4)
    samples = samples_of(
        nn.Linear(4, 1), x, positions=1, generator=torch.Generator().manual_seed(0)
    )
    assert torch.equal(samples, x.reshape(10, 4))
