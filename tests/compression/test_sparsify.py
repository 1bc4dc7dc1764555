"""Which weights go, and how a share is spread over layers, by hand."""

from __future__ import annotations

import pytest
import torch
from graph_nets import quiet_trace
from torch import nn

from agmc.compression.prune import Pruner, compress
from agmc.compression.sparsify import (
    MagnitudePruning,
    Thinned,
    global_sparsity,
    lamp_sparsity,
    layer_weights,
    smallest,
    smallest_weights,
    sparsify,
    uniform_sparsity,
    zero,
)
from agmc.plan import Plan

X = torch.ones(2, 2)


def network(first=((1.0, -2.0), (3.0, -4.0)), second=((10.0, -0.5),)):
    """Two linear layers, "0" and "1", as a GraphNetwork."""
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, len(second), bias=False))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor(first))
        net[1].weight.copy_(torch.tensor(second))
    return Pruner(net, quiet_trace(net, X)).prune(Plan({}))


def weights(net):
    return {name: weight.tolist() for name, weight in layer_weights(net).items()}


def test_the_smallest_of_each_layer_go_and_nothing_else():
    net = network()
    bias = net.get_submodule("0").bias.clone()
    sparsify(net, {"0": 0.5})
    assert weights(net) == {"0": [[0, 0], [3, -4]], "1": [[10, -0.5]]}
    assert torch.equal(net.get_submodule("0").bias, bias)
    sparsify(net, {"1": 0.5, "0": 0.75})
    assert weights(net) == {"0": [[0, 0], [0, -4]], "1": [[10, 0]]}


def test_what_went_can_come_back():
    net = network()
    thinned = Thinned(net, {"0": 0.5})
    assert weights(net) == {"0": [[0, 0], [3, -4]], "1": [[10, -0.5]]}
    with torch.no_grad():
        net.get_parameter("1.weight").mul_(2)  # not its business
    thinned.restore()
    assert weights(net) == {"0": [[1, -2], [3, -4]], "1": [[20, -1]]}


@pytest.mark.parametrize(
    ("share", "zeros"), [(0, 0), (0.1, 0), (0.13, 1), (0.25, 1), (0.9, 3), (1, 4)]
)
def test_the_nearest_whole_number_goes(share, zeros):
    net = network()
    sparsify(net, {"0": share})
    assert (layer_weights(net)["0"] == 0).sum() == zeros


def test_of_equals_the_first_go_whatever_the_layout():
    net = network(first=((1.0, -1.0), (0.5, 1.0)))
    sparsify(net, {"0": 0.5})
    assert weights(net)["0"] == [[0, -1], [0, 1]]
    values = torch.ones(1, 2, 2, 2).to(memory_format=torch.channels_last)
    assert smallest(values, 3).flatten().tolist() == [True] * 3 + [False] * 5


def test_masks_say_what_goes_and_can_be_carried_out_elsewhere():
    net, other = network(), network(first=((9.0, 9.0), (9.0, 9.0)))
    masks = smallest_weights(net, {"0": 0.5})
    assert masks["0"].tolist() == [[True, True], [False, False]]
    assert weights(net) == weights(network())
    zero(other, masks)
    assert weights(other)["0"] == [[0, 0], [9, 9]]


def test_names_and_shares_that_are_wrong_are_refused():
    net = network()
    for call in (sparsify, smallest_weights):
        with pytest.raises(ValueError, match=r"\['a'\].*the network has \['0', '1'\]"):
            call(net, {"0": 0.5, "a": 0.5})
    with pytest.raises(ValueError, match=r"\['b'\].*the network has"):
        zero(net, {"b": torch.ones(2, 2)})
    with pytest.raises(ValueError, match=r"sparsity of '0' \(=1.1\)"):
        sparsify(net, {"0": 1.1})
    with pytest.raises(ValueError, match=r"this Linear are unknown; take what"):
        sparsify(nn.Linear(2, 2), {})
    assert weights(net) == weights(network())


def test_uniform():
    assert uniform_sparsity(network(), 0.3) == {"0": 0.3, "1": 0.3}


def test_one_threshold_for_all_layers():
    # Magnitudes 1, 2, 3, 4 and 10, 0.5: of three, 0.5, 1 and 2 are the smallest.
    assert global_sparsity(network(), 0.5) == {"0": 0.5, "1": 0.5}
    # Of four, 3 is the next; the largest of a layer stays even where all are small.
    assert global_sparsity(network(), 4 / 6) == {"0": 0.75, "1": 0.5}
    small = network(second=((0.1, 0.2),))
    assert global_sparsity(small, 0.5) == {"0": 0.5, "1": 0.5}


def test_lamp_by_hand():
    # Scores 1/30, 4/29, 9/25, 1 and 1, 0.25/100.25; then twice as large: the same.
    for factor in (1, 2):
        net = network(second=((10.0 * factor, -0.5 * factor),))
        assert lamp_sparsity(net, 1 / 6) == {"0": 0, "1": 0.5}
        assert lamp_sparsity(net, 2 / 6) == {"0": 0.25, "1": 0.5}
        assert lamp_sparsity(net, 4 / 6) == {"0": 0.75, "1": 0.5}


@pytest.mark.parametrize("spread", [uniform_sparsity, global_sparsity, lamp_sparsity])
def test_shares_add_up_and_plans_take_them(spread):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 5)).eval()
    x = torch.randn(2, 3, 6, 6)
    found = spread(compress(net, Plan({}), x), 0.8)
    small = compress(net, Plan({}, sparsity=found), x)
    zeros = sum(int((w == 0).sum()) for w in layer_weights(small).values())
    total = sum(w.numel() for w in layer_weights(small).values())
    assert abs(zeros - 0.8 * total) <= (2 if spread is uniform_sparsity else 0.5)


@pytest.mark.parametrize("spread", [uniform_sparsity, global_sparsity, lamp_sparsity])
def test_shares_out_of_range_are_refused(spread):
    for share in (-0.1, 1.0):
        with pytest.raises(ValueError, match=rf"share \(={share}\)"):
            spread(network(), share)
    if spread is not uniform_sparsity:
        with pytest.raises(ValueError, match="each of 2 layers.*at most 0.666667"):
            spread(network(), 0.8)


@pytest.mark.parametrize(
    ("spread", "function"),
    [
        ("uniform", uniform_sparsity),
        ("global", global_sparsity),
        ("lamp", lamp_sparsity),
    ],
)
def test_a_share_is_spread_by_name(spread, function):
    net = network()
    pruning = MagnitudePruning(share=0.5, spread=spread)
    assert pruning.shares(net) == function(net, 0.5)
