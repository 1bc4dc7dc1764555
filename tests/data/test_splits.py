"""Split and Splits: subsets, the search cut, normalisation and their errors."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from agmc.data.splits import Split, Splits, rank_in_class, share_of_train


def split_of(labels: list[int], channels: int = 1) -> Split:
    images = torch.arange(len(labels), dtype=torch.uint8)[:, None, None, None]
    return Split(images.expand(-1, channels, 2, 2).clone(), torch.tensor(labels).long())


def splits_of(train: Split, search: Split, test: Split) -> Splits:
    return Splits(
        name="tiny",
        train=train,
        search=search,
        test=test,
        classes=("a", "b"),
        mean=(0.5,),
        std=(0.25,),
        crop_padding=0,
        flip=False,
    )


@pytest.fixture
def splits() -> Splits:
    return splits_of(split_of([0, 1, 0]), split_of([1, 0]), split_of([0, 1]))


def test_rank_in_class():
    labels = torch.tensor([2, 0, 2, 2, 0, 1])
    assert rank_in_class(labels).tolist() == [0, 0, 1, 2, 1, 0]


def test_interleaved_takes_one_of_every_class_in_turn():
    split = split_of([0, 0, 0, 1, 1, 2])
    assert split.interleaved().tolist() == [0, 3, 5, 1, 4, 2]
    assert split.interleaved(4).tolist() == [0, 3, 5, 1]
    assert split.interleaved(99).tolist() == split.interleaved().tolist()


def test_limit_must_be_positive():
    with pytest.raises(ValueError, match=r"limit \(=0\)"):
        split_of([0, 1]).interleaved(0)


def test_search_is_the_last_tenth_of_each_class():
    labels = torch.tensor([0] * 20 + [1] * 39)
    train, search = share_of_train(labels, 0.1)
    assert search.tolist() == [18, 19, 56, 57, 58]
    assert sorted(train.tolist() + search.tolist()) == list(range(59))


@pytest.mark.parametrize(("count", "expected"), [(5000, 500), (2, 1), (10, 1)])
def test_search_share_is_exact(count, expected):
    _, search = share_of_train(torch.zeros(count, dtype=torch.int64), 0.1)
    assert search.tolist() == list(range(count - expected, count))


def test_search_of_mixed_order():
    labels = torch.tensor([0, 1, 0, 1, 0, 1, 1, 0])
    train, search = share_of_train(labels, 0.25)
    assert search.tolist() == [6, 7]
    assert train.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_bad_share(share):
    with pytest.raises(ValueError, match="search_share"):
        share_of_train(torch.zeros(10, dtype=torch.int64), share)


def test_a_class_of_one_image_cannot_be_cut():
    with pytest.raises(ValueError, match="class 1 has a single training image"):
        share_of_train(torch.tensor([0, 0, 1]), 0.1)


def test_normalize_by_hand(splits):
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 1, 3)
    out = splits.normalize(images)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.flatten(), torch.tensor([-2.0, -1.2, 2.0]))


def test_normalize_keeps_channels_last(splits):
    images = torch.zeros(2, 1, 3, 3, dtype=torch.uint8)
    images = images.contiguous(memory_format=torch.channels_last)
    assert splits.normalize(images).is_contiguous(memory_format=torch.channels_last)


def test_example_input(splits):
    example = splits.example_input(2)
    assert example.shape == (2, *splits.image_shape)
    assert torch.equal(example, splits.normalize(splits.train.images[:2]))


def test_digest_follows_the_content(splits):
    same = replace(splits, name="renamed")
    assert same.digest == splits.digest
    images = splits.test.images.clone()
    images[0, 0, 0, 0] += 1
    changed = replace(splits, test=Split(images, splits.test.labels))
    assert changed.digest != splits.digest
    swapped = replace(splits, train=splits.search, search=splits.train)
    assert swapped.digest != splits.digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test": split_of([0, 2])}, r"labels of test must be in \[0, 1\]"),
        ({"test": split_of([0, 1], channels=3)}, "images of test are"),
        ({"search": split_of([])}, "search split has no image"),
        ({"mean": (0.5, 0.5)}, "one number for each of the 1 channels"),
        ({"std": (0.0,)}, "must be > 0"),
        ({"crop_padding": -1}, r"crop_padding \(=-1\)"),
    ],
)
def test_bad_splits(splits, change, message):
    with pytest.raises(ValueError, match=message):
        replace(splits, **change)


def test_bad_split():
    with pytest.raises(ValueError, match="images must be uint8"):
        Split(torch.zeros(1, 1, 2, 2), torch.zeros(1, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"labels must be int64 \[1\]"):
        Split(torch.zeros(1, 1, 2, 2, dtype=torch.uint8), torch.zeros(2))


def test_some_classes_have_new_labels_and_stay_in_their_splits():
    every = replace(
        splits_of(split_of([0, 1, 0]), split_of([1, 0]), split_of([0, 1])),
        train=split_of([2, 0, 1, 2, 0]),
        search=split_of([1, 2, 0]),
        test=split_of([0, 1, 2]),
        classes=("a", "b", "7"),
    )
    some = every.of_classes([7, "a"])
    assert some.classes == ("7", "a") and some.num_classes == 2
    assert some.train.labels.tolist() == [0, 1, 0, 1]
    assert some.train.images[:, 0, 0, 0].tolist() == [0, 1, 3, 4]
    assert some.search.labels.tolist() == [0, 1]
    assert some.test.images[:, 0, 0, 0].tolist() == [0, 2]
    assert some.digest != every.of_classes(["a", "7"]).digest
    assert every.of_classes(None) is every


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a", "cow"], "there is no class 'cow'; there are a, b"),
        (["a"], "must be two or more different ones"),
        (["a", "a"], "must be two or more different ones"),
        ([], "must be two or more different ones"),
    ],
)
def test_classes_that_cannot_be_taken(splits, names, words):
    with pytest.raises(ValueError, match=words):
        splits.of_classes(names)
