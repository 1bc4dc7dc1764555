from __future__ import annotations

import copy

import pytest
from sample_run import RESULT

from agmc.report.before_after import before_after, budget_text


def rows(result: dict) -> dict[str, tuple[str, ...]]:
    return {row[0]: row[1:] for row in before_after(result).rows}


def test_every_measure_has_its_row() -> None:
    table = before_after(RESULT)
    assert table.title == "resnet20 on digits"
    assert table.columns == ("measure", "before", "pruned", "after", "change")
    assert rows(RESULT) == {
        "test accuracy": ("98.61 %", "92.78 %", "98.06 %", "-0.55 points"),
        "search accuracy": ("98.89 %", "93.33 %", "98.33 %", "-0.56 points"),
        "test, BN not recalibrated": ("-", "40.28 %", "-", "-"),
        "MACs": ("40.81 M", "20.34 M", "20.34 M", "49.8 % kept"),
        "parameters": ("272.2 k", "121.5 k", "121.5 k", "44.6 % kept"),
        "bytes on disk": ("1.10 MB", "494.7 kB", "494.7 kB", "45.0 % kept"),
        "median latency": ("11.62 ms", "6.90 ms", "6.90 ms", "59.4 % kept"),
        "latency, batch 64, 2 threads": (
            *("411.00 ms", "233.50 ms", "233.50 ms", "56.8 % kept"),
        ),
    }


def test_what_nobody_measured_is_left_out() -> None:
    result = copy.deepcopy(RESULT)
    for stage in ("baseline", "pre_finetune", "compressed"):
        result[stage]["latency_ms"] = None
        result[stage]["latencies"] = {"batch 64, 2 threads": None}
    result["pre_finetune"]["bytes"] = float("nan")
    del result["settings"]
    assert not [name for name in rows(result) if "latency" in name]
    assert rows(result)["bytes on disk"][1] == "-"
    assert before_after(result).title == ""


def test_one_number_without_recalibration_is_of_the_search_split() -> None:
    result = copy.deepcopy(RESULT)
    result["pre_finetune"]["accuracy_without_recalibration"] = 0.25
    assert rows(result)["search, BN not recalibrated"][1] == "25.00 %"


def test_a_text_for_a_number_is_refused() -> None:
    result = copy.deepcopy(RESULT)
    result["compressed"]["macs"] = "many"
    with pytest.raises(ValueError, match=r"macs \(='many'\) must be a number"):
        before_after(result)


def test_budget() -> None:
    assert budget_text(RESULT) == "budget holds: MACs 20.34 M of at most 20.41 M"
    failed = {"budget": {"metric": "bytes", "limit": 1e6, "value": 2e6, "holds": False}}
    assert budget_text(failed).startswith("budget DOES NOT HOLD: bytes on disk 2.00 MB")
    assert budget_text({}) == ""
