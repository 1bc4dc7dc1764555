"""From a plan to the files of a run, on a tiny network."""

from __future__ import annotations

import json

import pytest
import torch
from quantized_nets import computed
from search_nets import tiny_net, tiny_splits
from torch import nn

import agmc.carry_out
import agmc.export.checkpoint
import agmc.pipeline
from agmc.carry_out import CarryOut
from agmc.compression.gradual import GradualMasks, GradualPruning
from agmc.compression.importance import l1
from agmc.compression.sparsify import layer_weights
from agmc.cost.model import CostModel
from agmc.export.checkpoint import load, save, stored_tensors
from agmc.export.latencies import CELLS
from agmc.graph.trace import trace
from agmc.graph.weighted import weighted_layers
from agmc.models import build
from agmc.models.random_cnn import with_statistics
from agmc.pipeline import Pipeline, _as_loaded
from agmc.plan import Plan, of_what_stays
from agmc.plan_space import PlanSpace
from agmc.report.progress import Progress
from agmc.search.budgets import Budgets
from agmc.training import Distillation, Execution

RECORD = {
    "settings": {"model": "tiny", "data": "noise"},
    "search": {"episodes": 2},
    "seed": 3,
    "command": "agmc data=noise",
}


def run(
    directory,
    *,
    entropy=None,
    keep_ratio=0.5,
    sparsity=None,
    bits=None,
    finetune=None,
    budget="macs:0.6",
    recalibrate=10,
    net=None,
    dropped=(),
    **options,
):
    net, splits = net or tiny_net(), tiny_splits()
    graph = trace(net, splits.example_input())
    channels = Plan.uniform(PlanSpace(graph), keep_ratio)
    kept = channels.keep_ratio
    plan = Plan(kept, sparsity=sparsity or {}, dropped=dropped, **(bits or {}))
    space = PlanSpace(graph, min_keep_ratio=0.01)
    bound = Budgets.of(budget).bind(CostModel(graph), space)
    carry_out = CarryOut(
        finetune=finetune,
        importance=l1,
        reconstruction_images=recalibrate,
        recalibration_images=recalibrate,
        batch_size=10,
        execution=Execution(device="cpu", precision="float32"),
        seed=3,
        **options,
    )
    with Progress() as progress:
        carried = carry_out(net, graph, splits, plan, progress)
        rooms = (net, splits, carried, [bound], directory, progress)
        return net, plan, Pipeline(carry_out, entropy).run(*rooms, record=RECORD)


def latencies(files, inputs):
    """Made up: every file takes half as long as the one before."""
    return [dict.fromkeys(CELLS, 0.5**index) for index in range(len(files))]


@pytest.fixture
def without_onnx(monkeypatch):
    """Saves the seconds that an export takes where the file is not looked at."""
    monkeypatch.setattr(agmc.pipeline, "save_onnx", lambda *rooms, **options: 0.0)
    monkeypatch.setattr(agmc.pipeline, "onnx_latencies", latencies)


def test_every_file_is_written_and_says_the_same(tmp_path, monkeypatch):
    saved = {}

    def keeping(module, path, **options):
        saved["module"] = module
        return agmc.export.checkpoint.save(module, path, **options)

    monkeypatch.setattr(agmc.pipeline, "save", keeping)
    before = tiny_net().state_dict()
    net, plan, result = run(tmp_path, finetune=Distillation(epochs=1))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        *("result.json", "plan.json", "report.html"),
        *("compressed.safetensors", "compressed.onnx"),
    }
    assert json.loads((tmp_path / "result.json").read_text()) == result
    assert Plan.load(tmp_path / "plan.json") == plan
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name  # the teacher is left alone
    for key, value in RECORD.items():
        assert result[key] == value
    assert list(result["seconds"]) == ["prune", "fine-tune", "export", "evaluate"]
    network = load(tmp_path / "compressed.safetensors")
    assert network.info["classes"] == ["a", "b", "c"]
    assert network.info["model"] == "tiny"
    assert result["compressed"]["macs"] < 0.6 * result["baseline"]["macs"]
    assert result["budget"]["value"] == result["compressed"]["macs"]
    assert result["budget"]["holds"] is True
    images = tiny_splits().example_input(5)
    with torch.no_grad():  # the stages before were measured on it last
        small = saved["module"].eval()
        small.load_state_dict(network.state_dict(), strict=False)
        torch.testing.assert_close(small(images), network(images), atol=1e-5, rtol=0)


def test_keeping_everything_changes_nothing(tmp_path, without_onnx):
    _, _, result = run(tmp_path, keep_ratio=1.0, budget="macs:1.0", recalibrate=0)
    before, after = result["baseline"], result["compressed"]
    for key in ("accuracy", "macs", "params"):
        assert before[key] == after[key] == result["pre_finetune"][key]
    raw = result["pre_finetune"]["accuracy_without_recalibration"]
    assert raw == before["accuracy"]


