"""Batch-norm statistics equal those of the activations."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from agmc.training import Batches, recalibrate_batch_norm


@pytest.fixture
def images():
    return torch.randn(12, 2, 5, 5, generator=torch.Generator().manual_seed(3)) * 3 + 1


def network() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.BatchNorm2d(3, momentum=0.3),
    )
    for part in (net[1], net[3]):
        part.running_mean.fill_(50.0)
        part.running_var.fill_(7.0)
    return net


def test_one_batch_gives_the_exact_statistics(images, execution):
    net = network()
    batches = Batches(images, torch.zeros(12).long(), 12)
    recalibrate_batch_norm(net, batches, execution=execution)
    first = net[0](images)
    torch.testing.assert_close(net[1].running_mean, first.mean((0, 2, 3)))
    torch.testing.assert_close(net[1].running_var, first.var((0, 2, 3)))
    # The second sees what the first gives out when it normalises by the batch.
    second = net[2](net[1].train()(first))
    torch.testing.assert_close(net[3].running_mean, second.mean((0, 2, 3)))
    torch.testing.assert_close(net[3].running_var, second.var((0, 2, 3)))


def test_batches_are_averaged(images, execution):
    net = network()
    batches = Batches(images, torch.zeros(12).long(), 4)
    recalibrate_batch_norm(net, batches, execution=execution)
    out = net[0](images)
    torch.testing.assert_close(net[1].running_mean, out.mean((0, 2, 3)))
    variance = torch.stack([part.var((0, 2, 3)) for part in out.split(4)]).mean(0)
    torch.testing.assert_close(net[1].running_var, variance)


def test_nothing_else_changes(images, execution):
    net = network().train()
    net[1].eval()
    before = {name: p.clone() for name, p in net.named_parameters()}
    recalibrate_batch_norm(
        net, Batches(images, torch.zeros(12).long(), 12), execution=execution
    )
    assert [part.training for part in net] == [True, False, True, True]
    assert (net[1].momentum, net[3].momentum) == (0.1, 0.3)
    for name, parameter in net.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.grad is None


def test_dropout_stays_off(images, execution):
    net = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm2d(2)).train()
    recalibrate_batch_norm(
        net, Batches(images, torch.zeros(12).long(), 12), execution=execution
    )
    torch.testing.assert_close(net[1].running_mean, images.mean((0, 2, 3)))
