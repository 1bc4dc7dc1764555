"""A saved network comes back the same, and a broken file is refused."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import zlib

import pytest
import safetensors
import safetensors.torch
import torch
from torch import nn

from agmc.compression.prune import compress
from agmc.export.checkpoint import load, save, to_bytes
from agmc.graph.network import GraphNetwork
from agmc.graph.trace import trace
from agmc.plan import Plan, PlanSpace


class Block(nn.Module):
    """As torchvision writes them: convolutions, batch norm, a residual, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.conv1 = nn.Conv2d(8, 12, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(12)
        self.conv2 = nn.Conv2d(12, 8, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = self.relu(self.stem(x))
        x = self.relu(x + self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.fc(self.drop(x.mean((2, 3))))


EXAMPLE = torch.linspace(-1, 1, 2 * 3 * 6 * 6).reshape(2, 3, 6, 6)


def block():
    torch.manual_seed(0)
    net = Block()
    with torch.no_grad():
        net.bn1.running_mean.uniform_(-1, 1)
        net.bn1.running_var.uniform_(0.5, 2)
    return net.eval()


def pruned():
    net = block()
    plan = Plan.uniform(PlanSpace(trace(net, EXAMPLE)), 0.5)
    return compress(net, plan, EXAMPLE)


def rebuilt():
    graph = trace(block(), EXAMPLE)
    return GraphNetwork(graph.program, block().state_dict()).eval()


def outputs(net, images=EXAMPLE):
    with torch.no_grad():
        return net(images)


@pytest.mark.parametrize("make", [pruned, rebuilt], ids=["plain module", "network"])
def test_what_is_saved_comes_back(make, tmp_path):
    net = make()
    size = save(net, tmp_path / "net.safetensors", info={"classes": ["a", "ö"]})
    again = load(tmp_path / "net.safetensors")
    assert size == (tmp_path / "net.safetensors").stat().st_size
    assert again.info == {"classes": ["a", "ö"]}
    assert not again.training
    for images in (EXAMPLE, EXAMPLE[:1], torch.randn(5, 3, 6, 6)):
        torch.testing.assert_close(
            outputs(again, images), outputs(net, images), atol=1e-5, rtol=0
        )
    # And what came back can be saved again.
    assert len(to_bytes(again, info=again.info)) == size
    assert again.state_dict().keys() <= net.state_dict().keys()


def test_the_pruned_network_is_the_one_that_was_saved(tmp_path):
    net = pruned()
    assert type(net) is Block
    save(net, tmp_path / "net.safetensors")
    again = load(tmp_path / "net.safetensors")
    assert again.get_submodule("conv1").out_channels == 6
    counts = [sum(p.numel() for p in n.parameters()) for n in (net, again)]
    assert counts[0] == counts[1] < sum(p.numel() for p in block().parameters())


def test_trained_on_after_loading(tmp_path):
    save(pruned(), tmp_path / "net.safetensors")
    again = load(tmp_path / "net.safetensors").train()
    outputs_ = again(EXAMPLE)
    outputs_.sum().backward()
    assert all(p.grad is not None for p in again.parameters())
    assert not torch.equal(again(EXAMPLE), again(EXAMPLE))  # dropout is back


def test_another_process_needs_no_source_of_the_network(tmp_path):
    net = pruned()
    save(net, tmp_path / "net.safetensors")
    code = (
        "import sys, json, torch, agmc\n"
        "net = agmc.load('net.safetensors')\n"
        "x = torch.linspace(-1, 1, 216).reshape(2, 3, 6, 6)\n"
        "assert 'agmc.models' not in sys.modules\n"
        "print(json.dumps(net(x).tolist()))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        **{"cwd": tmp_path, "check": True, "capture_output": True, "text": True},
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    theirs = torch.tensor(json.loads(ran.stdout))
    torch.testing.assert_close(theirs, outputs(net), atol=1e-5, rtol=0)


def test_any_network_is_saved_with_an_example(tmp_path):
    net = block()
    with pytest.raises(ValueError, match="Block are unknown: hand in example_input"):
        save(net, tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())
    save(net, tmp_path / "net.safetensors", example_input=EXAMPLE)
    again = load(tmp_path / "net.safetensors")
    torch.testing.assert_close(outputs(again), outputs(net), atol=1e-5, rtol=0)


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    net = pruned()
    with torch.no_grad():
        net.fc.bias[0] = torch.inf
    with pytest.raises(ValueError, match=r"fc\.bias holds NaN or infinity"):
        save(net, tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())


def test_info_is_json(tmp_path):
    with pytest.raises(ValueError, match="info must hold JSON"):
        save(pruned(), tmp_path / "net.safetensors", info={"a": torch.zeros(1)})


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "net.safetensors"
    save(pruned(), path)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save(pruned(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_the_file_has_the_permissions_of_any_other(mask, mode, tmp_path):
    before = os.umask(mask)
    try:
        save(pruned(), tmp_path / "net.safetensors")
    finally:
        os.umask(before)
    assert (tmp_path / "net.safetensors").stat().st_mode & 0o777 == mode


# Broken files.


@pytest.fixture
def changed(tmp_path):
    """Writes a checkpoint with other metadata or tensors."""

    def write(metadata=None, tensors=None, without=()):
        path = tmp_path / "net.safetensors"
        save(pruned(), path)
        with safetensors.safe_open(path, "pt") as file:
            header = dict(file.metadata())
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header |= metadata or {}
        state |= tensors or {}
        for name in without:
            header.pop(name, None)
            state.pop(name, None)
        safetensors.torch.save_file(state, path, header)
        return path

    return write


def packed(content):
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.b64encode(zlib.compress(raw, 9)).decode()


def program(**changes):
    from agmc.graph.program import program_to_json

    record = program_to_json(pruned().__dict__["agmc_program"])
    return packed({**record, **changes})


def operations(op):
    return [["a", op, [{"ref": "x"}], {"dict": {}}, ""]]


BOMB = zlib.compressobj(9)
BOMB = base64.b64encode(
    b"".join(BOMB.compress(b" " * 2**20) for _ in range(70)) + BOMB.flush()
).decode()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metadata": {"format": "pt"}}, "no agmc checkpoint.*model.weights=FILE"),
        ({"without": ["format"]}, "no agmc checkpoint"),
        ({"metadata": {"version": "2"}}, "version '2', this agmc reads '1'"),
        ({"without": ["program"]}, "damaged"),
        ({"without": ["info"]}, "damaged"),
        ({"metadata": {"info": "{"}}, "damaged"),
        ({"metadata": {"info": "[1]"}}, "damaged"),
        ({"metadata": {"program": "?"}}, "damaged.*broken"),
        ({"metadata": {"program": base64.b64encode(b"x").decode()}}, "broken"),
        ({"metadata": {"program": packed({})[:-40]}}, "damaged"),
        ({"metadata": {"program": BOMB}}, "cut off or too large"),
        ({"metadata": {"program": packed(b"[" * 100_000)}}, "damaged"),
        ({"metadata": {"program": packed([])}}, "damaged"),
        ({"metadata": {"program": packed({})}}, "damaged"),
        ({"without": ["conv1.weight"]}, "conv1.weight.*missing"),
        ({"tensors": {"fc.bias": torch.full((5,), torch.nan)}}, "fc.bias holds NaN"),
        ({"tensors": {"fc.bias": torch.zeros(4)}}, "fc.bias has shape"),
    ],
)
def test_broken_files_are_refused_with_their_path(changed, changes, message):
    path = changed(**changes)
    with pytest.raises(ValueError, match=message) as raised:
        load(path)
    assert str(path) in str(raised.value)
    assert len(" ".join(str(raised.value).split())) < 700


@pytest.mark.parametrize(
    "op",
    [
        *("aten.from_file.default", "aten.relu_.default", "_operator.setitem"),
        *("os.system", "builtins.eval", "aten.save.default", "aten.conv2d"),
    ],
)
def test_no_operator_but_the_harmless_runs(changed, op):
    path = changed(metadata={"program": program(operations=operations(op))})
    with pytest.raises(ValueError, match=str(path)):
        load(path)


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_truncated_files_are_refused(kept, tmp_path):
    path = tmp_path / "net.safetensors"
    save(pruned(), path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=f"{path} is truncated"):
        load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.safetensors does not exist"):
        load(tmp_path / "nowhere.safetensors")
