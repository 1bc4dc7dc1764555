from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from graph_nets import graph_of, images, quiet_trace
from torch import nn

from agmc.plan import Decision, Plan, PlanSpace, kept_channels

GRAPH = "chain"  # conv1: 8 channels, conv2: 6


def test_counts_to_choose_from():
    assert Decision("a", 5, 2, 1).counts == (2, 3, 4, 5)
    assert Decision("a", 20, 3, 8).counts == (8, 16, 20)
    assert Decision("a", 16, 16, 8).counts == (16,)
    assert Decision("a", 4, 1, 8).counts == (4,)
    assert Decision("a", 1, 1, 1).counts == (1,)


def test_nearest_prefers_the_larger_of_two():
    decision = Decision("a", 10, 2, 2)
    assert [decision.nearest(r) for r in (0.01, 0.3, 0.49, 0.51, 0.9, 1)] == [
        *(2, 4, 4, 6, 10, 10)
    ]


def test_uniform_and_kept_channels():
    graph = graph_of(GRAPH)
    space = PlanSpace(graph)
    plan = Plan.uniform(space, 0.5)
    assert plan.keep_ratio == {"conv1": 0.5, "conv2": 0.5}
    assert space.counts(plan).tolist() == [4, 3]
    assert space.counts(None).tolist() == [8, 6]
    assert space.counts(None).dtype == np.int64
    # Groups not named keep all, shares are rounded, one channel always stays.
    assert kept_channels(graph, Plan({"conv2": 0.6})).tolist() == [8, 4]
    assert kept_channels(graph, Plan({"conv1": 0.001})).tolist() == [1, 6]


def test_every_count_survives_the_ratio():
    space = PlanSpace(graph_of("resnet20"), min_keep_ratio=0.01)
    for share in range(1, 65):
        counts = [min(share, d.size) for d in space]
        assert space.counts(space.plan(counts)).tolist() == counts


def test_sampled_plans_are_valid_and_follow_the_seed():
    space = PlanSpace(graph_of("resnet20"), min_keep_ratio=0.3, round_to=4)
    seen = set()
    for seed in range(40):
        plan = space.sample(torch.Generator().manual_seed(seed))
        assert plan == space.sample(torch.Generator().manual_seed(seed))
        counts = space.counts(plan)
        for decision, count in zip(space, counts, strict=True):
            assert count in decision.counts
            assert count % 4 == 0 and count >= 0.3 * decision.size
        seen.add(plan.digest)
    assert len(seen) == 40


def test_a_space_is_a_sequence_of_decisions():
    space = PlanSpace(graph_of(GRAPH), min_keep_ratio=0.25)
    assert [(d.name, d.size, d.minimum, d.step) for d in space] == [
        ("conv1", 8, 2, 1),
        ("conv2", 6, 2, 1),
    ]
    assert len(space) == 2 and space[1].name == "conv2" and len(space[:1]) == 1


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_keep_ratio": 0}, r"min_keep_ratio \(=0\) must be in \(0, 1\]"),
        ({"min_keep_ratio": 1.5}, r"min_keep_ratio \(=1.5\)"),
        ({"round_to": 0}, r"round_to \(=0\) must be a whole number >= 1"),
    ],
)
def test_space_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        PlanSpace(graph_of(GRAPH), **arguments)


def test_a_network_without_groups_is_refused_with_the_reason():
    graph = quiet_trace(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), images())
    with pytest.raises(ValueError, match="no convolution feeds another layer"):
        PlanSpace(graph)
    odd = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Softmax(1), nn.Conv2d(4, 2, 1))
    with pytest.raises(ValueError, match="no prunable channel group: .*softmax"):
        PlanSpace(quiet_trace(odd, images()))


def test_plans_that_do_not_fit_the_space():
    space = PlanSpace(graph_of(GRAPH))
    with pytest.raises(ValueError, match="3 counts for 2 decisions"):
        space.plan([1, 2, 3])
    with pytest.raises(ValueError, match="conv1 cannot keep 1 channels; it can keep"):
        space.plan([1, 6])
    with pytest.raises(ValueError, match=r"keep_ratio \(=0\)"):
        Plan.uniform(space, 0)
    with pytest.raises(ValueError, match=r"unknown channel groups \['z'\]; the netw"):
        space.counts(Plan({"z": 0.5}))


def test_groups_are_rounded_by_the_first_pattern_that_fits():
    space = PlanSpace(
        graph_of("resnet20"), min_keep_ratio=0.3, round_to={"layer1.*": 8, "layer*": 4}
    )
    steps = {decision.name: decision.step for decision in space}
    assert steps["layer1.0.conv1"] == 8 and steps["layer2.0.conv1"] == 4
    assert steps["conv1"] == 1
    counts = {decision.name: decision.counts for decision in space}
    assert counts["layer1.0.conv1"] == (8, 16)
    assert counts["layer2.0.conv1"] == (12, 16, 20, 24, 28, 32)


@pytest.mark.parametrize(
    ("round_to", "message"),
    [
        ({"layer1.*": 0}, r"round_to of 'layer1.\*' \(=0\) must be a whole number"),
        ({"*": 2.5}, r"round_to of '\*' \(=2.5\)"),
        ({"head": 8}, "round_to names 'head', which fits none of the channel groups c"),
        (True, "must be a whole number"),
    ],
)
def test_bad_rounding_is_refused(round_to, message):
    with pytest.raises(ValueError, match=message):
        PlanSpace(graph_of("resnet20"), round_to=round_to)
