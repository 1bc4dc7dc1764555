"""Random crops and flips of a whole batch at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def augment(
    images: Tensor, *, crop_padding: int, flip: bool, generator: torch.Generator
) -> Tensor:
    """Images shifted by up to `crop_padding` pixels each way, half of them flipped.

    The numbers are drawn on the CPU, so that a seed means the same on every device.

    Args:
        images: [N, C, H, W], normalised: what is shifted in is 0, the mean.
        crop_padding: in pixels, >= 0.
        flip: left to right, with probability one half.
        generator: on the CPU.

    Returns:
        [N, C, H, W], channels_last.
    """
    num_images, _, height, width = images.shape
    rows = torch.arange(height).expand(num_images, height)
    columns = torch.arange(width).expand(num_images, width)
    if flip:
        flipped = torch.rand(num_images, 1, generator=generator) < 0.5
        columns = torch.where(flipped, columns.flip(1), columns)
    if crop_padding:
        shifts = torch.randint(
            2 * crop_padding + 1, (2, num_images, 1), generator=generator
        )
        rows, columns = rows + shifts[0], columns + shifts[1]
        images = F.pad(images, (crop_padding,) * 4)
    # Channels last: every gathered pixel is then one piece of memory.
    pixels = images.permute(0, 2, 3, 1)
    index = torch.arange(num_images)[:, None, None]
    places = (index, rows[:, :, None], columns[:, None, :])
    return pixels[tuple(p.to(images.device) for p in places)].permute(0, 3, 1, 2)
