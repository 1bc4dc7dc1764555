"""Two searches one after the other, and one about channels and bits, from outside."""

from __future__ import annotations

import contextlib
import json

import pytest
import torch

import agmc.fine_tuning
import agmc.pipeline
from agmc.compression.sparsify import layer_weights
from agmc.export.checkpoint import load
from agmc.export.latencies import CELLS
from agmc.plan import Plan

#: On the network of `tiny`, at half of the MACs: 8 bits everywhere would take 3 %.
TWO_STAGES = (
    "compression=two_stage",
    "compression.round_to=1",
    "compression.end_bits=null",
    "compression.second.budget=[bytes:0.8,bops:0.02]",
    "compression.second.episodes=2",
    "quantized_finetune.epochs=1",
)


@pytest.fixture(autouse=True)
def without_onnx(monkeypatch):
    """Saves the seconds that an export takes: the files are not looked at."""
    monkeypatch.setattr(agmc.pipeline, "save_onnx", lambda *rooms, **options: 0.0)
    cells = [dict.fromkeys(CELLS, 1.0), dict.fromkeys(CELLS, 0.5)]
    monkeypatch.setattr(agmc.pipeline, "onnx_latencies", lambda *rooms: cells)


def result_of(directory):
    return json.loads((directory / "result.json").read_text())


