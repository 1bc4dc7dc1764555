"""Networks that look prunable and are not, or the other way round; in `HARD`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from graph_nets import conv
from hard_nets import HARD, hard, parameter
from torch import nn
from torch.nn.utils import parametrizations

__all__ = ["HARD"]


class FrozenBatchNorm(nn.Module):
    """Batch norm of buffers, written out."""

    def __init__(self, width):
        super().__init__()
        self.register_buffer("weight", torch.rand(width) + 0.5)
        self.register_buffer("bias", torch.rand(width))
        self.register_buffer("mean", torch.rand(width))
        self.register_buffer("var", torch.rand(width) + 0.5)

    def forward(self, x):
        scale = self.weight.view(1, -1, 1, 1) * (self.var + 1e-5).rsqrt()[:, None, None]
        return x * scale + (self.bias[:, None, None] - self.mean[:, None, None] * scale)


@hard("stem a", norm=lambda: FrozenBatchNorm(8), a=lambda: conv(8, 8))
def frozen_batch_norm(net, x):
    return F.relu(net.norm(net.a(x)))


@hard(
    "",
    warned="that are no zero",
    head=False,
    bn=lambda: nn.BatchNorm2d(8, affine=False),
)
def sum_of_normalised(net, x):
    return net.bn(x).sum(1).flatten(1)


@hard("", warned="that are no zero", head=False)
def sum_of_space_softmax(net, x):
    return x.flatten(2).softmax(2).sum(1)


@hard("", warned="that are no zero", head=False)
def sum_of_padded_with_one(net, x):
    return F.pad(x, (1, 1, 1, 1), value=1.0).sum(1).flatten(1)


@hard("", warned="that are no zero", head=False)
def sum_of_clamped(net, x):
    return x.clamp(min=0.25).sum(1).flatten(1)


@hard("stem", a=lambda: nn.Linear(8 * 9, 8), head=False)
def flatten_channels_last(net, x):
    return net.a(F.max_pool2d(x, 2).permute(0, 2, 3, 1).flatten(1))


@hard(
    "stem stem:2",
    head=False,
    a=lambda: nn.Linear(36, 4),
    b=lambda: nn.Linear(36, 4),
)
def flatten_then_chunk(net, x):
    one, other = F.max_pool2d(x, 2).flatten(1).chunk(2, 1)
    return net.a(one) * net.b(other)


@hard("stem a", a=lambda: conv(4, 8))
def view_mixes_height(net, x):
    return net.a(x.reshape(x.shape[0], 4, 12, 6))


@hard("stem stem:2 stem:3 next", next=lambda: conv(8, 8))
def uneven_chunks(net, x):
    a, b, c = x.chunk(3, 1)
    return net.next(torch.cat([c, a, b], 1))


class Shuffled(nn.Module):
    def __init__(self, *order):
        super().__init__()
        self.register_buffer("order", torch.tensor(order))

    def forward(self, x):
        return x[:, self.order]


@hard(
    "a",
    warned="aten.index.Tensor",
    shuffled=lambda: Shuffled(*(3, 1, 0, 2, 7, 6, 5, 4)),
    a=lambda: conv(8, 8),
)
def positions_in_a_buffer(net, x):
    return net.a(net.shuffled(x))


class Selected(Shuffled):
    def forward(self, x):
        return x.index_select(1, self.order)


@hard(
    "stem a",
    selected=lambda: Selected(*(3, 1, 0, 2, 7, 6, 5, 4)),
    a=lambda: conv(8, 8),
)
def positions_selected(net, x):
    return net.a(net.selected(x))


@hard(
    "",
    warned="computes its weights",
    a=lambda: parametrizations.weight_norm(conv(8, 8)),
)
def weight_norm(net, x):
    return net.a(x)


@hard(
    "b",
    warned="computes its weights",
    a=lambda: conv(8, 8),
    b=lambda: conv(8, 8),
)
def weight_standardisation(net, x):
    weight = net.a.weight
    weight = (weight - weight.mean((1, 2, 3), keepdim=True)) / weight.std()
    return net.b(F.conv2d(x, weight, net.a.bias, padding=1))


@hard("stem", out=6, head=False, a=lambda: conv(8, 3))
def raw_output(net, x):
    return net.a(x)


@hard("b", warned="cross each other", a=lambda: conv(8, 4), b=lambda: nn.Linear(32, 8))
def outer_product(net, x):
    y = net.a(x).mean((2, 3))
    return net.b((x.mean((2, 3))[:, :, None] * y[:, None, :]).flatten(1))


@hard("stem w", w=parameter(6, 8), out=6)
def einsum_with_a_matrix(net, x):
    return torch.einsum("nchw,oc->nohw", x, net.w)


@hard("stem", w=parameter(8), head=False)
def einsum_with_a_vector(net, x):
    return torch.einsum("nchw,c->nhw", x, net.w).flatten(1)


@hard("stem")
def einsum_gate(net, x):
    return torch.einsum("nchw,nc->nchw", x, x.mean((2, 3)).sigmoid())


@hard("a", warned="slice_scatter", a=lambda: conv(8, 8))
def assigned_slice(net, x):
    x = x.clone()
    x[:, :3] = x[:, :3] * 2
    x[:, 5:].add_(1)
    return net.a(x)


@hard("stem a", a=lambda: conv(8, 8, padding_mode="reflect"))
def reflecting_convolution(net, x):
    return net.a(x)


@hard("a", warned="fft", a=lambda: conv(8, 8))
def fourier_filter(net, x):
    return net.a(torch.fft.irfft2(torch.fft.rfft2(x) * 0.5, s=(6, 6)))


@hard(
    "stem",
    warned="linalg_vector_norm",
    head=False,
    w=parameter(5, 8),
    a=lambda: nn.Linear(8, 8),
)
def cosine_classifier(net, x):
    x = net.a(x.mean((2, 3)))
    return F.linear(F.normalize(x), F.normalize(net.w))


@hard("a", warned="max_unpool2d", a=lambda: conv(8, 8))
def unpooled(net, x):
    y, where = F.max_pool2d(x, 2, return_indices=True)
    return net.a(F.max_unpool2d(y, where, 2))


@hard("stem a", a=lambda: nn.Linear(72, 8))
def unfolded_patches(net, x):
    return net.a(F.unfold(x, 3).transpose(1, 2)).mean(1)


@hard("", warned="over the channels", norm=lambda: nn.LayerNorm([8, 6, 6]))
def layer_norm_over_everything(net, x):
    return net.norm(x)


@hard("stem a", a=lambda: conv(8, 8), w=parameter(1))
def scaled_by_one_number(net, x):
    return net.a(x) * net.w + net.w.exp()


@hard(
    "b",
    warned="hang together as one",
    width=12,
    out=12,
    a=lambda: nn.GroupNorm(4, 12),
    b=lambda: conv(12, 12, groups=3),
)
def groups_of_norm_and_convolution_cross(net, x):
    return net.b(net.a(x))


@hard("stem a", a=lambda: conv(8, 8), b=lambda: nn.BatchNorm2d(2))
def pixel_shuffle_then_norm(net, x):
    y = net.b(F.pixel_shuffle(net.a(x), 2))
    return F.pixel_unshuffle(F.relu(y), 2)


@hard("stem a", a=lambda: conv(8, 8))
def norm_written_out(net, x):
    y = net.a(x)
    mean = y.mean((2, 3), keepdim=True)
    return F.relu((y - mean) / (y.var((2, 3), keepdim=True) + 1e-5).sqrt())


@hard("stem a", a=lambda: conv(8, 8), p=parameter(36, 8))
def positions_for_tokens(net, x):
    tokens = net.a(x).flatten(2).transpose(1, 2) + net.p
    return tokens.mean(1)


@hard("stem", a=lambda: conv(8, 8))
def divided_by_zero(net, x):
    return net.a(x) / x.sigmoid() + 1 / (x + 0.1) * x.log1p()


@hard("", warned="no finite number", a=lambda: conv(8, 8))
def logarithm(net, x):
    return torch.log(net.a(x).abs() + x.sigmoid()) + x.reciprocal().clamp(-1, 1)
