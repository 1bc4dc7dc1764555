from __future__ import annotations

import io
import logging
import sys

import pytest
from rich.console import Console
from tracker_fake import Remembered

from agmc.report.progress import Progress


def plain() -> Progress:
    return Progress(console=Console(file=io.StringIO()))


def terminal(out: io.StringIO) -> Progress:
    return Progress(console=Console(file=out, force_terminal=True, width=100))


def search(progress: Progress) -> None:
    progress.stage("search", total=40, unit="episode")
    for done in range(1, 41):
        progress.step(done, best_reward=done / 100)


def test_lines_come_every_tenth(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with plain() as progress:
        search(progress)
        progress.stage("export")
    lines = caplog.messages
    assert lines[0] == "search: 40 episodes"
    assert [line.split(",")[0] for line in lines[1:11]] == [
        f"search: episode {done}/40" for done in range(4, 41, 4)
    ]
    assert "best reward 0.0400" in lines[1] and lines[1].endswith(" left")
    assert lines[11].startswith("search: done in ")
    assert lines[12] == "export"
    assert lines[13].startswith("export: done in ")


def test_steps_of_an_unknown_total_say_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    with plain() as progress:
        progress.stage("fit")
        for done in range(50):
            progress.step(done, note="loss 1.0")
    assert len(caplog.messages) == 2


def test_seconds_of_every_stage() -> None:
    with plain() as progress:
        progress.stage("one")
        assert set(progress.seconds) == {"one"}
        progress.stage("two")
        progress.stage("one")
    assert list(progress.seconds) == ["one", "two"]
    assert all(0 <= seconds < 5 for seconds in progress.seconds.values())


def test_a_stage_that_failed_is_not_done(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(RuntimeError), plain() as progress:
        progress.stage("train")
        raise RuntimeError
    assert caplog.messages == ["train"]
    assert "train" in progress.seconds


def test_a_terminal_shows_bars() -> None:
    out = io.StringIO()
    with terminal(out) as progress:
        search(progress)
        progress.stage("export")
    shown = out.getvalue()
    assert "search" in shown and "40/40" in shown and "best reward 0.4000" in shown
    assert "export" in shown and "1/1" in shown


def test_logs_of_others_pass_through_the_bars_and_handlers_are_restored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "__stdout__", sys.stdout)
    handler = logging.StreamHandler(sys.stdout)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        original = handler.stream
        with terminal(out) as progress:
            assert handler.stream is not original
            progress.stage("train", total=1)
            logging.getLogger("agmc.training").info("a line of training")
        assert handler.stream is original
        assert handler.filters == []
    finally:
        root.removeHandler(handler)
    assert "a line of training" in out.getvalue()
    assert "train: 1 steps" not in out.getvalue()


def test_values_go_to_the_tracker_under_the_name_of_the_stage() -> None:
    tracker = Remembered()
    console = Console(file=io.StringIO())
    with pytest.raises(RuntimeError), Progress(console=console, tracker=tracker) as p:
        p.stage("fine-tune", total=2, unit="epoch")
        p.track(1, {"loss": 0.5})
        p.track(0, {"accuracy": 0.9}, of="final")
        assert tracker.finished is None
        raise RuntimeError
    assert tracker.curves == {"fine-tune/loss": {1: 0.5}, "final/accuracy": {0: 0.9}}
    assert tracker.finished is False
