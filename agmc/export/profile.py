"""Profiler: builds the latency table of networks on this machine."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

from agmc.cost.latency_table import LatencyTable
from agmc.cost.units import Units
from agmc.export.stopwatch import Stopwatch
from agmc.graph.model_graph import ModelGraph
from agmc.plan import kept_channels
from agmc.whole_file import write_whole


@dataclass(frozen=True, kw_only=True)
class Profiler:
    """How a latency table is built.

    Attributes:
        plans: networks to measure: the original and random plans of it, >= 1.
        seconds: of every one, about, > 0.
        shapes: a family of operators measured at so many shapes is known, >= 1.
        seed: of the random plans.
    """

    plans: int = 12
    seconds: float = 5.0
    shapes: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("plans", "seconds", "shapes"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} (={getattr(self, name)}) must be above 0")

    def extend(
        self,
        model: nn.Module,
        graph: ModelGraph,
        path: str | os.PathLike[str],
        *,
        on_plan: Callable[[int], None] | None = None,
    ) -> LatencyTable:
        """Measures what the table does not know yet of this network's operators.

        The file is written anew, whole, after every network that was measured, so an
        interrupted run goes on where it stopped.

        Args:
            model: on the CPU; its weights do not matter.
            graph: its graph.
            path: of the table; made where it is not there.
            on_plan: told the number of plans done.

        Raises:
            ValueError: the file is no table, or the network cannot be run.
            OSError: the file cannot be written.
        """
        table = read_table(path)
        units = Units(graph)
        stopwatch: Stopwatch | None = None
        for index, counts in enumerate(_samples(graph, self.plans, self.seed)):
            if not self._is_known(table, units, counts):
                if stopwatch is None:
                    stopwatch = Stopwatch(model, graph, seconds=self.seconds)
                measured = stopwatch.measure(counts)
                shapes = np.rint(units.shapes(counts)).astype(int).tolist()
                for unit, shape, times in zip(
                    units.units, shapes, measured.units.T.tolist(), strict=True
                ):
                    table.add(unit.family, tuple(shape), times)
                write_whole(path, table.to_json())
            if on_plan is not None:
                on_plan(index + 1)
        return table

    def _is_known(self, table: LatencyTable, units: Units, counts: np.ndarray) -> bool:
        shapes = np.rint(units.shapes(counts)).astype(int).tolist()
        for unit, shape in zip(units.units, shapes, strict=True):
            known = table.entries.get(unit.family, {})
            if tuple(shape) not in known and len(known) < self.shapes:
                return False
        return True


def table_path(folder: str | os.PathLike[str]) -> Path:
    """Where the table of this machine lies in a folder for caches."""
    words = "-".join(machine().values())
    name = re.sub(r"[^A-Za-z0-9.]+", "-", words).strip("-")
    return Path(folder).expanduser() / "latency" / f"{name}.json"


def read_table(path: str | os.PathLike[str]) -> LatencyTable:
    """The table in a file; an empty one where there is none.

    Raises:
        ValueError: the file is no table.
        OSError: it cannot be read, or its folder cannot be made.
    """
    path = Path(path)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        return LatencyTable(machine())
    try:
        return LatencyTable.from_json(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def machine() -> dict[str, str]:
    """What latencies depend on besides the network."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text())
        processor = found[1] if found else processor
    return {
        "processor": processor.strip(),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "onnxruntime": f"onnxruntime {onnxruntime.__version__}",
        "torch": f"torch {torch.__version__}",
    }


def _samples(graph: ModelGraph, plans: int, seed: int) -> Iterator[np.ndarray]:
    """Counts of the original and of random plans, half of them whole blocks."""
    sizes = kept_channels(graph, None)
    yield sizes
    random = np.random.default_rng(seed)
    for _ in range(plans - 1):
        counts = np.rint(sizes * random.uniform(0.2, 1.0, len(sizes)))
        blocks = random.choice([1, 4, 8, 16], len(sizes), p=[0.5, 0.1, 0.3, 0.1])
        rounded = np.maximum(blocks, np.rint(counts / blocks) * blocks)
        yield np.clip(rounded, 1, sizes).astype(np.int64)
