from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console
from tracker_fake import Remembered

from agmc.cost.model import Cost
from agmc.plan import Plan
from agmc.report.progress import Progress
from agmc.report.watch import Watch
from agmc.search.budgets import Budgets
from agmc.search.episode_log import EpisodeRecord
from agmc.search.runner import Progress as SearchProgress

EPISODES = (  # reward, MACs, probe
    *((0.9, 90_000, True), (0.5, 50_000, False)),
    *((0.6, 49_000, False), (0.4, 40_000, False)),
)


def records() -> list[EpisodeRecord]:
    return [
        EpisodeRecord(i, Plan({}), r, r, Cost(macs, 7, 8), 1.0, False, probe)
        for i, (r, macs, probe) in enumerate(EPISODES)
    ]


def watch(progress: Progress, budget: str | None = "macs:0.5") -> Watch:
    """Told of all episodes but the last."""
    seen = Watch(progress, Budgets.of(budget))
    progress.stage("search", total=4, unit="episode")
    best = None
    for done, record in enumerate(records()[:3], start=1):
        if not record.probe and (best is None or record.reward > best.reward):
            best = record
        seen(SearchProgress(record, best, done, 4, 75.0))
    return seen


def test_lines_say_best_cost_front_and_time_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    with Progress(console=Console(file=io.StringIO())) as progress:
        watch(progress)
    assert caplog.messages[1] == "search: episode 1/4, 1 min 15 s left"  # a probe
    assert caplog.messages[3] == (
        "search: episode 3/4, best reward 0.6000, accuracy 60.00 %, MACs 49.00 k, "
        "1 plan on the Pareto front, 1 min 15 s left"
    )


def test_a_terminal_shows_three_lines_below_the_bars_while_it_lasts() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80)
    with Progress(console=console) as progress:
        watch(progress)
        out.truncate(0)
        progress._bars.refresh()
        shown = out.getvalue()
        progress.stage("prune")
        out.truncate(0)
        progress._bars.refresh()
        after = out.getvalue()
    for part in (
        "3/4",
        "1 min 15 s left",
        "best   reward 0.6000, accuracy 60.00 %, MACs 49.00 k, found in episode 3",
        "last   reward 0.6000",
        "front  1 plan that no other beats in MACs and accuracy",
    ):
        assert part in shown
    assert shown.count("\n") == 3
    assert "front" not in after and "best reward 0.6000" in after


def test_every_episode_is_tracked_once_and_probes_apart() -> None:
    tracker = Remembered()
    with Progress(console=Console(file=io.StringIO()), tracker=tracker) as progress:
        watch(progress).finish(records())
    curves = tracker.curves
    assert curves["search/reward"] == {2: 0.5, 3: 0.6, 4: 0.4}
    assert curves["search/best_reward"] == {2: 0.5, 3: 0.6, 4: 0.6}
    assert curves["search/macs"] == {2: 50_000, 3: 49_000, 4: 40_000}
    assert curves["search/front"] == {2: 1, 3: 1, 4: 2}
    assert curves["probe/reward"] == {1: 0.9}


def test_a_plan_that_workers_died_on_is_on_no_front(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    tracker, out = Remembered(), io.StringIO()
    console = Console(file=out, force_terminal=True, width=80)
    cheapest = EpisodeRecord(
        3, Plan({}), 0.4, 0.0, Cost(100, 7, 8), 1.0, False, failed=True
    )
    with Progress(console=console, tracker=tracker) as progress:
        seen = watch(progress)
        best = records()[2]
        seen(SearchProgress(cheapest, best, 4, 4, 0.0))
        progress._bars.refresh()
    assert "1 plan on the Pareto front" in caplog.messages[4]
    assert "MACs 100, failed" in out.getvalue()
    assert tracker.curves["failed/reward"] == {4: 0.4}
    assert tracker.curves["search/front"] == {2: 1, 3: 1}


@pytest.mark.parametrize(
    ("budget", "name"),
    [
        ("params:0.5", "parameters 7"),
        ("accuracy>=0.9", "MACs 40.00 k"),
        ("accuracy>=0.9:params", "parameters 7"),
        (None, "MACs 40.00 k"),
    ],
)
def test_the_cost_is_that_of_the_budget(
    budget: str | None, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with Progress(console=Console(file=io.StringIO())) as progress:
        seen = watch(progress, budget)
        last = records()[3]
        seen(SearchProgress(last, last, 4, 4, 0.0))
    assert name in caplog.text


def test_a_second_search_has_curves_of_its_own() -> None:
    tracker = Remembered()
    with Progress(console=Console(file=io.StringIO()), tracker=tracker) as progress:
        watch(progress).finish(records())
        second = Watch(progress, Budgets.of("bytes:0.1"), of="second search")
        second.finish(records())
    assert tracker.curves["second search/reward"] == tracker.curves["search/reward"]
    assert tracker.curves["second probe/reward"] == {1: 0.9}
