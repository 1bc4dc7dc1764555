"""MobileNet-V2 for 32 x 32 images: the first two strides are 1.

Sandler, Howard, Zhu, Zhmoginov, Chen: MobileNetV2: Inverted Residuals and Linear
Bottlenecks, CVPR 2018, https://arxiv.org/abs/1801.04381, table 2.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from agmc.models import checks


class Stage(NamedTuple):
    """Blocks of one width: expansion, channels, number of blocks, first stride."""

    expansion: int
    planes: int
    blocks: int
    stride: int


STAGES = (
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 1),  # 2 for large images
    Stage(6, 32, 3, 2),
    Stage(6, 64, 4, 2),
    Stage(6, 96, 3, 1),
    Stage(6, 160, 3, 2),
    Stage(6, 320, 1, 1),
)


class InvertedResidual(nn.Module):
    """1 x 1 convolution that widens, depthwise 3 x 3, 1 x 1 that narrows; a shortcut.

    Args:
        in_planes: channels of the input.
        planes: channels of the output; the shortcut is there where neither the
            channels nor the size changes.
        expansion: channels in between, in multiples of `in_planes`; 1 has no
            convolution that widens.
        stride: of the depthwise convolution.

    Shapes:
        input [N, in_planes, H, W]; output [N, planes, ceil(H/stride), ceil(W/stride)].
    """

    def __init__(
        self, in_planes: int, planes: int, *, expansion: int, stride: int
    ) -> None:
        super().__init__()
        inner = expansion * in_planes
        self.expand = nn.Identity() if expansion == 1 else _layer(in_planes, inner, 1)
        self.depthwise = _layer(inner, inner, 3, stride=stride, groups=inner)
        self.project = _layer(inner, planes, 1, relu=False)
        self.shortcut = stride == 1 and in_planes == planes

    def forward(self, x: Tensor) -> Tensor:
        """The block's activations; no ReLU after the sum."""
        out = self.project(self.depthwise(self.expand(x)))
        return x + out if self.shortcut else out


class CifarMobileNetV2(nn.Module):
    """A stem, seven stages of inverted residuals, a 1 x 1 convolution, a linear layer.

    Args:
        num_classes: >= 1.
        in_channels: of the images.
        width: factor of all widths, > 0; they are rounded to multiples of 8, down by
            no more than 10 %.

    Shapes:
        input [N, in_channels, H, W], any H and W; output [N, num_classes] logits.
    """

    def __init__(
        self, *, num_classes: int, in_channels: int = 3, width: float = 1.0
    ) -> None:
        super().__init__()
        checks.positive(num_classes=num_classes, in_channels=in_channels)
        if not width > 0:
            raise ValueError(f"width (={width}) must be > 0")
        before = _rounded(32 * width)
        self.stem = _layer(in_channels, before, 3)
        blocks = []
        for stage in STAGES:
            planes = _rounded(stage.planes * width)
            for index in range(stage.blocks):
                stride = stage.stride if index == 0 else 1
                blocks.append(
                    InvertedResidual(
                        before, planes, expansion=stage.expansion, stride=stride
                    )
                )
                before = planes
        self.blocks = nn.Sequential(*blocks)
        last = _rounded(1280 * max(1.0, width))
        self.head = _layer(before, last, 1)
        self.linear = nn.Linear(last, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        """The logits of a batch of images."""
        out = self.head(self.blocks(self.stem(x)))
        return self.linear(F.adaptive_avg_pool2d(out, 1).flatten(1))


def _layer(
    in_planes: int,
    planes: int,
    kernel: int,
    *,
    stride: int = 1,
    groups: int = 1,
    relu: bool = True,
) -> nn.Sequential:
    padding = kernel // 2
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(
            *(in_planes, planes, kernel, stride, padding), groups=groups, bias=False
        ),
        bn=nn.BatchNorm2d(planes),
    )
    if relu:
        parts["relu"] = nn.ReLU6()
    return nn.Sequential(parts)


def _rounded(planes: float) -> int:
    """The nearest multiple of 8, at least 8 and 90 % of what was asked for."""
    result = max(8, int(planes + 4) // 8 * 8)
    return result + 8 if result < 0.9 * planes else result


#: MobileNet-V2: 2.2 M parameters, 88 M MACs at 32 x 32.
mobilenet_v2_cifar = CifarMobileNetV2
