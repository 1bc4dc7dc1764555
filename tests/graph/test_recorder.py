from __future__ import annotations

import functools
from collections import namedtuple

import pytest
import torch
import torch.nn.functional as F
from graph_nets import Net, conv, images, quiet_trace
from torch import nn
from torch.utils.checkpoint import checkpoint

from agmc.graph.network import GraphNetwork
from agmc.graph.shape_answers import _LIKE_FIRST
from agmc.graph.trace import trace

Pair = namedtuple("Pair", "first second")


def squeezed_in_place(net, x):
    y = net.conv(x).mean((2, 3), keepdim=True)
    y.squeeze_()
    return y * y.shape[-1]


def transposed_in_place(net, x):
    y = net.conv(x).mean((2, 3)) * 2
    y.transpose_(0, 1)
    return y.transpose(0, 1)


def moved_between_devices(net, x):
    y = net.conv(x.to(net.conv.weight.device))
    return y.to(torch.float64).to("cpu").type_as(x).to(x.device, torch.float32)


def arithmetic_on_constants(net, x):
    line = torch.tensor([1.0, 2.0, 1.0])
    line[1] = 3.0
    square = line[:, None] * line[None, :] / int(line.sum())
    return F.conv2d(net.conv(x), square.expand(4, 1, 3, 3), groups=4, padding=1)


def sizes_through_tensors(net, x):
    size = int(torch.prod(torch.tensor(x.shape[1:])))
    return net.conv(x).reshape(x.shape[0], -1)[:, :size]


def made_of_nothing(net, x):
    y = torch.cat([net.conv(x), torch.zeros(x.shape[0], 2, *x.shape[2:])], 1)
    return y + torch.arange(6.0).view(1, 6, 1, 1) + x.new_ones(1)


def kept_for_next_time(net, x):
    y = net.conv(x)
    if getattr(net, "grid", None) is None:
        net.grid = torch.linspace(-1, 1, y.shape[-1])
    net.last = y
    return y * net.grid


def counted_in_a_buffer(net, x):
    net.count += 1
    return net.conv(x)


def several_results(net, x):
    first, second = net.conv(x).chunk(2, 1)
    values, _ = first.max(1)
    return Pair(values, second), {"sum": second.sum(1)}, None, 3


def checkpointed(net, x):
    return checkpoint(lambda y: F.relu(net.conv(y)), x, use_reentrant=False)


def with_gradients_on(net, x):
    with torch.enable_grad():
        return net.conv(x).relu()


def of_normalised_weights(net, x):
    return net.old(net.conv(x)) + net.new(net.conv(x)) + net.spectral(net.conv(x))


def scripted(net, x):
    return net.script(net.conv(x))


def attention(net, x):
    y = net.conv(x).flatten(2).transpose(1, 2)
    return net.block(net.attention(y, y, y)[0])


def masked_weights(net, x):
    net.conv.weight.data *= torch.ones_like(net.conv.weight).tril()
    return net.conv(x)


def kept_in_containers(net, x):
    y = net.conv(x)
    if "grid" not in net.cache:
        net.cache["grid"] = torch.linspace(0, 1, y.shape[-1])
    net.history.append(y)
    return y * net.cache["grid"]


def marked_for_the_profiler(net, x):
    with torch.profiler.record_function("conv"):
        return net.conv(x)


def parts_of_parameters(net, x):
    first, _ = net.embedding.split(1)
    return (
        net.conv(x)
        + net.embedding[:1, :, : x.shape[2], : x.shape[3]] * first[0, :, :6, :6]
    )


def coordinates(net, x):
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(6.0), indexing="ij")
    return net.conv(x) + rows * columns


def weights_are_returned(net, x):
    return net.conv(x), net.conv.bias, net.count


FORWARD = (
    *(masked_weights, kept_in_containers, marked_for_the_profiler, coordinates),
    *(parts_of_parameters, weights_are_returned),
    *(squeezed_in_place, transposed_in_place, moved_between_devices),
    *(arithmetic_on_constants, sizes_through_tensors, made_of_nothing),
    *(kept_for_next_time, counted_in_a_buffer, several_results, checkpointed),
    *(with_gradients_on, of_normalised_weights, scripted, attention),
)


