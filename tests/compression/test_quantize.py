from __future__ import annotations

import pytest
import torch
from graph_nets import NETS, flat, quiet_trace
from quantized_nets import all_bits, computed, network_of
from torch import nn

from agmc.compression.calibration import minmax
from agmc.compression.fold import fold_batch_norms, state_of
from agmc.compression.prune import Pruner
from agmc.compression.quantize import Quantization
from agmc.compression.sparsify import sparsify
from agmc.export.checkpoint import load, save
from agmc.graph.network import GraphNetwork
from agmc.models.random_cnn import with_statistics
from agmc.plan import Plan


@pytest.mark.parametrize("name", [name for name in NETS if name != "several_inputs"])
def test_many_bits_change_little_and_fewer_change_more(name):
    network, inputs = network_of(name)
    before = {n: v.clone() for n, v in state_of(network).items()}
    errors = []
    for bits in (12, 8, 4):
        plan = all_bits(network, bits, bits)
        quantized = Quantization(calibration=minmax).apply(network, plan, inputs)
        with torch.no_grad():
            pairs = zip(flat(quantized(*inputs)), flat(network(*inputs)), strict=True)
            error = max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)
        errors.append(error)
    assert errors[0] < 0.02 and errors[0] < errors[1] < errors[2]
    assert all(torch.equal(before[n], v) for n, v in state_of(network).items())


def test_weights_lie_on_the_grid_of_their_channel():
    network, inputs = network_of("chain")
    folded = state_of(fold_batch_norms(network))
    quantized = Quantization().apply(network, all_bits(network, 3, None))
    made = computed(quantized, inputs, "per_channel")
    assert list(made) == ["conv1.weight_q", "conv2.weight_q", "linear.weight_q"]
    state = state_of(quantized)
    for layer in ("conv1", "conv2", "linear"):
        scale = state[f"{layer}.scale"]
        rounded = made[f"{layer}.weight_q"]
        codes = rounded.flatten(1) / scale[:, None]
        assert codes.allclose(codes.round(), atol=1e-5)
        assert codes.round().unique().tolist() == [-3, -2, -1, 0, 1, 2, 3]
        # No share of the largest weights is better for all channels.
        rows = folded[f"{layer}.weight"].flatten(1)
        error = (rounded.flatten(1) - rows).square().sum()
        for share in torch.linspace(0.2, 1, 30):
            steps = share * rows.abs().amax(1, keepdim=True) / 3
            near = (rows / steps).round().clamp(-3, 3) * steps
            assert error <= 1.01 * (near - rows).square().sum()
    assert not computed(quantized, inputs, "per_tensor")


def test_eight_bits_keep_the_largest_weight():
    network, inputs = network_of("chain")
    folded = state_of(fold_batch_norms(network))["conv1.weight"]
    quantized = Quantization().apply(network, all_bits(network, 8, None))
    rounded = computed(quantized, inputs, "per_channel")["conv1.weight_q"]
    largest = folded.flatten(1).abs().max(1)
    assert torch.allclose(rounded.flatten(1).abs().amax(1), largest.values)
    assert ((rounded - folded).abs().flatten(1).amax(1) <= largest.values / 253).all()


def test_activations_take_the_values_of_their_grid():
    network, inputs = network_of("residual")
    quantized = Quantization().apply(network, all_bits(network, 8, 2), inputs)
    made = computed(quantized, inputs, "per_tensor")
    counts = {name: len(value.unique()) for name, value in made.items()}
    # 2 bits: the inputs of the network, of the block's second convolution and of the
    # head, and what is added where the first convolution reads it. 8 bits: what is
    # added and what is averaged.
    assert sum(n <= 4 for n in counts.values()) == 4
    assert sum(4 < n <= 256 for n in counts.values()) == 3
    again = [name for name in counts if "_reads_" in name]
    assert len(again) == 1 and counts[again[0]] <= 4


