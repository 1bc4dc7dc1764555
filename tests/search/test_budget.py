"""The budget is a guarantee: whatever is asked for, it holds and it is used."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agmc.graph.model_graph import ChannelGroup
from agmc.plan import PlanSpace
from agmc.search.budget import BoundBudget, Budget, uniform_keep_ratio, uniform_plan


class Chain:
    """The cost of a chain of convolutions: products of neighbours, and a bias each."""

    def __init__(self, work, bias, constant=0):
        self.work, self.bias, self.constant = np.array(work), np.array(bias), constant

    def evaluate(self, metric, counts):
        assert metric == "macs"
        ends = np.ones((*counts.shape[:-1], 1), dtype=np.int64)
        padded = np.concatenate([ends, counts, ends], axis=-1)
        products = padded[..., :-1] * padded[..., 1:]
        return products @ self.work + counts @ self.bias + self.constant


def space_of(sizes, *, min_keep_ratio=0.01, round_to=1):
    groups = tuple(
        ChannelGroup(f"conv{i}", size, (), (), (f"conv{i}",))
        for i, size in enumerate(sizes)
    )
    graph = SimpleNamespace(groups=groups, unprunable=())
    return PlanSpace(graph, min_keep_ratio=min_keep_ratio, round_to=round_to)


def bound_of(sizes, limit, **knobs):
    """Costs a * b + ... along the chain, work 1 everywhere, no bias."""
    work = [1] * (len(sizes) + 1)
    return BoundBudget(
        Budget("macs", limit), Chain(work, [0] * len(sizes)), space_of(sizes, **knobs)
    )


def walk(bound, actions):
    counts = np.array([decision.size for decision in bound.space])
    for step, action in enumerate(actions):
        counts[step] = bound.clamp(action, counts, step)
    return counts


def assert_used(bound, counts):
    cost = int(bound.cost(np.asarray(counts)))
    assert cost <= bound.limit
    if bound.original <= bound.limit:
        assert cost == bound.original
    else:
        assert cost > bound.limit - bound.rounding_step(counts)


@st.composite
def bounds(draw):
    number = draw(st.integers(1, 6))
    sizes = draw(st.lists(st.integers(1, 24), min_size=number, max_size=number))
    weights = st.integers(1, 50)
    work = draw(st.lists(weights, min_size=number + 1, max_size=number + 1))
    bias = draw(st.lists(st.integers(0, 50), min_size=number, max_size=number))
    space = space_of(
        sizes,
        min_keep_ratio=draw(st.sampled_from([0.01, 0.2, 0.5])),
        round_to=draw(st.sampled_from([1, 1, 2, 8, {"*0": 4}])),
    )
    model = Chain(work, bias, draw(st.integers(0, 1000)))
    whole = BoundBudget(Budget("macs", 1.0), model, space)
    share = draw(st.floats(0, 1))
    limit = whole.smallest + share * (whole.original - whole.smallest)
    limit = draw(st.sampled_from([limit, float(int(limit)), limit * 1.1]))
    return BoundBudget(Budget("macs", max(limit, whole.smallest, 1.5)), model, space)


@settings(max_examples=200, deadline=None)
@given(bounds(), st.data())
def test_any_actions_end_within_one_rounding_step(bound, data):
    number = len(bound.space)
    extreme = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0]))
    actions = data.draw(st.lists(extreme, min_size=number, max_size=number))
    counts = walk(bound, actions)
    assert_used(bound, counts)
    bound.space.plan(counts)  # every count is one of those allowed


@settings(max_examples=100, deadline=None)
@given(bounds(), st.data())
def test_every_count_of_the_interval_keeps_the_promise(bound, data):
    counts = np.array([decision.size for decision in bound.space])
    for step, decision in enumerate(bound.space):
        low, high = bound.interval(counts, step)
        allowed = [count for count in decision.counts if low <= count <= high]
        assert allowed[0] == low and allowed[-1] == high
        counts[step] = data.draw(st.sampled_from(allowed))
    assert_used(bound, counts)


@settings(max_examples=100, deadline=None)
@given(bounds())
def test_uniform_plan_uses_its_budget(bound):
    counts = bound.space.counts(uniform_plan(bound))
    assert_used(bound, counts)
    ratio = uniform_keep_ratio(bound)
    rounded = [decision.nearest(ratio) for decision in bound.space]
    assert bound.cost(np.array(rounded)) <= bound.limit
    assert all(counts >= rounded)


@settings(max_examples=50, deadline=None)
@given(bounds())
def test_uniform_plan_leaves_no_notch_that_fits(bound):
    counts = bound.space.counts(uniform_plan(bound))
    for step, decision in enumerate(bound.space):
        for count in decision.counts:
            if count > counts[step]:
                raised = counts.copy()
                raised[step] = count
                assert bound.cost(raised) > bound.limit


@pytest.mark.parametrize("share", [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
def test_uniform_keep_ratio_survives_float32_actions(share):
    bound = bound_of([16, 16, 32, 32, 64, 64], share)
    ratio = uniform_keep_ratio(bound)
    rounded = [decision.nearest(ratio) for decision in bound.space]
    counts = walk(bound, [float(np.float32(ratio))] * 6)
    assert counts[:4].tolist() == rounded[:4]
    assert all(counts >= rounded)
    one_more = [decision.nearest(ratio + 2e-6) for decision in bound.space]
    assert bound.cost(np.array(one_more)) > bound.limit


def test_interval_by_hand():
    # cost = a + a * b + b with a, b in 1..4; the whole network costs 24.
    bound = bound_of([4, 4], 14.0)
    assert (bound.original, bound.smallest) == (24, 3)
    # lo(a) = 2a + 1 never passes 14; hi(a) = 5a + 4 reaches it from a = 2 on.
    assert bound.interval([4, 4], 0) == (2, 4)
    # After a = 2: 3b + 2 <= 14 allows 4, which uses the budget to the last.
    assert bound.interval([2, 4], 1) == (4, 4)
    # After a = 3: 4b + 3 is 11 for b = 2 and 15 for b = 3; the larger that fits.
    assert bound.interval([3, 4], 1) == (2, 2)
    assert bound.rounding_step([3, 2]) == 4  # b = 3 costs 4 more, a = 4 costs 3 more
    assert bound.rounding_step([4, 4]) == 0


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
    assert walk(bound, [0.0, 0.3]).tolist() == [4, 4]
    assert uniform_plan(bound).keep_ratio == {"conv0": 1.0, "conv1": 1.0}
    assert uniform_keep_ratio(bound) == 1.0


def test_an_unreachable_budget_is_refused_with_what_can_be_reached():
    with pytest.raises(ValueError, match=r"at least 8 macs stay \(0.3334 of 24\)"):
        bound_of([4, 4], 0.3, min_keep_ratio=0.5)
    assert bound_of([4, 4], 0.3334, min_keep_ratio=0.5).smallest == 8


def test_counts_beyond_the_budget_are_refused():
    with pytest.raises(ValueError, match="already exceed"):
        bound_of([4, 4], 5.0).interval([4, 4], 1)


@pytest.mark.parametrize("action", [-0.01, 1.01, float("nan")])
def test_clamp_refuses_what_is_no_keep_ratio(action):
    with pytest.raises(ValueError, match=r"must be a keep ratio in \[0, 1\]"):
        bound_of([4, 4], 0.5).clamp(action, [4, 4], 0)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("macs:0.5", 0.5),
        ("macs:1", 1.0),
        ("macs:60M", 60e6),
        ("macs: 1.2G", 1.2e9),
        ("params:200k", 200e3),
        ("params:200000", 200e3),
        ("params:2e5", 2e5),
        ("bytes:500kB", 500e3),
        ("bytes:2MB", 2e6),
        ("bytes:0.25", 0.25),
    ],
)
def test_parse(text, limit):
    budget = Budget.parse(text)
    assert budget.limit == limit
    assert Budget.parse(str(budget)) == budget


def test_limits_are_numbers_whatever_they_are_written_as():
    assert Budget("macs", "60M") == Budget("macs", 60_000_000) == Budget("macs", 6e7)


@pytest.mark.parametrize(
    "text",
    ["macs:0", "macs:-1", "macs:50%", "macs:0.5k B", "macs:5kB", "macs:", "macs:x"]
    + ["macs:nan", "macs:inf", "bytes:5TB", "macs:0.0005k", "macs:1_000"],
)
def test_parse_refuses_other_limits(text):
    with pytest.raises(ValueError, match=r"limit of \w+ .*must be a share in \(0, 1\]"):
        Budget.parse(text)


@pytest.mark.parametrize("limit", [True, None, float("nan"), float("inf"), 0, -1])
def test_limit_refuses_other_values(limit):
    with pytest.raises(ValueError, match="budget limit of macs"):
        Budget("macs", limit)


def test_unknown_metrics_list_the_choices():
    with pytest.raises(ValueError, match="'flops' is unknown; choose one of macs, par"):
        Budget.parse("flops:0.5")
    with pytest.raises(ValueError, match="must be METRIC:LIMIT"):
        Budget.parse("0.5")
