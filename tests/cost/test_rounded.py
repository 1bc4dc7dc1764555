from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
import torch
from graph_nets import graph_of, quiet_trace

from agmc.compression.calibration import minmax
from agmc.compression.prune import Pruner, compress
from agmc.compression.quantize import Quantization
from agmc.compression.sparsify import sparsify
from agmc.cost.model import CostModel, cost_of
from agmc.export.checkpoint import to_bytes
from agmc.graph.weighted import weighted_layers
from agmc.models import build
from agmc.models.random_cnn import with_statistics
from agmc.plan import Plan, kept_channels, layer_parts
from agmc.plan_space import PlanSpace

FAMILIES = ("resnet8", "plain20", "densenet22_cifar", "shufflenet_v2_cifar")


def plan_of(graph, seed, weight_bits, act_bits, sparsity):
    layers = weighted_layers(graph.program)
    channels = PlanSpace(graph).sample(torch.Generator().manual_seed(seed))
    return Plan(
        channels.keep_ratio,
        sparsity=dict.fromkeys(layers, sparsity) if sparsity else {},
        weight_bits=dict.fromkeys(layers, weight_bits) if weight_bits else {},
        act_bits=dict.fromkeys(layers, act_bits) if act_bits else {},
    )


@functools.cache
def family(name):
    """Network, an input and its graph; nobody changes them."""
    torch.manual_seed(0)
    net = with_statistics(build(name, num_classes=10, in_channels=3)).eval()
    x = torch.randn(2, 3, 32, 32)
    return net, x, quiet_trace(net, x)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    ("weights", "weight_bits", "act_bits", "sparsity"),
    [
        ("uniform", 8, 8, 0.0),
        ("uniform", 4, None, 0.0),
        ("uniform", 2, 8, 0.0),
        ("uniform", 8, 8, 0.8),
        ("codebook", 4, 8, 0.0),
        ("codebook", 3, None, 0.9),
        ("uniform", None, None, 0.7),
    ],
)
def test_bytes_are_those_of_the_file(name, weights, weight_bits, act_bits, sparsity):
    net, x, graph = family(name)
    plan = plan_of(graph, 1, weight_bits, act_bits, sparsity)
    small = Pruner(net, graph).prune(plan)
    sparsify(small, plan.sparsity)
    if weight_bits or act_bits:
        small = Quantization(weights=weights, calibration=minmax).apply(
            small, plan, [x]
        )
    info = {"model": name, "classes": ["ant", "bee", "cat"]}
    model = CostModel(graph, codebooks=weights == "codebook", info=info)
    written = len(to_bytes(small, info=info))
    assert model.of(plan).bytes == pytest.approx(written, rel=0.02)
    counts, parts = kept_channels(graph, plan), layer_parts(graph, plan)
    assert written <= model.ceiling("bytes", counts, parts) <= 1.1 * written


@pytest.mark.parametrize("name", ["resnet8", "resnet20"])
@pytest.mark.parametrize(
    ("weight_bits", "act_bits", "sparsity", "keep_ratio"),
    [
        (8, 8, 0.0, 1.0),
        (2, 8, 0.0, 1.0),
        (2, 8, 0.0, 0.5),
        (2, 2, 0.0, 0.3),
        (4, 8, 0.9, 0.5),
        (3, None, 0.95, 1.0),
        (None, None, 0.98, 1.0),
    ],
)
def test_bytes_of_the_smallest_files(name, weight_bits, act_bits, sparsity, keep_ratio):
    """Many numbers in what is said of them are the same."""
    net, x, graph = family(name)
    parts = plan_of(graph, 1, weight_bits, act_bits, sparsity)
    channels = {group.name: keep_ratio for group in graph.groups}
    plan = dataclasses.replace(parts, keep_ratio=channels)
    rounding = Quantization(calibration=minmax)
    small = compress(net, plan, x, quantization=rounding, calibration=[x])
    for info in (None, {"classes": [f"{i * 7919:x}" for i in range(100)]}):
        predicted = CostModel(graph, info=info).of(plan).bytes
        written = len(to_bytes(small, info=info))
        assert predicted == pytest.approx(written, rel=0.02)


def test_the_network_itself_has_no_info():
    graph = graph_of("chain")
    silent, said = CostModel(graph), CostModel(graph, info={"by": "somebody"})
    assert said.of(None) == silent.of(None) == cost_of(graph)
    more = said.of(Plan({})).bytes - silent.of(Plan({})).bytes
    assert 10 < more < 40
    assert said.of_graph(graph).of(Plan({})) == said.of(Plan({}))
    assert silent.without_info is silent


def test_bit_operations_by_hand():
    graph = graph_of("chain")
    macs = CostModel(graph).widths.macs_by_operation(PlanSpace(graph).counts(None))
    conv1, conv2, linear = macs.values()
    plan = Plan({}, weight_bits={"conv1": 8, "conv2": 4}, act_bits={"conv2": 6})
    expected = conv1 * 8 * 32 + conv2 * 4 * 6 + linear * 32 * 32
    assert cost_of(graph, plan).bops == expected
    assert cost_of(graph, plan).macs == cost_of(graph).macs
    assert cost_of(graph).bops == 1024 * sum(macs.values())


def test_other_layers_are_refused():
    graph = graph_of("chain")
    for part in ("sparsity", "weight_bits", "act_bits"):
        with pytest.raises(ValueError, match=r"no layers \['x'\] with weights"):
            cost_of(graph, Plan({}, **{part: {"x": 0.5 if part == "sparsity" else 8}}))


@pytest.mark.parametrize(("weight_bits", "act_bits"), [(8, 8), (4, None), (None, None)])
def test_bits_of_dropped_blocks_are_not_there(weight_bits, act_bits):
    net, x, graph = family("resnet20")
    plan = plan_of(graph, 1, weight_bits, act_bits, 0.5)
    plan = dataclasses.replace(plan, dropped=["layer1.1", "layer2.2", "layer3.1"])
    small = compress(
        net, plan, x, quantization=Quantization(calibration=minmax), calibration=[x]
    )
    info = {"model": "resnet20"}
    predicted = CostModel(graph, info=info).of(plan)
    written = len(to_bytes(small, info=info))
    assert predicted.bytes == pytest.approx(written, rel=0.02)
    left = Pruner(net, graph).prune(Plan(plan.keep_ratio, dropped=plan.dropped))
    bits = (weight_bits or 32) * (act_bits or 32)
    assert predicted.bops == bits * cost_of(quiet_trace(left, x)).macs


def test_bits_and_blocks_of_many_plans_at_once_and_more_never_costs_less():
    _, _, graph = family("resnet20")
    costs, names = CostModel(graph), [block.name for block in graph.blocks]
    plan = plan_of(graph, 1, 4, 6, 0.5)
    counts, parts = kept_channels(graph, plan), layer_parts(graph, plan)
    kept = np.random.default_rng(0).random((3, len(names))) < 0.5
    for metric in ("bytes", "bops"):
        together = costs.evaluate(metric, counts, parts, kept)
        least = costs.ceiling(metric, counts, parts, kept)
        assert (least >= together).all()
        for row, value in zip(kept, together.tolist(), strict=True):
            dropped = [n for n, stays in zip(names, row, strict=True) if not stays]
            one = costs.of(dataclasses.replace(plan, dropped=dropped))
            assert getattr(one, metric) == value
        for i in range(len(names)):
            more = kept.copy()
            more[:, i] = True
            assert (costs.ceiling(metric, counts, parts, more) >= least).all()
