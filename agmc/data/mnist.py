"""MNIST, as torchvision stores it."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch

from agmc.data.from_torchvision import open_dataset
from agmc.data.splits import Split, Splits, share_of_train


def load_mnist(
    *,
    root: str | os.PathLike[str] = "~/.cache/agmc/data",
    download: bool = False,
    crop_padding: int = 2,
    flip: bool = False,
    search_share: float = 0.1,
    classes: Sequence[str] | None = None,
) -> Splits:
    """Handwritten digits of 28 x 28, LeCun et al. 1998.

    Args:
        root: the folder that holds `MNIST/raw`.
        download: fetches the set into `root` when it is not there.
        crop_padding: pixels on every side for random crops in training, >= 0.
        flip: whether training images are flipped; a mirrored digit is another sign.
        search_share: of each class of the 60,000 training images, the last in index
            order, in (0, 1).
        classes: names of those to take, in the order of their labels; None: all.

    Returns:
        images of one channel, of all ten classes 10,000 for the test.

    Raises:
        ValueError: the set or a class is not there, or an argument is out of range.
    """
    splits = []
    for train in (True, False):
        dataset = open_dataset("MNIST", root, train=train, download=download)
        labels = torch.as_tensor(dataset.targets, dtype=torch.int64)
        splits.append(Split(dataset.data[:, None], labels))
    every, test = splits
    train_index, search_index = share_of_train(every.labels, search_share)
    return Splits(
        name="mnist",
        train=every.select(train_index),
        search=every.select(search_index),
        test=test,
        classes=tuple(str(digit) for digit in range(10)),
        mean=(0.1307,),
        std=(0.3081,),
        crop_padding=crop_padding,
        flip=flip,
    ).of_classes(classes)
