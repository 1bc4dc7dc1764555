from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from graph_nets import flat
from onnx import TensorProto, numpy_helper
from quantized_nets import all_bits, network_of
from torch import nn

import agmc
import agmc.export.onnx
from agmc.compression.calibration import minmax
from agmc.compression.quantize import Quantization, graph_network
from agmc.export.onnx import onnx_session, save_onnx
from agmc.export.onnx_integers import _whole_numbers, with_integers
from agmc.plan import Plan

SOME = ("chain", "depthwise", "concat", "flatten_spatial", "sigmoid_gate", "in_place")
SOME += ("tied_weights", "functional_conv", "computed_weights", "conv_1d", "dropout")


def quantized(name, weight_bits=8, act_bits=8, weights="uniform", images=None):
    network, inputs = network_of(name)
    if images is not None:
        inputs = (torch.randn(images, *inputs[0].shape[1:]),)
    plan = all_bits(network, weight_bits, act_bits)
    quantization = Quantization(weights=weights, calibration=minmax)
    return quantization.apply(network, plan, inputs), inputs


def optimized(path, folder):
    """Kinds of operators after ONNX Runtime's optimisations."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    model = onnx.load(folder / "optimized.onnx")
    return Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize("name", SOME)
def test_the_runtime_agrees(name, tmp_path):
    network, inputs = quantized(name)
    difference = save_onnx(network, tmp_path / "n.onnx", inputs)
    assert difference <= 4 / 255


def test_one_step_on_999_of_1000_outputs(tmp_path):
    network, inputs = quantized("residual", images=1000)
    save_onnx(network, tmp_path / "n.onnx", inputs)
    session = onnx_session(tmp_path / "n.onnx")
    theirs = session.run(None, {session.get_inputs()[0].name: inputs[0].numpy()})[0]
    with torch.no_grad():
        ours = network(*inputs).numpy()
    step = (ours.max() - ours.min()) / 255
    assert (np.abs(theirs - ours) <= step).mean() >= 0.999


def test_layers_run_on_integers(tmp_path):
    network, inputs = quantized("residual")
    save_onnx(network, tmp_path / "n.onnx", inputs)
    kinds = optimized(tmp_path / "n.onnx", tmp_path)
    assert kinds["QLinearConv"] == 3 and kinds["QLinearAdd"] == 1
    assert kinds["QGemm"] == 1 and not kinds["Conv"]
    model = onnx.load(tmp_path / "n.onnx")
    stored = {t.data_type for t in model.graph.initializer if np.prod(t.dims) > 16}
    assert stored == {TensorProto.INT8}
    int32 = [t for t in model.graph.initializer if t.data_type == TensorProto.INT32]
    assert len(int32) == 4  # biases


class Swish(nn.Module):
    """Layers with batch norms in front of hard-swish and SiLU, and a gate."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16)
        self.conv2, self.bn2 = nn.Conv2d(16, 16, 3, groups=16), nn.BatchNorm2d(16)
        self.gate, self.fc = nn.Conv2d(16, 16, 1), nn.Linear(16, 4)

    def forward(self, x):
        x = F.hardswish(self.bn1(self.conv1(x)))
        x = F.silu(self.bn2(self.conv2(x)))
        return self.fc((x * self.gate(x).sigmoid()).mean((2, 3)))


def test_layers_in_front_of_curves_run_on_integers(tmp_path):
    torch.manual_seed(0)
    x = torch.randn(8, 3, 12, 12)
    network = graph_network(agmc.compress(Swish().eval(), Plan({}), x))
    plan = all_bits(network, 8, 8)
    rounded = Quantization(calibration=minmax).apply(network, plan, [x])
    assert save_onnx(rounded, tmp_path / "n.onnx", x) <= 4 / 255
    kinds = optimized(tmp_path / "n.onnx", tmp_path)
    assert kinds["QLinearConv"] == 3 and not kinds["Conv"]


