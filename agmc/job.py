"""Job: what one call of agmc has to do, as plain values."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Job:
    """The configuration, read: rooms to make and values that are no room's own.

    Attributes:
        make: key of the configuration ("data", "search.evaluator") -> what stands
            there: the data, an agent's builder, a recipe.
        command: what to do with it.
        directory: of the run; exists.
        record: what stands in every result: `settings`, `seed`, `command`.
        network: name of the model.
        weights: the file that it begins with; None: fresh ones, to be trained.
        cache: folder for trained base networks; None: none.
        budget: METRIC:LIMIT, accuracy>=SHARE, several limits, or None for none.
        latency_table: file of `agmc profile`; None: this machine's, from the cache.
        energy_table: JSON file of the user; None: none.
        plan: file of a plan to carry out instead of a search.
        space: what is decided and among what: the arguments of `agmc.PlanSpace`.
        episodes: of the search.
        workers: of the search: the arguments of `agmc.search.workers.Workers`.
        policy: of the search: the arguments of `agmc.search.policy.Policy`.
        reconstruction_images: training images for the least squares; 0 = off.
        recalibration_images: training images for batch norm; 0 = off.
        calibration_images: training images for the grids of activations, >= 1.
        batch_size: images per forward pass of an evaluation.
        entropy: packs the checkpoint, see `agmc.save`; None: not.
        int4: whether ONNX files have weights of at most 4 bits in 4.
        measured: folder of measured sensitivities to learn from; None: none.
        checkpoint: a saved network.
        runs: directories of finished runs.
        reference: the group of runs that others are measured against; None: the first.
        seed: of everything random.
        overridden: what the command line sets: keys of groups and values, "embedding"
            or "train.epochs".
    """

    make: Callable[[str], Any]
    command: str
    directory: Path
    record: Mapping[str, Any]
    network: str
    weights: str | None
    cache: str | None
    budget: str | Sequence[str] | None
    latency_table: str | None
    energy_table: str | None
    plan: str | None
    space: Mapping[str, Any]
    episodes: int
    workers: Mapping[str, Any]
    policy: Mapping[str, Any]
    reconstruction_images: int
    recalibration_images: int
    calibration_images: int
    batch_size: int
    entropy: str | None
    int4: bool
    measured: str | None
    checkpoint: str | None
    runs: Sequence[str]
    reference: str | None
    seed: int
    overridden: Collection[str]

    def overrides(self, group: str) -> bool:
        """Whether the command line chooses within a group of the configuration."""
        return any(key.split(".")[0] == group for key in self.overridden)

    @property
    def finished(self) -> bool:
        """Whether the same command has left its result in the directory before.

        A result that breaks its budget does not count: its run has failed.
        """
        try:
            result = json.loads((self.directory / "result.json").read_text())
        except (OSError, ValueError):
            return False
        if not isinstance(result, dict):
            return False
        same = all(result.get(key) == value for key, value in self.record.items())
        return same and (result.get("budget") or {}).get("holds") is not False

    def required_checkpoint(self) -> Path:
        """The saved network that the command is about.

        Raises:
            ValueError: none is named.
        """
        if self.checkpoint is None:
            raise ValueError(
                f"{self.command} needs checkpoint=FILE: a compressed.safetensors"
            )
        return Path(self.checkpoint)

    def required_runs(self) -> Sequence[str]:
        """The runs that the command is about.

        Raises:
            ValueError: none is named.
        """
        if not self.runs:
            raise ValueError(f"{self.command} needs runs=DIRECTORY or runs=[A,B]")
        return self.runs
