from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from graph_nets import NETS, conv, counted_macs, graph_of, make
from torch import nn

from agmc.compression.prune import Pruner
from agmc.cost.model import METRICS, TABLE_METRICS, Cost, CostModel, cost_of
from agmc.export.checkpoint import to_bytes
from agmc.graph.trace import trace
from agmc.plan import Plan
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
        predicted = cost_of(graph, plan).bytes
        assert len(to_bytes(small, info=INFO)) <= predicted
        # What is left is the room for info, and what zeros take less.
        assert predicted < len(to_bytes(small)) + 2000


def test_metrics_are_the_fields_of_cost():
    assert tuple(Cost.__dataclass_fields__) == (*METRICS, *TABLE_METRICS)
    with pytest.raises(ValueError, match="'flops' is none of macs, params, bytes"):
        CostModel(graph_of("chain")).evaluate("flops", np.array([8, 6]))
