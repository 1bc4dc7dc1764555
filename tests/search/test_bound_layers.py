"""Budgets hold for channels, zeros and bits of random networks, decided at once."""

from __future__ import annotations

import numpy as np
import pytest
from graph_nets import graph_of, quiet_trace
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from search_bounds import assert_used, limits_between, walk

from agmc.compression.calibration import minmax
from agmc.compression.prune import Pruner
from agmc.compression.quantize import Quantization
from agmc.compression.sparsify import sparsify
from agmc.cost.model import CostModel
from agmc.export.checkpoint import to_bytes
from agmc.graph.weighted import weighted_layers
from agmc.models.random_cnn import BLOCKS, random_net
from agmc.plan import PARTS, Plan
from agmc.plan_space import PlanSpace
from agmc.search.budgets import Budgets

METRICS = ("bytes", "bops", "macs")
INFO = {"model": "random", "classes": ["ant", "bee"]}
#: A network is traced for every example: to look for a smaller one takes minutes.
quick = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
)


@st.composite
def layer_spaces(draw):
    """A random network, decisions about some of its parts, and a cost model."""
    blocks = draw(st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=3))
    net, (x,) = random_net(blocks, draw(st.integers(0, 2**16)))
    net, x = net.float(), x.float()
    graph = quiet_trace(net, x)
    parts = draw(st.sets(st.sampled_from(PARTS), min_size=1))
    assume(parts != {"keep_ratio"} and (graph.groups or "keep_ratio" not in parts))
    codebooks = draw(st.booleans())
    least = 1 if codebooks else 2
    space = PlanSpace(
        graph,
        parts=sorted(parts),
        min_keep_ratio=0.01,
        weight_bits=draw(st.sets(st.integers(least, 16), min_size=2, max_size=5)),
        act_bits=draw(st.sets(st.integers(1, 16), min_size=2, max_size=5)),
        end_bits=None,
        max_sparsity=draw(st.sampled_from([0.3, 0.9, 0.97])),
        mapping=draw(st.sampled_from(["share", "haq"])),
    )
    weights = "codebook" if codebooks else "uniform"
    return (net, x, weights), space, CostModel(graph, codebooks=codebooks, info=INFO)


def any_counts(data, space):
    return np.array([data.draw(st.sampled_from(d.counts)) for d in space])


@quick
@given(layer_spaces(), st.sets(st.sampled_from(METRICS), min_size=1), st.data())
def test_any_actions_end_within_one_notch_of_the_limits(made, metrics, data):
    _, space, model = made
    asked = limits_between(data.draw, sorted(metrics), model, space)
    bound = Budgets.of(asked).bind(model, space)
    extreme = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0]))
    actions = [data.draw(extreme) for _ in space]
    counts = walk(bound, actions)
    assert_used(bound, counts)
    assert bound.clamp_plan(actions).tolist() == counts.tolist()
    plan = space.plan(counts)
    bound.check(plan)
    assert space.counts(plan).tolist() == counts.tolist()


@quick
@given(layer_spaces(), st.data())
def test_many_plans_at_once_cost_what_each_does(made, data):
    _, space, model = made
    counts = np.stack([any_counts(data, space) for _ in range(4)]).reshape(2, 2, -1)
    for metric in METRICS:
        values = model.evaluate(metric, *space.amounts(counts))
        alone = [model.of(space.plan(one)) for one in counts.reshape(4, -1)]
        assert values.flatten().tolist() == [getattr(cost, metric) for cost in alone]


@quick
@given(layer_spaces(), st.data())
def test_nothing_gets_cheaper_when_more_is_kept(made, data):
    _, space, model = made
    counts = np.stack([any_counts(data, space)] * (1 + len(space)))
    for step, decision in enumerate(space):
        larger = [c for c in decision.counts if c >= counts[0, step]]
        counts[1 + step, step] = data.draw(st.sampled_from(larger))
    for metric in METRICS:
        values = model.ceiling(metric, *space.amounts(counts))
        assert (values[1:] >= values[0]).all()


@settings(quick, max_examples=8)
@given(layer_spaces(), st.data())
def test_no_file_is_larger_than_its_ceiling(made, data):
    (net, x, weights), space, model = made
    counts = any_counts(data, space)
    plan = space.plan(counts)
    small = Pruner(net, space.graph).prune(plan)
    sparsify(small, plan.sparsity)
    if plan.rounds:
        rounding = Quantization(weights=weights, calibration=minmax)
        small = rounding.apply(small, plan, [x])
    written = len(to_bytes(small, info=INFO))
    assert written <= model.ceiling("bytes", *space.amounts(counts))


def test_a_network_with_zeros_is_no_larger_than_without():
    """Room for chance would make 1 % of zeros more expensive than none."""
    graph = graph_of("resnet20")
    space = PlanSpace(graph, parts=["sparsity"])
    model, whole = CostModel(graph), space.sizes
    some = whole.copy()
    some[0] -= 1
    dense, thin = model.ceiling("bytes", *space.amounts(np.stack([whole, some])))
    assert thin == dense == model.of(None).bytes
    half = model.ceiling("bytes", *space.amounts(np.full_like(whole, 10)))
    plan = space.plan(np.full_like(whole, 10))
    assert 1.02 < half / model.of(plan).bytes < 1.022


def test_what_holds_besides_the_decisions_counts():
    """Zeros of a first search, whose file may be larger than expected."""
    graph = graph_of("resnet20")
    start = Plan({}, sparsity=dict.fromkeys(weighted_layers(graph.program), 0.5))
    space = PlanSpace(graph, parts=["weight_bits"], start=start)
    model = CostModel(graph)
    most = model.of(space.plan(space.sizes)).bytes
    bound = Budgets.of(f"bytes:{most}").bind(model, space)
    assert not bound.keeps_everything
    assert_used(bound, walk(bound, [1.0] * len(space)))
    roomy = Budgets.of(f"bytes:{1.03 * most}").bind(model, space)
    assert walk(roomy, [0.0] * len(space)).tolist() == space.sizes.tolist()


def test_a_limit_that_no_bits_meet_says_what_can_be_reached():
    graph = graph_of("resnet20")
    space = PlanSpace(graph, parts=["weight_bits"])
    least = np.array([d.counts[0] for d in space])
    stay = CostModel(graph).ceiling("bytes", *space.amounts(least))
    with pytest.raises(ValueError, match=f"at least {stay} bytes stay .*fewer bits"):
        Budgets.of("bytes:0.01").bind(CostModel(graph), space)


def test_bits_may_be_any_numbers():
    """Agents ask for shares of the most bits: 2, 4 and 16 of them."""
    graph = graph_of("chain")
    space = PlanSpace(
        graph, parts=["weight_bits"], weight_bits=(16, 2, 4), end_bits=None
    )
    bound = Budgets.of("bytes:1.0").bind(CostModel(graph), space)
    assert bound.keeps_everything
    free = Budgets.of(None).bind(CostModel(graph), space)
    assert walk(free, [0.0, 0.3, 0.9]).tolist() == [2, 4, 16]
