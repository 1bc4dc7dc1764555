"""How large files are said to be where they hold tables of places."""

from __future__ import annotations

import pytest
import torch
from graph_nets import quiet_trace
from torch import nn

from agmc.compression.prune import compress
from agmc.cost.model import CostModel
from agmc.export.checkpoint import to_bytes
from agmc.plan import Plan, kept_channels
from agmc.plan_space import PlanSpace


class Shuffled(nn.Module):
    """Convolutions that read their channels in an order of their own."""

    def __init__(self, layers: int, channels: int) -> None:
        super().__init__()
        self.stem, self.fc = nn.Conv2d(3, channels, 1), nn.Linear(channels, 4)
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, channels, 1) for _ in range(layers)
        )
        for i in range(layers):
            generator = torch.Generator().manual_seed(i)
            self.register_buffer(f"p{i}", torch.randperm(channels, generator=generator))

    def forward(self, x):
        x = self.stem(x)
        for i, conv in enumerate(self.convs):
            x = conv(x.index_select(1, getattr(self, f"p{i}"))).relu()
        return self.fc(x.mean((2, 3)))


@pytest.mark.parametrize("seed", [None, 1, 2])
@pytest.mark.parametrize("channels", [5, 64, 256])
def test_tables_of_places_are_packed_and_no_file_is_larger_than_said(channels, seed):
    torch.manual_seed(0)
    net, x = Shuffled(10, channels).eval(), torch.randn(2, 3, 4, 4)
    graph = quiet_trace(net, x)
    costs, plan = CostModel(graph), Plan({})
    if seed is not None:
        plan = PlanSpace(graph).sample(torch.Generator().manual_seed(seed))
    written = len(to_bytes(compress(net, plan, x)))
    most = int(costs.ceiling("bytes", kept_channels(graph, plan)))
    assert written <= most <= written + 30 * 10
    layers = costs.by_layer(kept_channels(graph, plan))
    assert sum(layer.bytes for layer in layers) < written
