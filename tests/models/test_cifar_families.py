"""The families for 32 x 32 images: published sizes, shapes, and a forward by hand."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from agmc.compression.prune import Pruner
from agmc.graph.trace import trace
from agmc.models import build, names
from agmc.models.cifar_densenet import CifarDenseNet, DenseLayer, Transition
from agmc.models.cifar_mobilenet import CifarMobileNetV2, InvertedResidual
from agmc.models.cifar_plain import CifarPlain
from agmc.models.cifar_shufflenet import CifarShuffleNetV2, ShuffleUnit
from agmc.models.cifar_vgg import CifarVGG
from agmc.plan_space import PlanSpace

CONF = Path(__file__).parents[2] / "conf" / "model"


@pytest.mark.parametrize(
    ("name", "layers", "parameters"),
    [
        # Convolutions and the linear layer; trainable parameters.
        ("plain20", 20, 269_722),  # a ResNet-20 without its free shortcuts
        ("plain32", 32, 464_154),
        ("vgg11_bn_cifar", 9, 9_228_362),
        ("vgg16_bn_cifar", 14, 14_724_042),
        ("vgg19_bn_cifar", 17, 20_035_018),
        ("mobilenet_v2_cifar", 53, 2_236_682),
        ("shufflenet_v2_cifar", 57, 352_042),
        ("densenet22_cifar", 22, 71_686),
        ("densenet40_cifar", 40, 176_122),
    ],
)
def test_sizes(name, layers, parameters):
    model = build(name, num_classes=10)
    weights = [p for p in model.parameters() if p.dim() > 1]
    assert len(weights) == layers
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_mobilenet_has_the_layers_of_torchvision():
    ours = build("mobilenet_v2_cifar", num_classes=10)
    theirs = build("torchvision.mobilenet_v2", num_classes=10)
    shapes = [sorted(tuple(p.shape) for p in m.parameters()) for m in (ours, theirs)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("name", names())
def test_every_own_network_is_a_choice_of_the_configuration(name):
    assert f"name: {name}  #" in (CONF / f"{name}.yaml").read_text()


SMALL = [
    CifarPlain(2, num_classes=5, in_channels=1, widths=(4, 6, 8)),
    CifarVGG((1, 1, 2, 1, 1), num_classes=5, in_channels=1, widths=(2, 3, 4, 5, 6)),
    CifarMobileNetV2(num_classes=5, in_channels=1, width=0.1),
    CifarDenseNet(1, num_classes=5, in_channels=1, growth=2),
    CifarShuffleNetV2(num_classes=5, in_channels=1, widths=(4, 4, 6, 8, 10)),
]


@pytest.mark.parametrize("model", SMALL, ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("size", [16, 28, 32])
def test_shapes(model, size):
    assert model.eval()(torch.zeros(2, 1, size, size)).shape == (2, 5)


@pytest.mark.parametrize("model", SMALL, ids=lambda model: type(model).__name__)
def test_all_channels_can_go_and_removal_equals_zeroing(model):
    model = copy.deepcopy(model).train().double()
    torch.manual_seed(0)
    images = torch.randn(8, 1, 16, 16, dtype=torch.float64)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the first batch alone: signals keep their size
    model(images)
    model.eval()
    graph = trace(model, images)
    assert graph.unprunable == ()
    plan = PlanSpace(graph).sample(torch.Generator().manual_seed(0))
    pruner = Pruner(model, graph)
    with torch.no_grad():
        expected = pruner.mask(plan)(images)
        assert torch.allclose(pruner.prune(plan)(images), expected, rtol=1e-9)
        assert not torch.allclose(expected, model(images), rtol=1e-3)


def test_plain_network_by_hand():
    model = build("plain20", num_classes=3).eval()
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    layers = [model.stem, *model.layer1, *model.layer2, *model.layer3]
    expected = x
    for index, layer in enumerate(layers):
        stride = 2 if index in (7, 13) else 1
        expected = F.conv2d(expected, layer.conv.weight, stride=stride, padding=1)
        expected = F.relu(expected / (1 + 1e-5) ** 0.5)  # batch norm of a fresh network
    expected = model.linear(expected.mean((2, 3)))
    assert torch.allclose(model(x), expected, atol=1e-5)


def test_inverted_residual_has_a_shortcut_where_nothing_changes():
    x = torch.rand(1, 8, 4, 4)
    for planes, stride, factor in ((8, 1, 1), (16, 1, 0), (8, 2, 0)):
        block = InvertedResidual(8, planes, expansion=6, stride=stride).eval()
        torch.nn.init.zeros_(block.project.bn.weight)  # leaves the shortcut alone
        out = block(x)
        assert out.shape == (1, planes, 4 // stride, 4 // stride)
        assert torch.equal(out, factor * x if factor else torch.zeros_like(out))


def test_dense_layer_joins_and_transition_halves():
    x = torch.rand(1, 6, 4, 4)
    out = DenseLayer(6, 3).eval()(x)
    assert out.shape == (1, 9, 4, 4) and torch.equal(out[:, :6], x)
    assert Transition(6).eval()(x).shape == (1, 3, 2, 2)


def test_shuffle_unit_passes_half_and_takes_turns():
    x = torch.rand(1, 8, 4, 4)
    unit = ShuffleUnit(8, 8, stride=1).eval()
    out = unit(x)
    assert torch.equal(out[:, ::2], x[:, :4])
    assert torch.equal(out[:, 1::2], unit.branch2(x[:, 4:]))
    with pytest.raises(ValueError, match=r"planes \(=6\) must be even and"):
        ShuffleUnit(8, 6, stride=1)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CifarPlain(0, num_classes=2), r"num_layers \(=0\)"),
        (lambda: CifarPlain(1, num_classes=2, widths=(1, 2)), "must be 3 numbers"),
        (lambda: CifarPlain(1, num_classes=2, widths=(0, 1, 2)), "all >= 1"),
        (lambda: CifarVGG((1, 1, 1, 1, 0), num_classes=2), r"depths .* all >= 1"),
        (lambda: CifarVGG((1,) * 5, num_classes=2, widths=(8,)), "must be 5 numbers"),
        (lambda: CifarMobileNetV2(num_classes=2, width=0), r"width \(=0\)"),
        (lambda: CifarMobileNetV2(num_classes=0), r"num_classes \(=0\)"),
        (lambda: CifarDenseNet(1, num_classes=2, growth=0), r"growth \(=0\)"),
        (lambda: CifarShuffleNetV2(num_classes=2, widths=(8,)), "must be 5 numbers"),
    ],
)
def test_bad_numbers(make, words):
    with pytest.raises(ValueError, match=words):
        make()
