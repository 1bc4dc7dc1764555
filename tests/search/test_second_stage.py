from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from graph_nets import graph_of, quiet_trace

from agmc.agents import Random
from agmc.compression.original_class import in_original_class
from agmc.compression.prune import Pruner
from agmc.cost.latency_table import LatencyTable
from agmc.cost.model import CostModel
from agmc.cost.tables import Tables
from agmc.cost.units import Units
from agmc.embedding.rules import rules
from agmc.models import build
from agmc.plan import Plan, kept_channels, layer_parts
from agmc.plan_space import PlanSpace
from agmc.search.budgets import Budgets
from agmc.search.second_stage import SecondStage

ARGUMENTS = {"parts": ["keep_ratio"], "round_to": 8}


def stage(**knobs):
    return SecondStage(embedding=rules, agent=Random, **knobs)


def test_shares_are_of_the_original_network():
    original = CostModel(graph_of("resnet20")).of(None)
    budgets = stage(budget=["bytes:0.1", "bops:2M"]).absolute(original)
    limits = {limit.metric: (limit.limit, limit.relative) for limit in budgets.limits}
    assert limits["bytes"] == (pytest.approx(0.1 * original.bytes, rel=1e-9), False)
    assert limits["bops"] == (2e6, False)


def test_the_space_is_about_layers_and_keeps_what_was_decided():
    before = Plan({"conv1": 0.5}, {"layer1.0.conv1": 0.5})
    space = stage().space(graph_of("resnet20"), ARGUMENTS, before)
    assert space.parts == ("weight_bits",)
    assert {decision.part for decision in space} == {"weight_bits"}
    assert space.least.sparsity == before.sparsity
    assert space.least.keep_ratio == before.keep_ratio


def test_both_stages_at_once_reach_further_than_either():
    model = CostModel(graph_of("resnet20"))
    channels = PlanSpace(model.graph, **ARGUMENTS)
    bits = PlanSpace(model.graph, parts=["weight_bits"])
    least = min(model.of(space.least).bytes for space in (channels, bits))
    bound = stage(budget=f"bytes:{0.9 * least}").bind(model, ARGUMENTS)
    assert bound.space.parts == ("keep_ratio", "weight_bits")
    with pytest.raises(ValueError, match="bytes:0.01 cannot be met: at least"):
        stage(budget="bytes:0.01").bind(model, ARGUMENTS)


def test_channels_that_leave_too_much_are_refused():
    model = CostModel(graph_of("resnet20"))
    some = Plan.uniform(PlanSpace(model.graph, **ARGUMENTS), 0.5)
    fewest = PlanSpace(model.graph, parts=["weight_bits"], start=some).least
    parts = kept_channels(model.graph, fewest), layer_parts(model.graph, fewest)
    tight = stage(budget=f"bytes:{model.ceiling('bytes', *parts)}")
    tight.check(model, ARGUMENTS, some)
    with pytest.raises(ValueError, match="^second: budget .* or lower budget, so that"):
        tight.check(model, ARGUMENTS, Plan({}))


def test_the_first_stage_leaves_no_more_than_the_second_can_deal_with():
    model = CostModel(graph_of("resnet20"))
    space = PlanSpace(model.graph, **ARGUMENTS)
    half = Plan.uniform(space, 0.5)
    fewest = PlanSpace(model.graph, parts=["weight_bits"], start=half).least
    tight = stage(budget=f"bytes:{model.of(fewest).bytes}")
    loose = stage(budget="bytes:0.5")
    random = np.random.default_rng(0)
    alone = Budgets.of("macs:0.5").bind(model, space)
    for second in (tight, loose):
        bound = Budgets.of("macs:0.5").bind(
            model, space, second.later(model, ARGUMENTS, Budgets.of("macs:0.5"))
        )
        refused = 0
        for actions in random.uniform(size=(20, len(space))):
            plan = space.plan(bound.clamp_plan(actions))
            assert model.of(plan).macs <= 0.5 * model.of(None).macs
            second.check(model, ARGUMENTS, plan)
            freely = space.plan(alone.clamp_plan(actions))
            refused += bound.usage(space.counts(freely)) > 1
            if second is loose:
                assert plan == freely
        assert refused > 5 if second is tight else refused == 0


def test_it_asks_nothing_of_a_first_stage_without_limits():
    model = CostModel(graph_of("resnet20"))
    space = PlanSpace(model.graph, **ARGUMENTS)
    for budgets in map(Budgets.of, (None, "accuracy>=0.9")):
        later = stage(budget="bytes:0.05").later(model, ARGUMENTS, budgets)
        bound = budgets.bind(model, space, later)
        assert space.plan(bound.clamp_plan([1.0] * len(space))) == Plan.uniform(
            space, 1.0
        )


