"""tables_for: the tables that a job's metrics need, from their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agmc.cost.energy import EnergyTable
from agmc.cost.tables import Tables
from agmc.export.profile import read_table, table_path


def tables_for(
    metrics: Sequence[str],
    latency_table: str | None = None,
    energy_table: str | None = None,
    cache: str | None = None,
) -> Tables:
    """Reads the tables that are named, and the machine's own where latency is needed.

    Args:
        metrics: that a budget is on.
        latency_table: file of `agmc profile`; None takes that of this machine in the
            cache, if `latency` is among the metrics.
        energy_table: JSON file of an `EnergyTable`.
        cache: folder that `agmc profile` keeps its tables in; None: there is none.

    Raises:
        ValueError: there is no latency table although one is needed, or a file holds
            no table.
        OSError: a file cannot be read.
    """
    path = None if latency_table is None else Path(latency_table)
    if path is None and "latency" in metrics:
        if cache is None:
            raise ValueError(
                "a budget on latency needs the table of `agmc profile`, and there is "
                "no cache (=null): set a folder, or name the file by latency_table=FILE"
            )
        path = table_path(cache)
    if path is not None and not path.exists():
        raise ValueError(
            f"there is no latency table {path}: run `agmc profile` with this model "
            "first"
        )
    return Tables(
        latency=None if path is None else read_table(path),
        energy=None if energy_table is None else EnergyTable.load(energy_table),
    )
