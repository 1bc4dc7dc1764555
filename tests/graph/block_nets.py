"""Blocks of published networks, tiny; registered in `HARD` beside the other shapes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from graph_nets import conv
from hard_nets import HARD, hard, parameter
from torch import nn

__all__ = ["HARD"]


@hard(
    "stem a b",
    out=16,
    bn1=lambda: nn.BatchNorm2d(8),
    a=lambda: conv(8, 4),
    bn2=lambda: nn.BatchNorm2d(12),
    b=lambda: conv(12, 4),
)
def dense_block(net, x):
    x = torch.cat([x, net.a(F.relu(net.bn1(x)))], 1)
    return torch.cat([x, net.b(F.relu(net.bn2(x)))], 1)


@hard(
    "stem a b c d",
    out=16,
    a=lambda: conv(8, 4, 1),
    b=lambda: conv(8, 6, 1),
    c=lambda: conv(6, 8),
    d=lambda: conv(8, 4, 1),
)
def inception_block(net, x):
    pooled = F.avg_pool2d(x, 3, stride=1, padding=1)
    return torch.cat([net.a(x), net.c(F.relu(net.b(x))), net.d(pooled)], 1)


@hard(
    "stem squeeze one three",
    out=12,
    squeeze=lambda: conv(8, 4, 1),
    one=lambda: conv(4, 6, 1),
    three=lambda: conv(4, 6),
)
def fire_module(net, x):
    x = F.relu(net.squeeze(x))
    return torch.cat([F.relu(net.one(x)), F.relu(net.three(x))], 1)


@hard(
    "stem wide",
    wide=lambda: conv(8, 16, 1),
    deep=lambda: conv(16, 16, groups=16),
    bn=lambda: nn.BatchNorm2d(16),
    narrow=lambda: conv(16, 8, 1),
)
def inverted_residual(net, x):
    y = F.relu6(net.bn(net.deep(F.relu6(net.wide(x)))))
    return x + net.narrow(y)


@hard(
    "stem a a:2 c",
    out=8,
    a=lambda: conv(8, 8, 1),
    b=lambda: conv(4, 4),
    c=lambda: conv(12, 8, 1),
)
def c2f_of_yolo(net, x):
    parts = list(net.a(x).chunk(2, 1))
    parts.append(parts[-1] + net.b(parts[-1]))
    return net.c(torch.cat(parts, 1))


@hard("stem a last", a=lambda: conv(8, 4, 1), last=lambda: conv(16, 8, 1))
def spatial_pyramid(net, x):
    parts = [net.a(x)]
    for _ in range(3):
        parts.append(F.max_pool2d(parts[-1], 3, stride=1, padding=1))
    return net.last(torch.cat(parts, 1))


@hard(
    "stem primary last",
    primary=lambda: conv(8, 5, 1),
    cheap=lambda: conv(5, 5, groups=5),
    last=lambda: conv(9, 8, 1),
)
def ghost_module(net, x):
    x = F.relu(net.primary(x))
    x = torch.cat([x, F.relu(net.cheap(x))], 1)[:, :9]
    return net.last(x)


@hard(
    "stem stem:2 stem:3 stem:4 c",
    a=lambda: conv(2, 2),
    b=lambda: conv(2, 2),
    c=lambda: conv(2, 2),
    last=lambda: conv(8, 8, 1),
)
def res2net_split(net, x):
    first, *others = x.split(2, 1)
    parts, carried = [first], 0
    for layer, part in zip((net.a, net.b, net.c), others, strict=True):
        carried = layer(part + carried)
        parts.append(carried)
    return x + net.last(torch.cat(parts, 1))


@hard(
    "stem a fc",
    a=lambda: conv(8, 8),
    b=lambda: conv(8, 8, 5),
    fc=lambda: nn.Linear(8, 4),
    fcs=lambda: nn.Linear(4, 16),
)
def selective_kernel(net, x):
    branches = torch.stack([F.relu(net.a(x)), F.relu(net.b(x))], 1)
    pooled = branches.sum(1).mean((2, 3))
    weights = net.fcs(F.relu(net.fc(pooled))).view(-1, 2, 8).softmax(1)
    return (branches * weights[..., None, None]).sum(1)


@hard(
    "stem a",
    a=lambda: conv(8, 4, 1),
    rows=lambda: conv(4, 8, 1),
    columns=lambda: conv(4, 8, 1),
)
def coordinate_attention(net, x):
    height = x.shape[2]
    y = torch.cat([x.mean(3, keepdim=True), x.mean(2, keepdim=True).mT], 2)
    rows, columns = F.hardswish(net.a(y)).split([height, height], 2)
    return x * net.rows(rows).sigmoid() * net.columns(columns.mT).sigmoid()


@hard(
    "stem a last",
    a=lambda: conv(8, 12, 1, groups=2),
    deep=lambda: conv(12, 12, groups=12),
    last=lambda: conv(12, 8, 1, groups=2),
)
def shufflenet_v1_unit(net, x):
    n, _, h, w = x.shape
    y = F.relu(net.a(x)).view(n, 2, 6, h, w).transpose(1, 2).reshape(n, 12, h, w)
    return net.last(net.deep(y))


@hard("stem a", a=lambda: conv(2, 8))
def depth_to_space_by_view(net, x):
    n, c, h, w = x.shape
    x = x.view(n, 2, 2, c // 4, h, w).permute(0, 3, 4, 1, 5, 2)
    return net.a(x.reshape(n, c // 4, 2 * h, 2 * w))


@hard("stem a", a=lambda: conv(32, 8))
def focus_of_yolo(net, x):
    corners = [x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)]
    return net.a(torch.cat(corners, 1))


@hard(
    "stem q v",
    q=lambda: conv(8, 4, 1),
    k=lambda: conv(8, 4, 1),
    v=lambda: conv(8, 8, 1),
)
def gate_by_bmm(net, x):
    q, k, v = (f(x).flatten(2) for f in (net.q, net.k, net.v))
    attention = torch.bmm(q.transpose(1, 2), k).softmax(-1)
    return torch.bmm(v, attention.transpose(1, 2)).view(x.shape)


@hard("stem", token=parameter(1, 1, 8), out=8)
def class_token(net, x):
    x = x.flatten(2).transpose(1, 2)
    x = torch.cat([net.token.expand(x.shape[0], -1, -1), x], 1)
    return F.gelu(x)[:, 0] + x.mean(1)


@hard(
    "stem a",
    head=False,
    a=lambda: nn.Conv3d(8, 6, 3, padding=1),
    bn=lambda: nn.BatchNorm3d(6),
    last=lambda: nn.Linear(6, 3),
)
def frames(net, x):
    x = x.unsqueeze(2).expand(-1, -1, 3, -1, -1)
    x = F.max_pool3d(F.relu(net.bn(net.a(x))), 2)
    return net.last(x.mean((2, 3, 4)))


@hard("a", warned="slice_scatter", a=lambda: conv(8, 8))
def temporal_shift(net, x):
    n, c, h, w = x.shape
    x = x.unsqueeze(1).expand(n, 3, c, h, w)
    out = torch.zeros_like(x)
    out[:, :-1, :2] = x[:, 1:, :2]
    out[:, 1:, 2:4] = x[:, :-1, 2:4]
    out[:, :, 4:] = x[:, :, 4:]
    return net.a(out.mean(1))


@hard(
    "stem a b c",
    a=lambda: conv(8, 8),
    b=lambda: conv(8, 16, 1),
    c=lambda: conv(8, 8, 1),
)
def simple_gate(net, x):
    one, other = net.b(net.a(x)).chunk(2, 1)
    y = one * other
    return net.c(y * F.adaptive_avg_pool2d(y, 1))


@hard(
    "stem low",
    warned="it picks channel 0",
    a=lambda: conv(8, 8),
    low=lambda: conv(8, 8, 1),
    w=parameter(2),
)
def weighted_fusion(net, x):
    low = F.interpolate(net.low(F.max_pool2d(x, 2)), scale_factor=2.0)
    weights = F.relu(net.w)
    return net.a(x) * weights[0] + low * weights[1]
