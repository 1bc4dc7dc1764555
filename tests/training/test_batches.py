"""Batches: what is in them, in what order and of what size."""

from __future__ import annotations

import pytest
import torch

from agmc.training import Batches, batches_of


def test_batches_are_normalised_and_interleaved(splits, execution):
    batches = batches_of(splits, "search", execution=execution, batch_size=4)
    order = splits.search.interleaved()
    expected = splits.normalize(splits.search.images[order])
    torch.testing.assert_close(torch.cat([x for x, _ in batches]), expected)
    assert torch.cat([y for _, y in batches]).tolist() == [0, 1] * 5
    assert batches.images.is_contiguous(memory_format=torch.channels_last)


def test_limit_is_stratified_and_fixed(splits, execution):
    batches = batches_of(splits, "train", execution=execution, limit=6)
    again = batches_of(splits, "train", execution=execution, limit=6)
    assert batches.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert torch.equal(batches.images, again.images)
    assert torch.equal(
        batches.images, splits.normalize(splits.train.images[:6]).contiguous()
    )


@pytest.mark.parametrize(
    ("batch_size", "sizes"), [(4, [4, 3, 3]), (10, [10]), (99, [10]), (9, [5, 5])]
)
def test_batches_are_of_nearly_the_same_size(batch_size, sizes):
    batches = Batches(torch.zeros(10, 1, 1, 1), torch.zeros(10).long(), batch_size)
    assert [len(y) for _, y in batches] == sizes
    assert len(batches) == len(sizes)


def test_unknown_split_lists_the_choices(splits, execution):
    with pytest.raises(ValueError, match="'val'.*train, search, test"):
        batches_of(splits, "val", execution=execution)


def test_bad_batch_size(splits, execution):
    with pytest.raises(ValueError, match=r"batch_size \(=0\)"):
        batches_of(splits, "train", execution=execution, batch_size=0)
