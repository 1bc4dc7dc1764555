from __future__ import annotations

import pytest
import torch
from quantized_nets import all_bits, network_of

from agmc.compression.held import Held
from agmc.compression.quantize import Quantization
from agmc.compression.sparsify import sparsify
from agmc.plan import Plan


def test_zeros_stay_and_step_sizes_stay_positive():
    network, inputs = network_of("residual")
    sparsify(network, {"conv1": 0.5})
    quantized = Quantization().apply(
        network, all_bits(network, sparsity={"conv1": 0.5}), inputs
    )
    weight = quantized.get_parameter("conv1.weight")
    zeros = weight.detach() == 0
    assert zeros.float().mean() == 0.5
    scales = {n: p for n, p in quantized.named_parameters() if n.endswith("scale")}
    first = {name: scale.detach().clone() for name, scale in scales.items()}
    held = Held(quantized, ["conv1"])
    with torch.no_grad():
        for parameter in quantized.parameters():
            parameter.sub_(1.0)
    held(1, 10)
    assert torch.equal(weight == 0, zeros)
    assert (quantized.get_parameter("conv2.weight") != 0).all()
    for name, scale in scales.items():
        assert torch.allclose(scale, torch.maximum(first[name] - 1, 0.01 * first[name]))
        assert (scale > 0).all()


def test_numbers_of_a_codebook_move_as_their_members_on_average():
    network, inputs = network_of("chain")
    sparse = {"conv2": 0.25}
    sparsify(network, sparse)
    plan = all_bits(network, 2, None, sparsity=sparse)
    sums, means = (
        Quantization(weights="codebook").apply(network, plan) for _ in range(2)
    )
    Held(means, list(sparse))
    for rounded in (sums, means):
        rounded(*inputs).square().sum().backward()
    for layer, first in (("conv1", 0), ("conv2", 1)):  # of the latter 0 comes first
        counts = torch.bincount(sums.get_buffer(f"{layer}.codes").flatten())[first:]
        both = [n.get_parameter(f"{layer}.codebook").grad for n in (sums, means)]
        assert torch.allclose(both[0] / counts, both[1], rtol=1e-5)


def test_zeros_of_a_layer_without_bits_stay_too():
    network, inputs = network_of("residual")
    sparsity = {"conv1": 0.5, "conv2": 0.25}
    sparsify(network, sparsity)
    plan = Plan({}, sparsity=sparsity, weight_bits={"conv1": 4})
    quantized = Quantization().apply(network, plan, inputs)
    held = Held(quantized, sparsity)
    with torch.no_grad():
        for parameter in quantized.parameters():
            parameter.sub_(1.0)
    held(1, 10)
    for layer, share in sparsity.items():
        weight = quantized.get_parameter(f"{layer}.weight")
        assert (weight == 0).float().mean() == pytest.approx(share, abs=0.01)
