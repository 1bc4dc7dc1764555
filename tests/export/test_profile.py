"""The table grows over networks, is read again, and survives an interruption."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import agmc.export.profile
from agmc.cost.latency import LatencyModel
from agmc.cost.latency_table import LatencyTable
from agmc.cost.units import Units
from agmc.export.profile import Profiler, machine, read_table, table_path
from agmc.export.stopwatch import Measured
from agmc.graph.trace import trace


class FakeStopwatch:
    """One millisecond a unit; stops where it is told to."""

    measured = 0
    last = 100

    def __init__(self, model, graph, *, seconds) -> None:
        self.units = Units(graph)

    def measure(self, counts) -> Measured:
        if FakeStopwatch.measured == FakeStopwatch.last:
            raise KeyboardInterrupt
        FakeStopwatch.measured += 1
        units = np.ones((3, len(self.units.units)))
        return Measured(units, units.sum(-1))


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    monkeypatch.setattr(agmc.export.profile, "Stopwatch", FakeStopwatch)
    monkeypatch.setattr(FakeStopwatch, "measured", 0)
    monkeypatch.setattr(FakeStopwatch, "last", 100)


def network(kernel: int = 3):
    model = nn.Sequential(nn.Conv2d(3, 64, kernel), nn.ReLU(), nn.Conv2d(64, 4, 1))
    return model, trace(model, torch.randn(1, 3, 8, 8))


def test_measured_once_and_extended_over_networks(tmp_path) -> None:
    path = table_path(tmp_path)
    profiler, done = Profiler(plans=4), []
    first = profiler.extend(*network(), path, on_plan=done.append)
    assert done == [1, 2, 3, 4]
    calls = FakeStopwatch.measured
    assert 1 < calls <= 4
    profiler.extend(*network(), path)
    assert FakeStopwatch.measured == calls
    both = profiler.extend(*network(5), path)
    assert FakeStopwatch.measured > calls
    assert set(first.entries) < set(both.entries)
    assert LatencyTable.from_json(path.read_text()) == both
    model = LatencyModel(network()[1], read_table(path))
    assert model.evaluate(np.array([64])) == pytest.approx(2, rel=0.05)


def test_an_interrupted_run_goes_on(tmp_path) -> None:
    path = table_path(tmp_path)
    FakeStopwatch.last = 2
    with pytest.raises(KeyboardInterrupt):
        Profiler(plans=5).extend(*network(), path)
    kept = read_table(path)
    assert sum(map(len, kept.entries.values())) == 4
    FakeStopwatch.last = 100
    Profiler(plans=5).extend(*network(), path)
    assert FakeStopwatch.measured <= 5


def test_the_file_is_named_after_the_machine(tmp_path) -> None:
    path = table_path(tmp_path)
    assert path.parent == tmp_path / "latency"
    assert torch.__version__.split("+")[0] in path.name
    assert "/" not in path.stem and " " not in path.stem
    assert set(machine()) == {"processor", "vectors", "onnxruntime", "torch"}


def test_a_damaged_file_and_wrong_knobs_are_refused(tmp_path) -> None:
    path = table_path(tmp_path)
    path.parent.mkdir()
    path.write_text("{")
    with pytest.raises(ValueError, match="no latency table.*agmc profile"):
        read_table(path)
    with pytest.raises(ValueError, match=r"plans \(=0\) must be above 0"):
        Profiler(plans=0)
