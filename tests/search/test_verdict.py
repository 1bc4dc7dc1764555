"""What result.json says of the budgets, and the words where one does not hold."""

from __future__ import annotations

import numpy as np
import pytest
from search_bounds import Chain, space_of

from agmc.search.budgets import Budgets
from agmc.search.verdict import broken, verdict

ONES, NONE = np.ones(3, dtype=int), np.zeros(2, dtype=int)
CHAIN = Chain({metric: (ONES, NONE) for metric in ("macs", "bytes", "latency")})


def judged(given, *, num_bytes=10, accuracy=0.8):
    bound = Budgets.of(given).bind(CHAIN, space_of([4, 4]))
    values = dict.fromkeys(("macs", "bytes", "latency"), 8)
    return verdict([bound], values, num_bytes=num_bytes, accuracy=accuracy)


def test_one_limit():
    record = {"metric": "macs", "limit": 12.0, "value": 8, "holds": True}
    assert judged("macs:0.5") == record
    assert broken(record) == broken(None) == ""


def test_bytes_are_those_of_the_file():
    record = judged("bytes:0.5", num_bytes=13)
    assert record == {"metric": "bytes", "limit": 12.0, "value": 13, "holds": False}
    assert broken(record) == (
        "the compressed network has 13 bytes, more than the budget of 12 bytes"
    )


def test_of_several_the_tightest_stands_first_and_all_must_hold():
    record = judged(["bytes:0.5", "macs:0.5"], num_bytes=11)
    assert (record["metric"], record["value"], record["holds"]) == ("bytes", 11, True)
    assert [limit["metric"] for limit in record["limits"]] == ["bytes", "macs"]
    record = judged(["macs:9", "bytes:0.5"], num_bytes=13)
    assert record["metric"] == "bytes" and not record["holds"]
    assert [limit["holds"] for limit in record["limits"]] == [True, False]


def test_an_accuracy_is_measured():
    record = judged("accuracy>=0.75:bytes")
    assert record == {
        **{"metric": "accuracy", "limit": 0.75, "value": 0.8, "holds": True},
        "minimised": "bytes",
    }
    wrong = judged("accuracy>=0.75", accuracy=0.7)
    assert not wrong["holds"]
    assert "search accuracy of 0.7000, less than the 0.7500 asked" in broken(wrong)


@pytest.mark.parametrize("given", [None, "none"])
def test_nothing_asked_for(given):
    assert judged(given) is None
