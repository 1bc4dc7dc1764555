"""The residual networks for 32 x 32 images, with the parameter-free shortcut.

He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016,
https://arxiv.org/abs/1512.03385, section 4.2, shortcut option A.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from agmc.models import checks


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut without parameters.

    Where the block changes the shape, the shortcut takes every `stride`-th pixel and
    adds channels of zeros, half of them on each side.

    Args:
        in_planes: channels of the input.
        planes: channels of the output, >= `in_planes`.
        stride: of the first convolution.

    Shapes:
        input [N, in_planes, H, W]; output [N, planes, ceil(H/stride), ceil(W/stride)].
    """

    def __init__(self, in_planes: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        if planes < in_planes:
            raise ValueError(
                f"planes (={planes}) must be >= in_planes (={in_planes}): "
                "the shortcut can only add channels"
            )
        self.conv1 = nn.Conv2d(in_planes, planes, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.stride = stride
        before = (planes - in_planes) // 2
        self.padding = (before, planes - in_planes - before)

    def forward(self, x: Tensor) -> Tensor:
        """The block's activations, after the sum and ReLU."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.stride != 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.padding != (0, 0):
            x = F.pad(x, (0, 0, 0, 0, *self.padding))
        return F.relu(out + x)


class CifarResNet(nn.Module):
    """A stem, three stages of basic blocks, the mean over the pixels, a linear layer.

    With n blocks a stage it has 6n + 2 weighted layers, which gives it its name.
    Parameters are named `conv1 bn1 layer{1,2,3}.{i}.{conv1,bn1,conv2,bn2} linear`, as
    in the public checkpoints.

    Args:
        num_blocks: of each of the three stages, >= 1.
        num_classes: >= 1.
        in_channels: of the images.
        widths: channels of the three stages, not falling.

    Shapes:
        input [N, in_channels, H, W], any H and W; output [N, num_classes] logits.
    """

    def __init__(
        self,
        num_blocks: int,
        *,
        num_classes: int,
        in_channels: int = 3,
        widths: Sequence[int] = (16, 32, 64),
    ) -> None:
        super().__init__()
        checks.positive(
            num_blocks=num_blocks, num_classes=num_classes, in_channels=in_channels
        )
        checks.positive_each(3, widths=widths)
        self.conv1 = nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.layer1 = _stage(widths[0], widths[0], num_blocks, stride=1)
        self.layer2 = _stage(widths[0], widths[1], num_blocks, stride=2)
        self.layer3 = _stage(widths[1], widths[2], num_blocks, stride=2)
        self.linear = nn.Linear(widths[2], num_classes)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """The logits of a batch of images."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        return self.linear(F.adaptive_avg_pool2d(out, 1).flatten(1))


def _stage(in_planes: int, planes: int, num_blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(in_planes, planes, stride)
    return nn.Sequential(
        first, *(BasicBlock(planes, planes) for _ in range(num_blocks - 1))
    )


#: ResNet-8: 0.08 M parameters, 12.2 M MACs at 32 x 32.
resnet8 = partial(CifarResNet, 1)
#: ResNet-14: 0.17 M parameters, 26.4 M MACs at 32 x 32.
resnet14 = partial(CifarResNet, 2)
#: ResNet-20: 0.27 M parameters, 40.6 M MACs at 32 x 32.
resnet20 = partial(CifarResNet, 3)
#: ResNet-32: 0.46 M parameters.
resnet32 = partial(CifarResNet, 5)
#: ResNet-44: 0.66 M parameters.
resnet44 = partial(CifarResNet, 7)
#: ResNet-56: 0.85 M parameters, 125 M MACs at 32 x 32.
resnet56 = partial(CifarResNet, 9)
#: ResNet-110: 1.7 M parameters.
resnet110 = partial(CifarResNet, 18)