def network(forward):
    torch.manual_seed(0)
    new = torch.nn.utils.parametrizations
    net = Net(
        forward,
        conv=conv(3, 4),
        new=new.weight_norm(conv(4, 4)),
        spectral=new.spectral_norm(conv(4, 4)),
        script=torch.jit.script(nn.Sequential(nn.ReLU(), nn.Sigmoid())),
        attention=nn.MultiheadAttention(4, 2, batch_first=True),
        block=nn.TransformerEncoderLayer(4, 2, 8, batch_first=True),
    )
    with pytest.warns(FutureWarning, match="weight_norm"):
        net.old = torch.nn.utils.weight_norm(conv(4, 4))
    net.register_buffer("count", torch.zeros(()))
    net.embedding = nn.Parameter(torch.randn(2, 4, 8, 8))
    net.cache, net.history = {}, []
    with torch.no_grad():  # so that masking changes nothing
        net.conv.weight.mul_(torch.ones_like(net.conv.weight).tril())
    return net.eval()


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
@pytest.mark.parametrize("forward", FORWARD, ids=lambda f: f.__name__)
def test_the_same_is_computed_and_the_network_stays_as_it_was(forward):
    net, inputs = network(forward), images()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    attributes = {path: set(vars(part)) for path, part in net.named_modules()}
    graph = quiet_trace(net, inputs)
    assert {path: set(vars(part)) for path, part in net.named_modules()} == attributes
    now = net.state_dict()
    assert all(torch.equal(now[name], value) for name, value in state.items())
    again = GraphNetwork(graph.program, {**now, **graph.constants}).eval()
    assert not net.cache and not net.history
    expected = torch.utils._pytree.tree_leaves(net(*inputs))
    got = torch.utils._pytree.tree_leaves(again(*inputs))
    assert len(expected) == len(got)
    for a, b in zip(expected, got, strict=True):
        assert (
            torch.allclose(a, b, atol=1e-6) if isinstance(a, torch.Tensor) else a == b
        )


def read_after_a_write(function):
    def forward(net, x):
        y = net.conv(x)
        z = function(y)
        z += 1
        return y * 2 + z

    return forward


def view_of_a_constant_written(net, x):
    line = torch.tensor([1.0, 2.0, 3.0, 4.0])
    y = net.conv(x) + line.view(-1, 1, 1)
    line[2] = 9.0
    return y * line.view(-1, 1, 1)


def replaced_weight(net, x):
    net.conv.weight.data = net.conv.weight.data * 2
    return net.conv(x)


def replaced_value(net, x):
    y = net.conv(x)
    y.data = y.data * 3
    return y


@functools.cache
def cached(size):
    return torch.linspace(0, 1, size)


REFUSED = {
    "writes with aten.mul.out": lambda net, x: torch.mul(
        net.conv(x).detach(), 2, out=torch.empty(x.shape[0], 4, 6, 6)
    ),
    "writes with aten._foreach_mul_": lambda net, x: torch._foreach_mul_([x], 2.0),
    "reads 'conv2d' after": read_after_a_write(lambda y: y.type_as(y)),
    "'conv2d' after 'add": read_after_a_write(
        lambda y: torch.einsum("nchw->nhwc", y).permute(0, 3, 1, 2)
    ),
    "writes into a view of a constant": view_of_a_constant_written,
    "replaces the elements of 'conv.weight'": replaced_weight,
    "replaces a value": replaced_value,
    "outside of its modules": lambda net, x: net.conv(x) * cached(6),
    "depends on the value of 'gt'": lambda net, x: net.conv(x) if x.mean() > 0 else x,
    "has control flow": lambda net, x: torch.cond(
        x.sum() > 0, lambda y: y + 1, lambda y: y * 2, (x,)
    ),
    "return tensors": lambda net, x: object(),
    "the shape of a weight in place": lambda net, x: net.conv.weight.t_(),
    "batch norm over 3 channels got 4": lambda net, x: net.bn(net.conv(x)),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_recorded_is_refused_in_one_line(reason):
    net = Net(REFUSED[reason], conv=conv(3, 4), bn=nn.BatchNorm2d(3)).eval()
    if "in place" in reason:
        net.conv.weight = nn.Parameter(torch.randn(4, 3))
    with pytest.raises(ValueError, match=reason) as caught:
        trace(net, images())
    assert "\n" not in str(caught.value)
    assert all(type(p.data) is torch.Tensor for p in net.parameters())
    cached.cache_clear()


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("kind", sorted(_LIKE_FIRST - {"batch_norm"}))
def test_results_that_look_like_the_argument_do(kind, channels_last):
    x = torch.empty(2, 3, 4, 5, dtype=torch.float64, device="meta")
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    y = getattr(torch.ops.aten, kind)(x)
    assert (y.shape, y.stride(), y.dtype) == (x.shape, x.stride(), x.dtype)


def test_shapes_dtypes_and_lines_of_all_values_are_known():
    def forward(net, x):
        return net.conv(x).double().flatten(1)

    graph = quiet_trace(Net(forward, conv=conv(3, 4)).eval(), images())
    assert [(v.shape, v.dtype) for v in graph.tensors.values()] == [
        *(((1, 3, 6, 6), "float32"), ((1, 4, 6, 6), "float32")),
        *(((1, 4, 6, 6), "float64"), ((1, 144), "float64")),
    ]
    line = forward.__code__.co_firstlineno + 1
    assert set(graph.sources.values()) == {f"test_recorder.py:{line}"}
