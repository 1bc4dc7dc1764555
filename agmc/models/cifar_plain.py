"""The plain networks for 32 x 32 images: residual networks without the shortcuts.

He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016,
https://arxiv.org/abs/1512.03385, section 4.2; Plain-20 is also a network of AMC.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from agmc.models import checks


class CifarPlain(nn.Module):
    """A stem, three stages of 3 x 3 convolutions, the mean over the pixels, a layer.

    With n layers a stage it has 3n + 2 weighted layers, which gives it its name.
    Parameters are named `stem.{conv,bn} layer{1,2,3}.{i}.{conv,bn} linear`.

    Args:
        num_layers: of each of the three stages, >= 1; the first of the second and of
            the third stage has stride 2.
        num_classes: >= 1.
        in_channels: of the images.
        widths: channels of the three stages.

    Shapes:
        input [N, in_channels, H, W], any H and W; output [N, num_classes] logits.
    """

    def __init__(
        self,
        num_layers: int,
        *,
        num_classes: int,
        in_channels: int = 3,
        widths: Sequence[int] = (16, 32, 64),
    ) -> None:
        super().__init__()
        checks.positive(
            num_layers=num_layers, num_classes=num_classes, in_channels=in_channels
        )
        checks.positive_each(3, widths=widths)
        self.stem = _layer(in_channels, widths[0], stride=1)
        self.layer1 = _stage(widths[0], widths[0], num_layers, stride=1)
        self.layer2 = _stage(widths[0], widths[1], num_layers, stride=2)
        self.layer3 = _stage(widths[1], widths[2], num_layers, stride=2)
        self.linear = nn.Linear(widths[2], num_classes)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """The logits of a batch of images."""
        out = self.layer3(self.layer2(self.layer1(self.stem(x))))
        return self.linear(F.adaptive_avg_pool2d(out, 1).flatten(1))


def _layer(in_planes: int, planes: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(in_planes, planes, 3, stride, padding=1, bias=False)
    return nn.Sequential(
        OrderedDict(conv=conv, bn=nn.BatchNorm2d(planes), relu=nn.ReLU())
    )


def _stage(in_planes: int, planes: int, num_layers: int, stride: int) -> nn.Sequential:
    first = _layer(in_planes, planes, stride)
    return nn.Sequential(
        first, *(_layer(planes, planes, stride=1) for _ in range(num_layers - 1))
    )


#: Plain-20: 0.27 M parameters, 40.6 M MACs at 32 x 32.
plain20 = partial(CifarPlain, 6)
#: Plain-32: 0.46 M parameters, 68.9 M MACs at 32 x 32.
plain32 = partial(CifarPlain, 10)
