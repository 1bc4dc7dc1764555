from __future__ import annotations

import torch
from quantized_nets import all_bits, network_of

from agmc.compression.fold import state_of
from agmc.compression.quantize import Quantization
from agmc.compression.whole_biases import round_biases


def test_biases_are_multiples_of_the_steps_of_the_sums():
    network, inputs = network_of("residual")
    quantized = Quantization().apply(network, all_bits(network), inputs)
    before = state_of(quantized)["conv2.bias"].clone()
    with torch.no_grad():
        quantized.get_parameter("conv2.bias").add_(0.0123)
    round_biases(quantized)
    state = state_of(quantized)
    (inner,) = {
        name
        for op in quantized.program.operations
        if op.kind == "conv2d" and "conv2" in op.layer
        for name in (f"{op.args[0].name}.scale",)
    }
    step = state[inner].double() * state["conv2.scale"].double()
    for bias in (before, state["conv2.bias"]):
        codes = bias.double() / step
        assert (codes - codes.round()).abs().max() < 1e-2
        assert codes.round().unique().numel() > 2
    assert ((state["conv2.bias"] - before - 0.0123).abs() <= step).all()


def test_biases_behind_floats_stay():
    network, inputs = network_of("chain")
    bias = Quantization().apply(network, all_bits(network, 8, None))
    before = state_of(bias)["conv2.bias"].clone()
    round_biases(bias)
    assert torch.equal(state_of(bias)["conv2.bias"], before)
    shared = Quantization(weights="codebook").apply(network, all_bits(network), inputs)
    assert torch.equal(state_of(shared)["conv2.bias"], before)


def test_a_bias_that_is_large_beside_its_weights_fits_32_bits():
    network, inputs = network_of("chain")
    with torch.no_grad():
        network.bn1.weight[0], network.bn1.bias[0] = 1e-7, 0.5
    quantized = Quantization().apply(network, all_bits(network), inputs)
    state = state_of(quantized)
    (name,) = quantized.program.inputs
    step = state[f"{name}_q.scale"].double() * state["conv1.scale"].double()
    codes = state["conv1.bias"].double() / step
    assert codes.abs().max() < 2**31 and codes[0].abs() > 2**29
    assert state["conv1.bias"][0] == network.bn1.bias[0]
