"""Budgets are a guarantee: whatever is asked for, all hold, and one is used."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from graph_nets import graph_of
from hypothesis import given, settings
from hypothesis import strategies as st
from search_bounds import (
    Chain,
    assert_used,
    bound_of,
    bounds,
    interval,
    limits_between,
    space_of,
    walk,
)

from agmc.compression.prune import Pruner
from agmc.cost.energy import EnergyTable
from agmc.cost.latency_table import LatencyTable
from agmc.cost.model import CostModel, cost_of
from agmc.cost.tables import Tables
from agmc.cost.units import Units
from agmc.graph.trace import trace
from agmc.graph.weighted import weighted_layers
from agmc.models.random_cnn import BLOCKS, random_net
from agmc.plan import Plan
from agmc.plan_space import PlanSpace
from agmc.search.budgets import Budgets
from agmc.search.limit import BUDGET_METRICS

ONES, NONE = np.ones(3, dtype=int), np.zeros(2, dtype=int)
CHAIN = Chain({"macs": (ONES, NONE), "params": (ONES, NONE + 1)})


@settings(max_examples=100, deadline=None)
@given(bounds(), st.data())
def test_any_actions_end_within_one_notch(bound, data):
    number = len(bound.space)
    extreme = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0]))
    actions = data.draw(st.lists(extreme, min_size=number, max_size=number))
    counts = walk(bound, actions)
    assert_used(bound, counts)
    bound.space.plan(counts)  # every count is one of those allowed


@settings(max_examples=60, deadline=None)
@given(bounds(), st.data())
def test_every_count_of_the_interval_keeps_the_promise(bound, data):
    counts = np.array([decision.size for decision in bound.space])
    for step, decision in enumerate(bound.space):
        low, high = interval(bound, counts, step)
        allowed = [count for count in decision.counts if low <= count <= high]
        assert allowed[0] == low and allowed[-1] == high
        for count in decision.counts:
            nearest = bound.clamp(count / decision.size, counts, step)
            assert nearest == min(max(count, low), high)
        counts[step] = data.draw(st.sampled_from(allowed))
    assert_used(bound, counts)


@settings(max_examples=100, deadline=None)
@given(bounds(), st.data())
def test_a_whole_plan_is_clamped_as_its_decisions_are(bound, data):
    size = len(bound.space)
    actions = data.draw(st.lists(st.floats(0, 1), min_size=size, max_size=size))
    counts = np.zeros(size, dtype=int)
    for step, action in enumerate(actions):
        counts[step] = bound.clamp(action, counts, step)
    assert bound.clamp_plan(actions).tolist() == counts.tolist()


def tables_of(graph, seed):
    """Times at random, slow where channels are no multiple of 4; any energy."""
    random, units = np.random.default_rng(seed), Units(graph)
    table = LatencyTable({"processor": "one"})
    sizes = np.array([group.size for group in graph.groups])
    for share in random.random(12):
        counts = np.maximum(1, np.rint(share * sizes))
        for unit, shape in zip(units.units, units.shapes(counts), strict=True):
            inputs, outputs, following = (round(n) for n in shape)
            time = random.random() + inputs * outputs + 9 * (inputs % 4 != 0)
            table.add(unit.family, (inputs, outputs, following), (time, time, time))
    prices = dict(zip(("mac", "byte"), random.random(2).tolist(), strict=True))
    return Tables(latency=table, energy=EnergyTable({"*": prices}))


@settings(max_examples=10, deadline=None, derandomize=True, database=None)
@given(
    blocks=st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=4),
    seed=st.integers(0, 2**16),
    metrics=st.sets(st.sampled_from(BUDGET_METRICS), min_size=1, max_size=3),
    data=st.data(),
)
def test_random_networks_hold_their_budgets(blocks, seed, metrics, data):
    net, inputs = random_net(blocks, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = trace(net, inputs)
    space = PlanSpace(graph, min_keep_ratio=0.01)
    model = CostModel(graph, tables_of(graph, seed))
    asked = limits_between(data.draw, sorted(metrics), model, space)
    bound = Budgets.of(asked).bind(model, space)
    extreme = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0]))
    counts = walk(bound, [data.draw(extreme) for _ in space])
    assert_used(bound, counts)
    cost = cost_of(trace_again(net, graph, space, counts), None)
    for metric in ("macs", "params"):
        assert getattr(cost, metric) <= bound.limits.get(metric, np.inf)


def trace_again(net, graph, space, counts):
    small = Pruner(net, graph).prune(space.plan(counts))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return trace(small, torch.randn(2, 3, 5, 5, dtype=torch.float64))


def test_interval_by_hand():
    # cost = a + a * b + b with a, b in 1..4; the whole network costs 24.
    bound = bound_of([4, 4], 14.0)
    assert (bound.original, bound.limits) == ({"macs": 24}, {"macs": 14})
    # lo(a) = 2a + 1 never passes 14; hi(a) = 5a + 4 reaches it from a = 2 on.
    assert interval(bound, [4, 4], 0) == (2, 4)
    # After a = 2: 3b + 2 <= 14 allows 4, which uses the budget to the last.
    assert interval(bound, [2, 4], 1) == (4, 4)
    # After a = 3: 4b + 3 is 11 for b = 2 and 15 for b = 3; the larger that fits.
    assert interval(bound, [3, 4], 1) == (2, 2)


def test_of_several_limits_the_tightest_counts():
    # params = macs + a + b: for [2, 2] 8 macs of 12 and 12 params of 15.
    bound = Budgets.of(["macs:12", "params:15"]).bind(CHAIN, space_of([4, 4]))
    assert bound.usage(np.array([2, 2])) == pytest.approx(12 / 15)
    assert bound.usage(np.array([[1, 1], [2, 3]])).tolist() == [5 / 15, 16 / 15]
    # b = 3 after a = 2 costs 11 macs, which macs:12 alone would allow.
    assert interval(bound, [2, 4], 1) == (2, 2)
    macs_alone = Budgets.of("macs:12").bind(CHAIN, space_of([4, 4]))
    assert interval(macs_alone, [2], 1) == (3, 3)


def test_clamp_takes_the_nearest_allowed_and_the_larger_of_two():
    bound = bound_of([4, 4], 14.0)
    assert [bound.clamp(a, [4, 4], 0) for a in (0.0, 0.6, 0.625, 1.0)] == [2, 2, 3, 4]


def test_round_to_keeps_multiples_or_all():
    bound = bound_of([12, 12], 0.5, round_to=8)
    assert walk(bound, [0.1, 0.1]).tolist() == [8, 8]
    assert walk(bound, [1.0, 1.0]).tolist() == [8, 8]


@pytest.mark.parametrize("limit", [1.0, 24.0, 1e6])
def test_a_budget_of_the_whole_network_keeps_everything(limit):
    bound = bound_of([4, 4], limit)
    assert interval(bound, [4, 4], 0) == (4, 4)
    assert walk(bound, [0.0, 0.3]).tolist() == [4, 4]


def test_without_limits_every_count_is_allowed():
    bound = bound_of([4, 4], None)
    assert walk(bound, [0.0, 0.8]).tolist() == [1, 3]
    assert interval(bound, [4, 4], 1) == (1, 4)
    assert bound.usage(np.array([4, 4])) == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("macs:0.3", r"macs:0.3 cannot be met: at least 8 macs stay \(0.3334 of 24 m"),
        (["macs:0.5", "params:0.3"], r"budget params:0.3 cannot be met: at least 12 p"),
        ("latency:0.02ms", r"at least 6.\d+ ms latency stay"),
    ],
)
def test_an_unreachable_budget_is_refused_with_what_can_be_reached(given, message):
    chain = Chain({**CHAIN.weights, "latency": (ONES, NONE)})
    space = space_of([4, 4], min_keep_ratio=0.5)
    with pytest.raises(ValueError, match=message):
        Budgets.of(given).bind(chain, space)
    assert Budgets.of("macs:0.3334").bind(chain, space).limits["macs"] > 8


def test_counts_beyond_the_budget_are_refused():
    with pytest.raises(ValueError, match="already exceed"):
        bound_of([4, 4], 5.0).clamp(0.0, [4, 4], 1)


def test_a_table_of_nothing_is_refused():
    nothing = Chain({"energy": (0 * ONES, NONE)})
    with pytest.raises(ValueError, match="budget on energy: .* nothing to save"):
        Budgets.of("energy:0.5").bind(nothing, space_of([4, 4]))


def test_a_plan_from_elsewhere_must_hold_all_limits():
    graph = graph_of("chain")
    model, space = CostModel(graph), PlanSpace(graph)
    half = Plan.uniform(space, 0.5)
    params = model.of(half).params
    bound = Budgets.of(["macs:0.6", f"params:{params}"]).bind(model, space)
    bound.check(half)
    tight = Budgets.of(["macs:0.6", f"params:{params - 1}"]).bind(model, space)
    with pytest.raises(ValueError, match=f"{params} params, more than"):
        tight.check(half)


def test_bits_of_a_plan_count():
    graph = graph_of("resnet20")
    model, space = CostModel(graph), PlanSpace(graph)
    bits = dict.fromkeys(weighted_layers(graph.program), 8)
    bound = Budgets.of(["bytes:0.3", "bops:0.1"]).bind(model, space)
    bound.check(Plan({}, weight_bits=bits, act_bits=bits))
    with pytest.raises(ValueError, match=r"more than the \d+ bops"):
        bound.check(Plan({}, weight_bits=bits))
    with pytest.raises(ValueError, match=r"more than the \d+ bytes"):
        bound.check(Plan({}))


@pytest.mark.parametrize("action", [-0.01, 1.01, float("nan")])
def test_clamp_refuses_what_is_no_keep_ratio(action):
    with pytest.raises(ValueError, match=r"must be a keep ratio in \[0, 1\]"):
        bound_of([4, 4], 0.5).clamp(action, [4, 4], 0)
