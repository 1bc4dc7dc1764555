from __future__ import annotations

import pytest

from agmc.report.quantity import (
    bytes_text,
    count_text,
    duration_text,
    milliseconds_text,
    points_text,
    share_text,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00 k"),
        (272_186, "272.2 k"),
        (999_949, "999.9 k"),
        (999_950, "1.00 M"),
        (40_813_184, "40.81 M"),
        (4.1e9, "4.10 G"),
    ],
)
def test_counts_keep_at_least_three_digits(value: int, text: str) -> None:
    assert count_text(value) == text


def test_bytes_are_decimal() -> None:
    assert bytes_text(1_098_344) == "1.10 MB"
    assert bytes_text(12) == "12 B"


def test_shares_and_points() -> None:
    assert share_text(0.9133, decimals=2) == "91.33 %"
    assert points_text(-0.0031) == "-0.31 points"
    assert points_text(0.02) == "+2.00 points"
    assert points_text(-1e-9) == "+0.00 points"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.21, "4.2 s"), (59.94, "59.9 s"), (59.96, "1 min 0 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    "write",
    [count_text, bytes_text, share_text, points_text, milliseconds_text, duration_text],
)
def test_missing_is_a_dash(write) -> None:
    assert write(None) == "-"
