"""PackedFile: one description and one stream of bytes, checked, in a safetensors file.

`agmc.export.checkpoint` says what stands in them.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from agmc.cost.storage import packed_json

_METADATA = {"format": "agmc", "version": "2"}
_TENSORS = ("data", "description")
#: A description larger than this is no network but an attack.
_LARGEST_DESCRIPTION = 4 * 2**20


def to_packed_file(description: Mapping[str, Any], data: bytes) -> bytes:
    """The file's content.

    Args:
        description: JSON values; the checksum of the data is put beside them.
        data: any bytes.

    Raises:
        ValueError: the description is too large to be read again.
    """
    packed = packed_json({**description, "crc32": zlib.crc32(data)})
    if (size := len(zlib.decompress(packed))) > _LARGEST_DESCRIPTION:
        raise ValueError(
            f"operations and info take {size:,} bytes as JSON, at most "
            f"{_LARGEST_DESCRIPTION:,} can be read again; shorten info"
        )
    tensors = {"description": packed, "data": data}
    return safetensors.numpy.save(
        {name: np.frombuffer(content, np.uint8) for name, content in tensors.items()},
        _METADATA,
    )


def read_packed_file(path: Path) -> tuple[dict[str, Any], np.ndarray]:
    """Description and data, uint8, of a file; the checksums hold.

    Raises:
        ValueError: the file is truncated, damaged or of another kind.
        OSError: it cannot be read.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            _check_kind(path, file.metadata() or {})
            held = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            if sorted(held) != sorted(_TENSORS):
                raise damaged(path, f"it holds {len(held)} tensors of other names")
            if any(
                part.get_dtype() != "U8" or len(part.get_shape()) != 1
                for part in held.values()
            ):
                raise damaged(path, "its tensors are no bytes")
            data, packed = (file.get_tensor(name) for name in _TENSORS)
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path} is truncated, or no safetensors file: {_one_line(error)}"
        ) from error
    try:
        description = _unpacked(packed.tobytes())
    except (ValueError, RecursionError) as error:
        raise damaged(path, error) from error
    if description.get("crc32") != zlib.crc32(data):
        raise damaged(path, "its data do not have the checksum that it says")
    return description, data


def damaged(path: Path, why: object) -> ValueError:
    """The error about a damaged file, in one line."""
    return ValueError(f"{path} is damaged: {_one_line(why)}")


def _one_line(why: object) -> str:
    return " ".join(str(why).split())[:300] or type(why).__name__


def _check_kind(path: Path, metadata: Mapping[str, str]) -> None:
    if metadata.get("format") != _METADATA["format"]:
        raise ValueError(
            f"{path} is no agmc checkpoint: it holds weights without a network; load "
            "them into their network (model.weights=FILE) and compress that"
        )
    if metadata.get("version") != _METADATA["version"]:
        raise ValueError(
            f"{path} has format version {metadata.get('version')!r:.40}, this agmc "
            f"reads {_METADATA['version']!r}; save the network again, or update agmc"
        )


def _unpacked(packed: bytes) -> dict[str, Any]:
    reader = zlib.decompressobj()
    try:
        content = reader.decompress(packed, _LARGEST_DESCRIPTION)
    except zlib.error as error:
        raise ValueError(
            f"the description of the network is broken: {error}"
        ) from error
    if not reader.eof or reader.unused_data:
        raise ValueError("the description of the network is cut off or too large")
    description = json.loads(content)
    if not isinstance(description, dict):
        raise ValueError("the description of the network is no JSON object")
    return description
