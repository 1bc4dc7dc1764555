"""Split and Splits: labelled images in memory, under three names that never mix."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Split:
    """Labelled images.

    Attributes:
        images: uint8 [N, C, H, W], 0 to 255.
        labels: int64 [N], the index of the class.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.dim() != 4:
            raise ValueError(
                "images must be uint8 [N, C, H, W], got "
                f"{self.images.dtype} {tuple(self.images.shape)}"
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != (len(self),):
            raise ValueError(
                f"labels must be int64 [{len(self)}], got "
                f"{self.labels.dtype} {tuple(self.labels.shape)}"
            )

    def __len__(self) -> int:
        return self.images.shape[0]

    def select(self, index: Tensor) -> Split:
        """The images at `index`, int64 [M], in that order."""
        return Split(self.images[index], self.labels[index])

    def interleaved(self, limit: int | None = None) -> Tensor:
        """Index of a fixed order that takes one image of every class in turn.

        So every prefix is stratified, and every batch has all classes in it.

        Args:
            limit: how many images, >= 1; None or more than there are: all.

        Returns:
            int64 [min(limit, N)].
        """
        if limit is not None and limit < 1:
            raise ValueError(f"limit (={limit}) must be >= 1, or null for all images")
        order = torch.argsort(rank_in_class(self.labels) * (1 << 32) + self.labels)
        return order[:limit]


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set: `search` drives every choice, `test` is read for the report only.

    Attributes:
        name: of the data set.
        train: what weights are fitted on; shares no image with `search`.
        search: cut from the training data; drives the reward.
        test: for the final report.
        classes: their names; a label is an index into them.
        mean, std: one number per channel, for pixels in [0, 1].
        crop_padding: pixels added on every side before random crops in training.
        flip: whether training images are flipped left to right at random.
    """

    name: str
    train: Split
    search: Split
    test: Split
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_padding: int
    flip: bool

    def __post_init__(self) -> None:
        if self.crop_padding < 0:
            raise ValueError(f"crop_padding (={self.crop_padding}) must be >= 0")
        for name, split in self.by_name.items():
            if not len(split):
                raise ValueError(f"{self.name}: the {name} split has no image")
            if split.images.shape[1:] != self.train.images.shape[1:]:
                raise ValueError(
                    f"{self.name}: images of {name} are "
                    f"{tuple(split.images.shape[1:])}, of train {self.image_shape}"
                )
            lowest, highest = int(split.labels.min()), int(split.labels.max())
            if lowest < 0 or highest >= self.num_classes:
                raise ValueError(
                    f"{self.name}: labels of {name} must be in "
                    f"[0, {self.num_classes - 1}], got [{lowest}, {highest}]"
                )
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.image_shape[0]:
                raise ValueError(
                    f"{name} (={values}) must have one number for each of the "
                    f"{self.image_shape[0]} channels"
                )
        if min(self.std) <= 0:
            raise ValueError(f"std (={self.std}) must be > 0")

    @property
    def by_name(self) -> dict[str, Split]:
        """The three splits under their names."""
        return {"train": self.train, "search": self.search, "test": self.test}

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width

    def normalize(self, images: Tensor) -> Tensor:
        """What a network sees: `(images / 255 - mean) / std`.

        Shapes:
            images uint8 [N, C, H, W]; output float32 [N, C, H, W], same memory format.
        """
        mean = torch.tensor(self.mean, device=images.device)[:, None, None]
        std = torch.tensor(self.std, device=images.device)[:, None, None]
        return images.to(torch.float32).div_(255).sub_(mean).div_(std)

    def example_input(self, batch_size: int = 2) -> Tensor:
        """The first training images, normalised: float32 [batch_size, C, H, W]."""
        return self.normalize(self.train.images[:batch_size])

    def of_classes(self, names: Sequence[str] | None) -> Splits:
        """The images of some classes; what was in a split stays in it.

        Args:
            names: of the classes, in the order of their new labels; None: all.

        Raises:
            ValueError: as `chosen_classes`.
        """
        classes = chosen_classes(self.classes, names)
        if classes == self.classes:
            return self
        label = torch.full((self.num_classes,), -1)
        label[[self.classes.index(name) for name in classes]] = torch.arange(
            len(classes)
        )

        def left(split: Split) -> Split:
            labels = label[split.labels]
            return Split(split.images[labels >= 0], labels[labels >= 0])

        train, search, test = (left(split) for split in self.by_name.values())
        return replace(self, train=train, search=search, test=test, classes=classes)

    @cached_property
    def digest(self) -> str:
        """Twelve hex digits that name the content: images, labels, classes, scaling."""
        digest = hashlib.blake2b(
            repr((self.classes, self.mean, self.std)).encode(), digest_size=6
        )
        for split in self.by_name.values():
            digest.update(repr(tuple(split.images.shape)).encode())
            digest.update(split.images.contiguous().numpy().data)
            digest.update(split.labels.contiguous().numpy().data)
        return digest.hexdigest()


def chosen_classes(
    every: Sequence[str], names: Sequence[str] | None
) -> tuple[str, ...]:
    """The classes that are asked for, as they are called in the data.

    Args:
        every: all classes of the data.
        names: two or more of them; numbers count as what they look like. None: all.

    Raises:
        ValueError: there is no such class, or one is named twice or alone.
    """
    if names is None:
        return tuple(every)
    chosen = tuple(map(str, names))
    unknown = [name for name in chosen if name not in every]
    if unknown:
        listed = ", ".join(every[:20]) + (", ..." if len(every) > 20 else "")
        raise ValueError(f"there is no class {unknown[0]!r}; there are {listed}")
    if len(set(chosen)) < max(2, len(chosen)):
        raise ValueError(
            f"classes (={list(chosen)}) must be two or more different ones"
        )
    return chosen


def rank_in_class(labels: Tensor) -> Tensor:
    """How many earlier images have the same label, int64 [N]."""
    order = torch.argsort(labels, stable=True)
    counts = torch.bincount(labels)
    starts = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    rank = torch.empty_like(labels)
    rank[order] = torch.arange(len(labels)) - starts
    return rank


def share_of_train(labels: Tensor, search_share: float) -> tuple[Tensor, Tensor]:
    """Cuts the search split: the last images of each class, in the order given.

    Args:
        labels: int64 [N] of the training data.
        search_share: of each class, rounded down, at least one image; in (0, 1).

    Returns:
        indices of train and of search, int64, ascending and disjoint.

    Raises:
        ValueError: a share out of range, or a class with a single image.
    """
    if not 0 < search_share < 1:
        raise ValueError(f"search_share (={search_share}) must be in (0, 1)")
    counts = torch.bincount(labels)
    if bool((counts == 1).any()):
        raise ValueError(
            f"class {int((counts == 1).nonzero()[0])} has a single training image; "
            "at least 2 are needed, one of them for the search split"
        )
    # The small number keeps 0.1 * 5000 at 500, whatever the share is in binary.
    cut = (counts * search_share + 1e-6).floor().long().clamp_(min=1)
    searched = rank_in_class(labels) >= (counts - cut)[labels]
    return (~searched).nonzero().flatten(), searched.nonzero().flatten()
