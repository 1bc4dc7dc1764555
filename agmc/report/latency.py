"""latency_tables: operators by time, and their sum against the whole network."""

from __future__ import annotations

import numpy as np

from agmc.cost.latency import LatencyModel
from agmc.cost.latency_table import RUNTIMES
from agmc.export.stopwatch import Measured
from agmc.report.table import Table

_HEADS = {"onnx": "ONNX Runtime", "torch": "torch", "onnx_int8": "8 bits"}


def latency_tables(
    model: LatencyModel, counts: np.ndarray, measured: Measured
) -> tuple[Table, Table]:
    """Two tables for the terminal.

    Args:
        model: predicts.
        counts: kept channels, int [num_groups].
        measured: the same network under the same plan.

    Returns:
        the operators, the slowest in ONNX Runtime first; the totals.
    """
    predicted = np.array([model.by_unit(counts, runtime=r) for r in RUNTIMES])
    rows = []
    for row in np.argsort(-measured.units[0], kind="stable"):
        unit = model.units[row]
        rows.append(
            (
                unit.layer or unit.name or "input",
                unit.family,
                *(f"{ms:.3f}" for ms in measured.units[:, row]),
                f"{measured.units[0, row] / max(measured.totals[0], 1e-12):.1%}",
            )
        )
    operators = Table(
        title="",
        columns=("layer", "operators", *(f"{_HEADS[r]} ms" for r in RUNTIMES), "share"),
        rows=tuple(rows),
        left=2,
    )
    totals = Table(
        title="",
        columns=("whole network", "measured ms", "predicted ms", "error"),
        rows=tuple(
            (
                _HEADS[runtime],
                f"{whole:.3f}",
                f"{total:.3f}",
                f"{total / max(whole, 1e-12) - 1:+.1%}",
            )
            for runtime, whole, total in zip(
                RUNTIMES, measured.totals, predicted.sum(-1), strict=True
            )
        ),
    )
    return operators, totals
