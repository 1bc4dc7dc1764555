from __future__ import annotations

import pytest
import torch
from graph_nets import make, quiet_trace
from torch import nn

from agmc.compression.prune import Pruner
from agmc.compression.ranges import measure_ranges
from agmc.plan import Plan


def chain():
    net, x = make("chain")
    return Pruner(net, quiet_trace(net, x)).prune(Plan({})), *x


def test_the_values_that_the_network_computes():
    network, x = chain()
    program = network.program
    relu = next(op.name for op in program.operations if op.kind == "relu")
    (name,) = program.inputs
    found = measure_ranges(network, [name, relu], x.split(1))
    assert found[name].low == float(x.min()) and found[name].high == float(x.max())
    assert found[name].features == x[0].numel()
    inside = network.bn1(network.conv1(x)).relu()
    assert found[relu].low == 0
    assert found[relu].high == pytest.approx(float(inside.detach().max()), rel=1e-6)
    assert found[relu].features == inside[0].numel()
    sample = found[relu].sample
    assert sample.equal(sample.sort().values)
    assert torch.isin(
        sample, torch.cat([*map(network_part(network), x.split(1))])
    ).all()
    assert sample.mean() == pytest.approx(float(inside.detach().mean()), rel=0.1)
    again = measure_ranges(network, [relu], x.split(1))
    other = measure_ranges(network, [relu], x.split(1), seed=1)
    assert not again[relu].sample.equal(other[relu].sample)


def network_part(network):
    def part(x):
        return network.bn1(network.conv1(x)).relu().detach().flatten()

    return part


def test_bad_activations_are_refused():
    network, x = chain()
    (name,) = network.program.inputs
    with pytest.raises(ValueError, match="no batches to measure the activations on"):
        measure_ranges(network, [name], [])
    with pytest.raises(ValueError, match=r"activation '.*' is not finite"):
        measure_ranges(network, [name], [x / 0])
    nn.init.constant_(network.get_submodule("conv1").weight, torch.inf)
    with pytest.raises(ValueError, match=r"activation '.*' is not finite"):
        measure_ranges(network, [network.program.operations[0].name], [x])
