"""Progress: what a run is doing, live on a terminal, as log lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TextIO

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from agmc.report.quantity import duration_text
from agmc.tracking.tracker import Tracker

logger = logging.getLogger(__name__)


class Progress:
    """Shows stage, step, best reward and time left, and hands curves to a tracker.

    On a terminal every stage is a bar with a few lines of details below the last one,
    and log lines of other loggers that go to the terminal appear above the bars.
    Everywhere else, and in log files always, there is one line when a stage begins, one
    when it ends and one about every tenth of its steps. Lines go to the logger
    `agmc.report.progress` at level INFO.

    ```python
    with Progress() as progress:
        progress.stage("search", total=200, unit="episode")
        for done in range(1, 201):
            progress.step(done, best_reward=0.91)
    progress.seconds  # {"search": 12.3}
    ```

    Args:
        console: where the bars go; stdout by default. It decides whether there is a
            terminal.
        tracker: told the values of `track`, and closed at the end.
    """

    def __init__(
        self, *, console: Console | None = None, tracker: Tracker | None = None
    ) -> None:
        self._seconds: dict[str, float] = {}
        self._console = console or Console()
        self._tracker = tracker
        self._bars: _Bars | None = None
        self._task: TaskID | None = None
        self._diverted: list[tuple[logging.StreamHandler[TextIO], TextIO]] = []
        self._stage, self._unit = "", ""
        self._total: int | None = None
        self._next_line = 0
        self._start = time.perf_counter()

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of every stage so far, in order; a stage begun twice adds up."""
        seconds = dict(self._seconds)
        if self._stage:
            seconds[self._stage] = seconds.get(self._stage, 0.0) + self._elapsed()
        return seconds

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._bars = _bars(self._console)
            self._bars.start()
            self._divert_logs()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._end_stage(finished=error is None)
        finally:
            if self._bars is not None:
                self._restore_logs()
                self._bars.stop()
                self._bars = None
            if self._tracker is not None:
                self._tracker.close(finished=error is None)

    def stage(self, name: str, *, total: int | None = None, unit: str = "step") -> None:
        """Ends the stage before and begins the next.

        Args:
            name: of the stage, one or two words.
            total: steps it will take, >= 0; None where nobody knows.
            unit: of a step, singular: `episode`, `epoch`.
        """
        self._end_stage(finished=True)
        self._begin(name, total, unit)
        if self._bars is not None:
            self._task = self._bars.add_task(name, total=total, note="", left="")
        how_many = "" if total is None else f": {total} {unit}s"
        logger.info("%s%s", name, how_many)

    def step(
        self,
        done: int,
        *,
        best_reward: float | None = None,
        note: str = "",
        details: Mapping[str, str] | None = None,
        seconds_left: float | None = None,
    ) -> None:
        """Says that `done` steps of the stage are finished.

        Args:
            done: finished steps, those of an earlier run included.
            best_reward: the best so far.
            note: anything else worth a few words.
            details: name -> text, each a line below the bars; for terminals only.
            seconds_left: until the end of the stage; None: guessed from its steps.
        """
        best = "" if best_reward is None else f"best reward {best_reward:.4f}"
        left = self._left(done, seconds_left)
        if self._bars is not None and self._task is not None:
            # There is room for one of them beside the bar, and for more below it.
            beside = best if details else _joined(best, note)
            self._bars.details = _lines(details or {})
            self._bars.update(self._task, completed=done, note=beside, left=left)
        if self._total and (done >= self._next_line or done == self._total):
            self._next_line = _next_tenth(done, self._total)
            count = f"{self._unit} {done}/{self._total}"
            logger.info("%s: %s", self._stage, _joined(count, best, note, left))

    def track(self, step: int, values: Mapping[str, float], *, of: str = "") -> None:
        """Hands values to the tracker, under `STAGE/NAME`.

        Args:
            step: that the values belong to, >= 0; a step of a curve that the tracker
                has from an earlier run is not written again.
            values: name -> value; one that is not finite is left out.
            of: what stands before the slash in the place of the stage's name.
        """
        named = {f"{of or self._stage}/{name}": v for name, v in values.items()}
        if self._tracker is not None:
            self._tracker.log(step, named)

    def _begin(self, name: str = "", total: int | None = None, unit: str = "") -> None:
        self._stage, self._total, self._unit = name, total, unit
        self._start = time.perf_counter()
        self._next_line = _next_tenth(0, total or 0)

    def _end_stage(self, *, finished: bool) -> None:
        if not self._stage:
            return
        seconds = self._elapsed()
        if finished:
            logger.info("%s: done in %s", self._stage, duration_text(seconds))
        if self._bars is not None and self._task is not None:
            if finished and self._total is None:
                self._bars.update(self._task, total=1, completed=1)
            self._bars.update(self._task, left="")
            self._bars.stop_task(self._task)
            self._bars.details = ()
        self._seconds[self._stage] = self._seconds.get(self._stage, 0.0) + seconds
        self._begin()

    def _elapsed(self) -> float:
        return time.perf_counter() - self._start

    def _left(self, done: int, seconds: float | None) -> str:
        if not self._total or done <= 0 or done >= self._total:
            return ""
        if seconds is None:
            seconds = self._elapsed() / done * (self._total - done)
        return f"{duration_text(seconds)} left"

    def _divert_logs(self) -> None:
        """Log lines bound for the terminal must not be written through the bars.

        rich replaces sys.stdout and sys.stderr while bars are live, but a handler
        still holds the stream it was made with.
        """
        standard = {sys.__stdout__: sys.stdout, sys.__stderr__: sys.stderr}
        for handler in logging.getLogger().handlers:
            if not isinstance(handler, logging.StreamHandler):
                continue
            if isinstance(handler, logging.FileHandler):
                continue
            if handler.stream in standard:
                self._diverted.append((handler, handler.stream))
                handler.setStream(standard[handler.stream])
                handler.addFilter(_not_progress)

    def _restore_logs(self) -> None:
        while self._diverted:
            handler, stream = self._diverted.pop()
            handler.removeFilter(_not_progress)
            handler.setStream(stream)


def _not_progress(record: logging.LogRecord) -> bool:
    """The bars already show what the lines of this logger say."""
    return record.name != logger.name


class _Bars(Bars):
    """Bars with lines below them."""

    details: tuple[Text, ...] = ()

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bars, then the lines."""
        yield self.make_tasks_table(self.tasks)
        yield from self.details


def _lines(details: Mapping[str, str]) -> tuple[Text, ...]:
    width = max(map(len, details), default=0)
    return tuple(
        Text(f"  {name.ljust(width)}  {text}", no_wrap=True, overflow="ellipsis")
        for name, text in details.items()
    )


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _bars(console: Console) -> _Bars:
    return _Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}", markup=False),
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
        refresh_per_second=4,
    )


def _next_tenth(done: int, total: int) -> int:
    """The next multiple of a tenth: a resumed run logs at the same steps."""
    tenth = max(1, round(total / 10))
    return (done // tenth + 1) * tenth
