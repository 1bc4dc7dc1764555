"""With the real package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agmc.tracking.tensorboard import TensorBoard

RECORD = {"settings": {"agent": "ddpg"}, "seed": 1, "command": "agmc"}


def curves(directory: Path) -> dict[str, list[tuple[int, float]]]:
    """As TensorBoard shows them."""
    shown = EventAccumulator(str(directory / "tensorboard"), {"scalars": 0})
    shown.Reload()
    return {
        name: [(event.step, round(event.value, 4)) for event in shown.Scalars(name)]
        for name in shown.Tags()["scalars"]
    }


def test_curves_are_what_was_logged(tmp_path: Path) -> None:
    tracker = TensorBoard(tmp_path, RECORD)
    for step in (1, 2):
        tracker.log(step, {"search/reward": step / 10})
    tracker.close(finished=True)
    assert curves(tmp_path) == {"search/reward": [(1, 0.1), (2, 0.2)]}


def test_a_run_that_goes_on_doubles_nothing(tmp_path: Path) -> None:
    for until in (3, 5, 5):  # killed after the third episode, finished, started again
        tracker = TensorBoard(tmp_path, RECORD)
        for step in range(1, until + 1):
            tracker.log(step, {"search/reward": step / 10})
        if until == 5:
            tracker.log(0, {"final/test_accuracy": 0.9})
        tracker.close(finished=until == 5)
    assert curves(tmp_path) == {
        "search/reward": [(step, step / 10) for step in range(1, 6)],
        "final/test_accuracy": [(0, 0.9)],
    }


def test_a_torn_file_costs_no_more_than_its_end(tmp_path: Path) -> None:
    tracker = TensorBoard(tmp_path, RECORD)
    for step in (1, 2, 3):
        tracker.log(step, {"a": step})
    tracker.close(finished=False)
    (file,) = (tmp_path / "tensorboard").iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    tracker = TensorBoard(tmp_path, RECORD)
    for step in (1, 2, 3):
        tracker.log(step, {"a": step})
    tracker.close(finished=True)
    assert curves(tmp_path) == {"a": [(1, 1), (2, 2), (3, 3)]}


def test_without_the_package_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ValueError, match=r"pip install 'agmc\[tracking\]'"):
        TensorBoard(tmp_path, RECORD)
    with pytest.raises(ValueError, match=r"flush_seconds \(=0\) must be >= 1"):
        TensorBoard(tmp_path, RECORD, flush_seconds=0)
