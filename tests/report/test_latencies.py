from __future__ import annotations

import copy

import pytest
from sample_run import RESULT

from agmc.report.latencies import latency_table


def test_every_cell_has_its_row_and_a_ratio() -> None:
    table = latency_table(RESULT)
    assert table.rows == (
        ("batch 1, 1 thread", "11.62 ms", "6.90 ms", "0.59"),
        ("batch 64, 1 thread", "702.10 ms", "398.40 ms", "0.57"),
        ("batch 1, 2 threads", "7.35 ms", "7.94 ms", "1.08 slower"),
        ("batch 64, 2 threads", "411.00 ms", "233.50 ms", "0.57"),
    )


def test_what_was_left_out_has_no_ratio_and_old_results_no_rows() -> None:
    result = copy.deepcopy(RESULT)
    result["compressed"]["latencies"]["batch 64, 1 thread"] = None
    assert latency_table(result).rows[1] == (
        "batch 64, 1 thread",
        "702.10 ms",
        "-",
        "-",
    )
    del result["baseline"]["latencies"]
    assert latency_table(result).rows == ()
    assert latency_table({}).rows == ()


def test_a_text_for_a_number_is_refused() -> None:
    result = copy.deepcopy(RESULT)
    result["compressed"]["latencies"]["batch 1, 1 thread"] = "fast"
    with pytest.raises(ValueError, match="must be a number"):
        latency_table(result)
