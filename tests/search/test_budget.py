"""Budgets as people write them."""

from __future__ import annotations

import pytest

from agmc.search.budget import AccuracyFloor, Budget
from agmc.search.budgets import Budgets


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
        ("activation_bytes:64kB", 64e3),
        ("bops:2T", 2e12),
        ("latency:0.5", 0.5),
        ("latency:2.5ms", 2.5),
        ("latency:900us", 0.9),
        ("latency: 0.002 s", 2.0),
        ("energy:0.2mJ", 0.2),
        ("energy:40uJ", 0.04),
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
    + ["macs:nan", "macs:inf", "bytes:5TB", "macs:0.0005k", "macs:1_000"]
    + ["latency:2.5", "latency:2 km", "latency:0ms", "energy:3", "energy:1ms"],
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


def test_limits_with_a_unit_are_absolute_however_small():
    assert not Budget("latency", "0.5ms").relative and Budget("latency", 0.5).relative
    assert str(Budget("latency", "900us")) == "latency:0.9ms"


def test_an_accuracy_as_text():
    floor = AccuracyFloor.parse("accuracy>=0.9")
    assert floor == AccuracyFloor(0.9, "macs") == AccuracyFloor.parse(str(floor))
    assert AccuracyFloor.parse(" accuracy >= .75 : params").metric == "params"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("accuracy>=1.5", r"accuracy>= \(=1.5\) must be a share in \(0, 1\]"),
        ("accuracy>=0", r"must be a share"),
        ("accuracy>=90%", "must be accuracy>=SHARE or accuracy>=SHARE:METRIC"),
        ("accuracy:0.9", "must be accuracy>=SHARE"),
        ("accuracy>=0.9:flops", "metric 'flops' is unknown; choose one of macs"),
    ],
)
def test_other_accuracies_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        Budgets.of(text)


def test_budgets_in_all_their_forms():
    one = Budgets((Budget("macs", 0.5),))
    assert Budgets.of("macs:0.5") == Budgets.of(Budget("macs", 0.5)) == one
    assert Budgets.of(one) is one
    two = Budgets.of(["macs:0.5", Budget("bytes", "500kB")])
    assert two.metrics == ("macs", "bytes")
    assert str(two) == "macs:0.5, bytes:500000"
    assert Budgets.of(None) == Budgets.of("none") == Budgets()
    assert str(Budgets()) == "none" and Budgets().metrics == ()
    floor = Budgets.of("accuracy>=0.9:energy")
    assert floor.metrics == ("energy",) and str(floor) == "accuracy>=0.9:energy"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (["macs:0.5", "macs:60M"], "macs:0.5 and macs:60000000 conflict: both limit m"),
        (["macs:0.5", "accuracy>=0.9"], "conflict: the search for the cheapest plan"),
        (["accuracy>=0.9", "accuracy>=0.8"], "only one accuracy"),
        ([0.5], "budget 0.5 must be a text as macs:0.5"),
    ],
)
def test_conflicts_are_refused_with_the_reason(given, reason):
    with pytest.raises(ValueError, match=reason):
        Budgets.of(given)
