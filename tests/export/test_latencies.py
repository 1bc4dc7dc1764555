"""What calls take: who is called when, and on what, by a clock that the test moves."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import agmc.export.latencies
from agmc.export.latencies import CELLS, ONE, onnx_latencies, onnx_latency_ms
from agmc.export.onnx import save_onnx

IMAGES = torch.randn(2, 3, 4, 4)


@dataclass
class Machine:
    """Stands for ONNX Runtime and its clock.

    Attributes:
        seconds: name of a file -> what its calls take, one after the other.
        calls: name of the file, batch size and threads of every call.
    """

    seconds: dict[str, list[float]]
    calls: list[tuple[str, int, int]] = field(default_factory=list)
    now: float = 100.0

    def perf_counter(self):
        return self.now

    def onnx_session(self, path, *, threads=1):
        return Session(self, Path(path).name, threads)


@dataclass
class Session:
    machine: Machine
    file: str
    threads: int

    def get_inputs(self):
        return [Node()]

    def run(self, _, feed):
        assert feed["x"].dtype == np.float32
        self.machine.calls.append((self.file, len(feed["x"]), self.threads))
        own = self.machine.seconds[self.file]
        self.machine.now += own.pop(0) if len(own) > 1 else own[0]


@dataclass
class Node:
    name: str = "x"
    shape: tuple = ("batch", 3, 4, 4)


@pytest.fixture
def machine(monkeypatch):
    def made(**seconds):
        machine = Machine({f"{name}.onnx": list(s) for name, s in seconds.items()})
        monkeypatch.setattr(agmc.export.latencies, "time", machine)
        monkeypatch.setattr(agmc.export.latencies, "onnx_session", machine.onnx_session)
        return machine

    return made


def test_files_take_turns_and_medians_count(machine):
    found = machine(a=[9, 9, 9, 1, 5, 3], b=[9, 9, 9, 8, 2, 2])
    files = ["a.onnx", "b.onnx"]
    assert onnx_latency_ms(
        files, (IMAGES,), batch_size=7, threads=2, rounds=3, seconds=1000
    ) == [3000, 2000]
    assert found.calls == 6 * [("a.onnx", 7, 2), ("b.onnx", 7, 2)]


@pytest.mark.parametrize(
    ("seconds", "warm_up", "rounds"),
    [(0.001, 3, 50), (0.01, 3, 25), (0.06, 2, 5), (0.08, 1, 4), (60.0, 1, 3)],
)
def test_what_is_slow_is_called_less(seconds, warm_up, rounds, machine):
    found = machine(a=[seconds])
    (latency,) = onnx_latency_ms(["a.onnx"], (IMAGES,), seconds=0.2475)
    assert latency == pytest.approx(1000 * seconds)
    assert len(found.calls) == warm_up + rounds


def test_every_cell_is_measured_by_itself(machine, tmp_path):
    found = machine(a=[0.1], b=[0.02])
    networks = [(nn.Identity(), tmp_path / name) for name in ("a.onnx", "b.onnx")]
    slow, fast = onnx_latencies(networks, (IMAGES,))
    names = ["batch 1, 1 thread", "batch 64, 1 thread"]
    names += ["batch 1, 2 threads", "batch 64, 2 threads"]
    assert list(slow) == list(fast) == list(CELLS) == names
    assert slow == pytest.approx(dict.fromkeys(names, 100))
    assert fast == pytest.approx(dict.fromkeys(names, 20))
    cells = list(dict.fromkeys(call[1:] for call in found.calls))
    assert cells == [(1, 1), (64, 1), (1, 2), (64, 2)]


def test_a_call_of_many_seconds_is_left_out(machine, tmp_path):
    found = machine(a=[0.16], b=[0.02])  # 64 of them would take 10.24 s
    networks = [(nn.Identity(), tmp_path / name) for name in ("a.onnx", "b.onnx")]
    for latencies in onnx_latencies(networks, (IMAGES,)):
        missing = {cell for cell, value in latencies.items() if value is None}
        assert missing == {"batch 64, 1 thread", "batch 64, 2 threads"}
    assert {size for _, size, _ in found.calls} == {1}


class Picky(nn.Module):
    """Its forward code makes the batch size a constant, and takes some only."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.linear, self.most = nn.Linear(48, 3), most

    def forward(self, x):
        if int(x.shape[0]) > self.most:
            raise ValueError("too many images")
        return self.linear(x.reshape(int(x.shape[0]), 48))


@pytest.mark.parametrize("most", [64, 8])
def test_a_fixed_batch_size_has_a_file_of_its_own(most, tmp_path, caplog):
    free, picky = nn.Sequential(nn.Flatten(), nn.Linear(48, 3)).eval(), Picky(most)
    networks = [(free, tmp_path / "free.onnx"), (picky, tmp_path / "picky.onnx")]
    for network, path in networks:
        save_onnx(network, path, IMAGES)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        for latencies in onnx_latencies(networks, (IMAGES,), seconds=0.01):
            assert latencies[ONE] > 0
            missing = [cell for cell, value in latencies.items() if value is None]
            assert len(missing) == (0 if most == 64 else 2)
    assert ("a batch of 64 is not measured" in caplog.text) == (most == 8)
    assert len(list(tmp_path.iterdir())) == 2


def test_real_files_are_timed_in_milliseconds(tmp_path):
    small, large = tmp_path / "small.onnx", tmp_path / "large.onnx"
    images = torch.randn(2, 3, 32, 32)
    for path, width in ((small, 4), (large, 128)):
        layers = (nn.Conv2d(3, width, 3), nn.Conv2d(width, width, 3))
        save_onnx(nn.Sequential(*layers).eval(), path, images)
    fast, slow = onnx_latency_ms([small, large], (images,), rounds=5)
    assert 0 < fast < slow < 10_000
    (many, _) = onnx_latency_ms([small, large], (images,), batch_size=4, rounds=5)
    assert fast < many
