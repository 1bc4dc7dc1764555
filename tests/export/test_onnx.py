"""The ONNX file says what the network says, or is not written."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import agmc.export.onnx
from agmc.export.checkpoint import load, save
from agmc.export.onnx import compare_onnx, fixed_batch_size, onnx_session, save_onnx
from agmc.graph.agreement import TOLERANCE


def net():
    torch.manual_seed(0)
    layers = (nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    module = nn.Sequential(*layers, nn.Linear(64, 3))
    with torch.no_grad():
        module[1].running_mean.uniform_(-1, 1)
    return module


class Sum(nn.Module):
    """Two inputs and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 1)

    def forward(self, x, y):
        both = self.conv(x) + y
        return both.relu(), both.mean((2, 3))


class Fixed(nn.Module):
    """Its code makes the batch size a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 3)

    def forward(self, x):
        return self.linear(x.reshape(int(x.shape[0]), 16))


EXAMPLE = torch.linspace(-1, 1, 72).reshape(2, 1, 6, 6)


def run(path, *inputs):
    session = onnxruntime.InferenceSession(path)
    names = [node.name for node in session.get_inputs()]
    feeds = dict(zip(names, [x.numpy() for x in inputs], strict=True))
    return session.run(None, feeds)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_it_agrees_at_every_batch_size(batch_size, tmp_path):
    module = net().train()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    path = tmp_path / "net.onnx"
    assert 0 <= save_onnx(module, path, EXAMPLE[:batch_size]) <= TOLERANCE
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644
    assert module.training
    for name, value in module.state_dict().items():
        assert torch.equal(value, state[name]), name
    module.eval()
    for size in (1, 5):
        images = torch.randn(size, 1, 6, 6)
        (theirs,) = run(path, images)
        ours = module(images).detach().numpy()
        np.testing.assert_allclose(theirs, ours, atol=1e-5)


def test_several_inputs_and_outputs(tmp_path):
    module, path = Sum().eval(), tmp_path / "sum.onnx"
    inputs = (torch.randn(2, 2, 4, 4), torch.randn(2, 3, 4, 4))
    assert save_onnx(module, path, inputs) <= TOLERANCE
    ours = module(*inputs)
    for out, expected in zip(run(path, *inputs), ours, strict=True):
        np.testing.assert_allclose(out, expected.detach().numpy(), atol=1e-5)


def test_a_loaded_network_is_exported(tmp_path):
    save(net().eval(), tmp_path / "net.safetensors", example_input=EXAMPLE)
    again = load(tmp_path / "net.safetensors")
    assert save_onnx(again, tmp_path / "net.onnx", EXAMPLE) <= TOLERANCE


def test_a_fixed_batch_size_is_compared_at_one_input(tmp_path, caplog):
    path = tmp_path / "fixed.onnx"
    assert save_onnx(Fixed().eval(), path, torch.randn(2, 4, 4)) <= TOLERANCE
    assert "fixes the batch size" in caplog.text
    assert run(path, torch.zeros(1, 4, 4))[0].shape == (1, 3)


@pytest.mark.parametrize(
    ("module", "example"), [(net(), EXAMPLE), (Fixed(), torch.randn(1, 4, 4))]
)
def test_the_batch_size_that_is_asked_for_is_the_only_one(module, example, tmp_path):
    path, module = tmp_path / "net.onnx", module.eval()
    assert save_onnx(module, path, example, batch_size=3) <= TOLERANCE
    assert fixed_batch_size(onnx_session(path)) == 3
    images = torch.randn(3, *example.shape[1:])
    ours = module(images).detach().numpy()
    np.testing.assert_allclose(run(path, images)[0], ours, atol=1e-5)
    with pytest.raises(Exception, match="invalid dimensions"):
        run(path, images[:1])
    save_onnx(net().eval(), path, EXAMPLE)
    assert fixed_batch_size(onnx_session(path)) is None


def test_a_file_that_disagrees_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(agmc.export.onnx, "TOLERANCE", -1.0)
    (tmp_path / "net.onnx").write_text("of before")
    with pytest.raises(ValueError, match=r"ONNX Runtime differs.*was not written"):
        save_onnx(net().eval(), tmp_path / "net.onnx", EXAMPLE)
    assert (tmp_path / "net.onnx").read_text() == "of before"
    assert len(list(tmp_path.iterdir())) == 1


def test_the_difference_is_relative_and_sees_other_weights_and_nan(tmp_path):
    module, path = net().eval(), tmp_path / "net.onnx"
    save_onnx(module, path, EXAMPLE)
    with torch.no_grad():
        module[-1].weight.mul_(2)
        module[-1].bias.mul_(2)
    assert compare_onnx(module, path, (EXAMPLE,)) == pytest.approx(0.5, abs=0.01)
    with torch.no_grad():
        module[-1].bias[0] = torch.nan
    assert np.isnan(compare_onnx(module, path, (EXAMPLE,)))


class Deep(nn.Module):
    """Forty convolutions with shortcuts, and logits in the thousands."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(40))
        self.last = nn.Linear(8, 5)
        with torch.no_grad():
            self.last.weight.mul_(1000)

    def forward(self, x):
        for layer in self.layers:
            x = x + layer(x).relu()
        return self.last(x.mean((2, 3)))


class WithoutOneRelu(Deep):
    def forward(self, x):
        for layer in self.layers[:-1]:
            x = x + layer(x).relu()
        return self.last((x + self.layers[-1](x)).mean((2, 3)))


def test_a_deep_network_of_large_logits_agrees_and_a_wrong_one_does_not(tmp_path):
    module, path = Deep().eval(), tmp_path / "deep.onnx"
    images = torch.randn(2, 8, 6, 6, generator=torch.Generator().manual_seed(0))
    save_onnx(module, path, images)
    with torch.no_grad():
        logits = module(images)
    assert logits.abs().max() > 1000
    (theirs,) = run(path, images)
    assert np.abs(theirs - logits.numpy()).max() > 1e-4  # in absolute terms it is far
    other = WithoutOneRelu().eval()
    assert compare_onnx(other, path, (images,)) > 10 * TOLERANCE
    with torch.no_grad():
        module.layers[20].weight[0, 0, 0, 0] += 0.05
    assert compare_onnx(module, path, (images,)) > TOLERANCE


def test_what_the_exporter_cannot_write_is_one_value_error(tmp_path, monkeypatch):
    def fails(*arguments, **options):
        raise RuntimeError("no such operator\nand a page of advice")

    monkeypatch.setattr(torch.onnx, "export", fails)
    with pytest.raises(ValueError, match="written as ONNX: no such operator") as raised:
        save_onnx(net().eval(), tmp_path / "net.onnx", EXAMPLE)
    assert "advice" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_the_chatter_of_the_exporter_stays_inside(tmp_path, caplog, capfd):
    levels = {name: logging.getLogger(name).level for name in ("onnxscript", "onnx_ir")}
    with caplog.at_level(logging.INFO), warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        save_onnx(net().eval(), tmp_path / "net.onnx", EXAMPLE)
    assert [record.getMessage() for record in caplog.records] == []
    assert [str(warning.message) for warning in seen] == []
    assert tuple(capfd.readouterr()) == ("", "")
    for name, level in levels.items():
        assert logging.getLogger(name).level == level
