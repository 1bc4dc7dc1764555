"""The commands as users call them: what they leave behind, and what they refuse."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import nn

import agmc.pipeline
from agmc.commands import COMMANDS
from agmc.compression.sparsify import layer_weights
from agmc.data import load_digits
from agmc.export.checkpoint import load, save
from agmc.export.latencies import CELLS
from agmc.graph.program import Operation, Ref
from agmc.models import build, save_weights
from agmc.plan import Plan
from agmc.report.progress import Progress
from agmc.search.policy import FORMAT
from agmc.search.sensitivity import Sensitivity
from agmc.tensor_file import write_tensors

FILES = {
    *(".hydra", "run.log", "result.json", "plan.json", "episodes.jsonl"),
    *("compressed.safetensors", "compressed.onnx", "report.html"),
    "embedding.safetensors",
}


def latencies(files, inputs):
    """Made up: every file takes half as long as the one before."""
    return [dict.fromkeys(CELLS, 0.5**index) for index in range(len(files))]


@pytest.fixture
def without_onnx(monkeypatch):
    """Saves the seconds that an export takes where the file is not looked at."""
    monkeypatch.setattr(agmc.pipeline, "save_onnx", lambda *rooms, **options: 0.0)
    monkeypatch.setattr(agmc.pipeline, "onnx_latencies", latencies)


def result_of(directory):
    return json.loads((directory / "result.json").read_text())


# What a run leaves behind.


def test_a_run_leaves_every_file_of_the_contract_and_no_other(finished):
    assert finished.outcome.code == 0, finished.outcome.err
    assert finished.outcome.err == ""
    assert {path.name for path in finished.directory.iterdir()} == FILES
    for name in FILES - {".hydra"}:
        assert (finished.directory / name).stat().st_mode & 0o777 == 0o644, name
    assert {path.name for path in (finished.directory / ".hydra").iterdir()} == {
        "config.yaml",
        "hydra.yaml",
        "overrides.yaml",
    }


def test_the_terminal_shows_stages_and_a_table_and_no_chatter(finished):
    out = finished.outcome.out
    stages = ("data", "trace", "train", "embedding", "search", "prune", "fine-tune")
    for stage in (*stages, "export", "evaluate"):
        assert re.search(rf"^{stage}", out, re.MULTILINE), stage
    assert re.search(r"search: episode 3/3, best reward -?\d", out)
    assert "test accuracy" in out
    assert "budget holds" in out
    for word in ("onnx", "Warning", "warning", "torch.export"):
        assert word not in out


def test_result_json_holds_the_numbers_of_the_contract(finished):
    result = result_of(finished.directory)
    for stage in ("baseline", "pre_finetune", "compressed"):
        record = result[stage]
        assert {"accuracy", "macs", "params", "bytes", "latency_ms"} <= set(record)
        for split in ("search", "test"):
            assert 0 <= record["accuracy"][split] <= 1
        assert record["latencies"].keys() == CELLS.keys()
        assert record["latency_ms"] == record["latencies"]["batch 1, 1 thread"]
        assert all(milliseconds > 0 for milliseconds in record["latencies"].values())
    assert set(result["pre_finetune"]["accuracy_without_recalibration"]) == {
        "search",
        "test",
    }
    budget, size = result["budget"], result["compressed"]
    assert budget["metric"] == "macs"
    assert budget["limit"] == result["baseline"]["macs"] / 2
    assert budget["value"] == size["macs"] <= budget["limit"]
    assert budget["holds"] is True
    saved = finished.directory / "compressed.safetensors"
    assert size["bytes"] == saved.stat().st_size < result["baseline"]["bytes"]
    assert size["params"] == sum(p.numel() for p in load(saved).parameters())
    assert {"train", "search", "fine-tune", "export"} <= set(result["seconds"])
    assert result["seed"] == 0
    assert result["versions"]["torch"] == torch.__version__
    assert result["command"].startswith("agmc train.epochs=1 ")
    assert result["settings"] == {
        "model": "resnet20",
        "data": "digits",
        "embedding": "autoencoder",
        "agent": "critic",
        "episodes": 3,
        "budget": "macs:0.5",
        "entropy": None,
    }


def test_plan_and_episodes_belong_together(finished):
    plan = Plan.load(finished.directory / "plan.json")
    lines = (finished.directory / "episodes.jsonl").read_text().splitlines()
    episodes = [json.loads(line) for line in lines]
    assert [e["episode"] for e in episodes] == [0, 1, 2]
    best = max(episodes, key=lambda episode: episode["reward"])
    assert best["plan"]["keep_ratio"] == dict(plan.keep_ratio)
    limit = result_of(finished.directory)["budget"]["limit"]
    assert all(e["cost"]["macs"] <= limit for e in episodes)


def test_the_checkpoint_runs_without_the_code_of_the_model(finished, tmp_path):
    saved = finished.directory / "compressed.safetensors"
    images = load_digits().example_input(5)
    torch.save({"images": images}, tmp_path / "in.pt")
    code = (
        "import sys, torch, agmc\n"
        f"network = agmc.load({str(saved)!r})\n"
        "images = torch.load('in.pt', weights_only=True)['images']\n"
        "with torch.no_grad(): torch.save(network(images), 'out.pt')\n"
        "loaded = [name for name in sys.modules if name.startswith('agmc.models')]\n"
        "assert not loaded and 'torchvision' not in sys.modules, loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    theirs = torch.load(tmp_path / "out.pt", weights_only=True)
    with torch.no_grad():
        torch.testing.assert_close(load(saved)(images), theirs, atol=1e-5, rtol=0)
    session = onnxruntime.InferenceSession(finished.directory / "compressed.onnx")
    (name,) = [node.name for node in session.get_inputs()]
    for batch in (1, 5):
        (out,) = session.run(None, {name: images[:batch].numpy()})
        torch.testing.assert_close(
            torch.from_numpy(out), theirs[:batch], atol=1e-4, rtol=1e-4
        )


def test_the_page_needs_nothing_but_itself(finished):
    page = (finished.directory / "report.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert page.rstrip().endswith("</html>")
    assert not re.search(r"""(src|href)\s*=|@import|url\(|<script|<link""", page)
    assert "holds" in page


# Commands on what is there.


def test_evaluate_measures_a_checkpoint(finished, call, tmp_path):
    saved = finished.directory / "compressed.safetensors"
    got = call("evaluate", f"checkpoint={saved}", f"out={tmp_path / 'e'}")
    assert (got.code, got.err) == (0, "")
    expected = result_of(finished.directory)["compressed"]
    evaluated = result_of(tmp_path / "e")["evaluated"]
    assert evaluated == {key: expected[key] for key in evaluated}
    assert {"accuracy", "macs", "params", "bytes"} == set(evaluated)


def test_export_writes_onnx_again(finished, call, tmp_path):
    saved = finished.directory / "compressed.safetensors"
    got = call("export", f"checkpoint={saved}", f"out={tmp_path / 'e'}")
    assert (got.code, got.err) == (0, "")
    names = {path.name for path in (tmp_path / "e").iterdir()}
    assert names == {".hydra", "run.log", "compressed.onnx"}
    assert "agrees with the network to" in got.out
    assert len(got.out.splitlines()) == 1  # nothing of the exporter


@pytest.mark.parametrize("of", ["model", "checkpoint"])
def test_graph_shows_the_channel_groups(of, finished, call):
    saved = finished.directory / "compressed.safetensors"
    got = call("graph", *([f"checkpoint={saved}"] if of == "checkpoint" else []))
    assert (got.code, got.err) == (0, "")
    assert "layer3.2.conv1" in got.out
    macs = result_of(finished.directory)
    key = "compressed" if of == "checkpoint" else "baseline"
    assert f"{macs[key]['macs']:,} MACs" in got.out


def test_profile_measures_operators_once_and_adds_them_up(call, tiny, tmp_path):
    few = ("profile.plans=2", "profile.seconds=0.1", "profile.shapes=4")
    plain = [override for override in tiny if not override.startswith("cache")]
    times = []
    for _ in range(2):
        got = call("profile", *plain, *few, "cache=table", "train.epochs=0")
        assert (got.code, got.err) == (0, "")
        (table,) = (tmp_path / "table").rglob("*.json")
        times.append(json.loads(table.read_text()))
        assert table.name in got.out
        for runtime in ("ONNX Runtime", "torch"):
            (row,) = re.findall(rf"{runtime} +│ +([\d.]+) │ +([\d.]+) │", got.out)
            assert 0 < float(row[1]) < 5 * float(row[0])
    assert "adaptive_avg_pool2d" in got.out  # by operator, what comes after included
    assert times[0] == times[1]


def test_report_writes_the_page_again(finished, call, tmp_path):
    run = shutil.copytree(finished.directory, tmp_path / "run")
    (run / "report.html").unlink()
    got = call("report", f"runs={run}", f"out={tmp_path / 'r'}")
    assert (got.code, got.err) == (0, "")
    again = (run / "report.html").read_text()
    assert again == (finished.directory / "report.html").read_text()


EDITED = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.conv, self.head = nn.Conv2d(in_channels, 8, 3), nn.Linear(8, num_classes)
    def forward(self, x):
        return self.head(torch.{}(self.conv(x)).mean((2, 3)))
"""


def test_an_edited_network_is_trained_anew(call, tiny, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    cache = f"cache={tmp_path / 'cache'}"
    named = [*(o for o in tiny if not o.startswith("model")), "model=torchvision"]
    for name, number in (("relu", 1), ("relu", 1), ("tanh", 2)):
        (tmp_path / "edited_net.py").write_text(EDITED.format(name))
        sys.modules.pop("edited_net", None)
        importlib.invalidate_caches()
        got = call("train", *named, "model.name=edited_net:Net", cache)
        assert (got.code, got.err) == (0, "")
        assert len(list((tmp_path / "cache").glob("base-*"))) == number
    sys.modules.pop("edited_net", None)


def test_transfer_to_other_classes_with_frozen_layers(call, tiny, tmp_path):
    base, moved, out = tmp_path / "base", tmp_path / "moved", tmp_path / "out"
    assert call("train", *tiny, "data.classes=[0,1,2,3]", f"out={base}").code == 0
    weights = base / "weights.safetensors"
    two = (*tiny, "data.classes=[9,8]")
    given = (f"model.weights={weights}", "train.freeze=['[0-6]']", f"cache={tmp_path}")
    for repeat in range(2):
        got = call("train", *two, *given, f"out={moved}{repeat}")
        assert (got.code, got.err) == (0, "")
        assert "for 4 classes, not for 2: 7.weight, 7.bias as new" in got.out
        assert len(list(tmp_path.glob("base-*"))) == 1  # taken from there, then
    other = (f"model.weights={moved}0/{weights.name}", *given[1:])
    assert call("train", *two, *other, f"out={tmp_path / 'more'}").code == 0
    assert len(list(tmp_path.glob("base-*"))) == 2
    ends = [moved.with_name(f"moved{n}") / weights.name for n in (0, 1)]
    assert ends[0].read_bytes() == ends[1].read_bytes()
    old, new = map(safetensors.torch.load_file, (weights, ends[0]))
    for name, value in new.items():
        assert torch.equal(value, old[name]) == (not name.startswith("7")), name
    got = call(*two, f"model.weights={ends[0]}", f"out={out}")
    assert (got.code, got.err) == (0, "")
    info = load(out / "compressed.safetensors").info
    assert info["classes"] == ["9", "8"]
    evaluate = ("evaluate", f"checkpoint={out / 'compressed.safetensors'}")
    assert call(*evaluate, "data.classes=[9,8]").code == 0
    turned, others = (call(*evaluate, f"data.classes=[{c}]") for c in ("8,9", "1,2"))
    assert turned.code == 2 and "set data.classes=[9,8]" in turned.err
    assert others.code == 0 and "tells 9, 8, ... apart" in others.out + others.err
    # So do weights: as many others may be begun with, the same have their order.
    given_two = f"model.weights={ends[0]}"
    for command in ("train", "compress"):
        got = call(command, *tiny, "data.classes=[8,9]", given_two)
        refused(got, str(ends[0]), "set data.classes=[9,8]")
    got = call("train", *tiny, "data.classes=[1,2]", given_two, f"out={tmp_path / 'b'}")
    assert got.code == 0 and "tells 9, 8, ... apart, and the data has 1" in got.out
    # Compressing is no transfer, and fresh weights are no reason to freeze.
    assert "is for 4 classes, the model has 2" in call(*two, *given[:1]).err
    assert "would keep fresh weights" in call("train", *two, *given[1:]).err
    last = call("train", *two, given[0], "train.freeze=['7']")
    refused(last, "would keep 7.weight, 7.bias as they are, which are new")
    assert "train model.weights=FILE" in call(*two, *given).err
    assert "fits no layer" in call("train", *two, given[0], "train.freeze=[x]").err
    assert "must be a list, as [a,b]" in call("train", *two, "train.freeze=x").err
    assert "must be a list, as [a,b], or" in call(*tiny, "data.classes=3").err


def test_train_then_compress_with_a_given_plan(call, tiny, tmp_path):
    base, out = tmp_path / "base", tmp_path / "out"
    got = call("train", *tiny, f"out={base}")
    assert (got.code, got.err) == (0, "")
    assert {p.name for p in base.iterdir()} == {
        *(".hydra", "run.log", "result.json", "weights.safetensors")
    }
    weights = base / "weights.safetensors"
    assert weights.stat().st_mode & 0o777 == 0o644
    plan = {"keep_ratio": {"0": 0.5, "3": 0.25}}
    (tmp_path / "mine.json").write_text(json.dumps(plan))
    given = (f"model.weights={weights}", f"plan={tmp_path / 'mine.json'}")
    # The search could not keep 2 of 8 channels, a plan by hand may.
    given = (*given, "compression.round_to=8")
    got = call(*tiny, *given, f"out={out}")
    assert (got.code, got.err) == (0, "")
    assert {p.name for p in out.iterdir()} == FILES - {
        "episodes.jsonl",
        "embedding.safetensors",
    }
    assert json.loads((out / "plan.json").read_text()) == plan
    trained, result = result_of(base)["baseline"], result_of(out)
    assert result["baseline"]["accuracy"] == trained["accuracy"]
    assert result["baseline"]["macs"] == trained["macs"]
    assert load(out / "compressed.safetensors").get_submodule("3").out_channels == 2


def test_a_limit_on_bytes_holds_with_long_names_of_classes(
    call, tiny, tmp_path, without_onnx
):
    random = np.random.default_rng(0)
    for _ in range(40):
        name = random.bytes(50).hex()
        for number in range(6):
            folder = tmp_path / "data" / ("test" if number == 0 else "train") / name
            folder.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    data = ("data=imagefolder", f"data.root={tmp_path / 'data'}", "data.size=8")
    out = tmp_path / "out"
    got = call(*tiny, *data, "budget=bytes:6kB", f"out={out}")
    assert (got.code, got.err) == (0, "")
    final, result = load(out / "compressed.safetensors"), result_of(out)
    assert len(final.info["classes"]) == 40 and result["budget"]["holds"]
    written = (out / "compressed.safetensors").stat().st_size
    assert 5700 < written == result["budget"]["value"] <= 6000


def test_a_plan_by_hand_says_how_many_weights_are_zero(
    call, tiny, tmp_path, without_onnx
):
    kept, sparsity = {"0": 0.5, "3": 0.25}, {"3": 0.9, "7": 0.25}
    plan = {"keep_ratio": kept, "sparsity": sparsity}
    (tmp_path / "mine.json").write_text(json.dumps(plan))
    out = tmp_path / "out"
    how = ("compression.gradual.frequency=2", "compression.gradual.end=0.8")
    got = call(*tiny, "plan=mine.json", *how, "export.entropy=zlib", f"out={out}")
    assert (got.code, got.err) == (0, "")
    assert json.loads((out / "plan.json").read_text()) == plan
    final = load(out / "compressed.safetensors")
    assert result_of(out)["settings"]["entropy"] == final.info["entropy"] == "zlib"
    zeros = {name: int((w == 0).sum()) for name, w in layer_weights(final).items()}
    # Of the 2 x 4 x 3 x 3 and 10 x 2 weights that are left.
    assert zeros == {"0": 0, "3": round(0.9 * 72), "7": 5}


def test_a_plan_by_hand_says_how_many_bits_there_are(call, tiny, tmp_path):
    bits = {"weight_bits": {"0": 8, "3": 2}, "act_bits": {"3": 8}}
    plan = {"keep_ratio": {"0": 0.5, "3": 0.5}, **bits}
    (tmp_path / "mine.json").write_text(json.dumps(plan))
    out = tmp_path / "out"
    how = ("compression.quantization.weights=codebook", "quantized_finetune.epochs=1")
    got = call(*tiny, "plan=mine.json", *how, f"out={out}")
    assert (got.code, got.err) == (0, "")
    assert json.loads((out / "plan.json").read_text()) == plan
    assert "fine-tune bits" in result_of(out)["seconds"]
    state = load(out / "compressed.safetensors").state_dict()
    assert len(state["3.codebook"]) == 4 and len(state["0.codebook"]) > 16
    how = (f"checkpoint={out / 'compressed.safetensors'}", f"out={tmp_path / 'e'}")
    got = call("evaluate", *tiny, *how)
    assert (got.code, got.err) == (0, "")
    measured, result = result_of(tmp_path / "e")["evaluated"], result_of(out)
    for key in ("accuracy", "macs", "bytes"):
        assert measured[key] == result["compressed"][key]
    got = call("graph", f"checkpoint={out / 'compressed.safetensors'}")
    assert (got.code, got.err) == (0, "")
    assert "shown as it would be without" in got.out
    assert f"{result['compressed']['macs']:,} MACs" in got.out
    for other, said in (
        ({"act_bits": {"x": 8}}, "there are no layers ['x']"),
        ({"weight_bits": {"3": 1}}, "weight_bits of '3' (=1) must be >= 2"),
        ({"dropped": ["3"]}, "the plan drops unknown blocks ['3']"),
    ):
        (tmp_path / "other.json").write_text(json.dumps({**plan, **other}))
        got = call(*tiny, "plan=other.json", f"out={tmp_path / 'no'}")
        assert got.code == 2 and said in got.err
        assert not (tmp_path / "no" / "plan.json").exists()


def test_train_an_embedding_and_search_with_it(
    call, tiny, tmp_path, monkeypatch, without_onnx
):
    from agmc.commands import encoder

    # Hours of networks, but for these.
    monkeypatch.setattr(encoder, "FITTED", {"cifar_resnet": ("resnet20",)})
    monkeypatch.setattr(encoder, "HELD_OUT", {"squeezenet": ("squeezenet1_1",)})
    monkeypatch.setattr(encoder, "NUM_RANDOM", 1)
    base, out = tmp_path / "base", tmp_path / "out"
    folder = measurements(tmp_path / "measured")
    shown, step = [], Progress.step

    def seen(progress, done, **said):
        shown.append((done, said.get("note")))
        step(progress, done, **said)

    monkeypatch.setattr(Progress, "step", seen)
    sizes = ("embedding.encoder=dag", "embedding.dim=8", "embedding.hidden=16")
    chosen = ("embedding=autoencoder", *sizes)
    quick = ("embedding.steps=2", "embedding.corpus_variants=1")
    got = call("train", *chosen, *quick, f"measured={folder}", f"out={base}")
    assert (got.code, got.err) == (0, "")
    assert shown[:2] == [(0, "small"), (1, "plain")]
    assert {p.name for p in base.iterdir()} == {
        *(".hydra", "run.log", "result.json", "encoder.safetensors")
    }
    found = result_of(base)["encoder"]
    assert found["encoder"] == "dag" and found["layers"] == 1
    assert found["graphs"] == {"cifar_resnet": 2, "random": 2}
    assert [*found["fidelity"]] == ["fitted", "held_out", "squeezenet"]
    assert 0 <= found["fidelity"]["held_out"]["types"] <= 1
    assert [*found["sensitivity"]] == ["small", "plain"]
    assert "correlation" in got.out
    path = base / "encoder.safetensors"
    assert found["bytes"] == path.stat().st_size
    got = call(*tiny, *chosen, f"embedding.fit={path}", f"out={out}")
    assert (got.code, got.err) == (0, "")
    kept, fitted = (
        safetensors.torch.load_file(p) for p in (out / "embedding.safetensors", path)
    )
    assert kept.keys() == fitted.keys()
    assert all(torch.equal(kept[name], fitted[name]) for name in kept)
    out = tmp_path / "of_the_head"
    got = call(*tiny, "embedding=sensitivity", f"embedding.fit={path}", f"out={out}")
    assert (got.code, got.err) == (0, "")
    assert (out / "embedding.safetensors").exists()


def measurements(folder):
    """Two small networks of different families, and what their groups might cost."""
    folder.mkdir()
    described = {}
    for name, where, arguments in (
        ("small", "cifar_resnet:CifarResNet", {"num_blocks": 1, "widths": [2, 2, 4]}),
        ("plain", "cifar_plain:CifarPlain", {"num_layers": 8, "widths": [2, 2, 4]}),
    ):
        where = f"agmc.models.{where}"
        model = build(where, num_classes=10, **arguments)
        groups = agmc.trace(model, torch.zeros(1, 3, 16, 16)).groups
        accuracy = np.linspace(0.9, 0.5, 2 * len(groups)).reshape(-1, 2)
        names = tuple(group.name for group in groups)
        sensitivity = Sensitivity((0.5, 0.25), 0.9, accuracy, names)
        sensitivity.save(folder / f"{name}.json")
        how = {"family": name, "build": where, "arguments": arguments}
        described[name] = {**how, "image_size": 16}
    (folder / "networks.json").write_text(json.dumps(described))
    return folder


def test_several_limits_a_reward_of_ones_own_and_tracking(
    call, tiny, tmp_path, without_onnx
):
    (tmp_path / "energy.json").write_text('{"*": {"mac": 4.6, "byte": 160}}')
    # Worth most is what the command line asked for: a plan of few parameters.
    code = "def mine(outcome):\n    return -outcome.share('params')\n"
    with (tmp_path / "net_of_a_user.py").open("a") as file:
        file.write(code)
    out = tmp_path / "out"
    got = call(
        *tiny,
        *("budget=[macs:0.6,energy:0.9]", "energy_table=energy.json"),
        *("reward=net_of_a_user:mine", "tracking=tensorboard", f"out={out}"),
    )
    assert (got.code, got.err) == (0, "")
    result = result_of(out)
    assert result["settings"]["budget"] == "macs:0.6, energy:0.9"
    limits = {limit["metric"]: limit for limit in result["budget"]["limits"]}
    assert set(limits) == {"macs", "energy"}
    for metric, share in (("macs", 0.6), ("energy", 0.9)):
        whole, small = result["baseline"][metric], result["compressed"][metric]
        assert small == limits[metric]["value"] <= share * whole
    assert "budget holds: MACs" in got.out and "energy" in got.out
    best = result["compressed"]["params"] / result["baseline"]["params"]
    assert result["search"]["reward"] == pytest.approx(-best)
    assert list((out / "tensorboard").glob("events.*"))


def test_a_sweep_over_rewards_takes_ones_own_as_well(
    call, tiny, tmp_path, without_onnx
):
    code = "def mine(outcome):\n    return 3.0\n"
    with (tmp_path / "net_of_a_user.py").open("a") as file:
        file.write(code)
    out = tmp_path / "sweep"
    rewards = "reward=error,net_of_a_user:mine"
    got = call("-m", *tiny, rewards, f"out={out}")
    assert (got.code, got.err) == (0, "")
    theirs, own = (result_of(out / job)["search"]["reward"] for job in "01")
    assert -1 <= theirs <= 0 and own == 3.0
    # The command as it is written down does the same.
    (word,) = re.findall(r"'(reward=\S+)'", result_of(out / "1")["command"])
    got = call(*tiny, word, f"out={tmp_path / 'again'}")
    assert (got.code, got.err) == (0, "")
    assert result_of(tmp_path / "again")["search"]["reward"] == 3.0
    got = call("compare", str(out), f"out={tmp_path / 'table'}")
    assert (got.code, got.err) == (0, "")
    assert "net_of_a_user:mine" in (tmp_path / "table" / "compare.csv").read_text()


def test_the_cheapest_plan_above_an_accuracy(call, tiny, tmp_path, without_onnx):
    out = tmp_path / "met"
    got = call(*tiny, "budget=accuracy>=0.01:params", f"out={out}")
    assert (got.code, got.err) == (0, "")
    budget = result_of(out)["budget"]
    assert (budget["metric"], budget["limit"], budget["holds"]) == (
        *("accuracy", 0.01),
        True,
    )
    assert budget["minimised"] == "params"
    lines = (out / "episodes.jsonl").read_text().splitlines()
    fewest = min(json.loads(line)["cost"]["params"] for line in lines)
    assert result_of(out)["compressed"]["params"] == fewest
    got = call(*tiny, "budget=accuracy>=0.999", f"out={tmp_path / 'missed'}")
    assert got.code == 2 and "less than the 0.9990 asked for" in got.err
    got = call(*tiny, "budget=accuracy>=0.9", "reward=error")
    refused(got, "brings its own reward")


def test_a_sweep_over_budgets_and_its_comparison(call, tiny, tmp_path, without_onnx):
    out = tmp_path / "sweep"
    got = call("-m", "compress", *tiny, "budget=macs:0.7,macs:0.4..0.8/2", f"out={out}")
    assert (got.code, got.err) == (0, "")
    for job, (share, range_) in enumerate(((0.7, ""), (0.4, "..0.8/2"))):
        result = result_of(out / str(job))
        assert result["settings"]["budget"] == f"macs:{share}{range_}"
        assert result["budget"]["holds"]
        assert result["compressed"]["macs"] <= share * result["baseline"]["macs"]
    # A range of budgets leaves a plan for each; the tightest is carried out.
    front = (out / "1" / "pareto.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in front] == ["budget", "macs:0.4", "macs:0.8"]
    plans = [Plan.load(out / "1" / line.split(",")[-1]) for line in front[1:]]
    assert plans[0] == Plan.load(out / "1" / "plan.json")
    assert (out / "1" / "pareto.svg").exists() and not (out / "0" / "plans").exists()
    for runs in ([f"{out}"], [f"{out}/0", f"{out}/1"], [f"runs=[{out}/0,{out}/1]"]):
        got = call("compare", *runs, f"out={tmp_path / 'table'}")
        assert (got.code, got.err) == (0, "")
        assert "finished" in got.out and "compare.html" in got.out
        table = (tmp_path / "table" / "compare.csv").read_text()
        assert len(table.splitlines()) == 3


def test_a_sweep_that_is_started_again_skips_what_is_finished(
    call, tiny, tmp_path, without_onnx
):
    out = tmp_path / "sweep"
    arguments = ("-m", "compress", *tiny, "budget=macs:0.7,macs:0.4", f"out={out}")
    assert call(*arguments).code == 0
    (out / "1" / "result.json").unlink()
    before = (out / "0" / "result.json").stat().st_mtime_ns
    got = call(*arguments)
    assert (got.code, got.err) == (0, "")
    assert f"finished before: {out / '0'}" in got.out
    assert f"finished before: {out / '1'}" not in got.out
    assert (out / "0" / "result.json").stat().st_mtime_ns == before
    assert result_of(out / "1")["budget"]["holds"]
    # Another run is none of those that are finished.
    got = call(*arguments[:-2], "budget=macs:0.6,macs:0.4", f"out={out}")
    assert got.code == 2 and "choose another directory" in got.err
    assert f"finished before: {out / '1'}" in got.out


def test_a_failing_run_of_a_sweep_is_named_and_the_others_go_on(
    call, tiny, tmp_path, without_onnx
):
    out = tmp_path / "sweep"
    got = call("-m", *tiny, "budget=macs:0.0001,macs:0.5", f"out={out}")
    assert got.code == 2
    assert "0.0001" in got.err.splitlines()[0]
    assert got.err.splitlines()[-1].startswith("agmc: error: budget macs:0.0001 cannot")
    assert "Traceback" not in got.err
    assert result_of(out / "1")["budget"]["holds"]


# Interruptions.


def test_a_killed_run_goes_on_and_ends_in_the_same_plan(
    finished, starter, call, tmp_path
):
    out = tmp_path / "run"
    arguments = (*finished.overrides, f"out={out}")
    started = starter(*arguments, cwd=tmp_path)
    log = out / "episodes.jsonl"
    try:
        deadline = time.monotonic() + 300
        while not (log.exists() and b"\n" in log.read_bytes()):
            assert started.poll() is None, started.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        started.send_signal(signal.SIGKILL)
        started.communicate()
    before = log.read_bytes()
    assert 1 <= before.count(b"\n") < 3
    assert not (out / "result.json").exists()
    got = call(*arguments)
    assert (got.code, got.err) == (0, "")
    # The base network came from the cache both times.
    assert "epoch 1/1" not in (out / "run.log").read_text().partition("fine-tune")[0]
    assert log.read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    assert log.read_bytes().count(b"\n") == 3
    assert {path.name for path in out.iterdir()} == FILES
    plans = [d / "plan.json" for d in (out, finished.directory)]
    assert plans[0].read_bytes() == plans[1].read_bytes()
    rewards = [result_of(d)["search"]["reward"] for d in (out, finished.directory)]
    assert rewards[0] == rewards[1]


# Mistakes.


def refused(got, *words):
    """One line on stderr, exit 2, and the words are in it."""
    assert got.code == 2
    (line,) = got.err.splitlines()
    assert line.startswith("agmc: error: ")
    for word in words:
        assert word in line, line
    assert "Traceback" not in got.out


def untouched(directory):
    """Nothing but what says that there was a run."""
    left = {path.name for path in directory.iterdir()} if directory.exists() else set()
    return left <= {".hydra", "run.log"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["model=vgg"], ["vgg", "resnet20", "resnet56", "torchvision"]),
        (["data=digit"], ["digit", "cifar10", "imagefolder"]),
        (["agent=dqn"], ["dqn", "ddpg", "random", "uniform"]),
        (["embedding=bert"], ["bert", "autoencoder", "rules"]),
        (["shrink"], ["shrink", *COMMANDS]),
        (["-m", "shrink"], ["shrink", *COMMANDS]),
        (["command=shrink"], ["shrink", *COMMANDS]),
        (["colour=1"], ["colour"]),
        (["agent.colour=1"], ["agent.colour"]),
        (["+agent.colour=1"], ["agent has no colour", "first_plans"]),
        (["seed=x"], ["seed (='x')", "whole number"]),
        (
            ["compression.calibration_images=0"],
            ["calibration_images (=0) must be >= 1"],
        ),
        (["export.entropy=gzip"], ["entropy (='gzip')", "'zlib'"]),
        (["search.episodes=many"], ["episodes (='many')"]),
        (["search.episodes=true"], ["episodes (=True)"]),
        (["agent.rounds=x"], ["agent.rounds (='x')"]),
        (["search.evaluator.search_images=x"], ["search_images (='x')", "or null"]),
        (["compression.min_keep_ratio=x"], ["min_keep_ratio (='x')"]),
        (["compression.importance.path=agmc.nothing"], ["agmc.nothing"]),
        (["compression.importance.path=agmc.trace"], ["a function", "importance.l1"]),
        (
            [
                "compression.quantization.calibration.path=agmc.compression.importance.l1"
            ],
            ["calibration (=Importance) must make a Grid", "calibration.mse"],
        ),
        (
            ["compression.quantization.calibration.path=builtins.print"],
            ["calibration (=print) must make a Grid", "got a NoneType"],
        ),
        (
            ["compression.quantization.calibration=null"],
            ["compression.quantization.calibration (=null)", "_target_"],
        ),
        (["compression.quantization=null"], ["compression.quantization (=null)"]),
        (["compression.gradual=null"], ["compression.gradual (=null)", "leave it as"]),
        (["compression.gradual=slow"], ["compression.gradual (=slow)"]),
        (["compression.importance=null"], ["compression.importance (=null)"]),
        (["search.evaluator=null"], ["search.evaluator (=null)"]),
        (
            ["compression.second.agent=foo"],
            ["compression.second.agent (=foo)", "+agent@mine=NAME"],
        ),
        (["compression.second.agent=null"], ["compression.second.agent (=null)"]),
        (
            ["compression.second.embedding=rules"],
            [
                "compression.second.embedding (=rules)",
                "+embedding@mine=NAME compression.second.embedding='${mine}'",
            ],
        ),
        (["embedding=measured", "embedding.of=null"], ["embedding.of (=null)"]),
        (["finetune=null"], ["finetune=null", "~finetune"]),
        (["agent=null"], ["agent=null", "agent=NAME"]),
        (
            ["finetune@quantized_finetune=null"],
            ["leave it out with ~finetune@quantized_finetune"],
        ),
        (["embedding@second_embedding=null"], ["embedding@second_embedding=NAME"]),
        (["experiment=null"], ["leave it out with ~experiment"]),
        (["policy=null"], ["policy (=null)", "policy.SETTING=VALUE"]),
        (["export=zlib"], ["export (=zlib)", "export.SETTING=VALUE"]),
        (["model=torchvision", "model.name=nothing"], ["nothing", "resnet20"]),
        (["model=torchvision", "model.name=a.b:c"], ["a.b:c", "PYTHONPATH"]),
        (["finetune.epochs=-1"], ["epochs (=-1)"]),
        (["compression.gradual.end=2"], ["end (=2) must be in [0, 1]"]),
        (["compression.gradual.begin=0.6"], ["end (=0.5)", "begin (=0.6)"]),
        (["compression.gradual.frequency=0.5"], ["gradual.frequency (=0.5)"]),
        (["budget=half"], ["half", "METRIC:LIMIT"]),
        (["budget=macs:2x"], ["2x", "0.5"]),
        (["budget=flops:0.5"], ["flops", "macs, params, bytes"]),
        (["budget=macs:0.001"], ["at least", "macs stay"]),
        (["data=imagefolder"], ["data.root"]),
        (["data=imagefolder", "data.root=/nowhere"], ["/nowhere", "train/CLASS"]),
        (["plan=nowhere.json"], ["nowhere.json"]),
        (["policy.load=nowhere"], ["nowhere is no file", "policy.save"]),
        (["policy.episodes=3"], ["policy.load=FILE", "search.episodes"]),
        (["policy.save=3"], ["policy.save (=3)", "a text or null"]),
        (["agent=random", "policy.save=a"], ["no policy that could be kept", "ppo"]),
        (["model.weights=nowhere.safetensors"], ["nowhere.safetensors"]),
        (["embedding.encoder=bert"], ["encoder 'bert'", "gin", "dag"]),
        (["embedding.fit=nowhere"], ["embedding: fit (='nowhere') is no", "anew"]),
        (["embedding.steps=5"], ["embedding.steps (=5) would be ignored", "fit=anew"]),
        (["embedding.fit=anew", "embedding.mask=1"], ["embedding: mask (=1)"]),
        (
            ["embedding=sequential", "embedding.graph_encoder.fit=nowhere"],
            ["embedding.graph_encoder: fit (='nowhere') is no file"],
        ),
        (
            ["embedding=sequential", "embedding.graph_encoder.dim=x"],
            ["embedding.graph_encoder.dim (='x') must be a whole number"],
        ),
        (
            ["embedding=sequential", "embedding.graph_encoder.follow_plan=true"],
            ["embedding.graph_encoder.follow_plan (=True) would be ignored"],
        ),
        (
            ["embedding=measured", "embedding.of.fit=nowhere"],
            ["embedding.of: fit (='nowhere') is no file"],
        ),
        (
            ["embedding=measured", "embedding@embedding.of=multistage"],
            ["embedding.of must be an embedding that no agent trains"],
        ),
        (
            ["embedding=measured", "embedding.of.freeze=false"],
            ["embedding.of must be an embedding that no agent trains"],
        ),
        (["train", "embedding.freeze=false"], ["freeze (=False) would be ignored"]),
        (["train", "embedding.fit=nowhere"], ["fit (='nowhere') would be ignored"]),
        (["train", "embedding.fit=anew", "embedding.steps=0"], ["steps (=0)"]),
        (["embedding.dim=7"], ["dim (=7) is not that of", "32", "fit=anew"]),
        (["train", "embedding.encoder=bert"], ["encoder 'bert'", "gin", "dag"]),
        (["measured=folder"], ["measured (='folder') would be ignored", "train"]),
        (["checkpoint=a"], ["checkpoint (='a') would be ignored", "graph read it"]),
        (["profile", "checkpoint=a"], ["checkpoint (='a') would be ignored"]),
        (["plan=a", "policy.save=b"], ["policy.save (='b')", "plan (='a') takes its"]),
        (["~tracking"], ["has no tracking", "tracking=NAME"]),
        (["~train"], ["has no train"]),
        (["budget=accuracy >= 1.5"], ["(=1.5) must be a share"]),
        (["compression.weight_bits=8"], ["weight_bits (=8) must be a list of whole"]),
        (["policy.save=/proc/nope/policy", "agent=ppo"], ["/proc/nope"]),
        (
            ["compression=channels", "embedding=haq"],
            ["haq sees layers only"],
        ),
        (
            ["compression=channels", "embedding=random_projection", "embedding.dim=0"],
            ["dim (=0)"],
        ),
        (["train", "measured=folder"], ["measured (='folder') would be ignored"]),
        (
            ["train", "embedding=autoencoder", "measured=nowhere"],
            ["measured (='nowhere')", "networks.json"],
        ),
        (
            ["embedding=sensitivity", "embedding.fit=nowhere"],
            ["embedding: fit (='nowhere') is no file", "shipped"],
        ),
        (["train", "model.weights=some.safetensors"], ["some.safetensors"]),
        (["evaluate"], ["evaluate needs checkpoint=FILE"]),
        (["evaluate", "checkpoint=nowhere"], ["nowhere", "does not exist"]),
        (["export", "checkpoint=nowhere"], ["nowhere", "does not exist"]),
        (["graph", "checkpoint=nowhere"], ["nowhere", "does not exist"]),
        (["report"], ["report needs runs="]),
        (["compare", "runs=null"], ["compare needs runs="]),
        (["report", "runs=nowhere"], ["nowhere"]),
        (["compare", "runs=nowhere"], ["nowhere", "no directory"]),
        (["compare", "nowhere", "it's"], ["nowhere", "no directory"]),
        (["agent=ddpg", "agent.tau=2"], ["tau (=2)", "(0, 1]"]),
        (["agent=tpe", "budget=macs:0.4..0.8/2"], ["one budget at a time", "critic"]),
        (["reward=no.package:mine"], ["'no.package:mine' cannot be imported"]),
        (["reward=sigmoid_product", "reward.slope=-1"], ["slope (=-1)", "above 0"]),
        (["reward=exponential_penalty", "reward.metric=colour"], ["'colour' is none"]),
        (["search.evaluator.search_images=0"], ["search_images (=0)", "null for all"]),
        (["search.evaluator.batch_size=0"], ["batch_size (=0) must be >= 1"]),
        (["tracking=wandb"], ["wandb", "mlflow", "none", "tensorboard"]),
    ],
    ids=" ".join,
)
def test_mistakes_are_one_line(arguments, words, call, tmp_path):
    got = call(*arguments, "cache=null", f"out={tmp_path / 'out'}")
    refused(got, *words)
    assert "train" not in got.out  # nobody waits for that to hear of a mistake
    out = tmp_path / "out"
    assert untouched(out if "-m" not in arguments else out / "0")


def test_a_policy_of_another_embedding_is_refused_before_the_training(call, tmp_path):
    policy = tmp_path / "policy.safetensors"
    header = {"agent": "DDPG", "embedding": "RulesEmbedding", "columns": "[]"}
    write_tensors(policy, FORMAT, header, {})
    out = tmp_path / "out"
    arguments = (f"policy.load={policy}", "agent=ddpg", "embedding=onehot")
    got = call(*arguments, "cache=null", f"out={out}")
    refused(got, "policy of the embedding RulesEmbedding, and this search has Fixed")
    assert "train" not in got.out
    assert untouched(out)


def test_a_policy_of_other_budgets_is_refused_before_the_training(call, tiny, tmp_path):
    policy = tmp_path / "policy.safetensors"
    given = (*tiny, "agent=ddpg", "embedding=rules", f"out={tmp_path / 'out'}")
    assert call(*given, f"policy.save={policy}").code == 0
    got = call(*given[:-1], f"policy.load={policy}", "budget=macs:0.4..0.6/2")
    refused(got, str(policy), "does not fit", "as many budgets")
    assert "train" not in got.out
    several = (*given[:-1], "budget=macs:0.4..0.6/2", f"out={tmp_path / 'two'}")
    assert call(*several, f"policy.save={policy}").code == 0
    again = (*several[:-1], f"out={tmp_path / 'again'}")
    assert call(*again, f"policy.load={policy}").code == 0
    refused(call(*given[:-1], f"policy.load={policy}"), str(policy), "does not fit")


def weights_of(tmp_path, **changes):
    model = build("resnet20", num_classes=changes.pop("num_classes", 10), in_channels=1)
    if changes.pop("nan", False):
        with torch.no_grad():
            model.layer1[0].conv1.weight[0, 0, 0, 0] = torch.nan
    save_weights(model, tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


@pytest.mark.parametrize(
    ("changes", "model", "words"),
    [
        ({}, "resnet32", ["misses", "another model"]),
        ({"num_classes": 7}, "resnet20", ["7 classes", "10"]),
        ({"nan": True}, "resnet20", ["NaN", "layer1.0.conv1.weight"]),
    ],
    ids=["shape", "classes", "nan"],
)
def test_weights_that_do_not_fit(changes, model, words, call, tmp_path):
    path = weights_of(tmp_path, **changes)
    out = tmp_path / "out"
    got = call(f"model={model}", f"model.weights={path}", f"out={out}")
    refused(got, str(path), *words)
    assert untouched(out)


def three_classes(path):
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 3))
    save(net, path, example_input=torch.randn(2, 1, 8, 8))


