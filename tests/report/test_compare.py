from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from sample_run import RESULT, write_config, write_run

from agmc.report.compare import Comparison


def sweep_run(
    directory: Path, agent: str, seed: int, rewards: list[float | None], **more: Any
) -> Path:
    """A run of a sweep over agents and seeds."""
    values = {
        "budget": more.pop("budget", "macs:0.5"),
        "seed": seed,
        "agent": {"_target_": f"some.{agent}", **more.pop("knobs", {})},
        "search": {"episodes": len(rewards)},
        "out": str(directory),
    }
    write_config(directory, {"agent": agent}, values)
    return write_run(directory, rewards=rewards, episodes=len(rewards), **more)


def records(table) -> list[dict[str, str]]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two agents, three seeds; the second is quicker, better and better still."""
    for seed in range(3):
        slow = [0.1, 0.1, 0.2, 0.2, 0.3 + seed / 10]
        fast = [0.1, 0.4 + seed / 10, 0.0, 0.0, 0.5 + seed / 10]
        sweep_run(tmp_path / f"{seed}", "slow", seed, slow)
        sweep_run(tmp_path / f"{seed + 3}", "fast", seed, fast)
    return tmp_path


def test_runs_that_differ_in_their_seeds_are_a_group(sweep: Path) -> None:
    comparison = Comparison.of([sweep])
    assert [g.name for g in comparison.groups] == ["agent=slow", "agent=fast"]
    slow, fast = comparison.groups
    assert [run.config.seed for run in slow.runs] == ["0", "1", "2"]
    assert slow.task == ""
    mean, half = slow.curve
    assert mean.tolist() == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.4])
    # Student's t with two degrees of freedom: 4.303 x 0.1 / sqrt(3).
    assert half[-1] == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-5)
    assert half[0] == pytest.approx(0)
    assert comparison.area(fast).value == pytest.approx((0.1 + 3 * 0.5 + 0.6) / 5)


def test_how_soon_the_best_of_the_reference_is_reached(sweep: Path) -> None:
    comparison = Comparison.of([sweep])
    slow, fast = comparison.groups
    assert comparison.goal(fast) == pytest.approx(0.4)
    assert comparison.reached(slow) == (5, 2)  # 0.3 of the first seed is less
    assert comparison.reached(fast) == (2, 3)
    for name in ("fast", "agent=fast"):
        other = Comparison.of([sweep], reference=name)
        assert other.reference == "agent=fast"
        assert other.reached(slow) == (None, 0)
        assert other.reached(fast) == (5, 2)
        assert records(other.tables()[0])[0]["episodes to reference"] == "never"
    with pytest.raises(ValueError, match="'faster' is no group.*agent=slow"):
        Comparison.of([sweep], reference="faster")


def test_a_probe_takes_an_episode_and_is_never_the_best(tmp_path: Path) -> None:
    sweep_run(tmp_path / "0", "greedy", 0, [None, None, 0.2, None, 0.6])
    sweep_run(tmp_path / "1", "random", 0, [0.1, 0.3, 0.2, 0.6, 0.1])
    greedy, random = Comparison.of([tmp_path]).groups
    curve = greedy.runs[0].curve
    assert [math.isnan(value) for value in curve] == [True] * 2 + [False] * 3
    assert curve[2:].tolist() == [0.2, 0.2, 0.6]
    comparison = Comparison.of([tmp_path])
    assert comparison.reached(greedy) == (5, 1)
    assert comparison.reached(random) == (4, 1)
    # The lowest reward of both searches stands for what is not known yet.
    expected = (0.1 + 0.1 + 0.2 + 0.2 + 0.6) / 5
    assert comparison.area(greedy).value == pytest.approx(expected)
    assert math.isnan(comparison.area(greedy).half)


def test_unfinished_runs_are_listed_and_in_no_mean(sweep: Path) -> None:
    (sweep / "5" / "result.json").unlink()
    comparison = Comparison.of([sweep])
    assert [len(group.runs) for group in comparison.groups] == [3, 2]
    groups, runs = map(records, comparison.tables())
    assert [row["state"] for row in runs] == ["finished"] * 5 + [
        "unfinished: 5 of 5 episodes"
    ]
    assert [row["runs"] for row in groups] == ["3", "2"]
    for run in range(5):
        (sweep / str(run) / "result.json").unlink()
    (only,) = Comparison.of([sweep]).tables()
    assert {row["state"] for row in records(only)} == {"unfinished: 5 of 5 episodes"}


def test_budgets_are_other_tasks_with_the_same_reference(tmp_path: Path) -> None:
    for number, (agent, budget, best) in enumerate(
        [
            ("slow", "macs:0.5", 0.5),
            ("slow", "macs:0.3", 0.3),
            ("fast", "macs:0.5", 0.6),
            ("fast", "macs:0.3", 0.2),
        ]
    ):
        sweep_run(tmp_path / f"{number}", agent, 1, [0.0, best], budget=budget)
    comparison = Comparison.of([tmp_path], reference="slow")
    assert {task: len(groups) for task, groups in comparison.tasks.items()} == {
        "budget=macs:0.5": 2,
        "budget=macs:0.3": 2,
    }
    reached = {(g.task[-3:], g.name): comparison.reached(g) for g in comparison.groups}
    assert reached["0.5", "agent=fast"] == (2, 1)
    assert reached["0.3", "agent=fast"] == (None, 0)


def test_knobs_that_only_one_agent_has_are_no_difference(tmp_path: Path) -> None:
    for number, (agent, knobs) in enumerate(
        [("ddpg", {"tau": 0.1}), ("ddpg", {"tau": 0.2}), ("random", {})]
    ):
        sweep_run(tmp_path / f"{number}", agent, 1, [0.1], knobs=knobs)
    names = [group.name for group in Comparison.of([tmp_path]).groups]
    assert names == [
        "agent=ddpg, agent.tau=0.1",
        "agent=ddpg, agent.tau=0.2",
        "agent=random",
    ]


def test_a_run_without_the_files_of_hydra_is_told_by_its_settings(
    tmp_path: Path,
) -> None:
    settings = {**RESULT["settings"], "agent": "uniform"}
    one = write_run(tmp_path / "one")
    two = write_run(tmp_path / "two", settings=settings, budget=None)
    comparison = Comparison.of([one, two])
    assert [group.name for group in comparison.groups] == [
        "agent=ddpg",
        "agent=uniform",
    ]
    groups, runs = map(records, comparison.tables())
    assert [row["run"] for row in runs] == ["one", "two"]
    assert [row["budget"] for row in runs] == ["holds", "-"]
    assert groups[0]["test before %"] == "98.61"
    assert groups[0]["test pruned %"] == "92.78"
    assert groups[0]["test after %"] == "98.06"
    assert groups[0]["search after %"] == "98.33"
    assert groups[0]["MACs kept %"] == "49.8"
    assert groups[0]["search time"] == "38.9 s"
    assert groups[0]["time"] == "2 min 40 s"
    assert "parameters kept %" not in comparison.tables(short=True)[0].columns


def test_words_stand_left_and_numbers_right(sweep: Path) -> None:
    groups, runs = Comparison.of([sweep]).tables()
    assert groups.columns[: groups.left] == ("group",)
    assert runs.columns[: runs.left] == ("run", "seed", "state", "budget")


def test_a_sweep_stands_for_its_runs_in_order(tmp_path: Path) -> None:
    for number in (10, 2, 0):
        write_run(tmp_path / f"{number}")
    write_config(tmp_path / "table", {}, {"command": "compare"})  # is passed over
    assert [run.name for run in Comparison.of([tmp_path]).runs] == ["0", "2", "10"]
    assert [g.name for g in Comparison.of([tmp_path]).groups] == ["all runs"]


def test_runs_of_the_same_name_are_told_apart_and_taken_once(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / day / "run") for day in ("monday", "tuesday")]
    names = [run.name for run in Comparison.of([*runs, runs[0]]).runs]
    assert names == ["monday/run", "tuesday/run"]


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name at least one"):
        Comparison.of([])
    with pytest.raises(ValueError, match="holds no run: no result.json"):
        Comparison.of([tmp_path])
    with pytest.raises(ValueError, match="missing is no directory"):
        Comparison.of([tmp_path / "missing"])
    training = write_config(tmp_path / "base", {}, {"command": "train"})
    with pytest.raises(ValueError, match="that of agmc train"):
        Comparison.of([training])
    (training / ".hydra" / "config.yaml").write_text("a: [")
    with pytest.raises(ValueError, match=r"config\.yaml cannot be read"):
        Comparison.of([training])
