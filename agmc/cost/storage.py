"""Storage: the bits that a tensor takes in a saved file, counted and expected.

A tensor is `numel` codes of `bits` bits, most of which may be the same one (zero). The
file has the smallest of three codings (see `agmc.export.sparse_coding`): plain, a
bitmap with the other codes, or run lengths with fillers. All functions take numbers or
numpy arrays, and count the whole bytes that each part of a payload fills.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

#: A gap of the run-length coding is a number of one of these many bits.
GAP_BITS = range(1, 17)

#: What the file says of a coding that is not plain; it must save more than that.
SAID_BITS = 128

#: No payload stands for more than this many times its own size in memory, so that a
#: reader can refuse a file that would fill the memory before it makes room.
LARGEST_RATIO = 1024

#: Of an element of a weight in memory: float32.
_WORD_BITS = 32


def plain_bits(numel: Any, bits: Any) -> Any:
    """One code after the other."""
    return _whole_bytes(numel * bits)


def bitmap_bits(numel: Any, bits: Any, kept: Any) -> Any:
    """One bit an element, and the `kept` codes that differ from the frequent one."""
    return _whole_bytes(numel) + _whole_bytes(kept * bits)


def run_length_bits(entries: Any, bits: Any, gap_bits: Any) -> Any:
    """A gap and a code for each entry, fillers included."""
    return _whole_bytes(entries * gap_bits) + _whole_bytes(entries * bits)


def is_allowed(stored: Any, numel: Any, word_bits: Any) -> Any:
    """Whether a payload of `stored` bits may stand for a tensor of such words."""
    return numel * word_bits <= LARGEST_RATIO * stored


def stored_bits(numel: Any, bits: Any, sparsity: Any) -> np.ndarray:
    """Expected size of a weight of which a share is zero, at places that are random.

    Args:
        numel: elements, >= 1; these and the others broadcast.
        bits: of one element, 1 to 32.
        sparsity: share of zeros, in [0, 1).

    Returns:
        bits of the smallest coding, float64.
    """
    numel, bits, sparsity = (np.asarray(x, float) for x in (numel, bits, sparsity))
    plain = plain_bits(numel, bits)
    sparse = bitmap_bits(numel, bits, numel * (1 - sparsity))
    for gap_bits in GAP_BITS:
        entries = expected_entries(numel, sparsity, gap_bits)
        runs = run_length_bits(entries, bits, gap_bits)
        allowed = is_allowed(runs, numel, _WORD_BITS)
        sparse = np.where(allowed, np.minimum(sparse, runs), sparse)
    return np.where(sparse + SAID_BITS < plain, sparse, plain)


def expected_coding(numel: int, bits: int, density: float) -> dict[str, Any]:
    """What the file says of the coding that `stored_bits` expects; {} of a plain one.

    Args:
        numel: elements of the weight, >= 1.
        bits: of one element, 1 to 32.
        density: share that is not zero, in [0, 1].
    """
    kept = round(numel * density)
    found = [(bitmap_bits(numel, bits, kept), {"coding": "bitmap", "entries": kept})]
    for gap_bits in GAP_BITS if 0 < density < 1 else ():
        entries = round(expected_entries(numel, 1 - density, gap_bits))
        stored = run_length_bits(entries, bits, gap_bits)
        if is_allowed(stored, numel, _WORD_BITS):
            said = {"coding": "run-length", "entries": entries, "gap_bits": gap_bits}
            found.append((stored, said))
    best, said = min(found, key=lambda one: one[0])
    return said if best + SAID_BITS < plain_bits(numel, bits) else {}


def expected_entries(numel: Any, sparsity: Any, gap_bits: int) -> Any:
    """Entries of the run-length coding, fillers included.

    A gap before a kept element is geometric, P(gap >= j) = sparsity^j, and takes
    floor(gap / 2^gap_bits) fillers, which are sparsity^M / (1 - sparsity^M) on average
    with M = 2^gap_bits; with the element itself 1 / (1 - sparsity^M) entries.
    """
    with np.errstate(divide="ignore"):  # log(0): nothing is zero, no gaps
        reached = -np.expm1(2.0**gap_bits * np.log(sparsity))
    return numel * (1 - sparsity) / reached


def tensor_record(shape: Sequence[int], dtype: str, **others: Any) -> dict[str, Any]:
    """What the file says of a tensor; what is as usual is left out.

    Args:
        shape: of the tensor.
        dtype: name of its type, `float32` as usual.
        **others: further entries; None and 0 are left out.
    """
    record: dict[str, Any] = {"shape": list(shape)}
    if dtype != "float32":
        record["dtype"] = dtype
    return record | {key: value for key, value in others.items() if value}


def packed_json(content: Any) -> bytes:
    """JSON as the file holds it: without spaces, through zlib."""
    text = json.dumps(content, separators=(",", ":"))
    return zlib.compress(text.encode(), 9)


def _whole_bytes(bits: Any) -> Any:
    return -(-bits // 8) * 8
