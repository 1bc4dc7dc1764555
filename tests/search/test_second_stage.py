from __future__ import annotations

import numpy as np
import pytest
from graph_nets import graph_of

from agmc.agents import Random
from agmc.cost.model import CostModel
from agmc.embedding.rules import rules
from agmc.plan import Plan
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
    tight = stage(budget=f"bytes:{model.of(fewest).bytes}")
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
            model, space, second.later(model, ARGUMENTS)
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
    later = stage(budget="bytes:0.05").later(model, ARGUMENTS)
    for budgets in (None, "accuracy>=0.9"):
        bound = Budgets.of(budgets).bind(model, space, later)
        assert space.plan(bound.clamp_plan([1.0] * len(space))) == Plan.uniform(
            space, 1.0
        )


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"parts": []}, r"second.parts \(=\[\]\) must be one or more of sparsity"),
        ({"parts": ["keep_ratio"]}, r"second.parts \(=\['keep_ratio'\]\)"),
        ({"episodes": 0}, r"second.episodes \(=0\) must be >= 1"),
        ({"budget": "none"}, r"second.budget \(=none\) must be METRIC:LIMIT"),
        ({"budget": "accuracy>=0.9"}, "must be METRIC:LIMIT, as bytes:0.08"),
        ({"budget": "bytes:0.1..0.2"}, "must be METRIC:LIMIT"),
        ({"budget": "latency:2ms"}, "must be on bytes or bops: weight_bits change not"),
        ({"parts": ["sparsity"], "budget": "bops:0.1"}, "must be on bytes: sparsity"),
    ],
)
def test_a_stage_that_cannot_be_is_refused(knobs, message):
    with pytest.raises(ValueError, match=message):
        stage(**knobs)
