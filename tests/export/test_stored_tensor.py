from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from agmc.export.sparse_coding import Coding
from agmc.export.stored_tensor import StoredTensor, codes_of, store
from agmc.export.words import to_codes


def stored(tensor, deflate=False):
    return store("w", tensor, *to_codes(tensor), deflate=deflate)


def test_the_record_of_a_dense_weight_is_its_shape():
    record, payload = stored(torch.ones(2, 3))
    assert record.to_json() == {"shape": [2, 3]}
    assert payload == torch.ones(6).numpy().tobytes()
    assert (record.elements, record.bits, record.coding, record.bytes) == (
        *(6, 32, "plain", 24),
    )


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize(
    "tensor",
    [
        torch.ones(1000),
        torch.zeros(1000),
        torch.arange(1000) // 300 + 7,
        torch.arange(1000) == 3,
        torch.eye(40),
        torch.tensor(3),
        torch.zeros(0, 5),
    ],
)
def test_what_is_stored_comes_back(tensor, deflate):
    record, payload = stored(tensor, deflate)
    assert record == StoredTensor.from_json("w", record.to_json())
    assert record.bytes == len(payload)
    codes = codes_of(record, np.frombuffer(payload, np.uint8))
    assert np.array_equal(codes, to_codes(tensor)[0])
    assert ("zlib" in record.coding) == bool(record.deflated)


def test_zlib_where_it_is_smaller_and_never_for_too_much():
    same = torch.full((100_000,), 1.5)
    record, payload = stored(same, deflate=True)
    assert record.coding == "plain + zlib"
    assert 400_000 / 1024 <= len(payload) < 2000
    noise = torch.randint(-(2**31), 2**31, (1000,), dtype=torch.int32)
    assert not stored(noise, deflate=True)[0].deflated
    # 8 MB of zeros: run lengths come close to the limit already, zlib would break it.
    record, payload = stored(torch.zeros(2_000_000), deflate=True)
    assert record.coding == "run-length" and len(payload) >= 8_000_000 / 1024


def test_the_code_that_occurs_most_is_left_out():
    index = torch.full((1000,), 9)
    index[::50] = torch.arange(20)
    record, _ = stored(index)
    assert record.layout.name != "plain" and record.layout.fill == 9
    assert record.bits == 5


GOOD = {"shape": [40, 40], "coding": "bitmap", "entries": 40}


@pytest.mark.parametrize(
    "changes",
    [
        *({"shape": shape} for shape in ([-1], [2.0], "a", None, [2**60], [True], {})),
        *({"shape": [[1]]}, {"shape": [1] * 65}),
        *({"dtype": dtype} for dtype in ("float33", "load", 3, None, ["float32"])),
        *({"bits": bits} for bits in (0, -1, 33, 2.0, True, "8", math.nan)),
        *({"coding": coding} for coding in ("", "lzma", 3, ["plain"], "plain")),
        *({"entries": entries} for entries in (-1, 1601, 10**30, 1e3, 1600)),
        *({"fill": fill} for fill in (-1, 2**32, "0")),
        *({"gap_bits": bits} for bits in (-1, 1)),
        *({"minimum": minimum} for minimum in (1, -1, 2**64)),
        *({"zlib": size} for size in (-1, 361, 10**12, 0.5, 6)),
        *({"dtype": "float16", "bits": 8}, {"dtype": "bool", "bits": 9}),
        {"dtype": "uint8", "bits": 8, "minimum": 256},
        *({"coding": "run-length", "gap_bits": bits} for bits in (0, 17)),
        {"shape": [2**30], "coding": "run-length", "gap_bits": 16, "entries": 2**14},
        {"path": "../../etc/passwd"},
    ],
)
def test_records_of_no_tensor_are_refused(changes):
    StoredTensor.from_json("w", GOOD)
    with pytest.raises(ValueError, match="^w ") as raised:
        StoredTensor.from_json("w", GOOD | changes)
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize("record", [None, [], 3, "a", {}])
def test_what_is_no_record_is_refused(record):
    with pytest.raises(ValueError, match="^w "):
        StoredTensor.from_json("w", record)


def test_streams_of_another_size_are_refused():
    record, payload = stored(torch.full((1000,), 1.5), deflate=True)
    shorter = StoredTensor("w", (999,), "float32", 32, Coding(), 0, record.deflated)
    with pytest.raises(ValueError, match="w has another size after zlib"):
        codes_of(shorter, np.frombuffer(payload, np.uint8))
    with pytest.raises(ValueError, match="w is no zlib stream"):
        codes_of(record, np.frombuffer(payload[::-1], np.uint8))
    with pytest.raises(ValueError, match="w has another size after zlib"):
        codes_of(record, np.frombuffer(payload[:-1], np.uint8))
