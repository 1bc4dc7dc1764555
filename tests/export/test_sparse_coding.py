from __future__ import annotations

import numpy as np
import pytest

from agmc.export.packing import code_dtype, unpack
from agmc.export.sparse_coding import Coding, decode, encode, smallest


def codes_with(places, count, bits=4, fill=0, value=5):
    codes = np.full(count, fill, code_dtype(bits))
    codes[places] = value
    return codes


def test_a_bitmap_by_hand():
    codes = np.array([3, 3, 1, 3, 2], np.uint8)
    payload = encode(codes, 2, Coding("bitmap", 2, fill=3))
    assert payload.tolist() == [0b10100, 0b1001]


def test_run_lengths_by_hand():
    # Gaps of 2 bits: 1 zero before the first 5; 9 before the second, so two fillers of
    # 4 elements each and a gap of 1; 6 behind it, a filler and 2 that nothing says.
    codes = codes_with([1, 11], 18)
    coding = Coding("run-length", 5, 2)
    payload = encode(codes, 4, coding)
    assert unpack(payload[:2], 5, 2).tolist() == [1, 3, 3, 1, 3]
    assert unpack(payload[2:], 5, 4).tolist() == [5, 0, 0, 5, 0]
    assert decode(payload, 18, 4, coding).tolist() == codes.tolist()


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8, 13, 16, 32, 64])
@pytest.mark.parametrize("sparsity", [0, 0.3, 0.7, 0.95, 0.999, 1])
@pytest.mark.parametrize("fill", [0, 1])
def test_what_is_encoded_comes_back_in_the_fewest_bytes(bits, sparsity, fill):
    generator = np.random.default_rng(0)
    for count in (0, 1, 100, 5000):
        codes = generator.integers(0, 2**bits, count, np.uint64)
        codes[generator.random(count) < sparsity] = fill
        codes = codes.astype(code_dtype(bits))
        kept = int((codes != fill).sum())
        best = smallest(codes, bits, fill, 64)
        candidates = [Coding(), Coding("bitmap", kept, fill=fill), best]
        for coding in candidates:
            payload = encode(codes, bits, coding)
            assert payload.dtype == np.uint8
            assert len(payload) == coding.num_bytes(count, bits)
            assert np.array_equal(decode(payload, count, bits, coding), codes)
        sizes = [coding.num_bytes(count, bits) for coding in candidates]
        # Sixteen bytes must be won, for the file says more of it.
        assert sizes[2] == sizes[0] or sizes[2] < sizes[0] - 16
        assert sizes[2] <= max(sizes[1], 16) or sizes[1] >= sizes[0] - 16


def test_the_best_gap_is_found():
    generator = np.random.default_rng(0)
    codes = codes_with(generator.random(20_000) < 0.03, 20_000)
    best = smallest(codes, 4, 0, 32)
    gaps = np.diff(np.flatnonzero(codes), prepend=-1, append=20_000) - 1
    sizes = {}
    for gap_bits in range(1, 17):
        entries = np.count_nonzero(codes) + int((gaps // 2**gap_bits).sum())
        coding = Coding("run-length", entries, gap_bits)
        payload = encode(codes, 4, coding)
        assert np.array_equal(decode(payload, 20_000, 4, coding), codes)
        sizes[gap_bits] = len(payload)
    assert best.name == "run-length"
    assert best.gap_bits == min(sizes, key=sizes.get)


def test_nothing_but_zeros_still_takes_room():
    codes = np.zeros(1_000_000, np.uint8)
    best = smallest(codes, 4, 0, 32)
    assert 4_000_000 / 1024 <= best.num_bytes(1_000_000, 4) < 8000
    assert not decode(encode(codes, 4, best), 1_000_000, 4, best).any()


def test_payloads_of_more_or_fewer_codes_are_refused():
    coding = Coding("bitmap", 2)
    with pytest.raises(ValueError, match="another number of values"):
        decode(np.array([0b111, 0x11], np.uint8), 8, 4, coding)
    with pytest.raises(ValueError, match="beyond their tensor"):
        decode(np.array([0b1111, 0x11], np.uint8), 7, 4, Coding("run-length", 2, 2))
