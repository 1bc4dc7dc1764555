from __future__ import annotations

import copy
import warnings

import block_nets  # noqa: F401  (more of HARD)
import numpy as np
import pytest
import torch
import trap_nets  # noqa: F401  (more of HARD)
from graph_nets import (
    NETS,
    conv,
    counted_macs,
    double,
    flat,
    graph_of,
    make,
    quiet_trace,
    relative_error,
    to_double,
)
from hard_nets import HARD
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from agmc.compression.prune import Pruner, compress
from agmc.compression.quantize import Quantization
from agmc.compression.sparsify import layer_weights
from agmc.cost.model import cost_of
from agmc.export.checkpoint import load, save
from agmc.graph.groups import UnprunableWarning
from agmc.graph.trace import trace
from agmc.graph.weighted import weighted_layers
from agmc.models.random_cnn import BLOCKS, random_net, with_statistics
from agmc.plan import Plan
from agmc.plan_space import PlanSpace


def check_plan(net, inputs, graph, plan, *, retraced=True):
    """Everything that must hold of one plan, in float64."""
    pruner = Pruner(net, graph)
    small, masked = pruner.prune(plan), pruner.mask(plan)
    assert not small.training
    with torch.no_grad():
        outputs = small(*inputs)
        assert relative_error(outputs, masked(*inputs)) <= 1e-9
    predicted = cost_of(graph, plan)
    read = set(graph.program.parameters)
    numel = sum(p.numel() for n, p in small.named_parameters() if n in read)
    assert predicted.params == numel
    assert predicted.macs == counted_macs(small, inputs)
    if retraced:
        again = cost_of(quiet_trace(small, inputs))
        assert (again.macs, again.params) == (predicted.macs, predicted.params)
    check_attributes(small)
    loss = sum((x**2).sum() for x in flat(small.train()(*inputs)))
    loss.backward()
    used = [p for n, p in small.named_parameters() if n in read]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in used)


def check_attributes(net):
    for module in net.modules():
        if isinstance(module, nn.modules.conv._ConvNd):
            assert module.out_channels == module.weight.shape[0]
            assert module.in_channels == module.weight.shape[1] * module.groups
            assert module.out_channels % module.groups == 0
        elif isinstance(module, nn.Linear):
            assert module.weight.shape == (module.out_features, module.in_features)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert module.running_mean.shape == (module.num_features,)
            assert module.running_var.shape == (module.num_features,)
            if module.affine:
                assert module.weight.shape == (module.num_features,)


def plans(graph, number, *, seed=0):
    """Random plans, and the one that keeps as little as can be."""
    generator = torch.Generator().manual_seed(seed)
    space = PlanSpace(graph, min_keep_ratio=0.01)
    yield space.plan([1] * len(space))
    for _ in range(number):
        yield space.sample(generator)


@pytest.mark.parametrize("name", NETS)
def test_pruned_equals_masked_and_costs_what_was_predicted(name):
    net, inputs, graph = double(name)
    assert graph.groups
    least, *others = plans(graph, 2)
    check_plan(net, inputs, graph, least, retraced=False)
    check_plan(net, inputs, graph, others[0], retraced=name != "resnet20")
    check_plan(net, inputs, graph, others[1], retraced=False)


@pytest.mark.parametrize("name", NETS)
def test_keeping_all_changes_nothing_and_the_model_is_untouched(name):
    net, inputs, graph = double(name)
    before = {n: t.clone() for n, t in net.state_dict().items()}
    attributes = {n: repr(m) for n, m in net.named_modules()}
    expected = flat(net(*inputs))
    pruner = Pruner(net, graph)
    same = pruner.prune(Plan.uniform(PlanSpace(graph), 1.0))
    for one, other in zip(flat(same(*inputs)), expected, strict=True):
        assert torch.equal(one, other)
    pruner.prune(next(plans(graph, 0)))
    assert net.state_dict().keys() == before.keys()
    assert all(torch.equal(t, before[n]) for n, t in net.state_dict().items())
    assert {n: repr(m) for n, m in net.named_modules()} == attributes
    own = {t.data_ptr() for t in net.state_dict().values()}
    assert own.isdisjoint(t.data_ptr() for t in same.state_dict().values())


