"""A saved network comes back the same, and a broken file is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from packed_nets import KINDS, codebook, dense, quantised, sparse
from torch import nn

from agmc.compression.prune import compress
from agmc.export.checkpoint import load, save, stored_tensors, to_bytes
from agmc.graph.network import GraphNetwork
from agmc.graph.trace import trace
from agmc.plan import Plan
from agmc.plan_space import PlanSpace


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


# Quantised and sparse networks.


@pytest.mark.parametrize("entropy", [None, "zlib"])
@pytest.mark.parametrize(
    "net",
    [
        *(make() for make in KINDS.values()),
        *(quantised(bits) for bits in (1, 2, 3, 5, 8, 12, 16)),
        quantised(4, 0, by_channel=False, offset=2.4),
        quantised(3, 0.95, shape=(50, 60)),
        sparse(0.97, (50, 60)),
        codebook(2),
        codebook(17, (50, 60)),
    ],
)
def test_outputs_are_the_same_bit_for_bit(net, entropy, tmp_path):
    images = torch.randn(7, *net.program.input_shapes[0][1:])
    size = save(net, tmp_path / "net.safetensors", entropy=entropy)
    again = load(tmp_path / "net.safetensors")
    assert torch.equal(
        outputs(again, images).view(torch.int32),
        outputs(net, images).view(torch.int32),
    )
    assert again.program == net.program
    # What came back is stored the same, and in no other size.
    assert save(again, tmp_path / "again.safetensors", entropy=entropy) == size
    assert stored_tensors(tmp_path / "again.safetensors") == stored_tensors(
        tmp_path / "net.safetensors"
    )


def test_codes_take_their_true_bits(tmp_path):
    path = tmp_path / "net.safetensors"

    def found(net, **options):
        save(net, path, **options)
        return {tensor.name: tensor for tensor in stored_tensors(path)}

    for bits in (1, 3, 4, 8, 11, 16):
        weight = found(quantised(bits, 0, shape=(40, 30)))["fc.weight"]
        assert (weight.elements, weight.bits) == (1200, bits)
        if weight.coding == "plain":
            assert weight.bytes == 1200 * bits / 8
    index = found(codebook(6))["fc.index"]
    assert (index.elements, index.bits, index.dtype) == (384, 3, "int64")
    book = found(codebook(6))["fc.codebook"]
    assert (book.coding, book.bytes) == ("plain", 24)
    weight = found(sparse(0.9, (50, 60)))["fc.weight"]
    assert weight.coding == "run-length" and weight.bits == 32
    assert weight.bytes < 0.15 * 4 * 3000
    deflated = found(quantised(8, 0, shape=(100, 60)), entropy="zlib")["fc.weight"]
    assert deflated.coding == "plain + zlib" and deflated.bytes < 0.97 * 6000


def test_a_file_is_hardly_more_than_its_payloads(tmp_path):
    path = tmp_path / "net.safetensors"
    size = save(pruned(), path)
    tensors = stored_tensors(path)
    assert [t.name for t in tensors if t.name.startswith("bn1")] == [
        *("bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var")
    ]
    assert size - sum(tensor.bytes for tensor in tensors) < 1000


def test_weights_of_all_types_are_saved(tmp_path):
    net = dense().to(torch.bfloat16)
    save(net, tmp_path / "net.safetensors")
    again = load(tmp_path / "net.safetensors")
    assert torch.equal(again.fc.weight, net.fc.weight)
    assert again.fc.weight.dtype is torch.bfloat16
    with pytest.raises(
        ValueError, match=r"cannot be saved: fc.weight is of type torch"
    ):
        net.fc.weight = nn.Parameter(net.fc.weight.to(torch.complex128))
        save(net, tmp_path / "net.safetensors")


def test_what_has_no_exact_codes_is_not_saved(tmp_path):
    path = tmp_path / "net.safetensors"
    broken = quantised()
    broken.fc.scale.data *= torch.inf
    with pytest.raises(ValueError, match="fc.scale holds NaN or infinity"):
        save(broken, path)
    broken = quantised(4, 0)
    broken.fc.scale.data[:] = 1.3e38
    broken.fc.weight.data[:] = 3.39e38
    with pytest.raises(
        ValueError, match=r"saved: fc.weight: codes of 4 bits give other"
    ):
        save(broken, path)
    broken = codebook(6)
    broken.fc.index[3, 3] = 6
    with pytest.raises(ValueError, match=r"saved: fc.index holds 0 to 6, .* 6 entries"):
        save(broken, path)
    with pytest.raises(ValueError, match=r"entropy \(='lzma'\) must be 'zlib' or None"):
        save(dense(), path, entropy="lzma")
    with pytest.raises(ValueError, match="shorten info"):
        save(dense(), path, info={"notes": "a" * 10_000_000})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_truncated_files_are_refused(kept, tmp_path):
    path = tmp_path / "net.safetensors"
    save(pruned(), path)
    path.write_bytes(path.read_bytes()[:kept])
    for read in (load, stored_tensors):
        with pytest.raises(ValueError, match=f"{path} is truncated"):
            read(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.safetensors does not exist"):
        load(tmp_path / "nowhere.safetensors")