def test_the_file_and_the_original_are_packed_where_it_is_asked_for(
    tmp_path, monkeypatch, without_onnx
):
    plain = tiny_net

    def few_values():
        net = plain()
        with torch.no_grad():
            net[3].weight.mul_(10).round_()
        return net

    monkeypatch.setitem(globals(), "tiny_net", few_values)
    results = {}
    for entropy in (None, "zlib"):
        folder = tmp_path / str(entropy)
        folder.mkdir()
        _, _, result = run(folder, recalibrate=0, entropy=entropy)
        path = folder / "compressed.safetensors"
        assert result["compressed"]["bytes"] == path.stat().st_size
        codings = [tensor.coding for tensor in stored_tensors(path)]
        assert any("zlib" in coding for coding in codings) == (entropy == "zlib")
        results[entropy] = result
    for stage in ("baseline", "compressed"):
        assert results["zlib"][stage]["bytes"] < results[None][stage]["bytes"]
        assert results["zlib"][stage]["accuracy"] == results[None][stage]["accuracy"]


@pytest.mark.parametrize("epochs", [0, 4])
def test_the_file_has_the_zeros_of_the_plan(
    epochs, tmp_path, monkeypatch, without_onnx
):
    seen = []

    class Watched(GradualMasks):
        def __call__(self, step, num_steps):
            before = zeros_in(self._weights)
            super().__call__(step, num_steps)
            seen.append((before, zeros_in(self._weights)))

    monkeypatch.setattr(agmc.fine_tuning, "GradualMasks", Watched)
    finetune = Distillation(epochs=epochs, batch_size=4) if epochs else None
    gradual = GradualPruning(begin=0.25, end=0.75, frequency=2)
    sparsity = {"0": 0.25, "8": 0.5}
    _, _, result = run(tmp_path, sparsity=sparsity, finetune=finetune, gradual=gradual)
    final = load(tmp_path / "compressed.safetensors")
    assert zeros_in(layer_weights(final)) == {"0": 9, "3": 0, "8": 9}
    assert result["compressed"]["accuracy"].keys() == {"search", "test"}
    if epochs:  # from the weights before, a few at a time
        assert len(seen) == 4 * 6
        assert seen[4] == ({"0": 0, "8": 0}, {"0": 0, "8": 0})
        counts = [after["8"] for _, after in seen]
        assert counts == sorted(counts) and len(set(counts)) > 3
        assert counts[9] < 9 and counts[17:] == [9] * 7
    else:
        assert seen == []


def zeros_in(weights):
    return {name: int((weight == 0).sum()) for name, weight in weights.items()}


def test_a_broken_budget_is_an_error_after_the_record(tmp_path, without_onnx):
    with pytest.raises(ValueError, match="more than the budget of.*result.json"):
        run(tmp_path, budget="macs:0.1")
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["budget"]["holds"] is False


