from __future__ import annotations

import pytest
import torch
from torch_geometric.nn import GCNConv

from agmc.embedding.layer_motif import LayerMotif


def motif() -> LayerMotif:
    torch.manual_seed(0)
    return LayerMotif(5, 2, 7, 4)


@pytest.mark.parametrize("channels", [1, 2, 9])
def test_the_closed_form_is_a_convolution_over_the_drawn_graph(channels):
    module = motif()
    static, dynamic = torch.rand(5), torch.rand(2)
    # Split, the channels, sum; columns of the layer, then the kind of the node.
    kinds = torch.tensor([0] + [1] * channels + [2])
    columns = torch.cat([static, dynamic]).expand(channels + 2, -1)
    x = torch.cat([columns, torch.eye(3)[kinds]], dim=1)
    middle = torch.arange(1, channels + 1)
    edges = torch.stack(
        [
            torch.cat([torch.zeros_like(middle), middle]),
            torch.cat([middle, torch.full_like(middle, channels + 1)]),
        ]
    )
    convolution = GCNConv(10, 7)
    weights = (module.static.weight, module.dynamic.weight, module.kinds.weight)
    with torch.no_grad():
        convolution.lin.weight.copy_(torch.cat(weights, dim=1))
        convolution.bias.copy_(module.kinds.bias)
        wanted = module.output(convolution(x, edges).tanh().mean(0)).tanh()
        found = module(
            static[None], dynamic[None, None], torch.tensor([[float(channels)]])
        )
    assert found.shape == (1, 1, 4)
    torch.testing.assert_close(found[0, 0], wanted)


def test_layers_and_plans_are_independent():
    module = motif()
    static, dynamic, channels = torch.rand(3, 5), torch.rand(3, 4, 2), torch.rand(3, 4)
    together = module(static, dynamic, channels * 20)
    for layer in range(3):
        for plan in range(4):
            alone = module(
                static[layer, None],
                dynamic[layer, plan][None, None],
                channels[layer, plan][None, None] * 20,
            )
            torch.testing.assert_close(together[layer, plan], alone[0, 0])


def test_no_channel_and_very_many_are_finite():
    channels = torch.tensor([[0.0, 1e6]])
    found = motif()(torch.rand(1, 5), torch.rand(1, 2, 2), channels)
    assert found.isfinite().all() and found.abs().max() <= 1
