"""episodes.jsonl: written per episode, torn lines dropped, strangers refused."""

from __future__ import annotations

import json

import pytest

from agmc.cost.model import Cost
from agmc.plan import Plan
from agmc.search.episode_log import EpisodeLog, EpisodeRecord


def record(episode, *, accuracy=0.1):
    plan = Plan({"conv1": 1 / 3, "conv2": 1.0})
    cost = Cost(10, 20, 30, activation_bytes=40, bops=50, latency=0.1 + 0.2)
    return EpisodeRecord(episode, plan, accuracy - 1, accuracy, cost, 1.5, False)


def test_a_line_holds_the_contract(tmp_path):
    path = tmp_path / "new" / "folder" / "episodes.jsonl"
    EpisodeLog(path, "abc").append(record(0))
    (line,) = path.read_text().splitlines()
    assert json.loads(line) == {
        "episode": 0,
        "plan": {
            "digest": record(0).plan.digest,
            "keep_ratio": {"conv1": 1 / 3, "conv2": 1.0},
        },
        "reward": -0.9,
        "accuracy": 0.1,
        "cost": {
            **{"macs": 10, "params": 20, "bytes": 30, "activation_bytes": 40},
            **{"bops": 50, "latency": 0.1 + 0.2},
        },
        "seconds": 1.5,
        "cached": False,
        "probe": False,
        "failed": False,
        "run": "abc",
    }


def test_every_line_is_on_the_disk_after_append_and_comes_back(tmp_path):
    path = tmp_path / "episodes.jsonl"
    log = EpisodeLog(path, "abc")
    for episode in range(3):
        log.append(record(episode, accuracy=1 / (episode + 3)))
        assert EpisodeLog(path, "abc").records == log.records
    assert [past.episode for past in log.records] == [0, 1, 2]
    assert log.records[2].evaluation.accuracy == 1 / 5


@pytest.mark.parametrize("cut", [1, 2, 9, 60, 150])
def test_a_torn_last_line_is_dropped_and_the_file_is_whole_again(tmp_path, cut):
    path = tmp_path / "episodes.jsonl"
    log = EpisodeLog(path, "abc")
    log.append(record(0))
    whole = path.read_bytes()
    log.append(record(1))
    path.write_bytes(path.read_bytes()[: len(whole) + cut])
    again = EpisodeLog(path, "abc")
    assert again.records == [record(0)]
    assert path.read_bytes() == whole
    again.append(record(1))
    assert EpisodeLog(path, "abc").records == [record(0), record(1)]


def test_truncate_keeps_the_first_lines(tmp_path):
    path = tmp_path / "episodes.jsonl"
    log = EpisodeLog(path, "abc")
    for episode in range(3):
        log.append(record(episode))
    log.truncate(1)
    assert log.records == EpisodeLog(path, "abc").records == [record(0)]
    assert [file.name for file in tmp_path.iterdir()] == ["episodes.jsonl"]


def test_the_log_of_another_run_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "episodes.jsonl"
    EpisodeLog(path, "abc").append(record(0))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"another search \(run abc, this is xyz\)"):
        EpisodeLog(path, "xyz")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [
        b"hello\n",
        b"hello",
        b"[1]\n",
        b"{}\n",
        b"\xff\xfe\n",
        b'{"episode": 0, "run": "abc"}\n',
        b"\n",
    ],
)
def test_other_files_are_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "episodes.jsonl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="choose another directory") as raised:
        EpisodeLog(path, "abc")
    assert "\n" not in str(raised.value)
    assert path.read_bytes() == content


def test_a_missing_line_is_noticed(tmp_path):
    path = tmp_path / "episodes.jsonl"
    log = EpisodeLog(path, "abc")
    for episode in range(3):
        log.append(record(episode))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[2])
    with pytest.raises(ValueError, match=r"line 2 of .* is not episode 1"):
        EpisodeLog(path, "abc")


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot write .* choose another directory"):
        EpisodeLog(tmp_path / "file" / "episodes.jsonl", "abc")


def test_rewards_that_are_no_numbers_are_never_written(tmp_path):
    log = EpisodeLog(tmp_path / "episodes.jsonl", "abc")
    with pytest.raises(ValueError):
        log.append(record(0, accuracy=float("nan")))
    assert log.records == []
    assert (tmp_path / "episodes.jsonl").read_bytes() == b""
