"""verdict: what came of the budgets, as it stands in `result.json`."""

from __future__ import annotations

from typing import Any

import numpy as np

from agmc.search.bound import BoundBudget, BoundLimit


def verdict(
    bound: BoundBudget, counts: np.ndarray, *, num_bytes: int, accuracy: float
) -> dict[str, Any] | None:
    """Whether a compressed network keeps what was asked for.

    Args:
        bound: the budgets of the network.
        counts: kept channels, int [num_groups].
        num_bytes: of its file, which is what a limit on `bytes` is about.
        accuracy: of it on the search split, after fine-tuning, in [0, 1].

    Returns:
        `metric`, `limit`, `value` and `holds`. Of several limits these are of the one
        that is used up most, but `holds` says whether all do, and `limits` lists them
        all. For an accuracy floor the metric is `accuracy`, and `minimised` is what
        was searched for. None where nothing was asked for.
    """
    floor = bound.budgets.floor
    if floor is not None:
        return {
            "metric": "accuracy",
            "limit": floor.accuracy,
            "value": accuracy,
            "holds": accuracy >= floor.accuracy,
            "minimised": floor.metric,
        }
    if not bound.limits:
        return None
    records = [_record(one, counts, num_bytes) for one in bound.limits]
    tightest = max(records, key=lambda record: record["value"] / record["limit"])
    if len(records) == 1:
        return tightest
    holds = all(record["holds"] for record in records)
    return {**tightest, "holds": holds, "limits": records}


def broken(verdict: dict[str, Any] | None) -> str:
    """What is wrong, in words; "" where everything holds."""
    if verdict is None or verdict["holds"]:
        return ""
    if verdict["metric"] == "accuracy":
        return (
            f"the compressed network has a search accuracy of {verdict['value']:.4f}, "
            f"less than the {verdict['limit']:.4f} asked for"
        )
    return (
        f"the compressed network has {verdict['value']:.12g} {verdict['metric']}, more "
        f"than the budget of {verdict['limit']:.12g}"
    )


def _record(one: BoundLimit, counts: np.ndarray, num_bytes: int) -> dict[str, Any]:
    metric = one.budget.metric
    value = num_bytes if metric == "bytes" else one.value(counts)
    return {
        "metric": metric,
        "limit": one.limit,
        "value": value,
        "holds": value <= one.limit,
    }