def test_a_plain_chain_by_hand():
    net = nn.Sequential(conv(1, 3, 1), nn.ReLU(), conv(3, 1, 1)).eval()
    with torch.no_grad():
        net[0].weight[:] = torch.tensor([1.0, -5.0, 3.0]).view(3, 1, 1, 1)
        net[0].bias[:] = torch.tensor([0.1, 0.2, 0.3])
        net[2].weight[:] = torch.tensor([2.0, 2.0, 2.0]).view(1, 3, 1, 1)
        net[2].bias[:] = 1.0
    x = torch.ones(2, 1, 2, 2)
    small = compress(net, Plan({"0": 2 / 3}), x)
    # The channel with the smallest weight goes.
    assert small[0].weight.flatten().tolist() == [-5.0, 3.0]
    assert small[0].bias.tolist() == pytest.approx([0.2, 0.3])
    assert (small[0].out_channels, small[2].in_channels) == (2, 2)
    # relu(-4.8) * 2 + relu(3.3) * 2 + 1
    assert torch.allclose(small(x), torch.full((2, 1, 2, 2), 7.6))


def test_tied_weights_stay_tied():
    net, inputs = make("tied_weights")
    graph = quiet_trace(net, inputs)
    small = compress(net, Plan.uniform(PlanSpace(graph), 0.5), inputs)
    assert small.first.weight is small.second.weight
    assert small.first.weight.shape == (3, 3, 3, 3)


def test_frozen_parameters_stay_frozen():
    for name in ("chain", "negative_slice"):
        net, inputs = make(name)
        net.conv1.weight.requires_grad_(False)
        graph = quiet_trace(net, inputs)
        small = Pruner(net, graph).prune(next(plans(graph, 0)))
        frozen = [n for n, p in small.named_parameters() if not p.requires_grad]
        assert frozen == ["conv1.weight"]


def test_groups_shrink_evenly_even_to_one_channel_each():
    net, inputs = make("grouped")
    graph = graph_of("grouped")
    space = PlanSpace(graph, min_keep_ratio=0.01)
    assert [(d.name, d.size) for d in space] == [
        ("conv1", 4),
        ("grouped", 6),
        ("conv2", 6),
    ]
    small = Pruner(net, graph).prune(space.plan([1, 1, 6]))
    layer = small.grouped
    assert (layer.groups, layer.in_channels, layer.out_channels) == (2, 2, 2)
    small(*inputs)


@pytest.mark.parametrize("name", ["depthwise", "resnet20", "fixed_filter"])
def test_pruned_twice_through_a_file(name, tmp_path):
    net, inputs = make(name)
    graph = graph_of(name)
    small = Pruner(net, graph).prune(Plan.uniform(PlanSpace(graph), 0.7))
    save(small, tmp_path / "once.safetensors")
    once = load(tmp_path / "once.safetensors")
    assert relative_error(once(*inputs), small(*inputs)) < 1e-5
    graph = quiet_trace(once, inputs)
    pruner = Pruner(once, graph)
    plan = Plan.uniform(PlanSpace(graph), 0.6)
    twice = pruner.prune(plan)
    save(twice, tmp_path / "twice.safetensors")
    again = load(tmp_path / "twice.safetensors")
    assert relative_error(again(*inputs), pruner.mask(plan)(*inputs)) < 1e-4
    assert cost_of(graph, plan).macs == counted_macs(again, inputs)


def test_pruning_copies_what_the_model_holds_besides():
    net, inputs = make("chain")
    net.note = ["kept"]
    small = compress(net, Plan({"conv1": 0.5}), inputs)
    assert small.note == ["kept"] and small.note is not net.note
    assert copy.deepcopy(small)(*inputs).shape == (3, 4)


def test_a_plan_of_another_network_is_refused():
    net, inputs = make("chain")
    with pytest.raises(ValueError, match=r"unknown channel groups \['nope'\]"):
        compress(net, Plan({"nope": 0.5}), inputs)


def hard_net(name):
    """Network and inputs in float64."""
    torch.manual_seed(0)
    net, inputs = HARD[name].make()
    return to_double(with_statistics(net).eval()), tuple(x.double() for x in inputs)


def plans_of(name, graph):
    """Three random plans and the smallest one."""
    if name.startswith("einsum_"):  # torch counts no products of one channel
        space = PlanSpace(graph, min_keep_ratio=0.3)
        return [space.sample(torch.Generator().manual_seed(i)) for i in range(3)]
    return list(plans(graph, 3))


