from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from graph_nets import NETS, conv, counted_macs, graph_of, make, quiet_trace
from torch import nn

from agmc.compression.prune import Pruner
from agmc.cost.energy import EnergyTable
from agmc.cost.model import METRICS, TABLE_METRICS, Cost, CostModel, cost_of
from agmc.cost.tables import Tables
from agmc.export.checkpoint import to_bytes
from agmc.graph.trace import trace
from agmc.models import build
from agmc.models.random_cnn import random_net, with_statistics
from agmc.plan import Plan, kept_blocks
from agmc.plan_space import PlanSpace


def test_a_chain_by_hand():
    net = nn.Sequential(
        conv(3, 8, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        conv(8, 4, stride=2),
        nn.Flatten(),
        nn.Linear(4 * 9, 5),
    ).eval()
    graph = trace(net, torch.randn(2, 3, 6, 6))
    cost = cost_of(graph)
    assert cost.macs == 36 * 8 * 27 + 9 * 4 * 72 + 36 * 5
    assert cost.params == 8 * 27 + 16 + 4 * 72 + 4 + 36 * 5 + 5
    half = cost_of(graph, Plan({"0": 0.5, "3": 0.25}))
    assert half.macs == 36 * 4 * 27 + 9 * 1 * 36 + 9 * 5
    assert half.params == 4 * 27 + 8 + 36 + 1 + 9 * 5 + 5
    # float32 weights, and running mean and variance.
    assert cost.bytes - half.bytes == 4 * (cost.params - half.params + 2 * 4)


@pytest.mark.parametrize("name", NETS)
def test_the_original_costs_what_torch_counts(name):
    net, inputs = make(name)
    graph = graph_of(name)
    cost = cost_of(graph)
    read = set(graph.program.parameters)
    assert cost.macs == counted_macs(net, inputs)
    assert cost.params == sum(p.numel() for n, p in net.named_parameters() if n in read)
    assert cost == CostModel(graph).cost(
        np.array([group.size for group in graph.groups])
    )


@pytest.mark.parametrize("name", ["resnet20", "grouped", "flatten_spatial", "concat"])
def test_many_plans_at_once_equal_one_at_a_time_and_more_never_costs_less(name):
    graph = graph_of(name)
    model, space = CostModel(graph), PlanSpace(graph)
    generator = torch.Generator().manual_seed(0)
    plans = [space.sample(generator) for _ in range(12)]
    counts = np.stack([space.counts(plan) for plan in plans])
    for metric in METRICS:
        together = model.evaluate(metric, counts.reshape(3, 4, -1))
        assert together.shape == (3, 4) and together.dtype == np.int64
        single = [getattr(cost_of(graph, plan), metric) for plan in plans]
        assert together.reshape(-1).tolist() == single
    for row in counts[:4]:
        for i, decision in enumerate(space):
            ladder = np.repeat(row[None], decision.size, 0)
            ladder[:, i] = np.arange(1, decision.size + 1)
            for metric in METRICS:
                assert (np.diff(model.evaluate(metric, ladder)) >= 0).all()
            assert np.all(np.diff(model.evaluate("params", ladder)) > 0)


def test_closed_form_takes_no_time():
    graph = graph_of("resnet20")
    model, space = CostModel(graph), PlanSpace(graph)
    counts = space.counts(Plan.uniform(space, 0.5))
    seconds = []
    for _ in range(50):
        start = time.perf_counter()
        model.evaluate("macs", counts)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1e-3


@pytest.mark.parametrize("seed", [0, 1])
def test_bytes_are_those_of_the_file(seed):
    net, inputs = make("resnet20")
    graph = graph_of("resnet20")
    plan = PlanSpace(graph).sample(torch.Generator().manual_seed(seed))
    for case in (plan, None):
        small = Pruner(net, graph).prune(case or Plan({}))
        assert cost_of(graph, case).bytes == pytest.approx(
            len(to_bytes(small)), rel=0.02
        )


#: As many names of classes as a file is given, of letters that do not repeat much.
INFO = {"classes": [f"{hash((i, 0)) % 26**6:x}" for i in range(100)], "model": "net"}


@pytest.mark.parametrize("name", NETS)
def test_a_file_never_takes_more_bytes_than_its_plan(name):
    net, _ = make(name)
    graph = graph_of(name)
    plans = [Plan({})]
    if any(graph.groups):
        generator = torch.Generator().manual_seed(0)
        plans += [PlanSpace(graph).sample(generator) for _ in range(3)]
    for plan in plans:
        small = Pruner(net, graph).prune(plan)
        for info in (None, INFO):
            predicted = CostModel(graph, info=info).of(plan).bytes
            written = len(to_bytes(small, info=info))
            # What is left is for shapes, and what zeros take less.
            assert written <= predicted < 1.02 * written + 150


def test_metrics_are_the_fields_of_cost():
    assert tuple(Cost.__dataclass_fields__) == (*METRICS, *TABLE_METRICS)
    with pytest.raises(ValueError, match="'flops' is none of macs, params, bytes"):
        CostModel(graph_of("chain")).evaluate("flops", np.array([8, 6]))


#: Every operator moves bytes and most multiply, so that none can be forgotten.
ENERGY = Tables(energy=EnergyTable({"*": {"mac": 4.6, "byte": 160}}))


def with_blocks(name, seed=0):
    """A network in which blocks can go, and inputs."""
    torch.manual_seed(seed)
    kinds = ("residual", "chain", "attention", "residual", "concat", "attention")
    if name in NETS:
        return make(name)
    if name == "random":
        return random_net(kinds, seed)
    net = build(name, num_classes=5)
    return with_statistics(net).eval(), (torch.randn(3, 3, 16, 16),)


@pytest.mark.parametrize(
    "name", ["resnet20", "residual", "mobilenet_v2_cifar", "random"]
)
def test_dropped_blocks_cost_what_the_network_without_them_costs(name):
    net, inputs = with_blocks(name)
    graph = quiet_trace(net, inputs)
    costs, space, pruner = (
        CostModel(graph, ENERGY),
        PlanSpace(graph),
        Pruner(net, graph),
    )
    generator = torch.Generator().manual_seed(0)
    names = [block.name for block in graph.blocks]
    for share in (0.0, 0.5, 1.0):
        draws = torch.rand(len(names), generator=generator)
        dropped = [n for n, u in zip(names, draws.tolist(), strict=True) if u < share]
        keep = space.sample(generator).keep_ratio
        plan = Plan(keep, dropped=dropped)
        small = pruner.prune(plan)
        predicted, traced = (
            costs.of(plan),
            CostModel(quiet_trace(small, inputs), ENERGY),
        )
        again = traced.of(None)
        for metric in ("macs", "params", "bops", "activation_bytes"):
            assert getattr(predicted, metric) == getattr(again, metric)
        assert predicted.energy == pytest.approx(again.energy, rel=1e-6)
        written = len(to_bytes(small, info=INFO))
        with_info = CostModel(graph, info=INFO).of(plan).bytes
        # What is left is what regions have in common: it is counted as none's own.
        assert written <= with_info < 1.02 * written + 600


@pytest.mark.parametrize("name", ["resnet20", "random"])
def test_many_choices_of_blocks_at_once_and_keeping_one_never_costs_less(name):
    net, inputs = with_blocks(name)
    graph = quiet_trace(net, inputs)
    costs = CostModel(graph, ENERGY)
    space = PlanSpace(graph, min_keep_ratio=1e-9)
    draw = np.random.default_rng(0)
    kept = draw.random((3, 4, len(graph.blocks))) < 0.6
    counts = draw.integers(1, 1 + space.counts(None), (3, 1, len(space)))
    names = np.array([block.name for block in graph.blocks])
    for metric in (*METRICS, "energy"):
        together = costs.evaluate(metric, counts, kept=kept)
        assert together.shape == (3, 4)
        assert (costs.ceiling(metric, counts, kept=kept) == together).all()
        keep = space.plan(counts[1, 0]).keep_ratio
        plan = Plan(keep, dropped=names[~kept[1, 2]].tolist())
        assert (kept_blocks(graph, plan) == kept[1, 2]).all()
        assert together[1, 2] == pytest.approx(getattr(costs.of(plan), metric))
        for i in range(len(names)):
            more = kept.copy()
            more[..., i] = True
            assert (costs.evaluate(metric, counts, kept=more) >= together).all()
        everything = costs.evaluate(metric, counts, kept=np.ones_like(kept))
        assert everything == pytest.approx(
            np.broadcast_to(costs.evaluate(metric, counts), (3, 4))
        )


def test_a_dropped_block_by_hand():
    net = nn.Sequential(conv(3, 4), nn.ReLU(), conv(4, 4), nn.ReLU()).eval()
    net.forward = lambda x: net[3]((y := net[1](net[0](x))) + net[2](y))
    graph = trace(net, torch.randn(1, 3, 6, 6))
    whole, left = cost_of(graph), cost_of(graph, Plan({}, dropped=["2"]))
    assert left.macs == 36 * 4 * 27 and whole.macs - left.macs == 36 * 4 * 36
    assert left.params == 4 * 27 + 4 and whole.params - left.params == 4 * 36 + 4
    # Input and output of the first layer; the second has its input, output and sum.
    assert left.activation_bytes == 4 * 36 * 8 and whole.activation_bytes == 4 * 36 * 12
    assert left.bytes < whole.bytes - 4 * (4 * 36 + 4)
