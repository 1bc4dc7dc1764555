from __future__ import annotations

import csv
import json

import pytest

from agmc.report.experiment import Target, write_experiment

ROWS = [{"method": "uniform", "accuracy": "0.5"}, {"method": "ddpg", "accuracy": "0.6"}]
TARGET = Target("accuracy", ">= 0.7", "0.6", False, "python run.py")


def test_the_three_files_hold_rows_and_targets_and_keep_the_text(tmp_path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(
        "# Title\n\n<!-- table -->\nold\n<!-- end of table -->\n\nReading.\n"
    )
    write_experiment(tmp_path, ROWS, [TARGET], "torch 2")
    write_experiment(tmp_path, ROWS, [TARGET], "torch 2")  # writing twice adds nothing
    text = readme.read_text()
    assert text.startswith("# Title\n\n<!-- table -->\n\n| method")
    assert text.endswith("torch 2\n\n<!-- end of table -->\n\nReading.\n")
    assert "\nold\n" not in text and text.count("ddpg") == 1
    assert "| accuracy | >= 0.7 | 0.6 | no |" in text
    lines = (tmp_path / "results.csv").read_text().splitlines()
    assert list(csv.DictReader(lines)) == ROWS
    assert json.loads((tmp_path / "targets.json").read_text()) == [
        {
            "name": "accuracy",
            "target": ">= 0.7",
            "measured": "0.6",
            "holds": False,
            "command": "python run.py",
        }
    ]


def test_no_rows_or_no_place_for_the_table_is_refused(tmp_path) -> None:
    (tmp_path / "README.md").write_text("# Title\n")
    with pytest.raises(ValueError, match="no rows"):
        write_experiment(tmp_path, [], [])
    with pytest.raises(ValueError, match="has no lines"):
        write_experiment(tmp_path, ROWS, [])
    assert not (tmp_path / "results.csv").exists()
