"""DenseNet-BC for 32 x 32 images: every layer reads all layers of its stage.

Huang, Liu, van der Maaten, Weinberger: Densely Connected Convolutional Networks, CVPR
2017, https://arxiv.org/abs/1608.06993, section 4.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agmc.models import checks


class DenseLayer(nn.Module):
    """1 x 1 and 3 x 3 convolution, batch norm and ReLU before each; joins its input.

    Args:
        in_planes: channels of the input.
        growth: channels added; four times as many lie between the convolutions.

    Shapes:
        input [N, in_planes, H, W]; output [N, in_planes + growth, H, W].
    """

    def __init__(self, in_planes: int, growth: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_planes)
        self.conv1 = nn.Conv2d(in_planes, 4 * growth, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The input and, after it, the new channels."""
        out = self.conv1(F.relu(self.bn1(x)))
        return torch.cat([x, self.conv2(F.relu(self.bn2(out)))], dim=1)


class Transition(nn.Module):
    """Half of the channels, by a 1 x 1 convolution, and half of the size.

    Shapes:
        input [N, in_planes, H, W]; output [N, in_planes // 2, H // 2, W // 2].
    """

    def __init__(self, in_planes: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(in_planes)
        self.conv = nn.Conv2d(in_planes, in_planes // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The smaller activations."""
        return F.avg_pool2d(self.conv(F.relu(self.bn(x))), 2)


class CifarDenseNet(nn.Module):
    """A stem, three dense stages with transitions between them, a linear layer.

    With n layers a stage it has 6n + 4 weighted layers, which gives it its name.

    Args:
        num_layers: of each of the three stages, >= 1.
        num_classes: >= 1.
        in_channels: of the images.
        growth: channels that every layer adds, >= 1.

    Shapes:
        input [N, in_channels, H, W], H and W at least 4; output [N, num_classes]
        logits.
    """

    def __init__(
        self,
        num_layers: int,
        *,
        num_classes: int,
        in_channels: int = 3,
        growth: int = 12,
    ) -> None:
        super().__init__()
        checks.positive(
            num_layers=num_layers,
            num_classes=num_classes,
            in_channels=in_channels,
            growth=growth,
        )
        planes = 2 * growth
        self.stem = nn.Conv2d(in_channels, planes, 3, padding=1, bias=False)
        stages: list[nn.Module] = []
        for stage in range(3):
            for _ in range(num_layers):
                stages.append(DenseLayer(planes, growth))
                planes += growth
            if stage < 2:
                stages.append(Transition(planes))
                planes //= 2
        self.stages = nn.Sequential(*stages)
        self.bn = nn.BatchNorm2d(planes)
        self.linear = nn.Linear(planes, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """The logits of a batch of images."""
        out = F.relu(self.bn(self.stages(self.stem(x))))
        return self.linear(F.adaptive_avg_pool2d(out, 1).flatten(1))


#: DenseNet-BC-22: 0.07 M parameters, 31 M MACs at 32 x 32 for growth 12.
densenet22_cifar = partial(CifarDenseNet, 3)
#: DenseNet-BC-40: 0.18 M parameters, 72 M MACs at 32 x 32 for growth 12.
densenet40_cifar = partial(CifarDenseNet, 6)
