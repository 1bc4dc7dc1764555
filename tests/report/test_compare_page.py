from __future__ import annotations

import csv
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from sample_run import write_config, write_run

from agmc.report.compare import Comparison
from agmc.report.compare_page import write_comparison


def compared(tmp_path: Path, budgets: tuple[str, ...] = ("macs:0.5",)) -> Path:
    """The folder with the files of a comparison of two agents with two seeds each."""
    for budget in budgets:
        for agent in ("ddpg", "random"):
            for seed in (0, 1):
                run = tmp_path / "sweep" / f"{agent}{seed}{budget[-3:]}"
                write_config(run, {"agent": agent}, {"budget": budget, "seed": seed})
                rewards = [None, 0.1 * seed, 0.5, 0.4 + 0.25 * (agent == "ddpg")]
                write_run(run, rewards=rewards, episodes=4)
    write_config(tmp_path / "sweep" / "late", {"agent": "ddpg"}, {"seed": 2})
    out = tmp_path / "out"
    out.mkdir()
    page = write_comparison(Comparison.of([tmp_path / "sweep"]), out)
    assert page == out / "compare.html"
    return out


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_every_file_is_written(tmp_path: Path) -> None:
    out = compared(tmp_path)
    assert {path.name for path in out.iterdir()} == {
        *("compare.html", "compare.md", "compare.csv", "runs.csv"),
        *("curves.csv", "curves.svg"),
    }
    groups = rows(out / "compare.csv")
    assert [row["group"] for row in groups] == ["agent=ddpg", "agent=random"]
    assert groups[0]["seeds"] == "0 1"
    assert float(groups[0]["best_reward"]) == 0.65
    assert float(groups[0]["best_reward_interval"]) == 0
    assert groups[0]["episodes_to_reference"] == "4"
    assert groups[1]["episodes_to_reference"] == ""
    assert float(groups[0]["pruned_test_accuracy"]) == 0.9278
    runs = rows(out / "runs.csv")
    assert [row["state"].split(":")[0] for row in runs].count("unfinished") == 1
    assert [row["best_reward"] for row in runs if row["run"] == "late"] == [""]


def test_the_curves_are_those_of_the_groups(tmp_path: Path) -> None:
    curve = [r for r in rows(compared(tmp_path) / "curves.csv") if "ddpg" in r["group"]]
    assert [row["episodes"] for row in curve] == ["1", "2", "3", "4"]
    assert curve[0]["best_reward"] == ""  # a probe
    assert float(curve[1]["best_reward"]) == 0.05
    # Student's t with one degree of freedom.
    assert abs(float(curve[1]["high"]) - 0.05 - 12.7062 * 0.05) < 1e-4
    assert curve[3]["low"] == curve[3]["high"] == "0.65"


def test_the_page_and_the_picture_need_nothing_else(tmp_path: Path) -> None:
    out = compared(tmp_path, ("macs:0.5", "macs:0.3"))
    page = (out / "compare.html").read_text()
    assert not re.search(r"(src|href)\s*=|@import|url\(|<script|<link", page)
    assert page.count("<svg") == 2 and "budget=macs:0.3" in page
    assert "Student t" in page and "unfinished" in page
    for number in (0, 1):
        root = ElementTree.parse(out / f"curves_{number}.svg").getroot()
        space = "{http://www.w3.org/2000/svg}"
        assert (
            len(root.findall(f".//{space}path[@class='line c0']")) == 2
        )  # and its key
        names = [text.text for text in root.iter(f"{space}text")]
        assert {"agent=ddpg", "agent=random", "episodes"} <= set(names)


def test_unfinished_runs_alone_are_a_page_without_a_chart(tmp_path: Path) -> None:
    write_config(tmp_path / "late", {"agent": "ddpg"}, {"seed": 2})
    page = write_comparison(Comparison.of([tmp_path / "late"]), tmp_path)
    assert "<svg" not in page.read_text()
    assert (tmp_path / "compare.csv").read_text() == ""
