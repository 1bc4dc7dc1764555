"""VGG for 32 x 32 images: batch norm after every convolution, one linear layer.

Simonyan, Zisserman: Very Deep Convolutional Networks, ICLR 2015,
https://arxiv.org/abs/1409.1556, table 1; one linear layer and the mean over the last
2 x 2 pixels as in Network Slimming (https://arxiv.org/abs/1708.06519).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from agmc.models import checks


class CifarVGG(nn.Module):
    """Five stages of 3 x 3 convolutions with max pooling in between, a linear layer.

    Parameters are named `features.{i} classifier`; batch norm is the layer after its
    convolution.

    Args:
        depths: convolutions of each of the five stages, >= 1.
        num_classes: >= 1.
        in_channels: of the images.
        widths: channels of the five stages.

    Shapes:
        input [N, in_channels, H, W], H and W at least 16; output [N, num_classes]
        logits.
    """

    def __init__(
        self,
        depths: Sequence[int],
        *,
        num_classes: int,
        in_channels: int = 3,
        widths: Sequence[int] = (64, 128, 256, 512, 512),
    ) -> None:
        super().__init__()
        checks.positive(num_classes=num_classes, in_channels=in_channels)
        checks.positive_each(5, depths=depths, widths=widths)
        layers: list[nn.Module] = []
        before = in_channels
        for depth, width in zip(depths, widths, strict=True):
            if layers:
                layers.append(nn.MaxPool2d(2))
            for _ in range(depth):
                layers.append(nn.Conv2d(before, width, 3, padding=1, bias=False))
                layers += [nn.BatchNorm2d(width), nn.ReLU()]
                before = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(before, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """The logits of a batch of images."""
        out = F.adaptive_avg_pool2d(self.features(x), 1)
        return self.classifier(out.flatten(1))


#: VGG-11: 9.2 M parameters, 153 M MACs at 32 x 32.
vgg11_bn_cifar = partial(CifarVGG, (1, 1, 2, 2, 2))
#: VGG-16: 14.7 M parameters, 313 M MACs at 32 x 32.
vgg16_bn_cifar = partial(CifarVGG, (2, 2, 3, 3, 3))
#: VGG-19: 20.0 M parameters, 398 M MACs at 32 x 32; "VGGNet" of Network Slimming.
vgg19_bn_cifar = partial(CifarVGG, (2, 2, 4, 4, 4))
