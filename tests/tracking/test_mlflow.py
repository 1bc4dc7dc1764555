"""With the real package and a store in a file."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from agmc.tracking.mlflow import MLflow

MlflowClient = pytest.importorskip("mlflow").MlflowClient  # of the extra `tracking`

RECORD = {"settings": {"agent": "ddpg"}, "seed": 1, "command": "agmc agent=ddpg"}


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


def new_run(directory: Path, uri: str, *, until: int, finished: bool) -> None:
    tracker = MLflow(directory, RECORD, uri=uri)
    for step in range(1, until + 1):
        tracker.log(step, {"search/reward": step / 10})
    if finished:
        tracker.log(0, {"final/test_accuracy": 0.9})
    tracker.close(finished=finished)


def test_a_run_that_goes_on_is_the_same_run_and_doubles_nothing(
    tmp_path: Path, uri: str
) -> None:
    new_run(tmp_path, uri, until=3, finished=False)
    client, run = MlflowClient(uri), (tmp_path / "mlflow_run").read_text().strip()
    assert client.get_run(run).info.status == "FAILED"
    for _ in range(2):
        new_run(tmp_path, uri, until=5, finished=True)
    kept = client.get_run(run)
    assert kept.info.status == "FINISHED"
    assert kept.data.params == {"agent": "ddpg", "seed": "1"}
    assert kept.data.tags["agmc.command"] == "agmc agent=ddpg"
    points = client.get_metric_history(run, "search/reward")
    assert [(p.step, p.value) for p in points] == [(i, i / 10) for i in range(1, 6)]
    assert len(client.get_metric_history(run, "final/test_accuracy")) == 1
    experiment = client.get_experiment_by_name("agmc").experiment_id
    assert [found.info.run_id for found in client.search_runs([experiment])] == [run]


def test_a_store_that_fails_is_given_up_and_the_run_goes_on(
    tmp_path: Path,
    uri: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError("disk full")

    tracker = MLflow(tmp_path, RECORD, uri=uri)
    monkeypatch.setattr(MlflowClient, "log_batch", refuse)
    tracker.log(1, {"a": 1.0})
    with caplog.at_level(logging.WARNING):
        tracker.close(finished=True)
        tracker.log(2, {"a": 1.0, "b": 2.0})
        tracker.close(finished=True)
    assert [m for m in caplog.messages if "given up" in m] == [
        "MLflow is given up: disk full"
    ]


def test_mistakes_are_one_line(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="MLflow cannot use nonsense://x: .*uri"):
        MLflow(tmp_path, RECORD, uri="nonsense://x")
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ValueError, match=r"pip install 'agmc\[tracking\]'"):
        MLflow(tmp_path, RECORD, uri=uri)
