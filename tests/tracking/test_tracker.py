from __future__ import annotations

import math

from tracker_fake import Remembered


def test_points_are_written_once_and_in_order() -> None:
    tracker = Remembered()
    tracker.log(1, {"a": 1.0})
    tracker.log(1, {"a": 2.0, "b": 3.0})
    tracker.log(0, {"a": 2.0})
    tracker.log(2, {"a": math.nan, "b": math.inf})
    assert tracker.curves == {"a": {1: 1.0}, "b": {1: 3.0}}


def test_a_run_that_goes_on_adds_what_is_missing() -> None:
    tracker = Remembered({"a": 2})
    for step in range(1, 5):
        tracker.log(step, {"a": 1.0, "b": 2.0})
    assert list(tracker.curves["a"]) == [3, 4]
    assert list(tracker.curves["b"]) == [1, 2, 3, 4]
