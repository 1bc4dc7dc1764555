"""latency_table: what a call takes before and after, for batch sizes and threads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agmc.report.quantity import MISSING, milliseconds_text
from agmc.report.run_record import number, section
from agmc.report.table import Table


def latency_table(result: Mapping[str, Any]) -> Table:
    """One row for each of `latencies`, and the ratio of after to before.

    Args:
        result: the content of `result.json`; where nothing was timed there are no rows.

    Raises:
        ValueError: a value that should be a number is not.
    """
    before, after = section(result, "baseline"), section(result, "compressed")
    rows = []
    for cell in section(before, "latencies"):
        old, new = (number(stage, "latencies", cell) for stage in (before, after))
        ratio = MISSING
        if old and new is not None:
            ratio = f"{new / old:.2f}" + (" slower" if new > old else "")
        rows.append((cell, milliseconds_text(old), milliseconds_text(new), ratio))
    return Table(
        title="",
        columns=("one call of ONNX Runtime", "before", "after", "after / before"),
        rows=tuple(rows),
    )
