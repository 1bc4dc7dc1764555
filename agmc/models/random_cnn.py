"""Random CNNs out of blocks that are chained, added, gated, shuffled or split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_Net = TypeVar("_Net", bound=nn.Module)

#: What can stand in a network; what does not suit the width before it does nothing.
BLOCKS = (
    *("chain", "residual", "concat", "depthwise", "grouped", "whole", "pool"),
    *("gate", "spatial", "shortcut", "shuffle", "split", "transposed", "pixels"),
    *("attention", "scale", "norm", "prelu", "ghost", "pyramid", "residuals"),
    *("interleave", "tied", "written", "maxout", "grouped3", "slices", "unshuffle"),
)
_WIDENING = {"concat", "depthwise", "ghost", "shortcut"}


class RandomNet(nn.Module):
    """A stem, the blocks in their order with a batch norm after each, a linear layer.

    Args:
        blocks: of `BLOCKS`.
        generator: draws the widths.
        widths: smallest and largest width to draw, multiples of `step`.
        step: see there, even.
        in_channels: of the images.
        num_classes: >= 1.

    Shapes:
        input [N, in_channels, H, W], any H and W; output [N, num_classes] logits.

    Raises:
        ValueError: there is no such block.
    """

    def __init__(
        self,
        blocks: Sequence[str],
        generator: torch.Generator,
        *,
        widths: tuple[int, int] = (4, 12),
        step: int = 2,
        in_channels: int = 3,
        num_classes: int = 3,
    ) -> None:
        super().__init__()
        if unknown := sorted({*blocks} - {*BLOCKS}):
            raise ValueError(f"blocks {unknown} are unknown; choose among {[*BLOCKS]}")
        self.blocks = ["chain", *blocks]
        self.layers = nn.ModuleDict()
        self.scales = nn.ParameterDict()
        width = in_channels
        low, high = widths[0] // step, widths[1] // step + 1
        for i, kind in enumerate(self.blocks):
            new = int(torch.randint(low, high, (), generator=generator)) * step
            width = self._add(f"{i}", kind, width, new)
            self.layers[f"{i}bn"] = nn.BatchNorm2d(width)
        self.linear = nn.Linear(width, num_classes)

    def _add(self, key: str, kind: str, width: int, new: int) -> int:
        """Makes the layers of a block; the width after it."""
        made: Mapping[str, nn.Module] = {}
        after = width
        if kind == "chain":
            made, after = {"": _conv(width, new, bias=new > 6)}, new
        elif kind == "residual":
            made = {"": _conv(width, new), "b": _conv(new, width, 1)}
        elif kind == "concat":
            made, after = {"": _conv(width, new)}, width + new
        elif kind == "depthwise":
            made, after = {"": _conv(width, width * 2, groups=width)}, width * 2
        elif kind == "grouped" and width % 2 == 0:
            made, after = {"": _conv(width, new, groups=2)}, new
        elif kind == "whole" and width % 2 == 0 and width > 4:
            made = {"": _conv(width, width, groups=width // 2)}
        elif kind == "gate":
            made = {"": nn.Conv2d(width, new, 1), "b": nn.Conv2d(new, width, 1)}
        elif kind == "spatial":
            made = {"": _conv(width, 1)}
        elif kind == "shortcut":
            made, after = {"": _conv(width, width + 4)}, width + 4
        elif kind == "split" and width % 2 == 0:
            made = {"": _conv(width // 2, width // 2)}
        elif kind == "transposed":
            made, after = {"": nn.ConvTranspose2d(width, new, 3, padding=1)}, new
        elif kind == "pixels":
            made = {"": _conv(width, 4 * width)}
        elif kind == "attention":
            made = {x: _conv(width, new, 1) for x in "qk"} | {
                "v": _conv(width, width, 1)
            }
        elif kind == "scale":
            self.scales[key] = nn.Parameter(torch.rand(width, 1, 1) + 0.5)
        elif kind == "norm" and width % 2 == 0:
            made = {"": nn.GroupNorm(width // 2, width)}
        elif kind == "prelu":
            made = {"": nn.PReLU(width)}
        elif kind == "ghost":
            made, after = {"": _conv(width, width, groups=width)}, 2 * width - 1
        elif kind == "pyramid":
            made, after = {"": _conv(3 * width, new, 1)}, new
        elif kind == "residuals" and width % 2 == 0:
            made = {"": _conv(width // 2, width // 2)}
        elif kind == "tied":
            made = {"": _conv(width, width)}
        elif kind == "written":
            self.scales[key] = nn.Parameter(torch.rand(width) + 0.5)
        elif kind == "maxout":
            made, after = {"": _conv(width, 2 * new)}, new
        elif kind == "grouped3" and width % 3 == 0:
            made = {"": _conv(width, width, groups=3)}
        elif kind == "slices" and width > 4:
            made, after = {"": _conv(3, new), "b": _conv(width - 2, new)}, new
        elif kind == "unshuffle":
            made, after = {"": _conv(4 * width, new, 1)}, new
        self.layers.update({key + part: layer for part, layer in made.items()})
        return after

    def forward(self, x: Tensor) -> Tensor:
        """The logits of a batch of images."""
        for i, kind in enumerate(self.blocks):
            x = F.relu(self.layers[f"{i}bn"](self._run(f"{i}", kind, x)))
        return self.linear(x.mean((2, 3)))

    def _run(self, key: str, kind: str, x: Tensor) -> Tensor:
        layer: Any = self.layers[key] if key in self.layers else None
        n, c, h, w = x.shape
        if kind == "residual":
            return x + self.layers[f"{key}b"](layer(x).relu_())
        if kind == "concat":
            return torch.cat([x, layer(x)], 1)
        if kind == "pool" and h > 1:
            return F.max_pool2d(x, 2)
        if kind == "gate":
            inner = F.relu(layer(x.mean((2, 3), keepdim=True)))
            return x * torch.sigmoid(self.layers[f"{key}b"](inner))
        if kind == "spatial":
            return x * torch.sigmoid(layer(x))
        if kind == "shortcut":
            return layer(x) + F.pad(x, (0, 0, 0, 0, 2, 2))
        if kind == "shuffle" and c % 2 == 0:
            return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        if kind == "split" and layer is not None:
            left, right = x.chunk(2, 1)
            return torch.cat([left, layer(right)], 1)
        if kind == "pixels":
            return F.avg_pool2d(F.pixel_shuffle(layer(x), 2), 2)
        if kind == "attention":
            q, k, v = (self.layers[key + part](x).flatten(2) for part in "qkv")
            weights = (q.transpose(1, 2) @ k).softmax(-1)
            return x + (v @ weights.transpose(1, 2)).view(n, c, h, w)
        if kind == "scale":
            return x * self.scales[key]
        if kind == "ghost":
            return torch.cat([x, layer(x)], 1)[:, :-1]
        if kind == "pyramid":
            pooled = F.max_pool2d(x, 3, stride=1, padding=1)
            return layer(torch.cat([pooled, x, x], 1))
        if kind == "residuals" and layer is not None:
            first, second = x.split(c // 2, 1)
            second = layer(second + first)
            return torch.cat([first, second], 1)
        if kind == "interleave":
            return (
                torch.stack([x, x.flip(3)], 2)
                .flatten(1, 2)
                .view(n, c, 2, h, w)[:, :, 1]
            )
        if kind == "tied":
            return layer(F.relu(layer(x)))
        if kind == "written":
            mean = x.mean((2, 3), keepdim=True)
            spread = (x - mean).pow(2).mean((2, 3), keepdim=True)
            return (x - mean) / (spread + 1).sqrt() * self.scales[key].view(1, -1, 1, 1)
        if kind == "maxout":
            return layer(x).view(n, -1, 2, h, w).amax(2)
        if kind == "slices" and layer is not None:
            return layer(x[:, :3]) + self.layers[f"{key}b"](x[:, 2:])
        if kind == "unshuffle":
            return layer(F.pixel_unshuffle(F.pad(x, (0, h % 2, 0, w % 2)), 2))
        return x if layer is None else layer(x)


def random_net(blocks: Sequence[str], seed: int) -> tuple[nn.Module, tuple[Tensor]]:
    """A small network in evaluation mode and two images of 5 x 5, in float64.

    Its batch norms have statistics, scale and shift that matter: what compares two
    networks must not overlook them.
    """
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    net = with_statistics(RandomNet(blocks, generator)).eval().double()
    return net, (torch.randn(2, 3, 5, 5, dtype=torch.float64, generator=generator),)


def random_cnn(*, num_classes: int, in_channels: int = 3, seed: int = 0) -> RandomNet:
    """A network as large as those of CIFAR: two to four stages with pools between.

    Each stage begins with a convolution to a new width of 8 to 128 channels and repeats
    one or two kinds of blocks up to four times.

    Args:
        num_classes: >= 1.
        in_channels: of the images.
        seed: of blocks and widths; the weights follow torch's own generator.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    blocks: list[str] = []
    for stage in range(draw(2, 4)):
        blocks += ["pool", "chain"] if stage else []
        kinds = [BLOCKS[draw(0, len(BLOCKS) - 1)] for _ in range(draw(1, 2))]
        for kind in kinds * draw(1, 4):
            # A convolution after each that widens, or widths would double for ever.
            blocks += [kind, "chain"] if kind in _WIDENING else [kind]
    return RandomNet(
        blocks,
        generator,
        widths=(8, 128),
        step=8,
        in_channels=in_channels,
        num_classes=num_classes,
    )


def with_statistics(net: _Net) -> _Net:
    """Gives every batch norm statistics, scale and shift that matter, in place."""
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            with torch.no_grad():
                _uniform(module.running_mean, -0.5, 0.5)
                _uniform(module.running_var, 0.3, 2.0)
                if module.affine:
                    module.weight.uniform_(0.5, 1.5)
                    module.bias.uniform_(-0.5, 0.5)
    return net


def _uniform(values: Tensor | None, low: float, high: float) -> None:
    if values is not None:
        values.uniform_(low, high)


def _conv(num_in: int, num_out: int, kernel: int = 3, **arguments: Any) -> nn.Conv2d:
    arguments.setdefault("padding", kernel // 2)
    return nn.Conv2d(num_in, num_out, kernel, **arguments)
