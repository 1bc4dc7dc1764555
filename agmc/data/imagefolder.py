"""Any tree of images, one folder a class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from agmc.data.decoded import ImageFile, decode_cached
from agmc.data.splits import Split, Splits, chosen_classes, share_of_train

_SUFFIXES = frozenset(
    ("bmp", "gif", "jpeg", "jpg", "pgm", "png", "ppm", "tif", "tiff", "webp")
)


def load_imagefolder(
    *,
    root: str | os.PathLike[str] | None = None,
    size: int = 32,
    mean: Sequence[float] = (0.485, 0.456, 0.406),
    std: Sequence[float] = (0.229, 0.224, 0.225),
    crop_padding: int = 4,
    flip: bool = True,
    search_share: float = 0.1,
    classes: Sequence[str] | None = None,
    cache: str | os.PathLike[str] | None = "~/.cache/agmc",
    memory_limit_gb: float = 4.0,
) -> Splits:
    """Images under `root/train/CLASS/` and `root/test/CLASS/`.

    Classes are in the order asked for, or alphabetical, images of a class in the order
    of their file names. All images are decoded once into memory, and kept decoded in
    `cache`.

    Args:
        root: the folder with `train` and `test` in it.
        size: height and width in pixels that every image is brought to (bilinear, the
            aspect ratio is not kept); images of that size are not touched.
        mean: per channel, for pixels in [0, 1]; as the checkpoint was trained with.
        std: per channel, likewise.
        crop_padding: pixels on every side for random crops in training, >= 0.
        flip: whether training images are flipped left to right at random.
        search_share: of each class of `train`, the last in file-name order, in (0, 1).
        classes: names of those to take; None: all.
        cache: folder for the decoded images; None: decode each time.
        memory_limit_gb: refuse sets whose pixels need more than this, in 1e9 bytes;
            twice that is needed while they are read, and four times that of a split
            that is evaluated.

    Returns:
        RGB images.

    Raises:
        ValueError: the tree is not like that, a class is not there, an image cannot be
            read, the set does not fit, or an argument is out of range.
    """
    if root is None:
        raise ValueError(
            "root (=None) is not set; set data.root to a folder that holds "
            "train/CLASS/* and test/CLASS/*"
        )
    if size < 1:
        raise ValueError(f"size (={size}) must be >= 1")
    root = Path(root).expanduser()
    train = _list_classes(root / "train")
    test = _list_classes(root / "test")
    names = chosen_classes(tuple(train), classes)
    for name in names:
        if name not in test:
            raise ValueError(f"class {name!r} of train has no image in {root / 'test'}")
    for name in test:
        if name not in train and classes is None:
            raise ValueError(f"class {name!r} of test has no image in {root / 'train'}")
    files = [f for name in names for f in train[name]]
    num_train = len(files)
    files += [f for name in names for f in test[name]]
    needed = len(files) * 3 * size * size / 1e9
    if needed > memory_limit_gb:
        raise ValueError(
            f"{len(files)} images of {size} x {size} need {needed:.1f} GB, more than "
            f"memory_limit_gb (={memory_limit_gb}); lower data.size or raise the limit"
        )
    images = decode_cached(files, size, None if cache is None else Path(cache))
    labels = torch.tensor(
        [label for label, name in enumerate(names) for _ in train[name]]
        + [label for label, name in enumerate(names) for _ in test[name]]
    )
    every = Split(images[:num_train], labels[:num_train])
    train_index, search_index = share_of_train(every.labels, search_share)
    return Splits(
        name=root.resolve().name,
        train=every.select(train_index),
        search=every.select(search_index),
        test=Split(images[num_train:], labels[num_train:]),
        classes=names,
        mean=tuple(float(value) for value in mean),
        std=tuple(float(value) for value in std),
        crop_padding=crop_padding,
        flip=flip,
    )


def _list_classes(folder: Path) -> dict[str, list[ImageFile]]:
    """Class name -> its images, both in alphabetical order."""
    if not folder.is_dir():
        raise ValueError(
            f"there is no folder {folder}; data.root must hold train/CLASS/* and "
            "test/CLASS/*"
        )
    classes = {}
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir() and not entry.name.startswith("."):
            images = _list_images(Path(entry.path))
            if images:
                classes[entry.name] = images
    if not classes:
        raise ValueError(
            f"{folder} has no class folders with images in them; expected "
            f"{folder.name}/CLASS/*.jpg, .png, ..."
        )
    return classes


def _list_images(folder: Path) -> list[ImageFile]:
    images = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        suffix = entry.name.rpartition(".")[2]
        if suffix.lower() in _SUFFIXES and not entry.name.startswith("."):
            status = entry.stat()
            images.append(ImageFile(entry.path, status.st_size, status.st_mtime_ns))
    return images
