"""Expected sizes are those of payloads that are written."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest

from agmc.cost.storage import (
    bitmap_bits,
    expected_entries,
    is_allowed,
    packed_json,
    plain_bits,
    run_length_bits,
    stored_bits,
    tensor_record,
)
from agmc.export.sparse_coding import encode, smallest

BITS = (1, 2, 3, 4, 8, 32)
SPARSITIES = (0, 0.3, 0.7, 0.9, 0.95, 0.99)


def written_bits(numel, bits, sparsity, generator):
    """Of one tensor with zeros at random places, and other codes that are not zero."""
    codes = generator.integers(1, 2**bits, numel, np.uint32)
    codes[generator.permutation(numel)[: round(sparsity * numel)]] = 0
    coding = smallest(codes, bits, 0, 32)
    payload = encode(codes, bits, coding)
    assert len(payload) == coding.num_bytes(numel, bits)
    return 8 * len(payload)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_the_expected_size_is_the_written_one(bits, sparsity):
    generator = np.random.default_rng(0)
    # The fewer codes are kept, the more chance there is in one tensor of 10,000.
    for numel, times in ((10_000, 40), (1_000_000, 1)):
        written = [written_bits(numel, bits, sparsity, generator) for _ in range(times)]
        assert np.mean(written) == pytest.approx(
            stored_bits(numel, bits, sparsity), rel=0.02
        )


def test_sizes_by_hand():
    assert plain_bits(10, 3) == 32  # 30 bits are 4 bytes
    assert bitmap_bits(10, 3, 2) == 16 + 8
    assert run_length_bits(3, 4, 5) == 16 + 16
    # Half of the elements are zeros: 1 / (1 - 1/4) entries for each other one.
    assert expected_entries(90, 0.5, 1) == pytest.approx(45 * 4 / 3)
    assert expected_entries(90, 0, 3) == 90
    # 1,000 weights of 4 bits, none of them zero: 4,000 bits; 9 in 10 zero: a bitmap
    # has 1,000 and 400 bits; gaps of 5 bits have 100 / (1 - 0.9^32) = 103.55 entries,
    # 64.7 bytes of gaps and 51.8 bytes of codes.
    assert stored_bits(1000, 4, 0) == 4000
    assert stored_bits(1000, 4, 0.9) == 8 * (65 + 52)
    # What would be said of a bitmap costs more than it saves.
    assert stored_bits(100, 2, 0.55) == plain_bits(100, 2) == 200


def test_a_payload_never_stands_for_too_much():
    numel = 2**24
    assert not is_allowed(32 * numel / 1024 - 1, numel, 32)
    assert is_allowed(32 * numel / 1024, numel, 32)
    assert is_allowed(stored_bits(numel, 1, 1 - 1e-6), numel, 32)


def test_arrays_broadcast_and_sizes_fall_with_the_sparsity():
    sizes = stored_bits(np.array([[10_000], [50_000]]), 4, np.linspace(0, 0.99, 50))
    assert sizes.shape == (2, 50)
    assert (np.diff(sizes, axis=1) <= 0).all()
    assert sizes[1, 7] == stored_bits(50_000, 4, np.linspace(0, 0.99, 50)[7])


def test_records_leave_out_what_is_as_usual():
    assert tensor_record((2, 3), "float32", bits=0, zlib=None) == {"shape": [2, 3]}
    assert tensor_record((), "int64", bits=4) == {
        **{"shape": [], "dtype": "int64", "bits": 4}
    }
    content = {"tensors": [{"shape": [2]}]}
    assert json.loads(zlib.decompress(packed_json(content))) == content
