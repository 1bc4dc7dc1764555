"""The embedded digits: three fixed, stratified, disjoint splits."""

from __future__ import annotations

import pytest
import torch
from sklearn import datasets

from agmc.data import load_digits


def test_every_digit_is_in_exactly_one_split():
    splits = load_digits()
    assert [len(s) for s in splits.by_name.values()] == [1085, 357, 355]
    ours = torch.cat([s.images for s in splits.by_name.values()])
    bunch = datasets.load_digits()
    original = torch.from_numpy(bunch.images * (255 / 16)).round().to(torch.uint8)
    # The originals hold no two equal images, so sorted rows tell them apart.
    assert torch.equal(ours.flatten(1).unique(dim=0), original.flatten(1).unique(dim=0))
    assert len(ours.flatten(1).unique(dim=0)) == 1797


def test_splits_are_stratified():
    splits = load_digits()
    total = sum(torch.bincount(s.labels) for s in splits.by_name.values())
    for name, share in (("train", 0.6), ("search", 0.2), ("test", 0.2)):
        counts = torch.bincount(splits.by_name[name].labels, minlength=10)
        assert bool(((counts - share * total).abs() < 1.5).all())


def test_splits_are_fixed():
    assert load_digits().digest == "1da382a2b96d"


def test_pixels_span_the_range():
    train = load_digits().train.images
    assert (int(train.min()), int(train.max())) == (0, 255)
    normalized = load_digits().normalize(train)
    assert abs(float(normalized.mean())) < 0.01
    assert abs(float(normalized.std()) - 1) < 0.01


def test_size_scales_up():
    small, large = load_digits(), load_digits(size=16)
    assert large.image_shape == (1, 16, 16)
    assert torch.equal(large.train.labels, small.train.labels)
    means = [s.train.images.float().mean((1, 2, 3)) for s in (small, large)]
    assert float((means[0] - means[1]).abs().max()) < 1


def test_mirrored_digits_are_other_signs():
    assert not load_digits().flip
    assert load_digits().crop_padding == 1


def test_size_below_the_originals():
    with pytest.raises(ValueError, match=r"size \(=7\) must be >= 8"):
        load_digits(size=7)
