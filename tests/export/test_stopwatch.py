"""Units sum up to the whole, and larger ones take longer."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import agmc.export.resized
from agmc.export.onnx import save_onnx
from agmc.export.stopwatch import Stopwatch, whole_milliseconds
from agmc.graph.trace import trace


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU()),
        *(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 4, 1)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)),
    ).eval()


def test_units_sum_up_to_the_whole() -> None:
    model, image = net(), torch.randn(1, 3, 24, 24)
    graph = trace(model, image)
    stopwatch = Stopwatch(model, graph, seconds=0.05)
    sizes = np.array([group.size for group in graph.groups])
    for counts in (sizes, np.array([33, 17, *sizes[2:]])):
        measured = stopwatch.measure(counts)
        assert measured.units.shape == (3, 4)
        assert (measured.units >= 0).all()
        np.testing.assert_allclose(measured.units.sum(-1), measured.totals)
        # The second convolution has nearly all of the work.
        assert (measured.units.argmax(-1) == 1).all()


def test_the_whole_network(tmp_path) -> None:
    model, image = net(), torch.randn(2, 3, 24, 24)
    save_onnx(model, tmp_path / "net.onnx", image)
    threads = torch.get_num_threads()
    times = whole_milliseconds(model, tmp_path / "net.onnx", (image,), seconds=0.01)
    assert len(times) == 2
    assert min(times) > 0
    assert torch.get_num_threads() == threads


def test_the_file_with_8_bits_takes_turns_as_well(tmp_path) -> None:
    model, image = net(), torch.randn(2, 3, 24, 24)
    for name in ("floats", "integers"):
        save_onnx(model, tmp_path / name, image)
    times = whole_milliseconds(
        *(model, tmp_path / "floats", (image,)),
        integers=tmp_path / "integers",
        seconds=0.01,
    )
    assert len(times) == 3 and min(times) > 0


class Two(nn.Module):
    """Adds what it makes of two images."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3)
        self.last = nn.Conv2d(8, 4, 1)

    def forward(self, x, y):
        return self.last(self.one(x).relu() + self.other(y))


def test_a_network_of_two_inputs_has_8_bits_as_well(caplog) -> None:
    torch.manual_seed(0)
    model, images = Two().eval(), (torch.randn(1, 3, 8, 8), torch.randn(1, 3, 8, 8))
    graph = trace(model, images)
    measured = Stopwatch(model, graph, seconds=0.05).measure(
        np.array([group.size for group in graph.groups])
    )
    assert "count as floats" not in caplog.text
    assert (measured.units[2] != measured.units[0]).any()


def test_what_cannot_have_8_bits_counts_as_floats(monkeypatch, caplog) -> None:
    def refused(*args, **knobs):
        raise ValueError("no integers here")

    monkeypatch.setattr(agmc.export.resized, "save_onnx", refused)
    model, image = net(), torch.randn(1, 3, 24, 24)
    graph = trace(model, image)
    stopwatch = Stopwatch(model, graph, seconds=0.05)
    assert "8 bits count as floats: no integers here" in caplog.text
    measured = stopwatch.measure(np.array([group.size for group in graph.groups]))
    assert (measured.units[2] == measured.units[0]).all()
    assert measured.totals[2] == measured.totals[0]
