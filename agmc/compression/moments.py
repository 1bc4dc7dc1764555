"""Moments: mean and covariance of what a layer reads, summed up over samples."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Moments:
    """Mean and covariance of samples of F features, on the CPU.

    The sums are those of the differences from the mean of the first batch: far from 0,
    float32 would lose the variance behind the mean.

    Args:
        first: float32 [samples, F]; says where the values lie, and is not added.
    """

    def __init__(self, first: Tensor) -> None:
        size = first.shape[1]
        self.count = 0
        self._origin = first.mean(0)
        self._products = torch.zeros(size, size)
        self._sums = torch.zeros(size)

    def add(self, samples: Tensor) -> None:
        """Takes in more samples, float32 [samples, F]."""
        samples = samples - self._origin
        self._products.addmm_(samples.T, samples)
        self._sums += samples.sum(0)
        self.count += len(samples)

    def mean(self) -> Tensor:
        """Float32 [F]."""
        return self._origin + self._sums / self.count

    def second(self, *, centred: bool) -> Tensor:
        """Float32 [F, F]: the covariance if centred, else E[x x^T]."""
        shift = self._sums / self.count
        result = torch.addr(self._products / self.count, shift, shift, alpha=-1)
        return result if centred else result.addr_(self.mean(), self.mean())


def samples_of(
    module: nn.Conv2d | nn.Linear,
    x: Tensor,
    *,
    positions: int,
    generator: torch.Generator,
) -> Tensor:
    """What a layer multiplies with its weights: [samples, F], F = C_in * k_h * k_w.

    Args:
        module: linear, or a convolution of one group with padding in numbers.
        x: its input, [..., C_in] or [N, C_in, H, W].
        positions: patches to take of an image, >= 1; the same places in all images of
            the batch, fewer where the output has no more.
        generator: on the CPU; chooses the places.
    """
    if isinstance(module, nn.Linear):
        return x.flatten(0, -2)
    assert not isinstance(module.padding, str)
    (top, left), (down, right) = module.padding, module.stride
    padded = F.pad(x, (left, left, top, top))
    spans = [
        dilation * (size - 1) + 1
        for dilation, size in zip(module.dilation, module.kernel_size, strict=True)
    ]
    height = (padded.shape[2] - spans[0]) // down + 1
    width = (padded.shape[3] - spans[1]) // right + 1
    order = torch.randperm(height * width, generator=generator)
    chosen = order[:positions].to(x.device)
    rows, columns = chosen // width * down, chosen % width * right
    taps = [
        padded[:, :, rows + i * module.dilation[0], columns + j * module.dilation[1]]
        for i in range(module.kernel_size[0])
        for j in range(module.kernel_size[1])
    ]
    return torch.stack(taps, 2).flatten(1, 2).transpose(1, 2).flatten(0, 1)
