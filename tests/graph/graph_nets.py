"""Tiny networks, one for every way in which channels hang together.

`NETS` maps a name to a function that makes (network, inputs with a batch of 3). Batch
norms have statistics that are not those of a fresh layer.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from agmc.graph.groups import UnprunableWarning
from agmc.graph.trace import trace
from agmc.models import build
from agmc.models.random_cnn import with_statistics


class Net(nn.Module):
    """Named layers and a forward function of (network, *inputs)."""

    def __init__(self, function, **layers):
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor, *others: Tensor):
        return self.function(self, x, *others)


def conv(num_in, num_out, kernel=3, **kw):
    kw.setdefault("padding", kernel // 2)
    return nn.Conv2d(num_in, num_out, kernel, **kw)


def images(channels=3, size=6):
    return (torch.randn(3, channels, size, size),)


def linear_after_mean(net, x):
    return net.linear(x.mean((2, 3)))


def chain():
    def forward(net, x):
        x = F.relu(net.bn1(net.conv1(x)))
        return linear_after_mean(net, F.relu(net.bn2(net.conv2(x))))

    return Net(
        forward,
        conv1=conv(3, 8, bias=False),
        bn1=nn.BatchNorm2d(8),
        conv2=conv(8, 6, stride=2),
        bn2=nn.BatchNorm2d(6),
        linear=nn.Linear(6, 4),
    ), images()


def residual():
    def forward(net, x):
        x = F.relu(net.bn1(net.stem(x)))
        y = net.bn3(net.conv2(F.relu(net.bn2(net.conv1(x)))))
        return linear_after_mean(net, F.relu(x + y))

    return Net(
        forward,
        stem=conv(3, 6),
        bn1=nn.BatchNorm2d(6),
        conv1=conv(6, 8),
        bn2=nn.BatchNorm2d(8),
        conv2=conv(8, 6, bias=False),
        bn3=nn.BatchNorm2d(6),
        linear=nn.Linear(6, 4),
    ), images()


def resnet20():
    return build("resnet20", num_classes=5), images(size=8)


def depthwise():
    def forward(net, x):
        x = F.relu6(net.bn1(net.conv1(x)))
        x = F.hardswish(net.bn2(net.depth(x)))
        return linear_after_mean(net, net.point(x))

    return Net(
        forward,
        conv1=conv(3, 6),
        bn1=nn.BatchNorm2d(6),
        depth=conv(6, 6, groups=6),
        bn2=nn.BatchNorm2d(6),
        point=conv(6, 8, 1),
        linear=nn.Linear(8, 4),
    ), images()


def depthwise_multiplier():
    def forward(net, x):
        return linear_after_mean(net, F.relu(net.bn(net.depth(net.conv1(x)))))

    return Net(
        forward,
        conv1=conv(3, 5),
        depth=conv(5, 10, groups=5),
        bn=nn.BatchNorm2d(10),
        linear=nn.Linear(10, 4),
    ), images()


def grouped():
    def forward(net, x):
        x = F.relu(net.bn(net.grouped(F.relu(net.conv1(x)))))
        return linear_after_mean(net, net.conv2(x))

    return Net(
        forward,
        conv1=conv(3, 8),
        grouped=conv(8, 12, groups=2),
        bn=nn.BatchNorm2d(12),
        conv2=conv(12, 6),
        linear=nn.Linear(6, 4),
    ), images()


def concat():
    def forward(net, x):
        x = F.relu(net.stem(x))
        x = torch.cat([net.left(x), F.gelu(net.right(x)), x], dim=1)
        return linear_after_mean(net, net.join(F.relu(net.bn(x))))

    return Net(
        forward,
        stem=conv(3, 4),
        left=conv(4, 5, 1),
        right=conv(4, 6),
        bn=nn.BatchNorm2d(15),
        join=conv(15, 6),
        linear=nn.Linear(6, 4),
    ), images()


def flatten_spatial():
    def forward(net, x):
        return net.linear(torch.flatten(F.max_pool2d(F.relu(net.conv1(x)), 2), 1))

    return Net(forward, conv1=conv(3, 8), linear=nn.Linear(8 * 9, 4)), images()


def view_minus_one():
    def forward(net, x):
        x = F.relu(net.conv1(x))
        return net.linear(x.view(x.size(0), -1))

    return Net(forward, conv1=conv(3, 8), linear=nn.Linear(8 * 36, 4)), images()


def view_literal():
    def forward(net, x):
        x = net.conv2(F.relu(net.conv1(x)))
        return net.linear(x.view(x.size(0), 512))

    return Net(
        forward,
        conv1=conv(3, 6),
        conv2=conv(6, 8),
        linear=nn.Linear(512, 4),
    ), images(size=8)


def view_split_in_two():
    def forward(net, x):
        x = F.relu(net.conv2(F.relu(net.conv1(x)))).mean((2, 3))
        return net.linear(x.view(x.size(0) * 2, -1)).view(x.size(0), -1)

    return Net(
        forward, conv1=conv(3, 6), conv2=conv(6, 8), linear=nn.Linear(4, 3)
    ), images()


def channel_slice():
    def forward(net, x):
        x = F.relu(net.bn(net.conv1(x)))
        return linear_after_mean(net, net.front(x[:, :3]) + net.back(x[:, 3:]))

    return Net(
        forward,
        conv1=conv(3, 8),
        bn=nn.BatchNorm2d(8),
        front=conv(3, 6),
        back=conv(5, 6),
        linear=nn.Linear(6, 4),
    ), images()


def negative_slice():
    def forward(net, x):
        x = F.relu(net.conv1(x))
        return linear_after_mean(net, net.front(x[:, :-2]) + net.back(x[:, -2:]))

    return Net(
        forward,
        conv1=conv(3, 8),
        front=conv(6, 6),
        back=conv(2, 6),
        linear=nn.Linear(6, 4),
    ), images()


def slices_pooled_apart():
    """An activation with no channels cannot be pooled, so every slice keeps some."""

    def forward(net, x):
        x = net.conv1(x)
        x = torch.cat([F.max_pool2d(x[:, :4], 2), F.avg_pool2d(x[:, 4:], 2)], 1)
        return linear_after_mean(net, net.conv2(x))

    return Net(
        forward, conv1=conv(3, 8), conv2=conv(8, 6), linear=nn.Linear(6, 4)
    ), images()


def adaptive_pooling():
    def forward(net, x):
        x = F.adaptive_avg_pool2d(F.avg_pool2d(F.silu(net.conv1(x)), 2), 1)
        return net.linear(x.flatten(1))

    return Net(forward, conv1=conv(3, 8), linear=nn.Linear(8, 4)), images()


def squeezed():
    """`squeeze((2, 3))` cannot drop the channels; `squeeze()` could."""

    def forward(net, x):
        x = F.relu(net.conv2(F.relu(net.conv1(x))))
        x = F.adaptive_avg_pool2d(x, 1)
        return net.linear(x.squeeze((2, 3))) + net.other(x.squeeze())

    return Net(
        forward,
        conv1=conv(3, 6),
        conv2=conv(6, 8),
        linear=nn.Linear(8, 4),
        other=nn.Linear(8, 4),
    ), images()


def in_place():
    def forward(net, x):
        x = net.conv1(x).relu_()
        y = net.conv2(x)
        y.add_(x)
        y = F.relu(y, inplace=True)
        return linear_after_mean(net, y + x)

    return Net(
        forward, conv1=conv(3, 6), conv2=conv(6, 6), linear=nn.Linear(6, 4)
    ), images()


def shared_module():
    def forward(net, x):
        x = F.relu(net.bn(net.again(F.relu(net.conv1(x)))))
        return linear_after_mean(net, F.relu(net.bn(net.again(x))))

    return Net(
        forward,
        conv1=conv(3, 6),
        again=conv(6, 6),
        bn=nn.BatchNorm2d(6),
        linear=nn.Linear(6, 4),
    ), images()


def tied_weights():
    first, second = conv(6, 6), conv(6, 6)
    second.weight = first.weight

    def forward(net, x):
        x = F.relu(net.conv1(x))
        return linear_after_mean(net, F.relu(net.second(F.relu(net.first(x)))))

    return Net(
        forward,
        conv1=conv(3, 6),
        # Named and called in different orders.
        second=second,
        first=first,
        linear=nn.Linear(6, 4),
    ), images()


def unused_parameters():
    net, x = chain()
    net.unused = conv(3, 7)
    net.scale = nn.Parameter(torch.ones(5))
    return net, x


def several_inputs():
    def forward(net, x, y, z):
        x = torch.cat([net.conv1(x), net.conv2(y)], 1)
        return net.linear(torch.cat([F.relu(x).mean((2, 3)), z], 1))

    return Net(
        forward, conv1=conv(3, 6), conv2=conv(2, 5), linear=nn.Linear(11 + 4, 4)
    ), (*images(), *images(2), torch.randn(3, 4))


def dict_and_tuple_outputs():
    def forward(net, x):
        x = F.relu(net.conv1(x))
        y = net.conv2(F.relu(net.hidden(x)))
        return {"features": y, "all": (linear_after_mean(net, y), [x.mean((1, 2, 3))])}

    return Net(
        forward,
        conv1=conv(3, 6),
        hidden=conv(6, 8),
        conv2=conv(8, 5),
        linear=nn.Linear(5, 4),
    ), images()


def sigmoid_gate():
    def forward(net, x):
        x = F.relu(net.conv2(F.relu(net.conv1(x))))
        gate = torch.sigmoid(net.gate(F.relu(net.squeeze(x.mean((2, 3))))))
        return net.linear((x * gate[:, :, None, None]).mean((2, 3)))

    return Net(
        forward,
        conv1=conv(3, 8),
        conv2=conv(8, 6),
        squeeze=nn.Linear(6, 4),
        gate=nn.Linear(4, 6),
        linear=nn.Linear(6, 4),
    ), images()


class Softmax(nn.Module):
    def forward(self, x):
        return F.softmax(x, 1)


def unknown_operator():
    def forward(net, x):
        x = F.relu(net.conv2(F.relu(net.conv1(x))))
        return linear_after_mean(net, net.odd(x))

    return Net(
        forward,
        conv1=conv(3, 8),
        conv2=conv(8, 6),
        odd=Softmax(),
        linear=nn.Linear(6, 4),
    ), images()


def batch_norm_without_affine():
    def forward(net, x):
        x = F.relu(net.conv1(x))
        return linear_after_mean(net, net.conv3(F.relu(net.bn(net.conv2(x)))))

    return Net(
        forward,
        conv1=conv(3, 8),
        conv2=conv(8, 6),
        bn=nn.BatchNorm2d(6, affine=False),
        conv3=conv(6, 7),
        linear=nn.Linear(7, 4),
    ), images()


def functional_conv():
    def forward(net, x):
        x = F.relu(F.conv2d(x, net.weight, padding=1))
        # The number of groups is written in the code.
        x = F.conv2d(x, net.depth, net.bias, padding=1, groups=6)
        return linear_after_mean(net, F.relu(x))

    return Net(
        forward,
        weight=nn.Parameter(torch.randn(6, 3, 3, 3)),
        depth=nn.Parameter(torch.randn(6, 1, 3, 3)),
        bias=nn.Parameter(torch.randn(6)),
        linear=nn.Linear(6, 4),
    ), images()


def computed_weights():
    """Weights that the code computes stay whole, and so do their parameters."""

    def forward(net, x):
        x = F.relu(net.conv1(F.relu(net.stem(x))))
        x = F.conv2d(x, net.weight - net.weight.mean(), net.bias * 2)
        x = F.relu(net.conv2(x))
        return linear_after_mean(net, F.relu(net.conv3(x) * net.conv3.weight.sum()))

    return Net(
        forward,
        stem=conv(3, 8),
        conv1=conv(8, 6),
        weight=nn.Parameter(torch.randn(5, 6, 3, 3)),
        bias=nn.Parameter(torch.randn(5)),
        conv2=conv(5, 8),
        conv3=conv(8, 6),
        linear=nn.Linear(6, 4),
    ), images()


def fixed_filter():
    """A filter in a buffer can be cut; one outside the state dict cannot."""

    def forward(net, x):
        x = F.relu(net.conv1(x))
        x = F.conv2d(x, net.blur, padding=1, groups=x.shape[1])
        x = F.relu(net.conv2(x))
        return linear_after_mean(net, F.conv2d(x, net.loose, groups=6))

    net = Net(forward, conv1=conv(3, 8), conv2=conv(8, 6), linear=nn.Linear(6, 4))
    net.register_buffer("blur", torch.rand(8, 1, 3, 3))
    net.loose = torch.rand(6, 1, 3, 3)
    return net, images()


def batch_norm_1d():
    def forward(net, x):
        return net.last(F.relu(net.bn(net.first(x.flatten(1)))))

    return Net(
        forward,
        first=nn.Linear(12, 8),
        bn=nn.BatchNorm1d(8),
        last=nn.Linear(8, 4),
    ), images(size=2)


def conv_1d():
    def forward(net, x):
        x = F.max_pool1d(F.relu(net.bn(net.conv1(x))), 2)
        return net.linear(net.conv2(x).mean(2))

    return Net(
        forward,
        conv1=nn.Conv1d(3, 8, 3),
        bn=nn.BatchNorm1d(8),
        conv2=nn.Conv1d(8, 6, 3),
        linear=nn.Linear(6, 4),
    ), (torch.randn(3, 3, 12),)


def dropout():
    def forward(net, x):
        x = F.dropout2d(F.relu(net.bn(net.conv1(x))), 0.5, net.training)
        return net.linear(F.dropout(x.mean((2, 3)), 0.5, net.training))

    return Net(
        forward, conv1=conv(3, 8), bn=nn.BatchNorm2d(8), linear=nn.Linear(8, 4)
    ), images()


NETS: dict[str, Callable] = {
    make.__name__: make
    for make in (
        *(chain, residual, resnet20, depthwise, depthwise_multiplier, grouped, concat),
        *(flatten_spatial, view_minus_one, view_literal, view_split_in_two),
        *(channel_slice, negative_slice, slices_pooled_apart, adaptive_pooling),
        *(squeezed, in_place, shared_module, tied_weights, unused_parameters),
        *(several_inputs, dict_and_tuple_outputs, sigmoid_gate, unknown_operator),
        *(batch_norm_without_affine, functional_conv, computed_weights),
        *(fixed_filter, batch_norm_1d, conv_1d, dropout),
    )
}

#: Networks whose code says something about channels that no rule covers.
UNPRUNABLE = {
    "unknown_operator": "softmax 'softmax' in 'odd'",
    "computed_weights": "conv2d 'conv2d_2'",
    "fixed_filter": "'loose'",
    "dict_and_tuple_outputs": "mean 'mean",
}


def make(name, *, seed=0):
    """Network in evaluation mode and its inputs, float32."""
    torch.manual_seed(seed)
    net, inputs = NETS[name]()
    return with_statistics(net).eval(), inputs


def quiet_trace(net, inputs):
    """`trace` without the warnings about channels that are left alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnprunableWarning)
        return trace(net, inputs)


