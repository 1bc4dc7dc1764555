from __future__ import annotations

from pathlib import Path

import pytest
from sample_run import RESULT, write_run

from agmc.report.compare import compare_runs


def test_one_row_a_run(tmp_path: Path) -> None:
    settings = {**RESULT["settings"], "agent": "uniform"}
    one = write_run(tmp_path / "one")
    two = write_run(tmp_path / "two", settings=settings, budget=None)
    table = compare_runs([one, two])
    records = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [record["run"] for record in records] == ["one", "two"]
    assert [record["agent"] for record in records] == ["ddpg", "uniform"]
    assert [record["budget"] for record in records] == ["holds", "-"]
    assert records[0]["embedding"] == "autoencoder"
    assert records[0]["before"] == "98.61 %"
    assert records[0]["after"] == "98.06 %"
    assert records[0]["macs kept"] == "49.8 %"
    assert records[0]["time"] == "2 min 40 s"


def test_words_stand_left_and_numbers_right(tmp_path: Path) -> None:
    table = compare_runs([write_run(tmp_path / "one")])
    assert table.columns[: table.left] == ("run", "model", "data", "embedding", "agent")


def test_a_sweep_stands_for_its_runs_in_order(tmp_path: Path) -> None:
    for number in (10, 2, 0):
        write_run(tmp_path / "sweep" / str(number), settings=None)
    table = compare_runs([tmp_path / "sweep"])
    assert [row[0] for row in table.rows] == ["0", "2", "10"]
    assert "agent" not in table.columns  # no run says it


def test_runs_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / day / "run") for day in ("monday", "tuesday")]
    assert [row[0] for row in compare_runs(runs).rows] == ["monday/run", "tuesday/run"]


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name at least one"):
        compare_runs([])
    with pytest.raises(ValueError, match="holds no finished run"):
        compare_runs([tmp_path])
    with pytest.raises(ValueError, match="holds no finished run"):
        compare_runs([tmp_path / "missing"])
