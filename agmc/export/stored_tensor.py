"""StoredTensor: what a file says of one of its tensors."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from agmc.cost.storage import GAP_BITS, SAID_BITS, is_allowed, tensor_record
from agmc.export.sparse_coding import (
    CODINGS,
    PLAIN,
    RUN_LENGTH,
    Coding,
    decode,
    encode,
    smallest,
)
from agmc.export.words import DTYPES, is_whole, value_range, word_bits

#: Bytes that tell which strategy of zlib is the better one.
_SAMPLE = 2**16
#: Codes of that many bits are counted to find the one that occurs most.
_MOST_COUNTED_BITS = 16
_MOST_DIMENSIONS = 64
_KEYS = {
    *("shape", "dtype", "bits", "minimum"),
    *("coding", "entries", "gap_bits", "fill", "zlib"),
}


@dataclass(frozen=True)
class StoredTensor:
    """How one tensor is stored.

    Attributes:
        name: qualified.
        shape: of the tensor.
        dtype: name of its type in torch.
        bits: of a code.
        layout: of the codes.
        minimum: value of code 0, of whole numbers.
        deflated: bytes of the payload after zlib; 0: it did not go through zlib.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    bits: int
    layout: Coding = Coding()
    minimum: int = 0
    deflated: int = 0

    @property
    def elements(self) -> int:
        """Of the tensor."""
        return math.prod(self.shape)

    @property
    def coding(self) -> str:
        """`plain`, `bitmap` or `run-length`, with ` + zlib` where that was smaller."""
        return self.layout.name + " + zlib" * bool(self.deflated)

    @property
    def bytes(self) -> int:
        """Of the payload."""
        return self.deflated or self.layout.num_bytes(self.elements, self.bits)

    @property
    def word_bits(self) -> int:
        """Of an element in memory."""
        return word_bits(DTYPES[self.dtype])

    @property
    def has_levels(self) -> bool:
        """Whether the codes are levels of a quantised weight, see `Quantizer`."""
        return DTYPES[self.dtype].is_floating_point and self.bits < self.word_bits

    def to_json(self) -> dict[str, Any]:
        """The record; `from_json` reverses."""
        layout = self.layout
        return tensor_record(
            self.shape,
            self.dtype,
            bits=self.bits if self.bits != self.word_bits else 0,
            minimum=self.minimum,
            coding=layout.name if layout.name != PLAIN else None,
            entries=layout.entries,
            gap_bits=layout.gap_bits,
            fill=layout.fill,
            zlib=self.deflated,
        )

    @classmethod
    def from_json(cls, name: str, record: Any) -> StoredTensor:
        """Reads a record; nothing in it is trusted.

        Raises:
            ValueError: it is none, or no file can hold such a tensor.
        """
        if not isinstance(record, dict) or not set(record) <= _KEYS:
            raise ValueError(f"{name} is described by {record!r:.80}")
        shape, dtype = record.get("shape"), record.get("dtype", "float32")
        coding = record.get("coding", PLAIN)
        if (
            not isinstance(shape, list)
            or len(shape) > _MOST_DIMENSIONS
            or not all(type(size) is int and 0 <= size < 2**48 for size in shape)
        ):
            raise ValueError(f"{name} has the shape {shape!r:.80}")
        if not isinstance(dtype, str) or dtype not in DTYPES:
            raise ValueError(f"{name} has the type {dtype!r:.80}")
        if coding not in CODINGS:
            raise ValueError(f"{name} has the coding {coding!r:.80}")
        word, elements = word_bits(DTYPES[dtype]), math.prod(shape)
        low, high = value_range(DTYPES[dtype]) if is_whole(DTYPES[dtype]) else (0, 0)

        def whole(key: str, default: int, least: int, most: int) -> int:
            value = record.get(key, default)
            if type(value) is not int or not least <= value <= most:
                raise ValueError(f"{name} has {key} {value!r:.80}")
            return value

        fewest = 1 if is_whole(DTYPES[dtype]) or dtype == "float32" else word
        bits = whole("bits", word, fewest, word)
        runs = coding == RUN_LENGTH
        layout = Coding(
            coding,
            whole("entries", 0, 0, elements if coding != PLAIN else 0),
            whole("gap_bits", 0, GAP_BITS[0] * runs, GAP_BITS[-1] * runs),
            whole("fill", 0, 0, 2**bits - 1),
        )
        raw = layout.num_bytes(elements, bits)
        stored = cls(
            *(name, tuple(shape), dtype, bits, layout),
            whole("minimum", 0, low, high),
            whole("zlib", 0, 0, max(0, raw - 1)),
        )
        if raw > Coding().num_bytes(elements, bits) or not is_allowed(
            8 * stored.bytes, elements, word
        ):
            raise ValueError(f"{name} cannot be {elements:,} elements in its payload")
        return stored


def store(
    name: str,
    tensor: torch.Tensor,
    codes: np.ndarray,
    bits: int,
    minimum: int,
    *,
    deflate: bool,
) -> tuple[StoredTensor, bytes]:
    """Record and payload of a tensor.

    Args:
        name: qualified.
        tensor: has shape and type.
        codes: unsigned [numel].
        bits: of a code.
        minimum: value of code 0, of whole numbers.
        deflate: whether zlib is tried.
    """
    word = word_bits(tensor.dtype)
    # Bits of a floating-point number: the zeros, if any, are those to leave out.
    counted = codes.size and bits <= _MOST_COUNTED_BITS
    fill = int(np.bincount(codes).argmax()) if counted else 0
    layout = smallest(codes, bits, fill, word)
    payload = encode(codes, bits, layout).tobytes()
    deflated = 0
    if deflate:
        smaller = _deflated(payload)
        worth = 8 * len(smaller) + SAID_BITS < 8 * len(payload)
        if worth and is_allowed(8 * len(smaller), len(codes), word):
            deflated, payload = len(smaller), smaller
    dtype = str(tensor.dtype).removeprefix("torch.")
    shape = tuple(tensor.shape)
    return StoredTensor(name, shape, dtype, bits, layout, minimum, deflated), payload


def _deflated(payload: bytes) -> bytes:
    """Through zlib, by the strategy that does better at the beginning.

    Weights hardly repeat: what is taken for a repetition is dearer than its bytes, and
    to look for nothing but runs of one byte takes a quarter of the time.
    """

    def packed(part: bytes, strategy: int) -> bytes:
        how = (9, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, strategy)
        packer = zlib.compressobj(*how)
        return packer.compress(part) + packer.flush()

    strategies = (zlib.Z_RLE, zlib.Z_DEFAULT_STRATEGY)
    best = min(strategies, key=lambda s: len(packed(payload[:_SAMPLE], s)))
    return packed(payload, best)


def codes_of(stored: StoredTensor, payload: np.ndarray) -> np.ndarray:
    """Reverses `store`.

    Args:
        stored: the record.
        payload: uint8 [stored.bytes].

    Returns:
        codes, unsigned [numel].

    Raises:
        ValueError: the payload is another one.
    """
    if stored.deflated:
        size = stored.layout.num_bytes(stored.elements, stored.bits)
        reader = zlib.decompressobj()
        try:
            inflated = reader.decompress(payload.tobytes(), size + 1)
        except zlib.error as error:
            raise ValueError(f"{stored.name} is no zlib stream: {error}") from error
        if len(inflated) != size or not reader.eof or reader.unused_data:
            raise ValueError(f"{stored.name} has another size after zlib")
        payload = np.frombuffer(inflated, np.uint8)
    return decode(payload, stored.elements, stored.bits, stored.layout)
