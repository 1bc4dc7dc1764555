from __future__ import annotations

import json

import numpy as np
import pytest
from graph_nets import graph_of

from agmc.plan import Plan, dropped_blocks, kept_blocks, of_what_stays


def test_save_and_load(tmp_path):
    plan = Plan({"conv1": 1 / 3, "conv2": 1})
    plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == plan
    assert Plan.load(tmp_path / "plan.json").digest == plan.digest
    assert json.loads((tmp_path / "plan.json").read_text())["keep_ratio"]["conv2"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]


def test_a_failed_save_leaves_the_old_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "plan.json"
    Plan({"a": 0.5}).save(path)

    def full(self, target):
        raise OSError("no space left")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="no space left"):
        Plan({"a": 0.25}).save(path)
    assert Plan.load(path) == Plan({"a": 0.5})
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"keep_ratio": {"a": 0.5}',
        b"[1, 2]",
        b"{}",
        b'{"keep_ratio": [0.5]}',
        b'{"keep_ratio": "all"}',
        b'{"keep_ratio": {"a": "half"}}',
        b'{"keep_ratio": {"a": null}}',
        b'{"keep_ratio": {"a": true}}',
        b'{"keep_ratio": {"a": 1.5}}',
        b'{"keep_ratio": {"a": NaN}}',
        b'{"keep_ratio": {}, "bits": {"a": 8}}',
        b'{"keep_ratio": {}, "weight_bits": {"a": 8.0}}',
        b'{"keep_ratio": {}, "sparsity": {"a": 1}}',
        b'{"keep_ratio": {}, "dropped": "a"}',
        b'{"keep_ratio": {}, "dropped": {"a": true}}',
        b'{"keep_ratio": {}, "dropped": [1]}',
        b"\xff\xfe\x00",
    ],
)
def test_foreign_files_are_refused_by_name(content, tmp_path):
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"plan\.json is no plan") as caught:
        Plan.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ratio", [0, -0.5, 1.01, float("nan"), float("inf"), "1"])
def test_ratios_out_of_range(ratio):
    with pytest.raises(ValueError, match=r"keep_ratio of 'a' .* in \(0, 1\]"):
        Plan({"a": ratio})


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("sparsity", 1.0, r"sparsity of 'a' \(=1.0\) must be in \[0, 1\)"),
        ("sparsity", float("nan"), r"sparsity of 'a' \(=nan\)"),
        ("weight_bits", 0, r"weight_bits of 'a' \(=0\) must be a whole number"),
        ("act_bits", 17, r"act_bits of 'a' \(=17\)"),
        ("act_bits", True, r"act_bits of 'a' \(=True\)"),
    ],
)
def test_sparsity_and_bits_out_of_range(part, value, message):
    with pytest.raises(ValueError, match=message):
        Plan({}, **{part: {"a": value}})


def test_all_parts_of_a_plan_are_saved(tmp_path):
    plan = Plan({"g": 0.5}, {"a": 0.9}, {"a": 4, "b": 8}, {"b": 8}, {"y", "x"})
    plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == plan
    parts = json.loads((tmp_path / "plan.json").read_text())
    names = ["keep_ratio", "sparsity", "weight_bits", "act_bits", "dropped"]
    assert list(parts) == names and parts["dropped"] == ["x", "y"]
    digests = {
        plan.digest,
        Plan({"g": 0.5}).digest,
        Plan({"g": 0.5}, weight_bits={"a": 8}).digest,
        Plan({"g": 0.5}, act_bits={"a": 8}).digest,
        Plan({"g": 0.5}, dropped=["x", "y"]).digest,
        Plan({"g": 0.5}, dropped=["y"]).digest,
    }
    assert len(digests) == 6
    assert Plan({}, dropped=["x", "y"]).digest == Plan({}, dropped=["y", "x"]).digest
    # What earlier versions called a plan of channels alone, episodes.jsonl included.
    assert Plan({"g": 0.5}).to_json() == {"keep_ratio": {"g": 0.5}}
    assert Plan({"conv1": 0.5, "conv2": 0.25}).digest == "273d3262567d"


def test_digest_knows_values_and_not_their_order():
    plan = Plan({"a": 0.5, "b": 0.25})
    assert plan.digest == Plan({"b": 0.25, "a": 0.5}).digest
    assert plan.digest != Plan({"a": 0.25, "b": 0.5}).digest
    assert len(plan.digest) == 12 and int(plan.digest, 16) >= 0


def test_a_plan_does_not_follow_the_dict_it_was_made_of():
    ratios = {"a": 0.5}
    plan = Plan(ratios)
    ratios["a"] = 7
    assert plan.keep_ratio == {"a": 0.5}


def test_blocks_of_a_plan():
    graph = graph_of("resnet20")
    plan = Plan({}, dropped=["layer1.1", "layer3.2"])
    kept = kept_blocks(graph, plan)
    assert kept.tolist() == [True, False, True, True, True, True, False]
    assert [b.name for b in dropped_blocks(graph, plan)] == ["layer1.1", "layer3.2"]
    assert np.all(kept_blocks(graph, None))
    with pytest.raises(
        ValueError, match=r"unknown blocks \['x'\]; .* layer1.0, layer1"
    ):
        kept_blocks(graph, Plan({}, dropped=["x", "layer1.1"]))


def test_layers_of_dropped_blocks_have_no_zeros_and_no_bits():
    graph = graph_of("resnet20")
    inside, outside, unknown = "layer1.1.conv2", "layer1.2.conv2", "nowhere"
    names = (inside, outside, unknown)
    plan = Plan(
        {"layer1.1.conv1": 0.5},
        *({name: value for name in names} for value in (0.5, 8, 4)),
        ["layer1.1"],
    )
    left = of_what_stays(graph, plan)
    assert left == Plan(
        {"layer1.1.conv1": 0.5},  # groups are those of the whole network
        *({outside: value, unknown: value} for value in (0.5, 8, 4)),
        ["layer1.1"],
    )
    assert of_what_stays(graph, left) == left
    whole = Plan({}, {inside: 0.5})
    assert of_what_stays(graph, whole) is whole


def test_numbers_of_numpy_are_numbers(tmp_path):
    plan = Plan(
        {"a": np.float32(0.5)},
        sparsity={"b": np.float64(0.25)},
        weight_bits={"b": np.int64(8)},
        act_bits={"b": np.int32(4)},
    )
    plan.save(tmp_path / "plan.json")
    same = Plan({"a": 0.5}, {"b": 0.25}, {"b": 8}, {"b": 4})
    assert Plan.load(tmp_path / "plan.json") == plan == same
    assert type(plan.weight_bits["b"]) is int and type(plan.keep_ratio["a"]) is float
