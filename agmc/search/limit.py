"""Limits as people write them: a share, or a number with the unit of its metric."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from agmc.cost.model import METRICS, TABLE_METRICS

#: What a budget can be set on.
BUDGET_METRICS = (*METRICS, *TABLE_METRICS)

_COUNT = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_BYTES = {
    **{unit: factor for unit, factor in _COUNT.items() if unit != "T"},
    **{"B": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9},
}
_MILLISECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_MILLIJOULES = {"nJ": 1e-6, "uJ": 1e-3, "mJ": 1.0, "J": 1e3}
#: Metric -> unit -> its factor.
_UNITS: Mapping[str, Mapping[str, float]] = {
    **dict.fromkeys(("macs", "params", "bops"), _COUNT),
    **dict.fromkeys(("bytes", "activation_bytes"), _BYTES),
    "latency": _MILLISECONDS,
    "energy": _MILLIJOULES,
}
#: What an absolute limit of a metric is kept and printed in.
OWN_UNITS: Mapping[str, str] = {"latency": "ms", "energy": "mJ"}

_NUMBER = re.compile(r"((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-z]*)")
_EXAMPLES = {
    "latency": "a time with its unit, us, ms or s, as 2.5ms",
    "energy": "an energy with its unit, nJ, uJ, mJ or J, as 0.2mJ",
}


def parse_limit(limit: float | str, metric: str) -> tuple[float, bool]:
    """The number that a limit stands for, and whether it is a share.

    Args:
        limit: a number in (0, 1] is a share of the original; others are absolute:
            numbers above 1, or texts with a unit.
        metric: one of `BUDGET_METRICS`; `latency` and `energy` take absolute limits
            with a unit only.

    Returns:
        an absolute number in the unit of the metric: 1, or one of `OWN_UNITS`.

    Raises:
        ValueError: the limit is no such number.
    """
    units = _UNITS[metric]
    number, unit = limit, ""
    if isinstance(limit, str):
        match = _NUMBER.fullmatch(limit)
        if match is None or match[2] not in {"", *units}:
            raise _refused(limit, metric)
        number, unit = float(match[1]), match[2]
        number *= units.get(unit, 1.0)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise _refused(limit, metric)
    if not 0 < number < math.inf:
        raise _refused(limit, metric)
    if not unit and number <= 1:
        return float(number), True
    # With a unit 0.5 ms are fine, but half a multiply-add is a slip of the pen.
    if not unit if metric in OWN_UNITS else number <= 1:
        raise _refused(limit, metric)
    return float(number), False


def amount(value: float, metric: str) -> str:
    """A value of a metric as text: "120 macs", "2.5 ms latency"."""
    number = f"{value:.0f}" if value == int(value) else f"{value:.6g}"
    return " ".join(part for part in (number, OWN_UNITS.get(metric), metric) if part)


def _refused(limit: object, metric: str) -> ValueError:
    absolute = _EXAMPLES.get(metric, "an absolute number above 1, as 0.5, 200k or 60M")
    return ValueError(
        f"budget limit of {metric} (={limit!r}) must be a share in (0, 1] or {absolute}"
    )
