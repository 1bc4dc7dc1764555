"""Crops and flips, image by image."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from agmc.training.augment import augment


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_nothing_to_do():
    images = torch.randn(3, 2, 4, 5)
    out = augment(images, crop_padding=0, flip=False, generator=generator())
    assert torch.equal(out, images)


def test_every_image_is_a_crop_of_the_padded_one_and_all_shifts_occur():
    images = torch.arange(1.0, 1 + 300 * 2 * 9).reshape(300, 2, 3, 3)
    out = augment(images, crop_padding=1, flip=False, generator=generator())
    padded = F.pad(images, (1, 1, 1, 1))
    seen = set()
    for image, crop in zip(padded, out, strict=True):
        places = [
            (y, x)
            for y in range(3)
            for x in range(3)
            if torch.equal(image[:, y : y + 3, x : x + 3], crop)
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) == 9


def test_about_half_are_flipped_left_to_right():
    images = torch.randn(400, 1, 2, 3)
    out = augment(images, crop_padding=0, flip=True, generator=generator())
    kept = (out == images).flatten(1).all(1)
    flipped = (out == images.flip(3)).flatten(1).all(1)
    assert bool((kept ^ flipped).all())
    assert 150 < int(flipped.sum()) < 250


def test_same_seed_same_batch():
    images = torch.randn(8, 3, 6, 6)
    first, second, other = (
        augment(images, crop_padding=2, flip=True, generator=generator(seed))
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_channels_last():
    out = augment(
        torch.randn(4, 3, 6, 6), crop_padding=1, flip=True, generator=generator()
    )
    assert out.is_contiguous(memory_format=torch.channels_last)
