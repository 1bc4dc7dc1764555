"""Packing: codes of any number of bits, one after the other without gaps.

Code i takes the bits [i * bits, (i + 1) * bits) of the stream; bit j of the stream is
bit j % 8 of byte j // 8, the lowest bit being bit 0. So codes of 8, 16, 32 or 64 bits
are little-endian numbers. The bits behind the last code are zero.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def packed_bytes(count: int, bits: int) -> int:
    """Bytes that `pack` makes of so many codes."""
    return -(-count * bits // 8)


def code_dtype(bits: int) -> np.dtype:
    """The smallest unsigned type for codes of 1 to 64 bits, little-endian."""
    return np.dtype(next(f"<u{size}" for size in (1, 2, 4, 8) if bits <= 8 * size))


def pack(codes: np.ndarray, bits: int) -> np.ndarray:
    """Codes as bytes.

    Args:
        codes: unsigned [count], each below 2^bits.
        bits: of a code, 1 to 64.

    Returns:
        uint8 [packed_bytes(count, bits)].
    """
    codes = np.ascontiguousarray(codes, code_dtype(bits))
    if bits % 8 == 0:
        size = codes.dtype.itemsize
        return codes.view(np.uint8).reshape(-1, size)[:, : bits // 8].reshape(-1)
    groups = -(-len(codes) // 8)
    columns = np.zeros((groups, 8), codes.dtype)
    columns.reshape(-1)[: len(codes)] = codes
    packed = np.zeros((groups, bits), np.uint8)
    for column, byte, shift in _overlaps(bits):
        part = columns[:, column]
        part = part >> shift if shift >= 0 else part << -shift
        packed[:, byte] |= part.astype(np.uint8)
    return packed.reshape(-1)[: packed_bytes(len(codes), bits)]


def unpack(packed: np.ndarray, count: int, bits: int) -> np.ndarray:
    """Reverses `pack`.

    Args:
        packed: uint8 [packed_bytes(count, bits)].
        count: of the codes.
        bits: of a code, 1 to 64.

    Returns:
        codes, [count] of `code_dtype(bits)`.
    """
    dtype = code_dtype(bits)
    if bits % 8 == 0:
        whole = np.zeros((count, dtype.itemsize), np.uint8)
        whole[:, : bits // 8] = packed.reshape(count, bits // 8)
        return whole.reshape(-1).view(dtype)
    groups = -(-count // 8)
    rows = np.zeros((groups, bits), np.uint8)
    rows.reshape(-1)[: len(packed)] = packed
    codes = np.zeros((groups, 8), dtype)
    for column, byte, shift in _overlaps(bits):
        part = rows[:, byte].astype(dtype)
        codes[:, column] |= part << shift if shift >= 0 else part >> -shift
    codes &= dtype.type((1 << bits) - 1)
    return codes.reshape(-1)[:count]


def _overlaps(bits: int) -> Iterator[tuple[int, int, int]]:
    """Which of eight codes shares bits with which of the `bits` bytes they fill.

    Yields (code, byte, shift): the byte is the code shifted right by so many bits, or
    left where negative.
    """
    for column in range(8):
        first, last = column * bits, (column + 1) * bits - 1
        for byte in range(first // 8, last // 8 + 1):
            yield column, byte, 8 * byte - first
