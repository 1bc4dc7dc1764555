"""Budgets of made-up networks: costs that rise with every count, of several metrics."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from hypothesis import strategies as st

from agmc.cost.model import TABLE_METRICS
from agmc.graph.model_graph import ChannelGroup
from agmc.plan_space import PlanSpace
from agmc.search.budgets import Budgets


class Chain:
    """A chain of convolutions: products of neighbours, and a bias each.

    Every metric weighs them otherwise; `activation_bytes` is the largest product.
    `latency` falls where a count becomes a multiple of 4, as vector kernels do.
    """

    def __init__(self, weights, constant=0):
        self.weights, self.constant = weights, constant

    @property
    def without_info(self):
        return self

    def evaluate(self, metric, counts, parts=None, kept=None):
        if metric == "latency":
            slow = 3.0 * (np.asarray(counts) % 4 != 0).sum(-1)
            return self._sum(metric, counts) * 1e-3 + slow
        if metric == "activation_bytes":
            return self._products(counts).max(-1)
        return self._sum(metric, counts)

    def ceiling(self, metric, counts, parts=None, kept=None):
        if metric != "latency":
            return self.evaluate(metric, counts)
        return self._sum(metric, counts) * 1e-3 + 3.0 * np.shape(counts)[-1]

    def _sum(self, metric, counts):
        work, bias = self.weights[metric]
        return self._products(counts) @ work + counts @ bias + self.constant

    def _products(self, counts):
        ends = np.ones((*np.shape(counts)[:-1], 1), dtype=np.int64)
        padded = np.concatenate([ends, counts, ends], axis=-1)
        return padded[..., :-1] * padded[..., 1:]


def space_of(sizes, *, min_keep_ratio=0.01, round_to=1):
    groups = tuple(
        ChannelGroup(f"conv{i}", size, (), (), (f"conv{i}",))
        for i, size in enumerate(sizes)
    )
    graph = SimpleNamespace(groups=groups, unprunable=())
    return PlanSpace(graph, min_keep_ratio=min_keep_ratio, round_to=round_to)


def bound_of(sizes, limit, **knobs):
    """The macs a * b + ... along the chain, work 1 everywhere, no bias."""
    work = np.ones(len(sizes) + 1, dtype=int)
    chain = Chain({"macs": (work, np.zeros(len(sizes), dtype=int))})
    given = None if limit is None else f"macs:{limit}"
    return Budgets.of(given).bind(chain, space_of(sizes, **knobs))


def walk(bound, actions):
    counts = np.array([decision.size for decision in bound.space])
    for step, action in enumerate(actions):
        counts[step] = bound.clamp(action, counts, step)
    return counts


def interval(bound, counts, step):
    """The smallest and the largest count that are allowed, as `clamp` has them."""
    return bound.clamp(0.0, counts, step), bound.clamp(1.0, counts, step)


def one_notch_more(bound, counts):
    """The largest usage of plans that keep one notch more in one decision."""
    plans = [np.array(counts)]
    for step, decision in enumerate(bound.space):
        larger = [count for count in decision.counts if count > counts[step]]
        plans.append(np.array(counts))
        plans[-1][step] = larger[0] if larger else counts[step]
    return bound.usage(np.array(plans)).max()


def assert_used(bound, counts):
    """All budgets hold, and one of them is used up but for a notch."""
    counts = np.asarray(counts)
    for metric, limit in bound.limits.items():
        assert bound.value(metric, counts) <= limit
    if bound.keeps_everything:
        assert counts.tolist() == [decision.size for decision in bound.space]
    else:
        assert one_notch_more(bound, counts) > 1 - 1e-9


METRICS = ("macs", "params", "bytes", "activation_bytes", "latency", "energy")


@st.composite
def bounds(draw):
    """One to three limits, each anywhere between the smallest plan and the whole."""
    number = draw(st.integers(1, 6))
    sizes = draw(st.lists(st.integers(1, 24), min_size=number, max_size=number))
    space = space_of(
        sizes,
        min_keep_ratio=draw(st.sampled_from([0.01, 0.2, 0.5])),
        round_to=draw(st.sampled_from([1, 1, 2, 8, {"*0": 4}])),
    )
    metrics = draw(st.lists(st.sampled_from(METRICS), min_size=1, max_size=3))
    weights = st.lists(st.integers(0, 50), min_size=number + 1, max_size=number + 1)
    chain = Chain(
        {
            metric: (np.array(draw(weights)) + 1, np.array(draw(weights)[1:]))
            for metric in METRICS
        },
        draw(st.integers(0, 1000)),
    )
    asked = limits_between(draw, dict.fromkeys(metrics), chain, space)
    return Budgets.of(asked).bind(chain, space)


def limits_between(draw, metrics, model, space):
    """For every metric a limit between the smallest plan and the whole, or above."""
    ends = np.array([[d.counts[0], d.size] for d in space]).T
    least, whole = (space.amounts(counts) for counts in ends)
    asked = []
    for metric in metrics:
        low = float(model.ceiling(metric, *least)) * (1 + 1e-8) + 1e-6
        high = max(low, float(model.evaluate(metric, *whole)))
        limit = low + draw(st.floats(0, 1.1)) * (high - low)
        unit = {"latency": "ms", "energy": "mJ"}.get(metric, "")
        if metric not in TABLE_METRICS:
            limit = max(draw(st.sampled_from([limit, float(-int(-limit))])), 2, low)
        asked.append(f"{metric}:{limit!r}{unit}")
    return asked
