from __future__ import annotations

import numpy as np
import pytest
import torch

from agmc.export.words import DTYPES, from_codes, is_finite, to_codes


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_every_type_comes_back(dtype):
    if dtype in (torch.bool, torch.uint8):
        values = torch.randint(0, 2, (3, 4)).to(dtype)
    elif dtype.is_floating_point or dtype.is_complex:
        values = torch.randn(3, 4, dtype=dtype)
    else:
        values = torch.randint(-100, 100, (3, 4)).to(dtype)
    for tensor in (values, values.t(), values[:0], values[0, 0]):
        codes, bits, minimum = to_codes(tensor)
        assert len(codes) == tensor.numel()
        again = from_codes(codes, tuple(tensor.shape), dtype, minimum)
        assert again.dtype == dtype and torch.equal(again, tensor)
        if dtype is torch.bool:
            assert bits == 1


@pytest.mark.parametrize(
    ("values", "bits", "minimum"),
    [
        ([5, 5, 5], 1, 5),
        ([0, 1], 1, 0),
        ([-2, 1], 2, -2),
        ([0, 4], 3, 0),
        ([10, 25], 4, 10),
        ([-(2**63), 2**63 - 1], 64, -(2**63)),
    ],
)
def test_whole_numbers_take_the_bits_of_their_range(values, bits, minimum):
    tensor = torch.tensor(values)
    codes, *found = to_codes(tensor)
    assert found == [bits, minimum]
    assert codes.tolist() == [value - minimum for value in values]
    assert torch.equal(from_codes(codes, (len(values),), torch.int64, minimum), tensor)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_minus_zero_is_a_zero(dtype):
    codes, bits, _ = to_codes(torch.tensor([-0.0, 0.0, -1.0], dtype=dtype))
    assert codes[:2].tolist() == [0, 0] and codes[2] >> (bits - 1) == 1


@pytest.mark.parametrize("dtype", [d for d in DTYPES.values() if d.is_floating_point])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_one_number_that_is_not_finite_is_seen(dtype, value):
    tensor = torch.zeros(300, dtype=dtype)
    assert is_finite(tensor) and is_finite(tensor[:0])
    for place in (0, 17, 299):
        broken = tensor.clone()
        broken[place] = value
        assert not is_finite(broken)


@pytest.mark.parametrize(
    ("dtype", "minimum", "code"),
    [
        (torch.bool, 0, 2),
        (torch.bool, 1, 1),
        (torch.int8, 127, 1),
        (torch.int8, -200, 0),
    ],
)
def test_values_of_no_such_type_are_refused(dtype, minimum, code):
    with pytest.raises(ValueError, match="a value is no"):
        from_codes(np.array([code], np.uint8), (1,), dtype, minimum)
