from __future__ import annotations

import pytest
import torch

from agmc.embedding.standardised import REACH, standardised, within_reach


def test_columns_and_those_without_spread():
    unpruned = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    assert standardised(unpruned, unpruned).tolist() == [[-1, 0], [1, 0]]
    assert standardised(torch.tensor([[4.0, 6.0]]), unpruned).tolist() == [[2, 0]]


def test_within_reach_by_hand():
    values = torch.tensor([[1.0, 5, 0], [3, 5, 0], [2, 5, 0], [2, 5, 0]])
    third = 2**0.5 / REACH  # one of four is a standard deviation times sqrt(2) away
    expected = [[-third, 0, 0], [third, 0, 0], [0, 0, 0], [0, 0, 0]]
    found = within_reach(values, values)
    torch.testing.assert_close(found, torch.tensor(expected))
    one = within_reach(torch.tensor([-9.0, 5, 1]), values)
    assert one.tolist() == [-1, 0, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_both_say_the_same_within_reach(dtype):
    unpruned = torch.randn(
        20, 4, dtype=dtype, generator=torch.Generator().manual_seed(0)
    )
    unpruned[:, 1] = 7
    vectors = 2 * unpruned
    expected = (standardised(vectors, unpruned) / REACH).clamp(-1, 1)
    torch.testing.assert_close(within_reach(vectors, unpruned), expected)
