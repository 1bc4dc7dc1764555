"""verdict: what came of the budgets, as it stands in `result.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agmc.search.bound import BoundBudget
from agmc.search.limit import amount


def verdict(
    bounds: Sequence[BoundBudget],
    values: Mapping[str, float],
    *,
    num_bytes: int,
    accuracy: float,
) -> dict[str, Any] | None:
    """Whether a compressed network keeps what was asked for.

    Args:
        bounds: the budgets of the search, or of one search after the other.
        values: metric -> what the network takes.
        num_bytes: of its file, which is what a limit on `bytes` is about.
        accuracy: of it on the search split, after fine-tuning, in [0, 1].

    Returns:
        `metric`, `limit`, `value` and `holds`. Of several limits these are of the one
        that is used up most, but `holds` says whether all do, and `limits` lists them
        all. For an accuracy floor the metric is `accuracy`, and `minimised` is what
        was searched for. None where nothing was asked for.
    """
    records = [
        record
        for bound in bounds
        for record in _records(bound, values, num_bytes, accuracy)
    ]
    if len(records) < 2:
        return records[0] if records else None
    tightest = max(records, key=_usage)
    holds = all(record["holds"] for record in records)
    return {**tightest, "holds": holds, "limits": records}


def _records(
    bound: BoundBudget, values: Mapping[str, float], num_bytes: int, accuracy: float
) -> list[dict[str, Any]]:
    floor = bound.budgets.floor
    if floor is not None:
        return [
            {
                "metric": "accuracy",
                "limit": floor.accuracy,
                "value": accuracy,
                "holds": accuracy >= floor.accuracy,
                "minimised": floor.metric,
            }
        ]
    records: list[dict[str, Any]] = []
    for metric, limit in bound.limits.items():
        value = num_bytes if metric == "bytes" else values[metric]
        holds = value <= limit
        records.append(dict(metric=metric, limit=limit, value=value, holds=holds))
    return records


def _usage(record: Mapping[str, Any]) -> float:
    """The share of a limit that is used up; above 1 where it does not hold."""
    if record["metric"] == "accuracy":
        return float(record["limit"] / max(record["value"], 1e-9))
    return float(record["value"] / record["limit"])


def broken(verdict: dict[str, Any] | None) -> str:
    """What is wrong, in words; "" where everything holds."""
    if verdict is None or verdict["holds"]:
        return ""
    metric, limit, value = (verdict[key] for key in ("metric", "limit", "value"))
    if metric == "accuracy":
        return (
            f"the compressed network has a search accuracy of {value:.4f}, less than "
            f"the {limit:.4f} asked for; ask for less, or fine-tune longer"
        )
    return (
        f"the compressed network has {amount(value, metric)}, more than the budget of "
        f"{amount(limit, metric)}"
    )