def test_codebooks_share_few_numbers_and_zeros_stay():
    network, inputs = network_of("chain")
    with torch.no_grad():
        network.conv2.weight[0, :4] = 0
    zeros = network.conv2.weight == 0
    plan = all_bits(network, 2, None, sparsity={"conv2": 0.1})
    quantized = Quantization(weights="codebook").apply(network, plan)
    made = computed(quantized, inputs, "take")
    numbers = {name: len(value.unique()) for name, value in made.items()}
    assert numbers == {"conv1.weight_q": 4, "conv2.weight_q": 4, "linear.weight_q": 4}
    assert torch.equal(made["conv2.weight_q"] == 0, zeros)
    assert len(state_of(quantized)["conv2.codebook"]) == 3
    one = Quantization(weights="codebook").apply(network, all_bits(network, 1, None))
    assert len(computed(one, inputs, "take")["conv1.weight_q"].unique()) == 2
    evenly = Quantization().apply(network, plan)
    assert (computed(evenly, inputs, "per_channel")["conv2.weight_q"][zeros] == 0).all()


@pytest.mark.parametrize("weights", ["uniform", "codebook"])
def test_a_training_moves_weights_step_sizes_and_centroids(weights):
    network, inputs = network_of("residual")
    plan = all_bits(network, 3, 4, sparsity={"conv1": 0.5})
    for learns in (True, False):
        quantized = Quantization(weights=weights, learn_scales=learns).apply(
            network, plan, inputs
        )
        before = {n: p.detach().clone() for n, p in quantized.named_parameters()}
        quantized.train()
        optimizer = torch.optim.SGD(
            [p for p in quantized.parameters() if p.requires_grad], lr=0.01
        )
        quantized(*inputs).square().sum().backward()
        optimizer.step()
        moved = {
            name
            for name, p in quantized.named_parameters()
            if not torch.equal(p, before[name])
        }
        trained = {n for n in before if learns or not n.endswith("scale")}
        assert moved == trained
        table = [n for n in before if n.endswith("codebook")]
        assert bool(table) == (weights == "codebook")
        assert not any(n.endswith("zero_point") for n in before)


def test_step_sizes_learn_by_the_gradient_of_lsq():
    network = one_layer([0.3, 1.2, 5.0])
    quantized = Quantization(calibration=minmax).apply(
        network, Plan({}, weight_bits={"linear": 3}), ()
    )
    scale = quantized.get_parameter("linear.scale")
    with torch.no_grad():
        scale.fill_(1.0)
    quantized(torch.ones(1, 3)).sum().backward()
    # -w/s + round(w/s) inside the grid, the end of the grid outside (eq. 3 of LSQ),
    # times 1 / sqrt(3 weights * 3).
    expected = ((0 - 0.3) + (1 - 1.2) + 3) / 3
    assert scale.grad.tolist() == pytest.approx([expected], rel=1e-5)
    # Straight through inside, nothing outside.
    weight = quantized.get_parameter("linear.weight")
    assert weight.grad.tolist() == [[1, 1, 0]]


def one_layer(weights):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 1, bias=False)

        def forward(self, x):
            return self.linear(x)

    net = Net()
    with torch.no_grad():
        net.linear.weight.copy_(torch.tensor([weights]))
    graph = quiet_trace(net, torch.ones(2, 3))
    return GraphNetwork(graph.program, graph.state_of(net)).eval()


@pytest.mark.parametrize("bits", [8, 9, 16])
def test_step_sizes_of_fine_grids_stay(bits):
    network, inputs = network_of("chain")
    quantized = Quantization().apply(network, all_bits(network, bits, bits), inputs)
    named = {n: p for n, p in quantized.named_parameters() if n.endswith("scale")}
    assert named.pop("relu_1_q.scale").requires_grad  # a mean reads 8 bits
    assert len(named) == 6  # three weights, and what their layers read
    assert {scale.requires_grad for scale in named.values()} == {bits <= 8}


def test_quantized_networks_are_saved_and_loaded(tmp_path):
    network, inputs = network_of("resnet20")
    for weights in ("uniform", "codebook"):
        quantized = Quantization(weights=weights).apply(
            network, all_bits(network, 4, 6), inputs
        )
        save(quantized, tmp_path / "q.safetensors")
        again = load(tmp_path / "q.safetensors")
        with torch.no_grad():
            assert torch.equal(again(*inputs), quantized(*inputs))


