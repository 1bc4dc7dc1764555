"""Execution: device and precision, resolved or refused at construction."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from agmc.training import Execution, exact
from agmc.training import execution as module


def test_auto_follows_the_hardware(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for has, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(module, "_cpu_has_bfloat16", lambda has=has: has)
        assert Execution().dtype == dtype
    assert Execution().torch_device.type == "cpu"


def test_a_torch_without_the_private_names_means_float32(monkeypatch):
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert Execution(device="cpu").dtype == torch.float32


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_autocast_sets_what_convolutions_compute_in(precision):
    execution = Execution(device="cpu", precision=precision)
    with execution.autocast():
        out = nn.Conv2d(1, 2, 1)(torch.zeros(1, 1, 2, 2))
    assert out.dtype == getattr(torch, precision)


def test_place_is_in_place_and_channels_last():
    conv = nn.Conv2d(4, 4, 3)
    assert Execution(device="cpu").place(conv) is conv
    assert conv.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": "tpu"}, r"device \(='tpu'\) must be one of auto, cpu, cuda"),
        ({"precision": "int8"}, r"precision \(='int8'\) must be one of auto"),
        ({"device": "cpu", "precision": "float16"}, "is for cuda"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Execution(**arguments)


def test_no_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device=cpu"):
        Execution(device="cuda")


def test_exact_is_float32_on_the_same_device():
    found = exact(Execution(device="cpu", precision="bfloat16"))
    assert found == Execution(device="cpu", precision="float32")
