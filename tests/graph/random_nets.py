"""Random CNNs out of blocks that are chained, added, gated, shuffled or split."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from graph_nets import conv, with_statistics
from torch import Tensor, nn

BLOCKS = (
    *("chain", "residual", "concat", "depthwise", "grouped", "whole", "pool"),
    *("gate", "spatial", "shortcut", "shuffle", "split", "transposed", "pixels"),
    *("attention", "scale", "norm", "prelu", "ghost", "pyramid", "residuals"),
    *("interleave", "tied", "written", "maxout", "grouped3", "slices", "unshuffle"),
)


class RandomNet(nn.Module):
    """A stem, the blocks in their order with a batch norm after each, a linear layer.

    Args:
        blocks: of `BLOCKS`.
        generator: draws the widths.
    """

    def __init__(self, blocks: list[str], generator: torch.Generator) -> None:
        super().__init__()
        self.blocks = ["chain", *blocks]
        self.layers = nn.ModuleDict()
        self.scales = nn.ParameterDict()
        width = 3
        for i, kind in enumerate(self.blocks):
            new = int(torch.randint(2, 7, (), generator=generator)) * 2
            width = self._add(f"{i}", kind, width, new)
            self.layers[f"{i}bn"] = nn.BatchNorm2d(width)
        self.linear = nn.Linear(width, 3)

    def _add(self, key: str, kind: str, width: int, new: int) -> int:
        """Makes the layers of a block; the width after it."""
        made: dict[str, nn.Module] = {}
        after = width
        if kind == "chain":
            made, after = {"": conv(width, new, bias=new > 6)}, new
        elif kind == "residual":
            made = {"": conv(width, new), "b": conv(new, width, 1)}
        elif kind == "concat":
            made, after = {"": conv(width, new)}, width + new
        elif kind == "depthwise":
            made, after = {"": conv(width, width * 2, groups=width)}, width * 2
        elif kind == "grouped" and width % 2 == 0:
            made, after = {"": conv(width, new, groups=2)}, new
        elif kind == "whole" and width % 2 == 0 and width > 4:
            made = {"": conv(width, width, groups=width // 2)}
        elif kind == "gate":
            made = {"": nn.Conv2d(width, new, 1), "b": nn.Conv2d(new, width, 1)}
        elif kind == "spatial":
            made = {"": conv(width, 1)}
        elif kind == "shortcut":
            made, after = {"": conv(width, width + 4)}, width + 4
        elif kind == "split" and width % 2 == 0:
            made = {"": conv(width // 2, width // 2)}
        elif kind == "transposed":
            made, after = {"": nn.ConvTranspose2d(width, new, 3, padding=1)}, new
        elif kind == "pixels":
            made = {"": conv(width, 4 * width)}
        elif kind == "attention":
            made = {x: conv(width, new, 1) for x in "qk"} | {"v": conv(width, width, 1)}
        elif kind == "scale":
            self.scales[key] = nn.Parameter(torch.rand(width, 1, 1) + 0.5)
        elif kind == "norm" and width % 2 == 0:
            made = {"": nn.GroupNorm(width // 2, width)}
        elif kind == "prelu":
            made = {"": nn.PReLU(width)}
        elif kind == "ghost":
            made, after = {"": conv(width, width, groups=width)}, 2 * width - 1
        elif kind == "pyramid":
            made, after = {"": conv(3 * width, new, 1)}, new
        elif kind == "residuals" and width % 2 == 0:
            made = {"": conv(width // 2, width // 2)}
        elif kind == "tied":
            made = {"": conv(width, width)}
        elif kind == "written":
            self.scales[key] = nn.Parameter(torch.rand(width) + 0.5)
        elif kind == "maxout":
            made, after = {"": conv(width, 2 * new)}, new
        elif kind == "grouped3" and width % 3 == 0:
            made = {"": conv(width, width, groups=3)}
        elif kind == "slices" and width > 4:
            made, after = {"": conv(3, new), "b": conv(width - 2, new)}, new
        elif kind == "unshuffle":
            made, after = {"": conv(4 * width, new, 1)}, new
        self.layers.update({key + part: layer for part, layer in made.items()})
        return after

    def forward(self, x: Tensor) -> Tensor:
        for i, kind in enumerate(self.blocks):
            x = F.relu(self.layers[f"{i}bn"](self._run(f"{i}", kind, x)))
        return self.linear(x.mean((2, 3)))

    def _run(self, key: str, kind: str, x: Tensor) -> Tensor:
        layer = self.layers[key] if key in self.layers else None
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


def random_net(blocks: list[str], seed: int) -> tuple[nn.Module, tuple[Tensor]]:
    """A network in evaluation mode and two images, in float64."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    net = with_statistics(RandomNet(blocks, generator)).eval().double()
    return net, (torch.randn(2, 3, 5, 5, dtype=torch.float64, generator=generator),)
