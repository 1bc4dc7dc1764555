from __future__ import annotations

import numpy as np
import pytest

from agmc.export.packing import code_dtype, pack, packed_bytes, unpack


def test_by_hand():
    # 3 bits each from the lowest on: 001 010 111 -> 111 010 001 as one number.
    packed = pack(np.array([1, 2, 7], np.uint8), 3)
    assert packed.tolist() == [0b11010001, 0b1]
    assert pack(np.array([1, 0, 0, 1], np.uint8), 1).tolist() == [0b1001]
    assert pack(np.array([0x123, 0xABC], np.uint16), 12).tolist() == [0x23, 0xC1, 0xAB]
    assert pack(np.array([0x1234], np.uint16), 16).tolist() == [0x34, 0x12]


@pytest.mark.parametrize("bits", range(1, 65))
def test_every_number_of_bits_comes_back(bits):
    generator = np.random.default_rng(bits)
    for count in (0, 1, 7, 8, 9, 100):
        codes = generator.integers(0, 2**bits, count, np.uint64)
        codes[:1] = 2**bits - 1
        codes = codes.astype(code_dtype(bits))
        packed = pack(codes, bits)
        assert packed.dtype == np.uint8
        assert len(packed) == packed_bytes(count, bits) == (count * bits + 7) // 8
        again = unpack(packed, count, bits)
        assert again.dtype == code_dtype(bits)
        assert np.array_equal(again, codes)
        # The stream is one number of little-endian bytes.
        number = sum(int(code) << (i * bits) for i, code in enumerate(codes))
        assert int.from_bytes(packed.tobytes(), "little") == number