def test_bits_are_decided_on_the_fine_tuned_network(call, tiny, tmp_path, monkeypatch):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    got = call(*tiny, *TWO_STAGES, f"out={whole}")
    assert (got.code, got.err) == (0, "")
    result, plan = result_of(whole), Plan.load(whole / "plan.json")
    limits = {record["metric"]: record for record in result["budget"]["limits"]}
    assert [*limits] == ["macs", "bytes", "bops"] and result["budget"]["holds"]
    for metric, share in (("macs", 0.5), ("bops", 0.02)):  # of the original network
        original = result["baseline"][metric]
        assert limits[metric]["limit"] == pytest.approx(share * original)
        assert result["compressed"][metric] == limits[metric]["value"]
    saved = whole / "compressed.safetensors"
    assert limits["bytes"]["value"] == saved.stat().st_size
    assert result["second"]["budget"] == "bytes:0.8, bops:0.02"
    assert result["second"]["episodes"] == 2
    assert {"second search", "fine-tune bits"} <= set(result["seconds"])
    # The channels are those of the first search, the bits those of the second.
    lines = (whole / "second" / "episodes.jsonl").read_text().splitlines()
    found = max(map(json.loads, lines), key=lambda line: line["reward"])["plan"]
    assert found["weight_bits"] == plan.weight_bits and not found["keep_ratio"]
    assert set(plan.weight_bits) == {"0", "3", "7"}
    assert plan.act_bits == dict.fromkeys(("0", "3", "7"), 8)
    assert load(saved).get_parameter("0.weight").shape[0] == 8 * plan.keep_ratio["0"]

    # Cut off behind the fine-tuning, a run goes on from the network that it has left.
    def cut_off(*rooms, **knobs):
        raise ValueError("cut off")

    with monkeypatch.context() as patch:
        patch.setattr("agmc.commands.second_search.find_plan", cut_off)
        assert "cut off" in call(*tiny, *TWO_STAGES, f"out={cut}").err
    assert not (cut / "result.json").exists()
    trained, distil = [], agmc.fine_tuning.distil

    def counted(small, teacher, splits, recipe, **knobs):
        trained.append(recipe)
        return distil(small, teacher, splits, recipe, **knobs)

    monkeypatch.setattr(agmc.fine_tuning, "distil", counted)
    assert call(*tiny, *TWO_STAGES, f"out={cut}").code == 0
    assert len(trained) == 1 and "fine-tune" not in result_of(cut)["seconds"]
    for name in ("plan.json", "second/finetuned.safetensors"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes(), name
    one, other = (load_of(directory).state_dict() for directory in (whole, cut))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_both_searches_have_the_reward_that_is_asked_for(call, tiny, tmp_path):
    out = tmp_path / "out"
    got = call(*tiny, *TWO_STAGES, "reward=accuracy_gain", f"out={out}")
    assert (got.code, got.err) == (0, "")
    for folder in (out, out / "second"):
        lines = (folder / "episodes.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        # Ten times what is gained over the network that the search begins with.
        (whole,) = {round(r["accuracy"] - r["reward"] / 10, 6) for r in records}
        assert 0 <= whole <= 1


def test_zeros_and_codebooks_of_one_bit_above_an_accuracy(call, tiny, tmp_path):
    out = tmp_path / "out"
    how = (
        "budget=accuracy>=0.01",
        "compression.second.parts=[sparsity,weight_bits]",
        "compression.min_keep_ratio=1",
        "compression.second.budget=bytes:0.36",  # 2 bits without zeros take 0.377
        "compression.weight_bits=[1,2]",
        "compression.quantization.weights=codebook",
        "compression.mapping=haq",
        "embedding@second_embedding=haq",
    )
    got = call(*tiny, *TWO_STAGES, *how, f"out={out}")
    assert (got.code, got.err) == (0, "")
    result, plan = result_of(out), Plan.load(out / "plan.json")
    metrics = [record["metric"] for record in result["budget"]["limits"]]
    assert metrics == ["accuracy", "bytes"]
    assert set(plan.weight_bits.values()) <= {1, 2} and plan.sparsity
    final = load(out / "compressed.safetensors")
    for name, bits in plan.weight_bits.items():
        zero = plan.sparsity.get(name, 0) > 0  # stands beside the numbers
        assert len(final.state_dict()[f"{name}.codebook"]) <= 2**bits - zero
    assert "fine-tune zeros" in result["seconds"]


def test_channels_and_bits_in_one_search(call, tiny, tmp_path):
    out = tmp_path / "out"
    how = ("compression=joint", "compression.round_to=1", "compression.end_bits=null")
    got = call(*tiny, *how, "budget=[macs:0.7,bops:0.03]", f"out={out}")
    assert (got.code, got.err) == (0, "")
    result, plan = result_of(out), Plan.load(out / "plan.json")
    assert result["budget"]["holds"] and "second" not in result
    assert len(result["budget"]["limits"]) == 2
    assert set(plan.keep_ratio) == {"0", "3"} and len(plan.weight_bits) == 3
    assert not (out / "second").exists()


def test_of_a_range_the_tightest_limit_is_searched_on(call, tiny, tmp_path):
    out = tmp_path / "out"
    got = call(*tiny, *TWO_STAGES, "budget=macs:0.5..0.8/2", f"out={out}")
    assert (got.code, got.err) == (0, "")
    result = result_of(out)
    limits = {record["metric"]: record for record in result["budget"]["limits"]}
    assert result["budget"]["holds"] and [*limits] == ["macs", "bytes", "bops"]
    assert limits["macs"]["limit"] == 0.5 * result["baseline"]["macs"]
    assert Plan.load(out / "plan.json").weight_bits
    assert len((out / "pareto.csv").read_text().splitlines()) == 3


def test_a_plan_by_hand_is_the_whole_plan(call, tiny, tmp_path):
    (tmp_path / "mine.json").write_text('{"keep_ratio": {"0": 0.5}}')
    out = tmp_path / "out"
    got = call(*tiny, *TWO_STAGES, "plan=mine.json", "budget=null", f"out={out}")
    assert (got.code, got.err) == (0, "")
    assert Plan.load(out / "plan.json") == Plan({"0": 0.5})
    assert not (out / "second").exists()
    assert all((w != 0).all() for w in layer_weights(load_of(out)).values())


def load_of(directory):
    return load(directory / "compressed.safetensors")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compression.second.budget=bytes:0.01"], ["bytes:0.01 cannot be met: at le"]),
        (["compression.second.budget=latency:2ms"], ["must be on bytes or bops"]),
        (["compression.second.budget=bytes"], ["budget 'bytes' must be METRIC:LIMIT"]),
        (["compression.second.parts=[keep_ratio]"], ["second.parts (=['keep_ratio'])"]),
        (["compression.second.budget=500"], ["budget 500 must be a text as macs:0.5"]),
        (["compression.second.episodes=0"], ["second.episodes (=0) must be >= 1"]),
        (["compression.weight_bits=[1,8]"], ["(=1) must be >= 2", "weights=codebook"]),
        (["compression.weight_bits=[8]"], ["nothing is to be decided", "more choices"]),
        (
            ["compression.mapping=nearest"],
            ["mapping (='nearest') must be one of share"],
        ),
        (["search.evaluator.recalibration_images=0"], ["recalibration_images (=0)"]),
        (["embedding@second_embedding=multistage"], ["knows channel groups only"]),
        (
            ["compression=noise", "compression.second.parts=[sparsity,weight_bits]"],
            ["would both decide about zeros"],
        ),
        (["compression=noise", "plan=plan.json"], ["makes zeros that the plan"]),
        (
            ["compression=magnitude", "compression.parts=[keep_ratio,sparsity]"],
            ["compression.zeros and parts (sparsity) would both decide"],
        ),
        (
            ["compression=magnitude", "compression.zeros.share=1"],
            ["share (=1) must be in [0, 1)"],
        ),
        (
            ["compression=magnitude", "compression.zeros.spread=most"],
            ["spread (='most') must be one of uniform, global, lamp"],
        ),
        (["compression=joint", "embedding=haq"], ["haq sees layers only"]),
    ],
    ids=" ".join,
)
def test_what_cannot_be_is_refused_before_the_training(arguments, words, call, tiny):
    own = arguments[0].startswith("compression=")
    two = () if own else TWO_STAGES
    got = call(*tiny, *two, *arguments, "out=out")
    assert got.code == 2
    (line,) = got.err.splitlines()
    for word in words:
        assert word in line, line
    assert "train" not in got.out


