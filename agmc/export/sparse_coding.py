"""Sparse coding: codes of which most are the same one, in fewer bits.

Three codings of `count` codes of `bits` bits; `fill` is the code that occurs most:

- plain: all codes, packed (see `agmc.export.packing`).
- bitmap: one bit an element, packed, 1 where the code is not `fill`; then, from the
  next whole byte on, the codes that are not `fill`, packed.
- run-length: entries (gap, code) as in Deep Compression (Han et al. 2016,
  https://arxiv.org/abs/1510.00149, section 2): `gap` elements are `fill`, then comes
  `code`. Longer gaps are bridged by fillers, entries with the largest gap
  2^gap_bits - 1 and the code `fill`. What is behind the last entry, fewer than
  2^gap_bits elements, is `fill`. First all gaps, packed, `gap_bits` bits each; then,
  from the next whole byte on, all codes, packed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agmc.cost.storage import (
    GAP_BITS,
    SAID_BITS,
    bitmap_bits,
    is_allowed,
    plain_bits,
    run_length_bits,
)
from agmc.export.packing import pack, packed_bytes, unpack

CODINGS = PLAIN, BITMAP, RUN_LENGTH = "plain", "bitmap", "run-length"


@dataclass(frozen=True)
class Coding:
    """How the codes of one tensor are laid out.

    Attributes:
        name: one of `CODINGS`.
        entries: codes that stand in the payload; 0 for plain, which has all.
        gap_bits: of run-length, one of `GAP_BITS`; 0 otherwise.
        fill: the code that is left out; 0 for plain.
    """

    name: str = PLAIN
    entries: int = 0
    gap_bits: int = 0
    fill: int = 0

    def num_bytes(self, count: int, bits: int) -> int:
        """Bytes of the payload."""
        if self.name == PLAIN:
            return plain_bits(count, bits) // 8
        if self.name == BITMAP:
            return bitmap_bits(count, bits, self.entries) // 8
        return run_length_bits(self.entries, bits, self.gap_bits) // 8


def smallest(codes: np.ndarray, bits: int, fill: int, word_bits: int) -> Coding:
    """The coding that takes the fewest bytes, with what the file says of it.

    Args:
        codes: unsigned [count].
        bits: of a code.
        fill: the code to leave out.
        word_bits: of an element in memory.
    """
    count, kept = len(codes), int(np.count_nonzero(codes != fill))
    best, coding = plain_bits(count, bits) - SAID_BITS, Coding()
    if bitmap_bits(count, bits, kept) < best:
        best = bitmap_bits(count, bits, kept)
        coding = Coding(BITMAP, kept, fill=fill)
    if kept * (bits + GAP_BITS[0]) >= best:
        return coding
    gaps = _gaps(codes, fill)
    for gap_bits in GAP_BITS:
        if kept * (bits + gap_bits) >= best:
            break
        entries = kept + int((gaps >> gap_bits).sum())
        stored = run_length_bits(entries, bits, gap_bits)
        if stored < best and is_allowed(stored, count, word_bits):
            best = stored
            coding = Coding(RUN_LENGTH, entries, gap_bits, fill)
    return coding


def encode(codes: np.ndarray, bits: int, coding: Coding) -> np.ndarray:
    """The payload, uint8 [coding.num_bytes(count, bits)]."""
    if coding.name == PLAIN:
        return pack(codes, bits)
    kept = codes != coding.fill
    if coding.name == BITMAP:
        return np.concatenate([pack(kept, 1), pack(codes[kept], bits)])
    gaps = _gaps(codes, coding.fill)
    fillers = gaps >> coding.gap_bits
    places = np.arange(len(gaps)) + fillers.cumsum()
    all_gaps = np.full(coding.entries, 2**coding.gap_bits - 1, np.uint16)
    values = np.full(coding.entries, coding.fill, codes.dtype)
    # The last gap is that behind the last kept code: it has its fillers and no entry.
    all_gaps[places[:-1]] = gaps[:-1] & (2**coding.gap_bits - 1)
    values[places[:-1]] = codes[kept]
    return np.concatenate([pack(all_gaps, coding.gap_bits), pack(values, bits)])


def decode(payload: np.ndarray, count: int, bits: int, coding: Coding) -> np.ndarray:
    """Reverses `encode`.

    Args:
        payload: uint8 [coding.num_bytes(count, bits)].
        count: of the codes.
        bits: of a code.
        coding: how they are laid out.

    Raises:
        ValueError: the payload tells of more or fewer codes.
    """
    if coding.name == PLAIN:
        return unpack(payload, count, bits)
    values = unpack(
        payload[len(payload) - packed_bytes(coding.entries, bits) :],
        *(coding.entries, bits),
    )
    codes = np.full(count, coding.fill, values.dtype)
    if coding.name == BITMAP:
        kept = unpack(payload[: packed_bytes(count, 1)], count, 1).view(bool)
        if np.count_nonzero(kept) != coding.entries:
            raise ValueError("a bitmap has another number of values than it says")
        codes[kept] = values
        return codes
    gap_bytes = packed_bytes(coding.entries, coding.gap_bits)
    gaps = unpack(payload[:gap_bytes], coding.entries, coding.gap_bits)
    places = (gaps + np.int64(1)).cumsum() - 1
    if coding.entries and places[-1] >= count:
        raise ValueError("run lengths reach beyond their tensor")
    codes[places] = values
    return codes


def _gaps(codes: np.ndarray, fill: int) -> np.ndarray:
    """Elements that are `fill` before each other code and behind the last one."""
    kept = np.flatnonzero(codes != fill)
    return np.diff(kept, prepend=-1, append=len(codes)) - 1