def cut_off(path):
    three_classes(path)
    path.write_bytes(path.read_bytes()[:-100])


def foreign(path):
    safetensors.torch.save_file({"weight": torch.zeros(2)}, path)


@pytest.mark.parametrize("command", ["evaluate", "export"])
@pytest.mark.parametrize(
    ("write", "words"),
    [
        (cut_off, ["truncated"]),
        (foreign, ["no agmc checkpoint", "model.weights=FILE"]),
        (lambda path: path.write_bytes(b"PK\x03\x04"), ["truncated"]),
        (lambda path: path.mkdir(), ["does not exist"]),
    ],
    ids=["truncated", "foreign", "no safetensors", "folder"],
)
def test_checkpoints_that_are_none(command, write, words, call, tmp_path):
    path, out = tmp_path / "some.safetensors", tmp_path / "out"
    write(path)
    refused(call(command, f"checkpoint={path}", f"out={out}"), str(path), *words)
    assert untouched(out)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (["data=digits"], ["10 classes", "(1, 3)"]),
        (["data=digits", "data.size=16"], ["(1, 1, 8, 8)", "(1, 1, 16, 16)"]),
    ],
    ids=["classes", "images"],
)
def test_checkpoints_for_other_data(data, words, call, tmp_path):
    path, out = tmp_path / "some.safetensors", tmp_path / "out"
    three_classes(path)
    refused(call("evaluate", f"checkpoint={path}", *data, f"out={out}"), *words)
    assert untouched(out)


