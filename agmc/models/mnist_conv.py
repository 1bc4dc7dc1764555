"""The convolutional network of TensorFlow's tutorial on pruning, for MNIST.

https://www.tensorflow.org/model_optimization; 3,274,762 numbers, the running statistics
of batch norm counted, which are 12.52 MB as a Keras file: what is published about a
network of that size on MNIST begins with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from agmc.models import checks

_DROPOUT = 0.4


class MnistConv(nn.Module):
    """Two 5 x 5 convolutions with pooling behind each, two linear layers.

    Batch norm stands behind the first pooling alone. Parameters are named
    `conv1 bn conv2 linear1 linear2`.

    Args:
        num_classes: >= 1.
        in_channels: of the images.
        image_size: height and width of the images, >= 4; each pooling halves it and
            drops an odd last pixel.
        widths: channels of both convolutions and features of the linear layer.

    Shapes:
        input [N, in_channels, image_size, image_size]; output [N, num_classes] logits.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int = 1,
        image_size: int = 28,
        widths: Sequence[int] = (32, 64, 1024),
    ) -> None:
        super().__init__()
        checks.positive(num_classes=num_classes, in_channels=in_channels)
        checks.positive_each(3, widths=widths)
        if image_size < 4:
            raise ValueError(f"image_size (={image_size}) must be >= 4")
        self.conv1 = nn.Conv2d(in_channels, widths[0], 5, padding=2)
        self.bn = nn.BatchNorm2d(widths[0])
        self.conv2 = nn.Conv2d(widths[0], widths[1], 5, padding=2)
        self.linear1 = nn.Linear(widths[1] * (image_size // 4) ** 2, widths[2])
        self.dropout = nn.Dropout(_DROPOUT)
        self.linear2 = nn.Linear(widths[2], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """The logits of a batch of images."""
        out = self.bn(F.max_pool2d(F.relu(self.conv1(x)), 2))
        out = F.max_pool2d(F.relu(self.conv2(out)), 2)
        out = F.relu(self.linear1(out.flatten(1)))
        return self.linear2(self.dropout(out))


#: 3.27 M parameters, 13.9 M MACs at 28 x 28.
conv_mnist = MnistConv
