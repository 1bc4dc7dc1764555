"""Accuracy against numbers counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from agmc.training import Batches, accuracy


class Echo(nn.Module):
    """The pixels of an image are its logits, but in training mode it is always 0."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) * (not self.training)


IMAGES = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.1, 0.4], [0.2, 0.3, 0.9], [0, 1, 2.0]])


@pytest.mark.parametrize("batch_size", [1, 3, 4])
@pytest.mark.parametrize(
    ("labels", "expected"),
    [([1, 0, 2, 2], 1.0), ([1, 0, 2, 1], 0.75), ([1, 2, 0, 0], 0.25)],
)
def test_by_hand(execution, labels, expected, batch_size):
    batches = Batches(IMAGES[:, :, None, None], torch.tensor(labels), batch_size)
    assert accuracy(Echo(), batches, execution=execution) == expected


def test_modes_are_restored(execution):
    network = nn.Sequential(Echo(), nn.Dropout())
    network.train()
    network[1].eval()
    batches = Batches(IMAGES[:, :, None, None], torch.tensor([1, 0, 2, 2]), 2)
    assert accuracy(network, batches, execution=execution) == 1.0
    assert [part.training for part in network.modules()] == [True, True, False]
