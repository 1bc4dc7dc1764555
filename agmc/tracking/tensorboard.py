"""TensorBoard: the curves of a run as event files in its directory."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agmc.tracking.tracker import Tracker

_FOLDER = "tensorboard"


class TensorBoard(Tracker):
    """Writes to `tensorboard/` in the run directory; `tensorboard --logdir runs`.

    Args:
        directory: of the run; exists.
        record: what stands in its result; written as a text when the run is new.
        flush_seconds: the longest that a point waits for the disk, > 0.

    Raises:
        ValueError: TensorBoard is not installed, or `flush_seconds` is out of range.
    """

    def __init__(
        self, directory: Path, record: Mapping[str, Any], *, flush_seconds: int = 10
    ) -> None:
        super().__init__()
        if flush_seconds < 1:
            raise ValueError(f"flush_seconds (={flush_seconds}) must be >= 1")
        try:
            from tensorboard.backend.event_processing import event_accumulator
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ValueError(
                "tracking=tensorboard needs TensorBoard: pip install 'agmc[tracking]'"
            ) from error
        folder = directory / _FOLDER
        self._before: dict[str, int] = {}
        if new := not list(folder.glob("events.*")):
            folder.mkdir(parents=True, exist_ok=True)
        else:
            # Says at length that it purges points, and does not.
            logging.getLogger("tensorboard").setLevel(logging.ERROR)
            past = event_accumulator.EventAccumulator(str(folder), {"scalars": 0})
            past.Reload()
            for name in past.Tags()["scalars"]:
                self._before[name] = max(event.step for event in past.Scalars(name))
        self._writer = SummaryWriter(str(folder), flush_secs=flush_seconds)
        if new:
            text = json.dumps(dict(record), indent=2, default=str)
            self._writer.add_text("run", f"```json\n{text}\n```")

    def close(self, *, finished: bool) -> None:
        """Writes what is left."""
        self._writer.close()

    def _write(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def _written(self, name: str) -> int:
        return self._before.get(name, -1)
