"""ShuffleNet-V2 for 32 x 32 images: a stem of stride 1 and no pooling after it.

Ma, Zhang, Zheng, Sun: ShuffleNet V2: Practical Guidelines for Efficient CNN
Architecture Design, ECCV 2018, https://arxiv.org/abs/1807.11164, table 5.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agmc.models import checks


class ShuffleUnit(nn.Module):
    """Half of the channels pass, half go through three convolutions; then a shuffle.

    With stride 2 both branches see all channels, and each makes half of the output.

    Args:
        in_planes: channels of the input; with stride 1 those of the output.
        planes: channels of the output, even.
        stride: 1 or 2.

    Shapes:
        input [N, in_planes, H, W]; output [N, planes, ceil(H/stride), ceil(W/stride)].
    """

    def __init__(self, in_planes: int, planes: int, *, stride: int) -> None:
        super().__init__()
        if planes % 2 or (stride == 1 and in_planes != planes):
            raise ValueError(
                f"planes (={planes}) must be even and, with stride 1, in_planes "
                f"(={in_planes})"
            )
        half = planes // 2
        self.stride = stride
        self.branch1 = nn.Sequential(
            *_depthwise(in_planes, stride), *_pointwise(in_planes, half)
        )
        if stride == 1:
            self.branch1 = nn.Sequential()
        self.branch2 = nn.Sequential(
            *_pointwise(half if stride == 1 else in_planes, half),
            *_depthwise(half, stride),
            *_pointwise(half, half),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The channels of both branches in turn."""
        if self.stride == 1:
            first, second = x.chunk(2, dim=1)
        else:
            first, second = self.branch1(x), x
        return F.channel_shuffle(torch.cat([first, self.branch2(second)], dim=1), 2)


class CifarShuffleNetV2(nn.Module):
    """A stem, three stages of shuffle units, a 1 x 1 convolution, a linear layer.

    Args:
        num_classes: >= 1.
        in_channels: of the images.
        widths: channels of the stem, of the three stages (even) and of the last
            convolution.

    Shapes:
        input [N, in_channels, H, W], any H and W; output [N, num_classes] logits.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int = 3,
        widths: Sequence[int] = (24, 48, 96, 192, 1024),
    ) -> None:
        super().__init__()
        checks.positive(num_classes=num_classes, in_channels=in_channels)
        checks.positive_each(5, widths=widths)
        stem, *stages, last = widths
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, stem, 3, padding=1, bias=False),
            nn.BatchNorm2d(stem),
            nn.ReLU(),
        )
        units, before = [], stem
        for planes, count in zip(stages, (4, 8, 4), strict=True):
            units.append(ShuffleUnit(before, planes, stride=2))
            units += [ShuffleUnit(planes, planes, stride=1) for _ in range(count - 1)]
            before = planes
        self.units = nn.Sequential(*units)
        self.head = nn.Sequential(*_pointwise(before, last))
        self.linear = nn.Linear(last, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        """The logits of a batch of images."""
        out = self.head(self.units(self.stem(x)))
        return self.linear(F.adaptive_avg_pool2d(out, 1).flatten(1))


def _pointwise(in_planes: int, planes: int) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(in_planes, planes, 1, bias=False)
    return conv, nn.BatchNorm2d(planes), nn.ReLU()


def _depthwise(planes: int, stride: int) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(planes, planes, 3, stride, 1, groups=planes, bias=False)
    return conv, nn.BatchNorm2d(planes)


#: ShuffleNet-V2 x 0.5: 0.35 M parameters, 10.9 M MACs at 32 x 32.
shufflenet_v2_cifar = CifarShuffleNetV2
