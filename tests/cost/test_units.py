"""Units are cut where an operator multiplies, and their shapes follow the plan."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from agmc.cost.units import Units
from agmc.graph.trace import trace


def chain() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)),
    )


def test_every_operation_is_in_one_unit_that_begins_with_a_product() -> None:
    graph = trace(chain(), torch.randn(1, 3, 6, 6))
    units = Units(graph).units
    names = [name for unit in units for name in unit.operations]
    assert names == [operation.name for operation in graph.program.operations]
    assert [unit.kind for unit in units] == ["dense", "depthwise", "other"]
    assert units[0].family.endswith("6x6 6x6 batch_norm relu")


def test_shapes_of_many_plans() -> None:
    graph = trace(chain(), torch.randn(1, 3, 6, 6))
    shapes = Units(graph).shapes(np.array([[8], [5]]))
    assert shapes[:, 0].tolist() == [[3, 8, 2 * 8 * 36], [3, 5, 2 * 5 * 36]]
    assert shapes[:, 2].tolist() == [[8, 2, 0], [5, 2, 0]]


def test_the_family_does_not_depend_on_the_number_of_channels() -> None:
    image = torch.randn(1, 3, 6, 6)
    small = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))
    large = nn.Sequential(nn.Conv2d(3, 9, 3), nn.ReLU(), nn.Conv2d(9, 7, 1))
    one, other = (
        [unit.family for unit in Units(trace(net, image)).units]
        for net in (small, large)
    )
    assert one == other
    strided = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(4, 2, 1))
    assert Units(trace(strided, image)).units[0].family != one[0]


def test_what_follows_a_unit_goes_with_its_block() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1))
    net.forward = lambda x: net[2]((y := net[0](x).relu()) + net[1](y).relu())
    units = Units(trace(net, torch.randn(1, 3, 5, 5)))
    kept = np.array([[True], [False]])
    shapes = units.shapes(np.array([4]), kept)
    assert shapes[0].tolist() == [[3, 4, 100], [4, 4, 200], [4, 2, 0]]
    assert shapes[1].tolist() == [[3, 4, 100], [4, 4, 0], [4, 2, 0]]
    assert units.present(kept).tolist() == [[1, 1, 1], [1, 0, 1]]
