"""Words: elements of tensors as unsigned codes, whatever their type.

- floating-point and complex numbers: the bits of the number itself, but that -0.0 is
  stored as 0.0, so that weights multiplied by a mask count as zeros.
- whole numbers and truth values: the value minus the smallest one of the tensor, in as
  few bits as the largest difference needs, at least one.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from agmc.export.packing import code_dtype

#: Types of tensors that a file can hold.
DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.float32, torch.float64, torch.float16, torch.bfloat16),
        *(torch.complex64, torch.bool, torch.uint8, torch.int8),
        *(torch.int16, torch.int32, torch.int64),
    )
}
_UNSIGNED = (torch.bool, torch.uint8)
#: By bytes; torch has few operations for unsigned types.
_SIGNED = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def word_bits(dtype: torch.dtype) -> int:
    """Bits of an element in memory."""
    return 8 * dtype.itemsize


def is_whole(dtype: torch.dtype) -> bool:
    """Whether the values are whole numbers or truth values."""
    return not dtype.is_floating_point and not dtype.is_complex


def is_finite(tensor: Tensor) -> bool:
    """Whether no element of a floating-point tensor is NaN or infinite."""
    # Much faster than `isfinite` of all: NaN is the smallest and the largest.
    return not tensor.numel() or all(end.isfinite() for end in tensor.aminmax())


def to_codes(tensor: Tensor) -> tuple[np.ndarray, int, int]:
    """The elements in row-major order.

    Args:
        tensor: any shape, of one of `DTYPES`.

    Returns:
        codes, unsigned [numel]; the bits of a code; the value of code 0.
    """
    words = _words(tensor)
    if is_whole(tensor.dtype):
        if not words.size:
            return words, 1, 0
        kind = "u" if tensor.dtype in _UNSIGNED else "i"
        values = words.view(f"<{kind}{words.itemsize}")
        minimum = int(values.min())
        bits = max(1, (int(values.max()) - minimum).bit_length())
        codes = words - _wrapped(minimum, words)
        return codes.astype(code_dtype(bits)), bits, minimum
    bits = word_bits(tensor.dtype)
    if tensor.dtype.is_floating_point:
        negative_zero = words == words.dtype.type(1 << (bits - 1))
        if negative_zero.any():
            words = np.where(negative_zero, words.dtype.type(0), words)
    return words, bits, 0


def from_codes(
    codes: np.ndarray, shape: tuple[int, ...], dtype: torch.dtype, minimum: int
) -> Tensor:
    """Reverses `to_codes`.

    Raises:
        ValueError: a value is none of the type.
    """
    if is_whole(dtype):
        low, high = value_range(dtype)
        if codes.size and not low <= minimum <= high - int(codes.max()):
            raise ValueError(f"a value is no {str(dtype).removeprefix('torch.')}")
        words = codes.astype(f"<u{dtype.itemsize}")
        codes = words + _wrapped(minimum, words)
    signed = torch.from_numpy(codes.view(f"<i{dtype.itemsize}"))
    return signed.view(dtype).reshape(shape)


def value_range(dtype: torch.dtype) -> tuple[int, int]:
    """Smallest and largest value of a type of whole numbers or truth values."""
    if dtype is torch.bool:
        return 0, 1
    return torch.iinfo(dtype).min, torch.iinfo(dtype).max


def _words(tensor: Tensor) -> np.ndarray:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    words = flat.view(_SIGNED[tensor.dtype.itemsize]).numpy()
    return words.view(f"<u{words.itemsize}")


def _wrapped(value: int, words: np.ndarray) -> np.unsignedinteger:
    """A number modulo the range of the words."""
    return words.dtype.type(value % (1 << (8 * words.itemsize)))
