"""One network of every family of torchvision, pruned by a random plan in float64.

`experiments/zoo` does the same with all of its networks and three plans each.
"""

from __future__ import annotations

import pytest
import torch
from graph_nets import counted_macs, flat, quiet_trace, relative_error

from agmc.compression.prune import Pruner
from agmc.cost.model import cost_of
from agmc.models import build
from agmc.models.random_cnn import with_statistics
from agmc.plan_space import PlanSpace

QUICK = ("squeezenet1_1", "shufflenet_v2_x0_5", "mobilenet_v3_small")
FAMILIES = (
    *("mnasnet0_5", "mobilenet_v2", "regnet_y_400mf", "efficientnet_b0", "googlenet"),
    *("densenet121", "resnet18", "resnext50_32x4d", "convnext_tiny", "swin_t"),
)


def check(name):
    torch.manual_seed(0)
    options = {"init_weights": False} if name == "googlenet" else {}
    net = with_statistics(build(name, num_classes=10, **options)).eval().double()
    for parameter in net.parameters():
        if (
            float(parameter.detach().abs().max()) < 1e-3
        ):  # scales and biases that hide all
            parameter.data.uniform_(0.1, 1)
    images = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    graph = quiet_trace(net, images)
    plan = PlanSpace(graph).sample(torch.Generator().manual_seed(0))
    pruner = Pruner(net, graph)
    small, masked = pruner.prune(plan), pruner.mask(plan)
    with torch.no_grad():
        expected = masked(images)
        assert relative_error(small(images), expected) <= 1e-9
        assert relative_error(expected, net(images)) > 1e-3
    cost = cost_of(graph, plan)
    assert cost.macs == counted_macs(small, (images,))
    assert cost.params == sum(parameter.numel() for parameter in small.parameters())
    sum(x.square().sum() for x in flat(small(images))).backward()


@pytest.mark.parametrize("name", QUICK)
def test_quick_families(name):
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_other_families(name):
    check(name)
