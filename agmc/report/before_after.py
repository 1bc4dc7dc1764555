"""before_after: what a run did to a network, as one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agmc.report.quantity import (
    MISSING,
    bytes_text,
    count_text,
    millijoules_text,
    milliseconds_text,
    points_text,
    share_text,
)
from agmc.report.run_record import number, section
from agmc.report.table import Table

#: Stages of a network in `result.json` and their column heads.
STAGES = {
    "baseline": "before",
    "pre_finetune": "pruned",
    "compressed": "after",
}

#: Metrics of `result.json`: name, and how a value of it is written.
METRICS: dict[str, tuple[str, Callable[[float | None], str]]] = {
    "macs": ("MACs", count_text),
    "params": ("parameters", count_text),
    "bytes": ("bytes on disk", bytes_text),
    "activation_bytes": ("peak of activations", bytes_text),
    "bops": ("bit operations", count_text),
    "energy": ("energy", millijoules_text),
    "latency": ("predicted latency", milliseconds_text),
    "latency_ms": ("median latency", milliseconds_text),
}
#: Of `latencies`, what is farthest from one input on one thread.
_FAR = "batch 64, 2 threads"


def before_after(result: Mapping[str, Any]) -> Table:
    """One row a measure; columns before, pruned, after (fine-tuning), and the change.

    The change of an accuracy is in percentage points, that of a metric the share of
    it that is kept. A row nobody measured is left out.

    Args:
        result: the content of `result.json`; further keys are ignored.

    Raises:
        ValueError: a value that should be a number is not.
    """
    stages = [section(result, stage) for stage in STAGES]
    rows = [_accuracy_row(stages, split) for split in ("test", "search")]
    rows.append(_recalibration_row(stages[1]))
    rows += [_row(stages, name, text, key) for key, (name, text) in METRICS.items()]
    rows.append(_row(stages, f"latency, {_FAR}", milliseconds_text, "latencies", _FAR))
    return Table(
        title=_title(result),
        columns=("measure", *STAGES.values(), "change"),
        rows=tuple(row for row in rows if any(cell != MISSING for cell in row[1:])),
    )


def budget_text(result: Mapping[str, Any]) -> str:
    """One line: the budgets, what came of them, and whether they hold; "" without."""
    budget = section(result, "budget")
    if not budget:
        return ""
    holds = budget.get("holds") is True
    limit, value = number(budget, "limit"), number(budget, "value")
    if budget.get("metric") == "accuracy":
        verdict = "met" if holds else "NOT MET"
        return (
            f"accuracy {verdict}: {share_text(value, decimals=2)} of the search split, "
            f"at least {share_text(limit, decimals=2)} asked for"
        )
    limits = budget.get("limits")
    parts = limits if isinstance(limits, list) else [budget]
    verdict = "holds" if holds else "DOES NOT HOLD"
    return f"budget {verdict}: {', '.join(map(_limit_text, parts))}"


def _limit_text(budget: Mapping[str, Any]) -> str:
    metric = str(budget.get("metric", ""))
    name, text = METRICS.get(metric, (metric, count_text))
    limit, value = number(budget, "limit"), number(budget, "value")
    return f"{name} {text(value)} of at most {text(limit)}"


def _title(result: Mapping[str, Any]) -> str:
    settings = section(result, "settings")
    what = [str(settings[key]) for key in ("model", "data") if settings.get(key)]
    return " on ".join(what)


def _accuracy_row(stages: list[Mapping[str, Any]], split: str) -> tuple[str, ...]:
    before, pruned, after = (number(stage, "accuracy", split) for stage in stages)
    change = None if before is None or after is None else after - before
    cells = (share_text(value, decimals=2) for value in (before, pruned, after))
    return (f"{split} accuracy", *cells, points_text(change))


def _recalibration_row(pruned: Mapping[str, Any]) -> tuple[str, ...]:
    recorded = pruned.get("accuracy_without_recalibration")
    # One number of the search split, or one for each split like every accuracy.
    keys: tuple[str, ...] = ()
    split = "search"
    if isinstance(recorded, Mapping):
        split = "test" if recorded.get("test") is not None else "search"
        keys = (split,)
    value = number(pruned, "accuracy_without_recalibration", *keys)
    return (
        f"{split}, BN not recalibrated",
        MISSING,
        share_text(value, decimals=2),
        MISSING,
        MISSING,
    )


def _row(
    stages: list[Mapping[str, Any]],
    name: str,
    text: Callable[[float | None], str],
    *keys: str,
) -> tuple[str, ...]:
    """Of what is better when it is less, at a path of keys in every stage."""
    before, pruned, after = (number(stage, *keys) for stage in stages)
    kept = after / before if before and after is not None else None
    change = MISSING if kept is None else f"{share_text(kept)} kept"
    return (name, text(before), text(pruned), text(after), change)
