from __future__ import annotations

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
        ("params:0.5", {}, "resnet20_params_0.5_critic_3"),
        ("bytes:0.25", {"embedding": "onehot"}, "resnet20_bytes_0.25_onehot_critic_3"),
    ],
)
def test_budgets_on_macs_go_without_saying(budget, knobs, name):
    assert searches.Case("resnet20", budget, "critic", 3, **knobs).name == name


def test_records_of_other_metrics_stay_apart(tmp_path):
    for name, record in {
        "a_0.5_critic_0": {"budget": 0.5},  # before there were others
        "a_0.5_critic_1": {"budget": 0.5, "metric": "macs", "embedding": "onehot"},
        "a_params_0.5_critic_0": {"budget": 0.5, "metric": "params"},
    }.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({**record, "name": name}))
    place = searches.Place("", tmp_path, tmp_path)
    assert [(r["name"], r["embedding"]) for r in place.records()] == [
        ("a_0.5_critic_0", "rules"),
        ("a_0.5_critic_1", "onehot"),
    ]
    assert [r["name"] for r in place.records("params")] == ["a_params_0.5_critic_0"]
