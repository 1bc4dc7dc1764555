"""RunRecord: the files that a run left behind, read and checked."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agmc.plan import Plan

#: Folder of a run for a second search, on the fine-tuned network.
SECOND = "second"


@dataclass(frozen=True)
class EpisodeRow:
    """One line of `episodes.jsonl`.

    Attributes:
        index: number of the episode, as written.
        reward: of the whole episode; None where it is no finite number.
        accuracy: on the search split, share in [0, 1], or None.
        cost: metric -> number, of the pruned network.
        digest: of the plan; "" where missing.
        probe: a measurement outside of the budget.
        failed: the workers died on the plan: its reward stands for none.
    """

    index: int
    reward: float | None
    accuracy: float | None
    cost: Mapping[str, float]
    digest: str
    probe: bool = False
    failed: bool = False

    @property
    def counts(self) -> bool:
        """Whether the plan may be the result of the search."""
        return not self.probe and not self.failed


@dataclass(frozen=True)
class RunRecord:
    """A run directory as plain data.

    Attributes:
        directory: of the run.
        result: the content of `result.json`.
        plan: from `plan.json`, in file order.
        episodes: in order of their number, each number once; none where the plan was
            given and not searched for.
        second: those of a second search, on the fine-tuned network.
    """

    directory: Path
    result: Mapping[str, Any]
    plan: Plan
    episodes: tuple[EpisodeRow, ...]
    second: tuple[EpisodeRow, ...] = ()

    @classmethod
    def load(
        cls,
        directory: str | os.PathLike[str],
        result: Mapping[str, Any] | None = None,
    ) -> RunRecord:
        """Reads `result.json`, `plan.json` and `episodes.jsonl` of a run directory.

        Args:
            directory: of the run.
            result: what will stand in `result.json`; None reads it.

        Raises:
            ValueError: one of the first two is missing, or a file is not what a run
                writes.
        """
        directory = Path(directory)
        return cls(
            directory=directory,
            result=load_result(directory) if result is None else result,
            plan=_plan(directory / "plan.json"),
            episodes=load_episodes(directory),
            second=load_episodes(directory / SECOND),
        )


def load_result(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a run directory's `result.json`.

    Raises:
        ValueError: the file is missing, or is no JSON object with the objects
            `baseline` and `compressed`.
    """
    path = Path(directory) / "result.json"
    result = _json(path, _text(path))
    for key in ("baseline", "compressed"):
        if not isinstance(result, dict) or not isinstance(result.get(key), dict):
            raise ValueError(f"{path} is no result of a run: it has no object {key!r}")
    return result


def final_values(result: Mapping[str, Any]) -> dict[str, float]:
    """What came of a run, as `search_accuracy`, `pruned_test_accuracy`, `macs`, ...

    Args:
        result: the content of `result.json`.
    """
    values: dict[str, float | None] = {}
    stages = {"baseline": "original_", "pre_finetune": "pruned_", "compressed": ""}
    for stage, prefix in stages.items():
        for split in ("search", "test"):
            accuracy = number(result, stage, "accuracy", split)
            values[f"{prefix}{split}_accuracy"] = accuracy
    for metric in ("macs", "params", "bytes", "latency_ms"):
        values[metric] = number(result, "compressed", metric)
    return {name: value for name, value in values.items() if value is not None}


def number(record: Mapping[str, Any], *keys: str) -> float | None:
    """The number at a path of keys; None where it is missing, null or not finite.

    Raises:
        ValueError: something else than a number or an object stands on the path.
    """
    value: Any = record
    for depth, key in enumerate(keys):
        if value is None:
            return None
        if not isinstance(value, Mapping):
            at = ".".join(keys[:depth])
            raise ValueError(f"result: {at} (={value!r}) must be an object")
        value = value.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"result: {'.'.join(keys)} (={value!r}) must be a number")
    return value if math.isfinite(value) else None


def section(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The object under a key; an empty one where it is missing or null.

    Raises:
        ValueError: something else stands there.
    """
    value = record.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"result: {key} (={value!r}) must be an object")
    return value


def _plan(path: Path) -> Plan:
    _text(path)  # says what to do where it is missing
    return Plan.load(path)


def load_episodes(directory: str | os.PathLike[str]) -> tuple[EpisodeRow, ...]:
    """The episodes of a run directory, in order; of an unfinished one as far as it is.

    Raises:
        ValueError: a line of `episodes.jsonl` is no episode.
    """
    path = Path(directory) / "episodes.jsonl"
    if not path.exists():  # a plan that was given, not searched for
        return ()
    lines = _text(path).split("\n")
    # A run that was killed while writing leaves a last line without its newline.
    complete, torn = lines[:-1], lines[-1]
    rows: dict[int, EpisodeRow] = {}
    run = None
    for position, line in enumerate(complete, start=1):
        if not line.strip():
            continue
        record = _json(path, line, f" line {position}")
        if not isinstance(record, dict) or not isinstance(record.get("episode"), int):
            raise ValueError(f"{path} line {position} is no episode")
        if record.get("run") != run:  # a later run in the same directory began anew
            run, rows = record.get("run"), {}
        rows[record["episode"]] = _episode(record, f"{path} line {position}")
    if torn.strip():
        try:
            record = json.loads(torn)
            rows[record["episode"]] = _episode(record, f"{path} last line")
        except (ValueError, KeyError, TypeError):
            pass
    return tuple(rows[index] for index in sorted(rows))


def _episode(record: Mapping[str, Any], where: str) -> EpisodeRow:
    try:
        cost = section(record, "cost")
        numbers = {name: number(cost, name) for name in cost}
        return EpisodeRow(
            index=record["episode"],
            reward=number(record, "reward"),
            accuracy=number(record, "accuracy"),
            cost={k: v for k, v in numbers.items() if v is not None},
            digest=str(section(record, "plan").get("digest", "")),
            probe=record.get("probe") is True,
            failed=record.get("failed") is True,
        )
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ValueError(
            f"{path} does not exist; give the directory of a finished run"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def _json(path: Path, text: str, where: str = "") -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}{where} is no JSON: {error}") from error