NOISE = (
    *("compression=noise", "compression.zeros.beta=1"),
    *("compression.zeros.speed=50", "compression.zeros.batch_size=8"),
    *TWO_STAGES[1:],
)


def test_noise_finds_zeros_before_the_bits_are_decided(
    call, tiny, tmp_path, monkeypatch
):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    got = call(*tiny, *NOISE, f"out={whole}")
    assert (got.code, got.err) == (0, "")
    result, plan = result_of(whole), Plan.load(whole / "plan.json")
    assert {"noise", "fine-tune zeros", "second search"} <= set(result["seconds"])
    assert plan.sparsity and plan.weight_bits
    state = load(whole / "compressed.safetensors").state_dict()
    for name, share in plan.sparsity.items():
        weight = state[f"{name}.weight"]
        assert int((weight == 0).sum()) >= round(share * weight.numel()) > 0

    def killed(*rooms, **knobs):
        raise KeyboardInterrupt

    # Killed in the second search, it goes on with the same network.
    with monkeypatch.context() as patched:
        patched.setattr(agmc.pipeline.Pipeline, "run", killed)
        with contextlib.suppress(KeyboardInterrupt):
            call(*tiny, *NOISE, f"out={cut}")
    log = cut / "second" / "episodes.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:-1]))
    got = call(*tiny, *NOISE, f"out={cut}")
    assert (got.code, got.err) == (0, "")
    assert "noise" not in result_of(cut)["seconds"]
    assert Plan.load(cut / "plan.json") == plan


def test_the_smallest_weights_go_before_the_bits_are_decided(call, tiny, tmp_path):
    out = tmp_path / "out"
    how = ("compression=magnitude", "compression.zeros.share=0.6", *TWO_STAGES[1:])
    got = call(*tiny, *how, f"out={out}")
    assert (got.code, got.err) == (0, "")
    assert {"fine-tune zeros", "second search"} <= set(result_of(out)["seconds"])
    plan = Plan.load(out / "plan.json")
    assert plan.sparsity and plan.weight_bits
    state = load(out / "compressed.safetensors").state_dict()
    asked = {}
    for name in plan.weight_bits:
        weight = state[f"{name}.weight"]
        asked[name] = round(plan.sparsity.get(name, 0) * weight.numel())
        assert int((weight == 0).sum()) >= asked[name]
    numel = sum(state[f"{name}.weight"].numel() for name in asked)
    assert sum(asked.values()) == round(0.6 * numel)


TIED = """
from torch import nn


def net(num_classes, in_channels):
    tied = nn.Conv2d(8, 8, 3, padding=1)
    first, last = nn.Conv2d(in_channels, 8, 3), nn.Linear(8, num_classes)
    return nn.Sequential(
        first, nn.ReLU(), tied, tied, nn.AdaptiveAvgPool2d(1), nn.Flatten(), last
    )
"""


def test_weights_that_keep_their_floats_are_named(call, tiny, tmp_path):
    (tmp_path / "tied_net.py").write_text(TIED)
    own = ("model.name=tied_net:net", "compression.second.budget=bytes:0.9")
    got = call(*tiny, *TWO_STAGES, *own, "out=out")
    assert got.code == 0, got.err
    assert "no zeros and no bits for 2: the weights are read more than once" in got.out
    assert "2" not in Plan.load(tmp_path / "out" / "plan.json").weight_bits


TIGHT = "compression.second.budget=bops:0.008"


def test_the_first_search_leaves_what_the_second_can_deal_with(call, tiny, tmp_path):
    out = tmp_path / "out"
    got = call(*tiny, *TWO_STAGES, "budget=macs:0.95", TIGHT, f"out={out}")
    assert (got.code, got.err) == (0, "")
    assert result_of(out)["budget"]["holds"]


def test_channels_that_leave_too_much_are_told_before_the_fine_tuning(call, tiny):
    # Where nothing limits the first search, it is not held to the second budget.
    free = ("budget=accuracy>=0.01", "agent=uniform", TIGHT)
    got = call(*tiny, *TWO_STAGES, *free, "out=out")
    assert got.code == 2 and "or lower budget, so that fewer channels" in got.err
    assert "fine-tune" not in got.out
