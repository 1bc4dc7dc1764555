from __future__ import annotations

import json
from pathlib import Path

import pytest
from sample_run import GROUPS, write_run

from agmc.report.run_record import RunRecord, number


def test_reads_what_a_run_writes(tmp_path: Path) -> None:
    record = RunRecord.load(write_run(tmp_path, episodes=3))
    assert [episode.index for episode in record.episodes] == [0, 1, 2]
    assert list(record.plan.keep_ratio) == GROUPS
    assert record.result["seed"] == 0
    assert set(record.episodes[0].cost) == {"macs", "params", "bytes"}


def test_a_torn_last_line_is_no_episode(tmp_path: Path) -> None:
    write_run(tmp_path, episodes=3)
    with open(tmp_path / "episodes.jsonl", "a") as log:
        log.write('{"episode": 3, "rew')
    assert len(RunRecord.load(tmp_path).episodes) == 3


def test_a_whole_last_line_without_newline_counts(tmp_path: Path) -> None:
    write_run(tmp_path, episodes=1)
    with open(tmp_path / "episodes.jsonl", "a") as log:
        log.write('{"episode": 1, "reward": 0.5}')
    assert [episode.reward for episode in RunRecord.load(tmp_path).episodes][1] == 0.5


def test_only_the_last_run_of_a_directory_counts(tmp_path: Path) -> None:
    write_run(tmp_path, episodes=3)
    line = {"episode": 0, "reward": float("nan"), "run": "another"}
    with open(tmp_path / "episodes.jsonl", "a") as log:
        log.write(json.dumps(line) + "\n")
    (episode,) = RunRecord.load(tmp_path).episodes
    assert episode.reward is None


def test_a_plan_that_was_given_has_no_episodes(tmp_path: Path) -> None:
    write_run(tmp_path)
    (tmp_path / "episodes.jsonl").unlink()
    assert RunRecord.load(tmp_path).episodes == ()


@pytest.mark.parametrize("name", ["result.json", "plan.json"])
def test_a_missing_file_is_named_in_one_line(tmp_path: Path, name: str) -> None:
    write_run(tmp_path, episodes=1)
    (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=f"{name} does not exist; give"):
        RunRecord.load(tmp_path)


@pytest.mark.parametrize("name", ["result.json", "plan.json", "episodes.jsonl"])
@pytest.mark.parametrize(
    "content", [b"{\n", b"[1]\n", b'{"keep_ratio": 1}\n', b"\xff\xfe\n"]
)
def test_a_broken_file_is_named_in_one_line(
    tmp_path: Path, name: str, content: bytes
) -> None:
    write_run(tmp_path, episodes=1)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=name) as caught:
        RunRecord.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_ratio_out_of_range_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path)
    (tmp_path / "plan.json").write_text('{"keep_ratio": {"conv1": 1.5}}')
    with pytest.raises(ValueError, match=r"'conv1' \(=1.5\)"):
        RunRecord.load(tmp_path)


def test_number() -> None:
    record = {"a": {"b": 2, "c": None, "d": True}, "e": float("inf")}
    assert number(record, "a", "b") == 2
    assert number(record, "a", "c") is None
    assert number(record, "a", "missing", "deeper") is None
    assert number(record, "e") is None
    with pytest.raises(ValueError, match="a.d"):
        number(record, "a", "d")
    with pytest.raises(ValueError, match="a.b .* must be an object"):
        number(record, "a", "b", "z")
