"""Budgets as people write them."""

from __future__ import annotations

import pytest

from agmc.search.budget import AccuracyFloor, Budget, Budgets


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