@pytest.mark.parametrize("name", ["plain20", "mobilenet_v2_cifar", "densenet22_cifar"])
def test_the_small_network_can_be_searched_within_the_second_budget(name):
    # Traced again, it is described in other words than the plan of the large one.
    torch.manual_seed(0)
    network = build(name, num_classes=10).eval()
    image = torch.randn(1, 3, 32, 32)
    model = CostModel(quiet_trace(network, image))
    space = PlanSpace(model.graph, **ARGUMENTS)
    fewest = space.least
    fewest = PlanSpace(model.graph, parts=["weight_bits"], start=fewest).least
    second = stage(budget=f"bytes:{1.5 * model.of(fewest).bytes}")
    first = Budgets.of("macs:0.9")
    bound = first.bind(model, space, second.later(model, ARGUMENTS, first))
    random = np.random.default_rng(0)
    pruner = Pruner(network, model.graph)
    for actions in random.uniform(size=(3, len(space))):
        plan = space.plan(bound.clamp_plan(actions))
        assert bound.usage(space.counts(plan)) > 0.95  # near the edge
        small = in_original_class(network, pruner.prune(plan), image)
        graph = quiet_trace(small, image)
        left = second.space(graph, ARGUMENTS, Plan({}))
        second.absolute(model.of(None)).bind(CostModel(graph), left)


@pytest.mark.parametrize("speed", [0.5, 1.3])
def test_a_limit_on_latency_holds_whatever_integers_take(speed):
    graph = graph_of("resnet20")
    table = LatencyTable({})
    units = Units(graph)
    random = np.random.default_rng(0)
    space = PlanSpace(graph, **ARGUMENTS)
    for actions in random.uniform(size=(40, len(space))):
        counts = [d.nearest(a) for d, a in zip(space, actions, strict=True)]
        for unit, shape in zip(
            units.units, units.shapes(np.array(counts)), strict=True
        ):
            floats = 1e-3 + 1e-6 * shape[0] * shape[1] + 1e-6 * shape[2]
            times = (floats, floats, speed * floats)
            table.add(unit.family, tuple(int(n) for n in shape), times)
    model = CostModel(graph, Tables(latency=table))
    limit = 0.9 * model.of(None).latency
    first = Budgets.of("latency:0.9")
    later = stage(budget="bytes:0.5").later(model, ARGUMENTS, first)
    alone, bound = (first.bind(model, space, held) for held in (None, later))
    over = 0
    for actions in random.uniform(size=(10, len(space))):
        for held in (alone, bound):
            plan = space.plan(held.clamp_plan(actions))
            assert model.of(plan).latency <= limit
            whole = PlanSpace(graph, parts=["weight_bits"], start=plan).least
            if held is bound:
                assert model.of(whole).latency <= limit
            else:
                over += model.of(whole).latency > limit
    assert over == (10 if speed > 1 else 0)
    # Of a range, every limit does.
    first = Budgets.of("latency:0.8..0.9/2")
    rungs = first.bind_rungs(
        model,
        space,
        functools.partial(stage(budget="bytes:0.5").later, model, ARGUMENTS),
    )
    for rung, share in zip(rungs, (0.8, 0.9), strict=True):
        for actions in random.uniform(size=(3, len(space))):
            plan = space.plan(rung.clamp_plan(actions))
            whole = PlanSpace(graph, parts=["weight_bits"], start=plan).least
            assert model.of(whole).latency <= share * model.of(None).latency
    # A limit that the network itself keeps need not be one that it keeps with bits.
    first = Budgets.of("latency:1.0")
    bound = first.bind(
        model, space, stage(budget="bytes:0.5").later(model, ARGUMENTS, first)
    )
    assert bound.keeps_everything == (speed < 1)
    plan = space.plan(bound.clamp_plan([1.0] * len(space)))
    whole = PlanSpace(graph, parts=["weight_bits"], start=plan).least
    assert model.of(whole).latency <= model.of(None).latency


def test_both_stages_do_not_decide_about_the_same():
    model = CostModel(graph_of("resnet20"))
    arguments = {**ARGUMENTS, "parts": ["keep_ratio", "weight_bits"]}
    with pytest.raises(ValueError, match="would both decide about weight_bits"):
        stage().bind(model, arguments)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"parts": []}, r"second.parts \(=\[\]\) must be one or more of sparsity"),
        ({"parts": ["keep_ratio"]}, r"second.parts \(=\['keep_ratio'\]\)"),
        ({"episodes": 0}, r"second.episodes \(=0\) must be >= 1"),
        ({"budget": "none"}, r"second.budget \(=none\) must be METRIC:LIMIT"),
        ({"budget": "accuracy>=0.9"}, "must be METRIC:LIMIT, as bytes:0.08"),
        ({"budget": "bytes:0.1..0.2"}, "must be METRIC:LIMIT"),
        ({"budget": "latency:2ms"}, "must be on bytes or bops; a limit on latency bel"),
        (
            {"parts": ["sparsity"], "budget": "bops:0.1"},
            "must be on bytes; a limit on bops",
        ),
    ],
)
def test_a_stage_that_cannot_be_is_refused(knobs, message):
    with pytest.raises(ValueError, match=message):
        stage(**knobs)
