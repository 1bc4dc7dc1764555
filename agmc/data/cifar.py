"""CIFAR-10 and CIFAR-100, as torchvision stores them."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch

from agmc.data.from_torchvision import open_dataset
from agmc.data.splits import Split, Splits, share_of_train


def load_cifar10(
    *,
    root: str | os.PathLike[str] = "~/.cache/agmc/data",
    download: bool = False,
    mean: Sequence[float] = (0.485, 0.456, 0.406),
    std: Sequence[float] = (0.229, 0.224, 0.225),
    crop_padding: int = 4,
    flip: bool = True,
    search_share: float = 0.1,
    classes: Sequence[str] | None = None,
) -> Splits:
    """Ten classes of 32 x 32 RGB images, Krizhevsky 2009.

    Args:
        root: the folder that holds `cifar-10-batches-py`.
        download: fetches the set into `root` when it is not there.
        mean: per channel, for pixels in [0, 1]; as the checkpoint was trained with.
        std: per channel, likewise.
        crop_padding: pixels on every side for random crops in training, >= 0.
        flip: whether training images are flipped left to right at random.
        search_share: of each class of the 50,000 training images, the last in index
            order, in (0, 1).
        classes: names of those to take, in the order of their labels; None: all.

    Raises:
        ValueError: the set or a class is not there, or an argument is out of range.
    """
    rest = (mean, std, crop_padding, flip, search_share, classes)
    return _load("CIFAR10", root, download, *rest)


def load_cifar100(
    *,
    root: str | os.PathLike[str] = "~/.cache/agmc/data",
    download: bool = False,
    mean: Sequence[float] = (0.507, 0.4865, 0.4409),
    std: Sequence[float] = (0.2673, 0.2564, 0.2762),
    crop_padding: int = 4,
    flip: bool = True,
    search_share: float = 0.1,
    classes: Sequence[str] | None = None,
) -> Splits:
    """A hundred classes of 32 x 32 RGB images, Krizhevsky 2009.

    Args:
        root: the folder that holds `cifar-100-python`.
        download: fetches the set into `root` when it is not there.
        mean: per channel, for pixels in [0, 1]; as the checkpoint was trained with.
        std: per channel, likewise.
        crop_padding: pixels on every side for random crops in training, >= 0.
        flip: whether training images are flipped left to right at random.
        search_share: of each class of the 50,000 training images, the last in index
            order, in (0, 1).
        classes: names of those to take, in the order of their labels; None: all.

    Raises:
        ValueError: the set or a class is not there, or an argument is out of range.
    """
    rest = (mean, std, crop_padding, flip, search_share, classes)
    return _load("CIFAR100", root, download, *rest)


def _load(
    name: str,
    root: str | os.PathLike[str],
    download: bool,
    mean: Sequence[float],
    std: Sequence[float],
    crop_padding: int,
    flip: bool,
    search_share: float,
    classes: Sequence[str] | None,
) -> Splits:
    splits = []
    for train in (True, False):
        dataset = open_dataset(name, root, train=train, download=download)
        images = torch.from_numpy(dataset.data).permute(0, 3, 1, 2).contiguous()
        splits.append(Split(images, torch.tensor(dataset.targets, dtype=torch.int64)))
    every, test = splits
    train_index, search_index = share_of_train(every.labels, search_share)
    return Splits(
        name=name.lower(),
        train=every.select(train_index),
        search=every.select(search_index),
        test=test,
        classes=tuple(dataset.classes),
        mean=tuple(float(value) for value in mean),
        std=tuple(float(value) for value in std),
        crop_padding=crop_padding,
        flip=flip,
    ).of_classes(classes)
