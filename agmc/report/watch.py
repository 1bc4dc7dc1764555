"""Watch: what is shown and tracked of a search while it runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from agmc.report.before_after import METRICS
from agmc.report.front import Front
from agmc.report.progress import Progress
from agmc.report.quantity import count_text, share_text
from agmc.search.best_so_far import better
from agmc.search.budgets import Budgets
from agmc.search.episode_log import EpisodeRecord
from agmc.search.runner import Progress as SearchProgress

#: What is said of the last episode.
_NOTES = {"": "", "probe": ", a probe", "failed": ", failed"}


class Watch:
    """Told after every episode; shows the best, the last and the front so far.

    The front is that of the plans within the budget: probes, and plans that workers
    died on, are tracked under names of their own and shown as such, and are neither the
    best nor on the front.

    Args:
        progress: in the stage of the search.
        budgets: of the search; their first metric is the cost that is shown, MACs where
            they have none.
        of: what the curves are called, "search" or "second search".
    """

    def __init__(
        self, progress: Progress, budgets: Budgets, *, of: str = "search"
    ) -> None:
        self._progress = progress
        self._metric = next(iter(budgets.metrics), "macs")
        self._name = METRICS.get(self._metric, (self._metric,))[0]
        self._of = of
        self._front = Front()
        self._told = 0
        self._best: EpisodeRecord | None = None

    def __call__(self, news: SearchProgress) -> None:
        """Shows and tracks one episode."""
        self._take(news.record)
        details, note = {"last": self._text(news.record)}, ""
        if news.best is not None:
            count = f"{len(self._front)} plan{'s' * (len(self._front) != 1)}"
            best = self._text(news.best)
            details = {
                "best": f"{best}, found in episode {news.best.episode + 1}",
                **details,
                "front": f"{count} that no other beats in {self._name} and accuracy",
            }
            note = f"{best.partition(', ')[2]}, {count} on the Pareto front"
        self._progress.step(
            news.done,
            best_reward=None if news.best is None else news.best.reward,
            note=note,
            details=details,
            seconds_left=news.seconds_left,
        )

    def finish(self, episodes: Iterable[EpisodeRecord]) -> None:
        """Tracks what was not told: a search that was complete is not walked again.

        Args:
            episodes: all of the search, in order.
        """
        for record in list(episodes)[self._told :]:
            self._take(record)

    def _take(self, record: EpisodeRecord) -> None:
        self._told += 1
        values = {"reward": record.reward, "accuracy": record.accuracy}
        values |= {k: v for k, v in asdict(record.cost).items() if v is not None}
        if kind := _aside(record):
            name = self._of.removesuffix("search") + kind
            self._progress.track(self._told, values, of=name)
            return
        self._front.add(self._amount(record), record.accuracy)
        self._best = best = better(self._best, record) or record
        more = {"best_reward": best.reward, "front": len(self._front)}
        self._progress.track(self._told, {**values, **more}, of=self._of)

    def _text(self, record: EpisodeRecord) -> str:
        text = METRICS.get(self._metric, (self._metric, count_text))[1]
        return (
            f"reward {record.reward:.4f}, accuracy "
            f"{share_text(record.accuracy, decimals=2)}, {self._name} "
            f"{text(self._amount(record))}{_NOTES[_aside(record)]}"
        )

    def _amount(self, record: EpisodeRecord) -> float:
        value = getattr(record.cost, self._metric)
        return record.cost.macs if value is None else float(value)


def _aside(record: EpisodeRecord) -> str:
    """What an episode is that is no result; "" for one that may be."""
    return "probe" if record.probe else "failed" if record.failed else ""
