"""A tracker that remembers."""

from __future__ import annotations

from collections.abc import Mapping

from agmc.tracking.tracker import Tracker


class Remembered(Tracker):
    """Curves in memory; `finished` says how the run ended."""

    def __init__(self, past: Mapping[str, int] | None = None) -> None:
        super().__init__()
        self.curves: dict[str, dict[int, float]] = {}
        self.finished: bool | None = None
        self._past = past or {}

    def close(self, *, finished: bool) -> None:
        self.finished = finished

    def _write(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            assert step not in self.curves.setdefault(name, {})
            self.curves[name][step] = value

    def _written(self, name: str) -> int:
        return self._past.get(name, -1)
