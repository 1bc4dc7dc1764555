"""The resized file has the sizes of the pruned network, and runs."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from agmc.compression.prune import Pruner
from agmc.export.resized import ResizedOnnx
from agmc.graph.trace import trace
from agmc.plan import Plan
from agmc.plan_space import PlanSpace


class Padded(nn.Module):
    """A depthwise convolution, a padded shortcut and a linear layer."""

    def __init__(self, literal: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.deep = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.second = nn.Conv2d(8, 16, 1)
        self.linear = nn.Linear(16, 5)
        self.literal = literal
        nn.init.uniform_(self.norm.bias)

    def forward(self, x):
        x = self.norm(self.first(x)).relu()
        y = self.second(self.deep(x))
        if self.literal:
            y = torch.cat(y.split([4, 12], 1), 1)
        x = y + nn.functional.pad(x, (0, 0, 0, 0, 4, 4))
        return self.linear(x.mean((2, 3)).flatten(1))


@pytest.mark.parametrize("literal", [False, True])
def test_the_file_of_a_pruned_network(literal: bool) -> None:
    torch.manual_seed(0)
    model, image = Padded(literal).eval(), torch.randn(1, 3, 6, 6)
    graph = trace(model, image)
    network = Pruner(model, graph).prune(Plan.uniform(PlanSpace(graph), 0.5))
    content = ResizedOnnx(model, graph, (image,)).under(network)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    assert result.shape == (1, 5)
    sizes = sum(parameter.numel() for parameter in network.parameters())
    held = onnx.load_from_string(content).graph.initializer
    floats = [t for t in held if t.data_type == onnx.TensorProto.FLOAT]
    numel = sum(int(np.prod(tensor.dims)) for tensor in floats)
    # Four of the five parameters of a batch norm are folded into another's bias.
    assert abs(numel - sizes) <= 2 * network.get_submodule("norm").num_features


@pytest.mark.parametrize("literal", [False, True])
def test_the_same_with_integers(literal: bool) -> None:
    torch.manual_seed(0)
    model, image = Padded(literal).eval(), torch.randn(1, 3, 6, 6)
    graph = trace(model, image)
    network = Pruner(model, graph).prune(Plan.uniform(PlanSpace(graph), 0.5))
    content = ResizedOnnx(model, graph, (image,), integers=True).under(network)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    assert result.shape == (1, 5)
    held = onnx.load_from_string(content).graph.initializer
    codes = {t.name: tuple(t.dims) for t in held if t.name.endswith("made.codes")}
    assert codes == {
        f"{name}_q.made.codes": tuple(tensor.shape)
        for name, tensor in network.state_dict().items()
        if name.endswith("weight") and tensor.dim() > 1
    }
