from __future__ import annotations

import json

import pytest

from agmc.plan import Plan


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
    plan = Plan({"g": 0.5}, {"a": 0.9}, {"a": 4, "b": 8}, {"b": 8})
    plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == plan
    parts = json.loads((tmp_path / "plan.json").read_text())
    assert list(parts) == ["keep_ratio", "sparsity", "weight_bits", "act_bits"]
    digests = {
        plan.digest,
        Plan({"g": 0.5}).digest,
        Plan({"g": 0.5}, weight_bits={"a": 8}).digest,
        Plan({"g": 0.5}, act_bits={"a": 8}).digest,
    }
    assert len(digests) == 4
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
