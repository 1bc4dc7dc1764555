from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sample_run import RESULT, write_run

from agmc.report.page import write_report

VOID = {"meta", "br"}


class Balanced(HTMLParser):
    """Collects the text and fails on tags that do not match."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def parsed(path: Path) -> Balanced:
    page = Balanced()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    assert page.open == []
    return page


def test_the_page_holds_every_part(tmp_path: Path) -> None:
    path = write_report(write_run(tmp_path))
    assert path == tmp_path / "report.html"
    page = parsed(path)
    for part in (
        "resnet20 on digits",
        "budget holds: MACs 20.34 M of at most 20.41 M",
        "-0.55 points",
        "layer3.2.conv1",
        "1.08 slower",
        "best so far",
        "MACs, share of the original",
        "finetune",
        "2 min 40 s in all",
        "2.13.0",
        RESULT["command"],
    ):
        assert part in page.text
    assert page.tags.count("svg") == 4
    assert page.tags.count("circle") == 2 * 40 + 2  # episodes twice, before, after


def test_the_page_needs_nothing_else_and_fits_a_phone(tmp_path: Path) -> None:
    text = write_report(write_run(tmp_path)).read_text()
    assert "width=device-width" in text
    assert "prefers-color-scheme: dark" in text
    assert not re.search(
        r"<script|<link|<img|\bsrc=|\bhref=|url\(|@import|https?:", text
    )
    assert text.count('role="img" aria-label="') == 4
    assert text.count('scope="row"') > 10


def test_text_of_the_run_is_escaped(tmp_path: Path) -> None:
    settings = {"model": "<script>alert(1)</script>", "data": "a&b"}
    command = "agmc '<img src=x>'"
    run = write_run(tmp_path, settings=settings, command=command)
    path = write_report(run)
    assert "<script" not in path.read_text() and "<img" not in path.read_text()
    page = parsed(path)
    assert "<script>alert(1)</script> on a&b" in page.text
    assert command in page.text


def test_a_bare_result_still_makes_a_page(tmp_path: Path) -> None:
    bare = {key: None for key in RESULT if key not in ("baseline", "compressed")}
    stage = {"accuracy": {"search": 0.5}, "macs": 10}
    run = write_run(tmp_path, episodes=0, **{**bare, "baseline": stage})
    (run / "plan.json").write_text('{"keep_ratio": {}}')
    text = parsed(write_report(run)).text
    assert "No episode was recorded" in text
    assert "The plan keeps every channel" in text
    assert "No time was recorded" in text
    assert "Latency" not in text


def test_bits_zeros_and_the_second_search_are_shown(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    text = parsed(write_report(run)).text
    assert "Bits of weights" not in text and "second search" not in text
    plan = json.loads((run / "plan.json").read_text())
    plan |= {"weight_bits": {"conv1": 3}, "act_bits": {"conv1": 6}}
    plan |= {"sparsity": {"conv1": 0.75}, "dropped": ["layer1.1", "<b>"]}
    (run / "plan.json").write_text(json.dumps(plan))
    (run / "second").mkdir()
    shutil.copy(run / "episodes.jsonl", run / "second")
    page = parsed(write_report(run))
    for said in (
        *("Bits of weights", "Bits of inputs", "Zeros", "conv1: 75.0 %"),
        *("Dropped blocks", "<b>, layer1.1"),
    ):
        assert said in page.text
    assert "Reward per episode, second search" in page.text
    assert "conv1: 3" in page.text and "conv1: 6" in page.text


def test_plans_that_workers_died_on_are_no_points(tmp_path: Path) -> None:
    path = write_report(write_run(tmp_path))
    before = parsed(path).tags.count("circle")
    log = tmp_path / "episodes.jsonl"
    first, *others = log.read_text().splitlines()
    failed = first.replace('"reward"', '"failed": true, "reward"', 1)
    log.write_text("\n".join([failed, *others]) + "\n")
    # One of the rewards, one of the accuracies.
    assert parsed(write_report(tmp_path)).tags.count("circle") == before - 2


def test_a_budget_that_failed_is_said_loudly(tmp_path: Path) -> None:
    budget = {**RESULT["budget"], "holds": False}
    text = write_report(write_run(tmp_path, budget=budget)).read_text()
    assert '<p class="bad">budget DOES NOT HOLD' in text


def test_a_broken_run_leaves_the_old_page_alone(tmp_path: Path) -> None:
    path = write_report(write_run(tmp_path))
    before = path.read_text()
    (tmp_path / "result.json").write_text('{"baseline": {}, "compressed": 3}')
    with pytest.raises(ValueError, match="no object 'compressed'"):
        write_report(tmp_path)
    assert path.read_text() == before
    assert not list(tmp_path.glob("*.partial"))


def test_a_page_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    write_run(tmp_path)
    (tmp_path / "report.html").mkdir()
    with pytest.raises(ValueError, match="cannot be written"):
        write_report(tmp_path)
    assert not list(tmp_path.glob("*.partial"))
