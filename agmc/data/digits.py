"""The 1,797 handwritten digits that scikit-learn brings along: nothing to download."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from agmc.data.splits import Split, Splits, rank_in_class


def load_digits(
    *,
    size: int = 8,
    crop_padding: int = 1,
    flip: bool = False,
    classes: Sequence[str] | None = None,
) -> Splits:
    """Optical recognition of handwritten digits, https://doi.org/10.24432/C50P49.

    Of every five images of a class, in their order in the set, the first three are for
    training, the fourth for the search and the fifth for the test: 1,085 + 357 + 355.

    Args:
        size: height and width in pixels, >= 8; the originals of 8 x 8 are scaled up
            bilinearly.
        crop_padding: pixels on every side for random crops in training, >= 0.
        flip: whether training images are flipped; a mirrored digit is another sign.
        classes: names of those to take, in the order of their labels; None: all.

    Returns:
        images of one channel.

    Raises:
        ValueError: an argument is out of range, or there is no such class.
    """
    from sklearn import datasets

    if size < 8:
        raise ValueError(f"size (={size}) must be >= 8, the size of the digits")
    bunch = datasets.load_digits()
    images = torch.from_numpy(bunch.images).to(torch.float32)[:, None] * (255 / 16)
    if size != 8:
        images = F.interpolate(images, (size, size), mode="bilinear")
    every = Split(
        images.round().to(torch.uint8), torch.from_numpy(bunch.target).to(torch.int64)
    )
    turn = rank_in_class(every.labels) % 5
    return Splits(
        name="digits",
        train=every.select((turn < 3).nonzero().flatten()),
        search=every.select((turn == 3).nonzero().flatten()),
        test=every.select((turn == 4).nonzero().flatten()),
        classes=tuple(str(digit) for digit in range(10)),
        mean=(0.305,),
        std=(0.376,),
        crop_padding=crop_padding,
        flip=flip,
    ).of_classes(classes)
