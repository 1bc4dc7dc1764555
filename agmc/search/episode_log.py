"""EpisodeLog: episodes.jsonl, one line per episode, from which a search goes on."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agmc.cost.model import Cost
from agmc.plan import Plan
from agmc.search.evaluator import Evaluation
from agmc.whole_file import write_whole

_logger = logging.getLogger(__name__)
_START = b'{"episode":'
_WAY_OUT = "choose another directory"


@dataclass(frozen=True)
class EpisodeRecord:
    """One finished episode.

    Attributes:
        episode: counted from 0.
        plan: that the episode ended in.
        reward: of the plan.
        accuracy: of the plan on the search split, a share in [0, 1].
        cost: of the plan.
        seconds: that the episode took, learning included.
        cached: whether the plan had been evaluated before.
        probe: whether the agent asked for this very plan, within the budget or not; it
            is never the result of a search.
        failed: whether the workers died on the plan: its reward is the lowest (see
            `agmc.search.candidate.worth`), and it is never the result either.
    """

    episode: int
    plan: Plan
    reward: float
    accuracy: float
    cost: Cost
    seconds: float
    cached: bool
    probe: bool = False
    failed: bool = False

    @property
    def counts(self) -> bool:
        """Whether the plan may be the result of the search."""
        return not self.probe and not self.failed

    @property
    def evaluation(self) -> Evaluation:
        """What the evaluator said of the plan."""
        return Evaluation(self.plan, self.accuracy, self.cost, failed=self.failed)


class EpisodeLog:
    """Episodes as JSON lines; every line is on the disk before the next episode.

    A line that a kill has torn at the end of the file is dropped.

    Args:
        path: of the file; its folder is made where it is missing.
        run: names everything that the episodes depend on; part of every line.

    Raises:
        ValueError: the file cannot be written, is no such log or that of another run.
    """

    def __init__(self, path: Path, run: str) -> None:
        self._path = path
        self._run = run
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab"):
                pass
            content = path.read_bytes()
        except OSError as error:
            raise ValueError(
                f"cannot write {path} ({error.strerror}); {_WAY_OUT}"
            ) from error
        whole, newline, torn = content.rpartition(b"\n")
        self.records = [
            self._parse(line, number)
            for number, line in enumerate(whole.split(b"\n") if newline else ())
        ]
        if torn:
            if not torn.startswith(_START[: len(torn)]):
                raise ValueError(f"{path} is no log of episodes; {_WAY_OUT}")
            _logger.warning("%s: the last line is torn and is dropped", path)
            self.truncate(len(self.records))

    def append(self, record: EpisodeRecord) -> None:
        """Adds a line and waits until it is on the disk."""
        with self._path.open("ab") as file:
            file.write(self._line(record))
            file.flush()
            os.fsync(file.fileno())
        self.records.append(record)

    def truncate(self, num_episodes: int) -> None:
        """Keeps the first `num_episodes` lines; the file is written whole or not."""
        self.records = self.records[:num_episodes]
        write_whole(self._path, b"".join(map(self._line, self.records)))

    def _parse(self, line: bytes, number: int) -> EpisodeRecord:
        try:
            fields = json.loads(line)
            record, run = _record(fields), fields["run"]
        except (ValueError, KeyError, TypeError, AttributeError):
            record, run = None, None
        if record is None or record.episode != number:
            raise ValueError(
                f"line {number + 1} of {self._path} is not episode {number}; {_WAY_OUT}"
            )
        if run != self._run:
            raise ValueError(
                f"{self._path} is the log of another search (run {run}, this is "
                f"{self._run}): weights, data or settings differ; {_WAY_OUT}"
            )
        return record

    def _line(self, record: EpisodeRecord) -> bytes:
        fields = {
            "episode": record.episode,
            "plan": {"digest": record.plan.digest, **record.plan.to_json()},
            "reward": record.reward,
            "accuracy": record.accuracy,
            "cost": record.cost.known(),
            "seconds": round(record.seconds, 6),
            "cached": record.cached,
            "probe": record.probe,
            "failed": record.failed,
            "run": self._run,
        }
        return json.dumps(fields, allow_nan=False).encode() + b"\n"


def _record(fields: dict[str, Any]) -> EpisodeRecord:
    return EpisodeRecord(
        episode=int(fields["episode"]),
        plan=Plan.from_json({k: v for k, v in fields["plan"].items() if k != "digest"}),
        reward=float(fields["reward"]),
        accuracy=float(fields["accuracy"]),
        cost=Cost(**{name: 0 + value for name, value in fields["cost"].items()}),
        seconds=float(fields["seconds"]),
        cached=bool(fields["cached"]),
        probe=bool(fields["probe"]),
        failed=bool(fields["failed"]),
    )
