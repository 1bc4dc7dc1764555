from __future__ import annotations

import numpy as np
import pytest
from search_bounds import space_of
from search_fakes import ChainCost

from agmc.search.budget import Budget
from agmc.search.budgets import Budgets
from agmc.search.ladder import Ladder


def test_a_range_as_text():
    ladder = Ladder.parse("macs:0.3..0.8/6")
    assert ladder == Ladder(Budget("macs", 0.3), Budget("macs", 0.8), 6)
    assert [budget.limit for budget in ladder.budgets] == pytest.approx(
        [0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    )
    assert Ladder.parse(str(ladder)) == ladder
    assert Ladder.parse("params: 100k .. 1M").rungs == 10
    times = Ladder.parse("latency:500us..2ms/4")
    assert [str(b) for b in times.budgets] == [
        *("latency:0.5ms", "latency:1ms", "latency:1.5ms", "latency:2ms")
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("macs:0.8..0.3", "from the tighter limit to the looser"),
        ("macs:0.5..0.5", "from the tighter limit to the looser"),
        ("macs:0.5..2M", "both shares or both absolute"),
        ("macs:0.3..0.8/1", "at least 2 limits"),
        ("macs:0.3..0.8/x", "must be METRIC:LOWEST..HIGHEST"),
        ("flops:0.3..0.8", "'flops' is unknown"),
    ],
)
def test_what_is_no_range_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        Budgets.of(text)


def test_every_rung_keeps_the_other_limits():
    budgets = Budgets.of(["params:0.9", "macs:0.2..0.4/3"])
    assert str(budgets) == "params:0.9, macs:0.2..0.4/3"
    assert [str(rung) for rung in budgets.rungs] == [
        f"params:0.9, macs:{share}" for share in (0.2, 0.3, 0.4)
    ]
    assert Budgets.of("macs:0.2").rungs == (Budgets.of("macs:0.2"),)


def test_ranges_conflict_with_each_other_and_with_a_floor():
    with pytest.raises(ValueError, match="only one range can be asked for"):
        Budgets.of(["macs:0.2..0.4", "params:0.2..0.4"])
    with pytest.raises(ValueError, match="both limit macs"):
        Budgets.of(["macs:0.2..0.4", "macs:0.3"])
    with pytest.raises(ValueError, match="conflict"):
        Budgets.of(["macs:0.2..0.4", "accuracy>=0.9"])


def test_it_binds_to_its_tightest_limit():
    bound = Budgets.of("macs:0.5..0.9").bind(ChainCost(), space_of([4, 4, 4]))
    whole = ChainCost().evaluate("macs", np.array([4, 4, 4]))
    assert bound.limits["macs"] == 0.5 * whole