def test_what_cannot_be_done_is_refused():
    network, inputs = network_of("chain")
    quantization = Quantization()
    with pytest.raises(
        ValueError, match=r"no layers \['x'\] with weights of their own"
    ):
        quantization.apply(network, Plan({}, weight_bits={"x": 8}))
    with pytest.raises(
        ValueError, match=r"no layers \['x'\] with weights of their own"
    ):
        quantization.apply(network, Plan({}, act_bits={"x": 8}), inputs)
    with pytest.raises(ValueError, match=r"weight_bits of 'conv1' \(=1\) must be >= 2"):
        quantization.apply(network, Plan({}, weight_bits={"conv1": 1}))
    with pytest.raises(ValueError, match="no batches to measure the activations on"):
        quantization.apply(network, Plan({}, act_bits={"conv1": 8}))
    with pytest.raises(ValueError, match=r"weights \(='ternary'\) must be one of unif"):
        Quantization(weights="ternary")


def quantized(net, inputs, bits=8, weights="uniform", **parts):
    net = with_statistics(net).eval()
    network = Pruner(net, quiet_trace(net, inputs)).prune(Plan({}))
    plan = all_bits(network, bits, 8, **parts)
    sparsify(network, plan.sparsity)
    batches = [inputs if len(inputs) > 1 else inputs[0]]
    return Quantization(weights=weights).apply(network, plan, batches), network


def close(net, inputs):
    rounded, network = quantized(net, inputs)
    with torch.no_grad():
        ours, theirs = rounded(*inputs), network(*inputs)
    return float((ours - theirs).abs().max() / theirs.abs().max()) < 0.05


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("bits", [(8, None), (None, 8)], ids=["weights", "activations"])
def test_other_types_than_float32_are_refused_in_one_line(bits, dtype):
    network, inputs = network_of("chain")
    plan = all_bits(network, *bits)
    other, inputs = network.to(dtype), [x.to(dtype) for x in inputs]
    with pytest.raises(ValueError, match=rf"conv1.weight is of type {dtype}") as raised:
        Quantization().apply(other, plan, inputs)
    assert "call .float()" in str(raised.value) and "\n" not in str(raised.value)
    Quantization().apply(other.float(), plan, [x.float() for x in inputs])


class Gated(nn.Module):
    """Two inputs, and a product with truth values."""

    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)

    def forward(self, x, y):
        z = self.one(x) + self.other(y)
        return z * (z > 0)


@pytest.mark.parametrize(
    ("net", "shapes"),
    [
        # A batch norm over dimension 1, where a linear layer makes dimension 2.
        (lambda: nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6)), [(4, 6, 5)]),
        (lambda: nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(6)), [(4, 6, 5)]),
        (lambda: nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6)), [(4, 5)]),
        (
            lambda: nn.Sequential(
                nn.Conv2d(3, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 8, 2, groups=2)
            ),
            [(4, 3, 6, 6)],
        ),
        (Gated, [(2, 3, 4, 4), (2, 3, 4, 4)]),
    ],
)
def test_less_common_networks(net, shapes):
    torch.manual_seed(0)
    assert close(net(), tuple(torch.randn(shape) for shape in shapes))


def test_a_layer_of_zeros_and_names_that_resemble_each_other(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 1, 1), nn.ReLU(), nn.Conv2d(1, 2, 1))
    nn.init.zeros_(net[0].weight)
    inputs = (torch.randn(2, 3, 4, 4),)
    shared, _ = quantized(net, inputs, 3, "codebook", sparsity={"0": 0.9})
    made = computed(shared, inputs, "take")["0.weight_q"]
    assert not made.any()
    odd = nn.Module()
    odd.a_b, odd.a = nn.Conv2d(3, 4, 1), nn.Module()
    odd.a.b = nn.Conv2d(4, 4, 1)
    odd.forward = lambda x: odd.a.b(odd.a_b(x))
    rounded, _ = quantized(odd, inputs)
    save(rounded, tmp_path / "q.safetensors")
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "q.safetensors")(*inputs), rounded(*inputs))


def test_what_belongs_to_a_frozen_weight_is_frozen():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    net[0].weight.requires_grad_(False)
    for weights in ("uniform", "codebook"):
        rounded, _ = quantized(net, (torch.randn(2, 3, 4, 4),), weights=weights)
        part = "scale" if weights == "uniform" else "codebook"
        assert not rounded.get_parameter(f"0.{part}").requires_grad
        assert rounded.get_parameter(f"2.{part}").requires_grad