def test_a_run_cut_off_before_its_report_has_no_result(
    tmp_path, monkeypatch, without_onnx
):
    def killed(*rooms):
        raise KeyboardInterrupt

    monkeypatch.setattr(agmc.pipeline, "write_report", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    assert (tmp_path / "plan.json").exists()
    assert not (tmp_path / "result.json").exists()


def test_a_file_that_differs_from_the_network_is_an_error(tmp_path, monkeypatch):
    def other(path):
        network = load(path)
        with torch.no_grad():
            network.get_submodule("8").bias.add_(1e-2)
        return network

    monkeypatch.setattr(agmc.pipeline, "load", other)
    with pytest.raises(ValueError, match="differs from the one in memory by .* of the"):
        run(tmp_path)
    assert not (tmp_path / "result.json").exists()


def test_a_network_that_rounds_is_compared_in_the_layout_of_its_file(tmp_path):
    """Sums in another order would fall to the other side of a rounding."""
    torch.manual_seed(0)
    net = build("resnet20", num_classes=10).eval()
    images = torch.randn(64, 3, 16, 16)
    layers = weighted_layers(trace(net, images).program)
    bits = Plan(
        {},
        weight_bits=dict.fromkeys(layers, 8),
        act_bits=dict.fromkeys(layers, 8),
    )
    small = agmc.compress(net, bits, images, calibration=[images])
    save(small, tmp_path / "small.safetensors")
    loaded = load(tmp_path / "small.safetensors")
    Execution(device="cpu").place(small)
    with torch.no_grad():
        assert not torch.equal(small(images), loaded(images))
        assert torch.equal(_as_loaded(small)(images), loaded(images))


def test_large_logits_may_differ_in_their_last_digits():
    class Scaled(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.net, self.factor = tiny_net(), factor

        def forward(self, x):
            return self.net(x) * self.factor

    net, rounded, wrong = Scaled(1000), Scaled(1000 * (1 + 1e-6)), Scaled(1001)
    images = tiny_splits().example_input()
    assert (net(images) - rounded(images)).abs().max() > 1e-5
    agmc.pipeline._must_agree(net, rounded, images)
    with pytest.raises(ValueError, match="more than 1e-04"):
        agmc.pipeline._must_agree(net, wrong, images)


def test_a_plan_with_bits_is_rounded_trained_and_exported(tmp_path):
    layers = ("0", "3", "8")
    bits = {
        "weight_bits": dict.fromkeys(layers, 4),
        "act_bits": dict.fromkeys(layers, 8),
    }
    (tmp_path / "trained").mkdir()
    (tmp_path / "rounded").mkdir()
    for name, recipe in (("trained", QUANTIZED), ("rounded", None)):
        _, plan, result = run(
            tmp_path / name,
            sparsity={"0": 0.5},
            finetune=Distillation(epochs=1),
            quantized_finetune=recipe,
            bits=bits,
        )
        seconds = ["prune", "fine-tune", "quantise", "fine-tune bits", "export"]
        expected = [s for s in seconds if recipe is not None or s != "fine-tune bits"]
        assert list(result["seconds"]) == [*expected, "evaluate"]
        assert Plan.load(tmp_path / name / "plan.json") == plan
    network = load(tmp_path / "trained" / "compressed.safetensors")
    other = load(tmp_path / "rounded" / "compressed.safetensors")
    kinds = {op.kind for op in network.program.operations}
    assert "batch_norm" not in kinds
    assert "_fake_quantize_learnable_per_channel_affine" in kinds
    made = computed(network, (tiny_splits().example_input(2),), "per_channel")
    weight = made["0.weight_q"]
    assert len(weight[0].unique()) <= 15 and (weight == 0).float().mean() >= 0.5
    state, before = network.state_dict(), other.state_dict()
    assert any(not torch.equal(state[name], before[name]) for name in state)
    assert (tmp_path / "trained" / "compressed.onnx").exists()


def test_the_pruned_network_is_the_one_of_floats(tmp_path, without_onnx):
    results = {}
    for name, bits in (
        ("floats", {}),
        ("bits", {"weight_bits": {"0": 4, "3": 4}, "act_bits": {"3": 8}}),
    ):
        (tmp_path / name).mkdir()
        options = {
            "bits": bits,
            "budget": ["macs:0.6", "bops:0.6"],
            "sparsity": {"3": 0.5},
        }
        results[name] = run(tmp_path / name, **options)[2]
    plain, rounded = results["floats"], results["bits"]
    assert plain["compressed"]["bytes"] == plain["pre_finetune"]["bytes"]
    for key in ("accuracy", "macs", "params", "bytes", "bops"):
        assert rounded["pre_finetune"][key] == plain["pre_finetune"][key], key
    saved = (tmp_path / "bits" / "compressed.safetensors").stat().st_size
    assert rounded["compressed"]["bytes"] == saved < rounded["pre_finetune"]["bytes"]
    assert rounded["compressed"]["bops"] < rounded["pre_finetune"]["bops"]
    times = [
        rounded[s]["latency_ms"] for s in ("baseline", "compressed", "pre_finetune")
    ]
    assert times == [1, 0.5, 0.25]  # in the order in which they were handed in
    assert plain["pre_finetune"]["latencies"] == plain["compressed"]["latencies"]


def test_a_plan_that_drops_blocks_goes_the_whole_way(tmp_path):
    torch.manual_seed(0)
    net = with_statistics(build("resnet8", num_classes=3, in_channels=1)).eval()
    graph = trace(net, tiny_splits().example_input())
    layers = weighted_layers(graph.program)
    inside = {name for name in layers if name.startswith("layer1.0.")}
    assert len(inside) == 2
    _, plan, result = run(
        tmp_path,
        net=net,
        dropped=["layer1.0"],
        sparsity=dict.fromkeys(layers, 0.5),
        finetune=Distillation(epochs=1),
    )
    left = of_what_stays(graph, plan)
    assert Plan.load(tmp_path / "plan.json") == left
    assert left.dropped == {"layer1.0"} and set(left.sparsity) == {*layers} - inside
    names = load(tmp_path / "compressed.safetensors").state_dict()
    assert {n for n in layers if f"{n}.weight" in names} == {*layers} - inside
    assert (tmp_path / "compressed.onnx").exists()
    cost = CostModel(graph).of(plan)
    assert result["compressed"]["macs"] == cost.macs < result["baseline"]["macs"]


QUANTIZED = Distillation(epochs=2, learning_rate=0.01, max_gradient_norm=1.0)
