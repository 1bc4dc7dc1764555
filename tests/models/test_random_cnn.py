from __future__ import annotations

import pytest
import torch
from torch import nn

from agmc.models import build
from agmc.models.random_cnn import BLOCKS, RandomNet, random_cnn, with_statistics


def test_every_block_runs_at_several_widths():
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        net = RandomNet([*BLOCKS], generator, in_channels=1, num_classes=5).eval()
        assert net(torch.randn(2, 1, 8, 8)).shape == (2, 5)


def test_widths_are_drawn_from_the_range():
    generator = torch.Generator().manual_seed(0)
    net = RandomNet(["chain"] * 30, generator, widths=(16, 48), step=16)
    widths = {m.out_channels for m in net.modules() if isinstance(m, nn.Conv2d)}
    assert widths == {16, 32, 48}


def test_an_unknown_block():
    with pytest.raises(ValueError, match=r"blocks \['loop'\] are unknown; choose"):
        RandomNet(["loop"], torch.Generator())


def test_the_seed_decides_on_blocks_and_widths():
    def shapes(seed):
        net = random_cnn(num_classes=4, seed=seed)
        return {name: value.shape for name, value in net.state_dict().items()}

    assert shapes(3) == shapes(3) != shapes(4)
    name = "agmc.models.random_cnn:random_cnn"
    built = build(name, num_classes=4, in_channels=1, seed=3).eval()
    assert built(torch.randn(1, 1, 32, 32)).shape == (1, 4)
    assert 10_000 < sum(p.numel() for p in built.parameters()) < 10_000_000


def test_statistics_that_matter():
    net = with_statistics(nn.Sequential(nn.BatchNorm2d(4), nn.BatchNorm2d(4)))
    for norm in net:
        assert norm.running_mean.abs().min() > 0 and norm.running_var.min() >= 0.3
        assert norm.weight.min() >= 0.5 and norm.bias.abs().min() > 0