@pytest.mark.parametrize(
    ("operations", "words"),
    [
        ([("view", [1, 256])], ["cannot be run: shape '[1, 256]' is invalid"]),
        (
            [("repeat", [1, 1, 10**6, 10**6]), ("mean.dim", [2, 3], True)]
            + [("repeat", [1, 1, 8, 8])],
            ["cannot be run: "],
        ),
        ([("select.int", 9, 0)], ["Dimension out of range"]),
    ],
    ids=["batch", "too large", "dimension"],
)
def test_programs_that_cannot_be_run(operations, words, call, tmp_path):
    path, out = tmp_path / "some.safetensors", tmp_path / "out"
    net = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Flatten(), nn.Linear(256, 10))
    save(net, path, example_input=torch.randn(2, 1, 8, 8))
    network = load(path)
    conv, flatten, linear = network.program.operations
    steps = [conv]
    for number, (name, *arguments) in enumerate(operations):
        op = name if "." in name else f"{name}.default"
        args = (Ref(steps[-1].name), *arguments)
        steps.append(Operation(f"step{number}", f"aten.{op}", args, {}))
    last = dataclasses.replace(flatten, args=(Ref(steps[-1].name), 1))
    network.program = dataclasses.replace(
        network.program, operations=(*steps, last, linear)
    )
    save(network, path)
    got = call("evaluate", f"checkpoint={path}", f"out={out}")
    refused(got, f"checkpoint {path}", *words)
    assert untouched(out)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", ["is no plan"]),
        ('{"keep_ratio": {"fc9": 0.5}}', ["fc9", "layer1.0.conv1"]),
        ('{"keep_ratio": {}, "sparsity": {"fc9": 0.5}}', ["fc9", "layer1.0.conv1"]),
        ('{"keep_ratio": {}, "sparsity": {"conv1": 1}}', ["conv1", "[0, 1)"]),
        ('{"keep_ratio": {"conv1": 2}}', ["conv1", "(0, 1]"]),
        ('{"keep_ratio": {}}', ["more than", "budget macs:0.5"]),
    ],
    ids=[
        *("damaged", "other groups", "other layers", "nothing left"),
        *("out of range", "over budget"),
    ],
)
def test_plans_that_cannot_be_carried_out(text, words, call, tmp_path):
    (tmp_path / "mine.json").write_text(text)
    out = tmp_path / "out"
    refused(call("plan=mine.json", "cache=null", f"out={out}"), *words)
    assert untouched(out)


def test_a_directory_below_a_file_is_refused(call, tmp_path):
    (tmp_path / "file").write_text("mine")
    refused(call(f"out={tmp_path / 'file' / 'out'}"), "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_directory_with_another_search_is_refused(finished, call, tmp_path):
    out = shutil.copytree(finished.directory, tmp_path / "run")
    kept = {
        path: path.read_bytes()
        for path in out.iterdir()
        if path.name not in (".hydra", "run.log")
    }
    other = [word for word in finished.overrides if "corpus" not in word]
    got = call(*other, "search.corpus.names=[resnet18]", f"out={out}")
    refused(got, "another search", "choose another directory")
    assert {path.name for path in out.iterdir()} == FILES
    assert all(path.read_bytes() == content for path, content in kept.items())


def test_mistakes_in_a_process_of_its_own(process, tmp_path):
    cut_off(tmp_path / "cut.safetensors")
    for arguments, word in (
        (["evaluate", "checkpoint=cut.safetensors"], "truncated"),
        (["budget=macs:0.001"], "at least"),
    ):
        got = process(*arguments, "cache=null", cwd=tmp_path)
        refused(got, word)
    assert not list(Path(tmp_path).rglob("result.json"))
