"""MLflow: the curves of a run in a tracking store, beside those of other runs."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agmc.tracking.tracker import Tracker
from agmc.whole_file import write_whole

_logger = logging.getLogger(__name__)
#: In the run directory: by which a run that goes on finds itself in the store.
_RUN_FILE = "mlflow_run"
#: A store takes milliseconds for a write, and no more points than these in one.
_SECONDS_BETWEEN_WRITES = 2.0
_MOST_POINTS = 1000


class MLflow(Tracker):
    """Writes to the store at `uri`; settings are parameters, curves are metrics.

    A store that fails in the middle of a run is given up with a warning: the run goes
    on.

    Args:
        directory: of the run; keeps the id of the run in the store.
        record: what stands in its result: settings and seed become parameters.
        uri: of the store, `sqlite:///FILE` or `http://HOST:PORT`; None: what
            MLFLOW_TRACKING_URI says, else MLflow's own default, `mlflow.db` in the
            working directory.
        experiment: that the run belongs to; made where it is missing.

    Raises:
        ValueError: MLflow is not installed, or the store cannot be used.
    """

    def __init__(
        self,
        directory: Path,
        record: Mapping[str, Any],
        *,
        uri: str | None = None,
        experiment: str = "agmc",
    ) -> None:
        super().__init__()
        # It would report its use to its makers.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what MLflow is made of
            self._open(directory, record, uri, experiment)

    def _open(
        self,
        directory: Path,
        record: Mapping[str, Any],
        uri: str | None,
        experiment: str,
    ) -> None:
        try:
            from mlflow import MlflowClient
            from mlflow.entities import Metric
            from mlflow.exceptions import MlflowException
        except ImportError as error:
            raise ValueError(
                "tracking=mlflow needs MLflow: pip install 'agmc[tracking]'"
            ) from error
        for chatter in ("alembic", "mlflow.store.db.utils", "mlflow.tracking"):
            logging.getLogger(chatter).setLevel(logging.WARNING)
        self._metric, self._error = Metric, MlflowException
        self._waiting: list[Any] = []
        self._last_write = time.monotonic()
        self._failed = False
        try:
            self._client = MlflowClient(tracking_uri=uri)
            self._run = self._resumed(directory) or self._begun(
                directory, record, experiment
            )
        except (MlflowException, OSError) as error:
            raise ValueError(
                f"MLflow cannot use {uri or 'its store'}: "
                f"{str(error).splitlines()[0]}; choose another tracking.uri"
            ) from error

    def close(self, *, finished: bool) -> None:
        """Writes what is left and ends the run in the store."""
        self._flush()
        if not self._failed:
            status = "FINISHED" if finished else "FAILED"
            self._try(lambda: self._client.set_terminated(self._run, status))

    def _write(self, step: int, values: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        self._waiting += [
            self._metric(name, value, now, step) for name, value in values.items()
        ]
        if time.monotonic() - self._last_write > _SECONDS_BETWEEN_WRITES:
            self._flush()

    def _written(self, name: str) -> int:
        steps = [-1]
        if not self._failed:
            self._try(
                lambda: steps.extend(
                    point.step
                    for point in self._client.get_metric_history(self._run, name)
                )
            )
        return max(steps)

    def _flush(self) -> None:
        points, self._waiting = self._waiting, []
        for first in range(0, len(points), _MOST_POINTS):
            if not self._failed:
                part = points[first : first + _MOST_POINTS]
                self._try(lambda part=part: self._client.log_batch(self._run, part))
        self._last_write = time.monotonic()

    def _try(self, write: Any) -> None:
        try:
            write()
        except (self._error, OSError) as error:
            self._failed = True
            _logger.warning("MLflow is given up: %s", str(error).splitlines()[0])

    def _resumed(self, directory: Path) -> str | None:
        """The run that an earlier start of the same directory has begun."""
        file = directory / _RUN_FILE
        if not file.exists():
            return None
        run = file.read_text().strip()
        try:
            self._client.update_run(run, status="RUNNING")
        except self._error:  # not in this store
            return None
        return run

    def _begun(
        self, directory: Path, record: Mapping[str, Any], experiment: str
    ) -> str:
        found = self._client.get_experiment_by_name(experiment)
        key = found.experiment_id if found else None
        run = self._client.create_run(
            key or self._client.create_experiment(experiment),
            run_name=directory.name,
            tags={"agmc.directory": str(directory.resolve())},
        ).info.run_id
        settings = {**record.get("settings", {}), "seed": record.get("seed")}
        for name, value in settings.items():
            self._client.log_param(run, name, value)
        self._client.set_tag(run, "agmc.command", record.get("command", ""))
        write_whole(directory / _RUN_FILE, run + "\n")
        return run
