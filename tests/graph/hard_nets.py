"""Tiny networks around the shapes that channel pruning stumbles over.

`HARD` maps a name to `Hard(make, groups, warned)`: a function that makes the network
and its inputs, the names of the channel groups that must be found, and a piece of the
warning that must be given ("" for none).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from graph_nets import Net, conv, images
from torch import nn


@dataclass(frozen=True)
class Hard:
    make: Callable
    groups: frozenset[str]
    warned: str = ""


HARD: dict[str, Hard] = {}


def hard(groups, *, warned="", width=8, out=8, size=6, head=True, **layers):
    """Registers a function of (network, activation [N, width, size, size]).

    A stem makes the activation and, with `head`, a linear layer reads the mean of the
    [N, out, ...] that the function returns. `layers` are functions that make a layer.
    """

    def register(function):
        def forward(net, x, *others):
            x = function(net, F.relu(net.stem_bn(net.stem(x))), *others)
            if not head:
                return x
            return net.head(x.mean((2, 3)) if x.ndim == 4 else x)

        def make():
            made = {name: layer() for name, layer in layers.items()}
            net = Net(
                forward,
                stem=conv(3, width),
                stem_bn=nn.BatchNorm2d(width),
                **made,
                **({"head": nn.Linear(out, 3)} if head else {}),
            )
            return net, images(size=size)

        HARD[function.__name__] = Hard(make, frozenset(groups.split()), warned)
        return function

    return register


def parameter(*shape):
    return lambda: nn.Parameter(torch.rand(shape) + 0.5)


@hard("stem up", out=16, up=lambda: conv(8, 16, 1, stride=2))
def padded_shortcut(net, x):
    return net.up(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4))


@hard("stem next", next=lambda: conv(8, 8))
def shuffle_by_view(net, x):
    n, c, h, w = x.shape
    x = x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, -1, h, w)
    return F.relu(net.next(x))


@hard("stem next", shuffle=lambda: nn.ChannelShuffle(4), next=lambda: conv(8, 8))
def shuffle_module(net, x):
    return net.next(net.shuffle(x)) * 2


def _shuffled(x):
    n, c, h, w = x.shape
    return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


@hard(
    "stem stem:2 stem:3 a.0 a.4 a.4:2 b.0 b.4",
    **{
        name: lambda: nn.Sequential(
            *(conv(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU()),
            *(conv(4, 4, 3, groups=4), conv(4, 4, 1), nn.BatchNorm2d(4)),
        )
        for name in ("a", "b")
    },
)
def shufflenet_units(net, x):
    for unit in (net.a, net.b):
        left, right = x.chunk(2, dim=1)
        x = _shuffled(torch.cat([left, unit(right)], 1))
    return x


@hard(
    "stem stem:2 stem:3 left right", left=lambda: conv(3, 4), right=lambda: conv(5, 4)
)
def split_with_sizes(net, x):
    left, middle, right = x.split([3, 2, 3], 1)
    return torch.cat([net.left(left), net.right(torch.cat([middle, right], 1))], 1)


@hard("stem stem:2 stem:3 next", next=lambda: conv(6, 8))
def narrow_and_split(net, x):
    a, b = x.narrow(1, 1, 6).split(3, 1)
    return net.next(torch.cat([b, a], 1))


@hard("stem next", warned="it picks channel 2", next=lambda: conv(8, 8))
def select_one(net, x):
    return net.next(x) * x[:, 2].unsqueeze(1)


@hard("next", warned="every 2th channel", next=lambda: conv(4, 8))
def every_second_channel(net, x):
    return net.next(x[:, ::2])


@hard(
    "stem a b c",
    out=24,
    a=lambda: conv(8, 4),
    b=lambda: conv(12, 4),
    c=lambda: conv(8, 8),
)
def concat_of_concats(net, x):
    one = torch.cat([x, net.a(x)], 1)
    return torch.cat([torch.cat([one, net.b(one)], 1), net.c(x)], 1)


@hard("stem fc1", fc1=lambda: nn.Conv2d(8, 4, 1), fc2=lambda: nn.Conv2d(4, 8, 1))
def squeeze_and_excite(net, x):
    gate = net.fc2(F.relu(net.fc1(F.adaptive_avg_pool2d(x, 1))))
    return x * torch.sigmoid(gate)


@hard("stem fc1", fc1=lambda: nn.Linear(8, 4), fc2=lambda: nn.Linear(4, 8))
def squeeze_and_excite_by_view(net, x):
    n, c, _, _ = x.shape
    gate = F.hardsigmoid(net.fc2(F.relu(net.fc1(x.mean((2, 3))))))
    return x * gate.view(n, c, 1, 1).expand_as(x)


@hard("stem", gate=lambda: conv(8, 1))
def spatial_gate(net, x):
    return x * torch.sigmoid(net.gate(x))


@hard("stem a", a=lambda: conv(8, 8), b=lambda: conv(8, 8))
def two_branch_gate(net, x):
    return torch.tanh(net.a(x)) * torch.sigmoid(net.b(x))


@hard("stem a", out=4, a=lambda: conv(8, 8))
def glu_by_chunk(net, x):
    value, gate = net.a(x).chunk(2, 1)
    return value * gate.sigmoid()


@hard(
    "stem radix attention",
    radix=lambda: conv(8, 12, groups=2),
    attention=lambda: nn.Conv2d(6, 8, 1),
    weights=lambda: nn.Conv2d(8, 12, 1),
    out=6,
)
def split_attention(net, x):
    n, _, h, w = x.shape
    x = net.radix(x).view(n, 2, 6, h, w)
    pooled = x.sum(1).mean((2, 3), keepdim=True)
    scale = net.weights(F.relu(net.attention(pooled))).view(n, 2, 6, 1, 1).softmax(1)
    return (x * scale).sum(1)


@hard("stem", gamma=parameter(8, 1, 1), beta=parameter(1, 8, 1, 1))
def layer_scale(net, x):
    return x * net.gamma + net.beta


@hard("stem a", a=lambda: nn.Linear(8, 8), gamma=parameter(8))
def layer_scale_channels_last(net, x):
    return (net.gamma * net.a(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


@hard("stem", gamma=parameter(8))
def vector_by_view(net, x):
    return x * net.gamma.exp().view(1, -1, 1, 1)


@hard("stem", position=parameter(1, 8, 6, 6))
def positional_embedding(net, x):
    return x + net.position


@hard(
    "stem b",
    width=16,
    out=16,
    a=lambda: conv(16, 16, groups=8),
    b=lambda: conv(16, 16, 1),
)
def many_groups_go_whole(net, x):
    return net.b(net.a(net.stem_bn(x)))


@hard(
    "stem a b",
    width=12,
    out=12,
    a=lambda: conv(12, 12, groups=2),
    b=lambda: conv(12, 12, 1),
)
def few_groups_shrink_evenly(net, x):
    return net.b(net.a(x))


@hard("stem b", out=5, a=lambda: conv(8, 24, groups=8), b=lambda: conv(24, 5))
def depthwise_multiplier_three(net, x):
    return net.b(F.relu(net.a(x)))


@hard(
    "stem up deep",
    up=lambda: nn.ConvTranspose2d(8, 6, 2, stride=2),
    bn=lambda: nn.BatchNorm2d(6),
    deep=lambda: nn.ConvTranspose2d(6, 8, 3, padding=1),
)
def transposed(net, x):
    return net.deep(F.relu(net.bn(net.up(x))))


@hard(
    "stem",
    a=lambda: nn.ConvTranspose2d(8, 8, 2, groups=8),
    b=lambda: nn.ConvTranspose2d(8, 8, 2, groups=8, bias=False),
)
def transposed_depthwise(net, x):
    return net.b(F.relu(net.a(x)))


@hard(
    "stem a b",
    out=6,
    a=lambda: nn.ConvTranspose2d(8, 12, 2, groups=2),
    b=lambda: conv(12, 6),
)
def transposed_grouped(net, x):
    return net.b(F.relu(net.a(x)))


@hard("stem a b", out=4, a=lambda: conv(8, 12), b=lambda: conv(3, 4))
def pixel_shuffled(net, x):
    return net.b(F.pixel_shuffle(net.a(x), 2))


@hard("stem a", a=lambda: conv(32, 8))
def pixel_unshuffled(net, x):
    return F.relu(net.a(F.pixel_unshuffle(x, 2)))


@hard("stem a", head=False, a=lambda: nn.Linear(8 * 9, 5), b=lambda: nn.Linear(5, 3))
def flatten_into_linear(net, x):
    return net.b(F.relu(net.a(F.max_pool2d(x, 2).flatten(1))))


@hard("stem", shared=lambda: conv(8, 8))
def shared_module(net, x):
    return net.shared(F.relu(net.shared(x)))


@hard("stem weight a", weight=parameter(6, 8, 1, 1), a=lambda: conv(8, 8))
def tied_encoder_and_decoder(net, x):
    inner = F.relu(F.conv2d(x, net.weight))
    return net.a(F.conv_transpose2d(inner, net.weight))


@hard("stem weight", weight=parameter(6, 8, 3, 3), out=6)
def functional_weight(net, x):
    return F.conv2d(x, net.weight, padding=1)


@hard("stem a", many=lambda: nn.PReLU(8), one=nn.PReLU, a=lambda: conv(8, 8))
def prelu(net, x):
    return net.a(net.one(net.many(x)))


@hard("stem a", norm=lambda: nn.GroupNorm(4, 8), a=lambda: conv(8, 8))
def group_norm(net, x):
    return net.a(F.relu(net.norm(x)))


@hard("stem a", norm=lambda: nn.GroupNorm(8, 8), a=lambda: conv(8, 8))
def group_norm_by_channel(net, x):
    return net.a(F.relu(net.norm(x)))


@hard("a", warned="group_norm", norm=lambda: nn.GroupNorm(1, 8), a=lambda: conv(8, 8))
def group_norm_over_all(net, x):
    return net.a(F.relu(net.norm(x)))


@hard(
    "a",
    warned="layer_norm",
    norm=lambda: nn.LayerNorm(8),
    a=lambda: nn.Linear(8, 16),
    b=lambda: nn.Linear(16, 8),
)
def layer_norm_over_channels(net, x):
    y = net.norm(x.permute(0, 2, 3, 1))
    return x + net.b(F.gelu(net.a(y))).permute(0, 3, 1, 2)


@hard("stem a", norm=lambda: nn.LayerNorm([6, 6]), a=lambda: conv(8, 8))
def layer_norm_over_space(net, x):
    return net.a(net.norm(x))


@hard(
    "stem a",
    one=lambda: nn.InstanceNorm2d(8, affine=True),
    other=lambda: nn.InstanceNorm2d(8),
    a=lambda: conv(8, 8),
)
def instance_norm(net, x):
    return net.a(net.one(x) + net.other(x))


@hard(
    "stem theta g",
    theta=lambda: conv(8, 6, 1),
    phi=lambda: conv(8, 6, 1),
    g=lambda: conv(8, 4, 1),
    last=lambda: conv(4, 8, 1),
)
def non_local(net, x):
    n, _, h, w = x.shape
    theta, phi, g = (f(x).flatten(2) for f in (net.theta, net.phi, net.g))
    attention = torch.matmul(theta.transpose(1, 2), phi).softmax(-1)
    y = torch.matmul(attention, g.transpose(1, 2)).transpose(1, 2)
    return x + net.last(y.reshape(n, 4, h, w))


@hard(
    "stem q v",
    q=lambda: conv(8, 6, 1),
    k=lambda: conv(8, 6, 1),
    v=lambda: conv(8, 8, 1),
)
def einsum_attention(net, x):
    q, k, v = (f(x).flatten(2) for f in (net.q, net.k, net.v))
    weights = torch.einsum("nci,ncj->nij", q, k).softmax(-1)
    return torch.einsum("nij,ncj->nci", weights, v).view(x.shape[0], 8, 6, 6)


@hard(
    "stem q v",
    q=lambda: nn.Linear(8, 6),
    k=lambda: nn.Linear(8, 6),
    v=lambda: nn.Linear(8, 8),
)
def dot_product_attention(net, x):
    x = x.flatten(2).transpose(1, 2)
    y = F.scaled_dot_product_attention(net.q(x), net.k(x), net.v(x))
    return y.mean(1)


@hard("stem qkv last", qkv=lambda: nn.Linear(8, 24), last=lambda: nn.Linear(8, 8))
def heads_by_reshape(net, x):
    n = x.shape[0]
    x = x.flatten(2).transpose(1, 2)
    q, k, v = net.qkv(x).reshape(n, 36, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
    weights = (q * 0.5 @ k.transpose(-2, -1)).softmax(-1)
    y = (weights @ v).transpose(1, 2).reshape(n, 36, 8)
    return net.last(y).mean(1)


@hard(
    "att.out_proj",
    warned="layer_norm",
    att=lambda: nn.MultiheadAttention(8, 2, batch_first=True),
    norm=lambda: nn.LayerNorm(8),
)
def multihead_attention(net, x):
    x = net.norm(x.flatten(2).transpose(1, 2))
    return net.att(x, x, x, need_weights=False)[0].mean(1)


@hard("stem", head=False, last=lambda: nn.Linear(8 * 36, 3))
def view_literal(net, x):
    return net.last(x.view(x.shape[0], 288))


@hard("stem a", a=lambda: conv(8, 8))
def view_by_literals(net, x):
    pairs = net.a(x).view(-1, 4, 2, 6, 6)
    return torch.cat([pairs[:, :, 0], pairs[:, :, 1]], 1)


@hard("stem a", a=lambda: nn.Linear(8, 8))
def rows_of_pixels(net, x):
    rows = net.a(x.permute(0, 2, 3, 1).reshape(-1, 8))
    return rows.reshape(-1, 6, 6, 8).permute(0, 3, 1, 2)


@hard("stem a", a=lambda: conv(8, 8))
def upsampled(net, x):
    x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    return F.interpolate(net.a(x), size=(5, 5), mode="nearest")


@hard("stem a", grid=parameter(1, 4, 4, 2), a=lambda: conv(8, 8))
def grid_sampled(net, x):
    grid = net.grid.expand(x.shape[0], 4, 4, 2) - 1
    return net.a(F.grid_sample(x, grid, align_corners=False))


@hard("stem a", head=False, a=lambda: conv(8, 4), b=lambda: nn.Linear(4, 2))
def dictionary_of_outputs(net, x):
    y = F.relu(net.a(x)).mean((2, 3))
    return {"one": net.b(y), "more": (net.b(y * 2), [y.sum(1)])}


@hard("stem a", a=lambda: conv(8, 8))
def branch_on_channels(net, x):
    x = net.a(x)
    return x * 2 if x.shape[1] == 8 else x * 3


@hard("stem a", a=lambda: conv(8, 8))
def scaled_by_channels(net, x):
    x = net.a(x)
    return x / math.sqrt(x.shape[1])


@hard("a", warned="mean", a=lambda: conv(8, 8), b=lambda: conv(2, 1, 1))
def attention_over_channels_mean(net, x):
    best = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
    return net.a(x * torch.sigmoid(net.b(best)))


@hard("stem a", head=False, a=lambda: conv(8, 6))
def sum_over_channels(net, x):
    return F.relu(net.a(x)).sum(1).flatten(1)


@hard("a", warned="that are no zero", a=lambda: conv(8, 6), head=False)
def sum_over_sigmoids(net, x):
    return (x.sigmoid().sum(1) + net.a(x).sum(1)).flatten(1)


@hard("a", warned="softmax", a=lambda: conv(8, 8))
def softmax_over_channels(net, x):
    return net.a(x.softmax(1))


@hard("stem a", a=lambda: conv(8, 8))
def space_only(net, x):
    x = x.flip(2).roll(1, 3).cumsum(2)
    return net.a(torch.cat([x, x.softmax(3)], 2))


@hard("stem a", a=lambda: conv(16, 8))
def repeated(net, x):
    return net.a(x.repeat(1, 2, 1, 1))


@hard("stem", a=lambda: conv(8, 8), b=lambda: conv(8, 8))
def where_and_arithmetic(net, x):
    x = torch.where(x > 0.5, net.a(x), 1 - net.b(x).pow(2))
    return torch.maximum(x * 2 + 1, x.exp())


@hard(
    "stem a b c",
    out=12,
    a=lambda: conv(8, 8),
    b=lambda: conv(8, 4, stride=2),
    c=lambda: nn.ConvTranspose2d(4, 4, 2, stride=2),
)
def unet(net, x):
    deep = F.relu(net.b(net.a(x)))
    return torch.cat([x, net.c(deep)], 1)


@hard("", warned="conv1d", eca=lambda: nn.Conv1d(1, 1, 3, padding=1))
def efficient_channel_attention(net, x):
    y = net.eca(x.mean((2, 3)).unsqueeze(1)).squeeze(1)
    return x * y.sigmoid()[:, :, None, None]


@hard(
    "a",
    warned="along a pooled dimension",
    norm=lambda: nn.LocalResponseNorm(3),
    a=lambda: conv(8, 8),
)
def local_response_norm(net, x):
    return net.a(net.norm(x))


@hard("stem a", out=4, a=lambda: conv(8, 8))
def maxout(net, x):
    n, _, h, w = x.shape
    return net.a(x).view(n, 4, 2, h, w).amax(2)


@hard("stem b", a=lambda: nn.Linear(36, 36), b=lambda: conv(8, 8))
def linear_over_positions(net, x):
    return net.b(net.a(x.flatten(2)).view(x.shape))


@hard("stem w", w=parameter(8, 6), out=6)
def times_a_matrix(net, x):
    return x.mean((2, 3)) @ net.w


@hard("stem a", head=False, a=lambda: conv(8, 8), b=lambda: nn.Linear(8, 3))
def squeezed_without_dimensions(net, x):
    return net.b(net.a(x).mean((2, 3), keepdim=True).squeeze())