@functools.cache
def double(name):
    """Network, inputs and graph of `make(name)` in float64, shared: do not change."""
    net, inputs = make(name)
    net, inputs = to_double(net), tuple(x.double() for x in inputs)
    return net, inputs, quiet_trace(net, inputs)


@functools.cache
def graph_of(name):
    """Graph of `make(name)`; nobody changes it, so it is traced once."""
    return quiet_trace(*make(name))


def flat(outputs):
    """All tensors that a network returned."""
    return torch.utils._pytree.tree_leaves(outputs)


def relative_error(one, other):
    """Largest difference, relative to the largest value, over all outputs."""
    pairs = [
        (a.detach(), b.detach()) for a, b in zip(flat(one), flat(other), strict=True)
    ]
    assert all(a.shape == b.shape for a, b in pairs)
    return max(
        float((a - b).abs().max() / b.abs().max().clamp_min(1e-30)) for a, b in pairs
    )


def counted_macs(net, inputs):
    """Multiply-adds for one input, as torch counts them."""
    # The counter knows the products of attention, not the fused operator.
    with (
        FlopCounterMode(display=False) as counter,
        sdpa_kernel(SDPBackend.MATH),
        torch.no_grad(),
    ):
        net(*(x[:1] for x in inputs))
    assert counter.get_total_flops() % 2 == 0
    return counter.get_total_flops() // 2


def to_double(net):
    """In float64, tensors outside the state dict included."""
    net = net.double()
    for name, value in vars(net).items():
        if isinstance(value, Tensor):
            setattr(net, name, value.double())
    return net