@pytest.mark.parametrize(
    ("bits", "int4"), [(4, False), (4, True), (2, True), (8, True)]
)
def test_codes_are_those_of_the_network(bits, int4, tmp_path, caplog):
    network, inputs = quantized("chain", bits, None)
    save_onnx(network, tmp_path / "n.onnx", inputs, int4=int4)
    for_nothing = int4 and bits > 4
    assert ("no weight has 4 bits or fewer" in caplog.text) == for_nothing
    model = onnx.load(tmp_path / "n.onnx")
    held = {t.name: t for t in model.graph.initializer}
    name = "conv1.weight_q.made"
    four = int4 and bits <= 4
    assert held[f"{name}.codes"].data_type == (
        TensorProto.INT4 if four else TensorProto.INT8
    )
    stored = held[f"{name}.codes"]
    assert len(stored.raw_data) == -(-np.prod(stored.dims) // (2 if four else 1))
    codes = numpy_helper.to_array(stored).astype(np.float32)
    most = 2 ** (bits - 1) - 1
    assert np.abs(codes).max() <= most
    scale = numpy_helper.to_array(held[f"{name}.scale"])
    weight = network.get_parameter("conv1.weight").detach().numpy()
    near = np.clip(np.rint(weight / scale.reshape(-1, 1, 1, 1)), -most, most)
    assert (codes == near).mean() > 0.99  # a tie may fall to the other side


def test_an_odd_number_of_codes_of_half_a_byte():
    codes = np.array([[-7, 3, -1], [7, 0, 5], [1, -2, -3]], np.int8)
    stored = _whole_numbers("codes", TensorProto.INT4, codes)
    assert len(stored.raw_data) == 5
    assert (numpy_helper.to_array(stored).astype(np.int8) == codes).all()


def test_a_file_that_rounds_otherwise_is_not_written(tmp_path, monkeypatch):
    def coarser(model, weights, **options):
        wrong = {name: replace(w, scale=1.3 * w.scale) for name, w in weights.items()}
        return with_integers(model, wrong, **options)

    network, inputs = quantized("chain")
    monkeypatch.setattr(agmc.export.onnx, "with_integers", coarser)
    with pytest.raises(ValueError, match="differs from the network"):
        save_onnx(network, tmp_path / "n.onnx", inputs)
    assert not list(tmp_path.iterdir())


def test_fewer_and_more_bits_of_activations(tmp_path):
    for bits in (1, 4, 16):
        network, inputs = quantized("residual", 8, bits)
        assert save_onnx(network, tmp_path / "n.onnx", inputs) <= 4 / 255
        kinds = Counter(n.op_type for n in onnx.load(tmp_path / "n.onnx").graph.node)
        assert bool(kinds["Clip"]) == (bits != 16)


@pytest.mark.parametrize(
    ("weights", "bits"), [("uniform", None), ("uniform", 12), ("codebook", 3)]
)
def test_a_runtime_does_not_round_weights_that_are_finer(weights, bits, tmp_path):
    network, inputs = quantized("residual", bits, 8, weights=weights)
    assert save_onnx(network, tmp_path / "n.onnx", inputs) < 1e-5
    assert not optimized(tmp_path / "n.onnx", tmp_path)["QLinearConv"]


def test_codebooks_are_exported_as_floats(tmp_path):
    network, inputs = quantized("chain", 2, 8, weights="codebook")
    save_onnx(network, tmp_path / "n.onnx", inputs)
    model = onnx.load(tmp_path / "n.onnx")
    floats = [
        numpy_helper.to_array(t)
        for t in model.graph.initializer
        if t.data_type == TensorProto.FLOAT and len(t.dims) == 4
    ]
    assert [len(np.unique(values)) for values in floats] == [4, 4]


def test_outputs_of_any_form(tmp_path):
    network, inputs = quantized("dict_and_tuple_outputs")
    save_onnx(network, tmp_path / "n.onnx", inputs)
    session = onnx_session(tmp_path / "n.onnx")
    assert len(session.get_outputs()) == len(flat(network(*inputs)))


class WeightedSum(nn.Module):
    """Its parameter has a name that an exporter could want for itself."""

    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
        self.weights = nn.Parameter(torch.tensor([0.25]))

    def forward(self, x):
        return self.weights * self.one(x) + self.other(x)


def test_a_parameter_called_weights(tmp_path):
    torch.manual_seed(0)
    net, x = WeightedSum().eval(), torch.randn(2, 3, 6, 6)
    bits = {"one": 8, "other": 4}
    small = agmc.compress(
        net,
        Plan({}, weight_bits=bits, act_bits=dict.fromkeys(bits, 8)),
        x,
        calibration=[x],
    )
    save_onnx(small, tmp_path / "net.onnx", [x])
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    (got,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    assert abs(got - small(x).detach().numpy()).max() < 0.05