@pytest.mark.parametrize("name", HARD)
def test_hard_shapes(name):
    net, inputs = hard_net(name)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        graph = trace(net, inputs)
    assert {group.name for group in graph.groups} == HARD[name].groups
    # What is left alone is said, and nothing is said where all can go.
    said = [str(w.message) for w in caught if w.category is UnprunableWarning]
    reason = HARD[name].warned
    assert any(reason in text for text in said) if reason else not said
    if not graph.groups:
        return
    chosen = plans_of(name, graph)
    for plan in chosen:
        check_plan(net, inputs, graph, plan, retraced=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnprunableWarning)
        small = compress(net, chosen[1], inputs)
    expected = Pruner(net, graph).mask(chosen[1])(*inputs)
    assert relative_error(small(*inputs), expected) <= 1e-9
    # Zeroing matters, so that the comparison says something.
    assert relative_error(expected, net(*inputs)) > 1e-6
    sum(x.square().sum() for x in flat(small.train()(*inputs))).backward()


@pytest.mark.parametrize(
    "name",
    (
        *("padded_shortcut", "shufflenet_units", "split_attention", "group_norm"),
        *("heads_by_reshape", "many_groups_go_whole", "transposed_grouped"),
        *("positions_selected", "dictionary_of_outputs", "class_token"),
        *("fourier_filter", "tied_encoder_and_decoder", "frozen_batch_norm"),
    ),
)
def test_hard_shapes_survive_a_file(name, tmp_path):
    net, inputs = hard_net(name)
    graph = quiet_trace(net, inputs)
    small = Pruner(net, graph).prune(plans_of(name, graph)[-1])
    save(small, tmp_path / "small.safetensors")
    again = load(tmp_path / "small.safetensors")
    for one, other in zip(flat(again(*inputs)), flat(small(*inputs)), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    "name",
    (
        *("padded_shortcut", "shufflenet_units", "transposed_grouped"),
        *("many_groups_go_whole", "tied_encoder_and_decoder", "class_token"),
    ),
)
def test_of_the_weights_that_are_left_the_smallest_become_zero(name):
    net, inputs = hard_net(name)
    graph = quiet_trace(net, inputs)
    layers, channels = weighted_layers(graph.program), plans_of(name, graph)[1]
    plan = Plan(channels.keep_ratio, sparsity=dict.fromkeys(layers, 0.4))
    small = compress(net, plan, inputs)
    dense = Pruner(net, graph).prune(channels)
    assert [*layer_weights(small)] == [*layers] and len(layers) > 1
    for layer, weight in layer_weights(dense).items():
        magnitudes = weight.abs().flatten()
        expected = weight.clone()
        gone = magnitudes.argsort(stable=True)[: round(0.4 * len(magnitudes))]
        expected.data.view(-1)[gone] = 0
        assert torch.equal(layer_weights(small)[layer], expected)


def test_a_layer_may_lose_all_that_one_output_has():
    net, inputs = make("chain")
    (name, weight), *_ = layer_weights(compress(net, Plan({}), inputs)).items()
    with torch.no_grad():
        net.get_parameter(f"{name}.weight")[0] *= 1e-6
    small = compress(net, Plan({}, sparsity={name: 1 / len(weight)}), inputs)
    assert (layer_weights(small)[name][0] == 0).all()
    assert flat(small(*inputs))[0].isfinite().all()


def test_sparsity_of_other_layers_is_refused():
    net, inputs = make("chain")
    with pytest.raises(ValueError, match=r"no layers \['nothing'\].*the network has"):
        compress(net, Plan({}, sparsity={"nothing": 0.5}), inputs)


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(
    blocks=st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=5),
    seed=st.integers(0, 2**16),
)
def test_random_networks_and_plans(blocks, seed):
    net, inputs = random_net(blocks, seed)
    graph = quiet_trace(net, inputs)
    space = PlanSpace(graph, min_keep_ratio=0.01)
    plan = space.sample(torch.Generator().manual_seed(seed))
    check_plan(net, inputs, graph, plan, retraced=False)
    same = Pruner(net, graph).prune(space.plan(space.counts(None)))
    assert torch.equal(same(*inputs), net(*inputs))
    assert np.array_equal(space.counts(Plan({})), space.counts(None))


def test_bits_of_a_plan_are_carried_out():
    net, inputs = make("residual")
    bits = {"stem": 4, "linear": 8}
    plan = Plan({"conv1": 0.5}, weight_bits=bits, act_bits={"linear": 8})
    small = compress(net, plan, inputs, calibration=inputs)
    names = {op.name for op in small.program.operations}
    assert {"stem.weight_q", "linear.weight_q", "mean_q"} <= names
    assert "conv1.weight_q" not in names
    shared = compress(
        net,
        Plan({}, weight_bits=bits),
        inputs,
        quantization=Quantization(weights="codebook"),
    )
    assert 8 < len(shared.get_parameter("stem.codebook")) <= 16
    with pytest.raises(ValueError, match="no batches to measure the activations on"):
        compress(net, plan, inputs)
