from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "experiments" / "searches.py"
if not FILE.exists():  # a source distribution leaves the experiments out
    pytest.skip("experiments/ is not here", allow_module_level=True)
spec = importlib.util.spec_from_file_location("experiments_searches", FILE)
searches = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = searches  # where dataclasses look their module up
spec.loader.exec_module(searches)


@pytest.mark.parametrize(
    ("budget", "knobs", "name"),
    [
        ("macs:0.5", {}, "resnet20_0.5_critic_3"),
        ("macs:0.5", {"embedding": "onehot"}, "resnet20_0.5_onehot_critic_3"),
        ("macs:0.3..0.8/9", {}, "resnet20_0.3..0.8_9_critic_3"),
    ],
)
def test_runs_are_named_by_what_is_not_the_default(budget, knobs, name):
    assert searches.Case("resnet20", budget, "critic", 3, **knobs).name == name


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(searches, "RUNS", tmp_path / "runs.jsonl")
    (tmp_path / "results").mkdir()
    return searches.Place("", tmp_path, tmp_path / "results")


def lay(place, name, **record):
    text = json.dumps({"name": name, **record})
    (place.results / f"{name}.json").write_text(text)


def test_records_are_runs_and_nothing_else(place):
    lay(place, "a_0.5_critic_0")
    lay(place, "a_0.5_onehot_critic_1")
    (place.results / "a_0.5_critic_0_tuned.json").write_text('{"accuracy": 0.75}')
    (place.results / "bits").mkdir()
    found = [r["name"] for r in place.records()]
    assert found == ["a_0.5_critic_0", "a_0.5_onehot_critic_1"]


def test_runs_that_are_kept_come_back_in_another_folder(place, tmp_path):
    lay(place, "a_0.5_critic_0", seed=0)
    lay(place, "b_0.5_critic_0")
    (place.results / "a_0.5_critic_0_tuned.json").write_text('{"accuracy": 0.75}')
    (place.results / "b_0.5_critic_0_tested.json").write_text('{"accuracy": 0.25}')
    place.keep()
    options = argparse.Namespace(data="", weights=tmp_path, results=tmp_path / "new")
    again = searches.Place.of(options)
    assert [*again.records()] == [*place.records()]
    assert again.tuned("a_0.5_critic_0") == 0.75
    assert again.tuned("b_0.5_critic_0") is None
    assert again.tuned("b_0.5_critic_0", "test") == 0.25
    # What a third folder finds joins the others; what is there is not overwritten.
    (tmp_path / "third").mkdir()
    third = searches.Place("", tmp_path, tmp_path / "third")
    lay(third, "a_0.5_critic_0", seed=7)
    lay(third, "a_0.5_critic_1")
    third.keep()
    assert len(searches.RUNS.read_text().splitlines()) == 3
    found = [r["name"] for r in third.records()]
    assert found == ["a_0.5_critic_0", "a_0.5_critic_1", "b_0.5_critic_0"]
