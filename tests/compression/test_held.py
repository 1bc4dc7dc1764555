from __future__ import annotations

import torch
from quantized_nets import all_bits, network_of

from agmc.compression.held import Held
from agmc.compression.quantize import Quantization
from agmc.compression.sparsify import sparsify


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
