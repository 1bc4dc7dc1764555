"""Quantities as people read them: one function a unit, `-` for what is missing."""

from __future__ import annotations

MISSING = "-"


def count_text(value: float | None) -> str:
    """A count with a decimal prefix: 40813184 -> `40.81 M`; below 1000 as it is."""
    return _scaled(value, "")


def bytes_text(value: float | None) -> str:
    """A size in decimal units, 1 MB = 10^6 bytes: 1093000 -> `1.09 MB`."""
    return _scaled(value, "B")


def share_text(value: float | None, *, decimals: int = 1) -> str:
    """A share as a percentage: 0.5 -> `50.0 %`."""
    return MISSING if value is None else f"{100 * value:.{decimals}f} %"


def points_text(value: float | None) -> str:
    """A difference of two shares in percentage points: -0.0031 -> `-0.31 points`."""
    if value is None:
        return MISSING
    rounded = round(100 * value, 2) + 0.0  # + 0.0 turns a rounded -0.0 into 0.0
    return f"{rounded:+.2f} points"


def milliseconds_text(value: float | None) -> str:
    """A latency given in milliseconds: 12.345 -> `12.35 ms`."""
    return MISSING if value is None else f"{value:.2f} ms"


def millijoules_text(value: float | None) -> str:
    """An energy given in millijoules: 0.12345 -> `0.1235 mJ`."""
    return MISSING if value is None else f"{value:.4g} mJ"


def duration_text(seconds: float | None) -> str:
    """A duration given in seconds: 4.2 -> `4.2 s`, 75 -> `1 min 15 s`."""
    if seconds is None:
        return MISSING
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _scaled(value: float | None, unit: str) -> str:
    if value is None:
        return MISSING
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor * 0.99995:  # would read "1000 k" otherwise
            scaled = value / factor
            decimals = 2 if abs(scaled) < 99.995 else 1
            return f"{scaled:.{decimals}f} {prefix}{unit}"
    return f"{value:g} {unit}".rstrip()
