"""Image files as one array in memory, kept on disk so that decoding is done once."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import zipfile
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from agmc.whole_file import write_whole

_LOG = logging.getLogger(__name__)
_NUM_THREADS = 2
_CHUNK = 256
# Part of the key: raise it when the same files come out as other pixels.
_REVISION = 2
# What reading a damaged entry can raise.
_DAMAGE = (
    *(OSError, ValueError, EOFError, KeyError, AttributeError, TypeError),
    *(NotImplementedError, zipfile.BadZipFile, zlib.error),
)


class ImageFile(NamedTuple):
    """A file and what tells that it changed: bytes, and nanoseconds since 1970."""

    path: str
    num_bytes: int
    modified: int


def decode_cached(files: Sequence[ImageFile], size: int, cache: Path | None) -> Tensor:
    """All images, from `cache` where they were decoded before.

    Args:
        files: in the order of the result.
        size: height and width in pixels.
        cache: folder; the entry is keyed by names, sizes and times of the files. A
            damaged entry is made anew; a folder that cannot be written is passed over
            with a warning. None: no cache.

    Returns:
        uint8 [len(files), 3, size, size], RGB.

    Raises:
        ValueError: an image cannot be read.
    """
    if cache is None:
        return torch.from_numpy(decode(files, size))
    shape = (len(files), 3, size, size)
    path = cache.expanduser() / f"images-{_key(files, size)}.npz"
    images = _load(path, shape)
    if images is None:
        images = decode(files, size)
        try:
            _save(path, images)
        except OSError as error:
            _LOG.warning("decoded images are not kept in cache %s: %s", cache, error)
    return torch.from_numpy(images)


def decode(files: Sequence[ImageFile], size: int) -> np.ndarray:
    """Reads every file; uint8 [len(files), 3, size, size].

    Raises:
        ValueError: an image cannot be read; names it.
    """
    images = np.empty((len(files), 3, size, size), dtype=np.uint8)

    def read(start: int) -> None:
        for index in range(start, min(start + _CHUNK, len(files))):
            images[index] = _read(files[index].path, size)

    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        try:
            for _ in pool.map(read, range(0, len(files), _CHUNK)):
                pass
        except ValueError:
            pool.shutdown(cancel_futures=True)
            raise
    return images


def _read(path: str, size: int) -> np.ndarray:
    try:
        with Image.open(path) as image:
            rgb = _in_8_bits(image).convert("RGB")
            if rgb.size != (size, size):
                rgb = rgb.resize((size, size), Image.Resampling.BILINEAR)
            return np.asarray(rgb).transpose(2, 0, 1)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"image {path} cannot be read ({type(error).__name__}); mend or remove it"
        ) from error


def _in_8_bits(image: Image.Image) -> Image.Image:
    """The image; of 16 bits a pixel the upper eight, which `convert` would clip.

    Raises:
        ValueError: the range of its pixels is unknown.
    """
    # Earlier versions of Pillow give PNG files of 16 bits the mode I.
    kind = "I;16" if image.format == "PNG" and image.mode == "I" else image.mode
    if kind.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if kind in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode}")
    return image


def _key(files: Sequence[ImageFile], size: int) -> str:
    digest = hashlib.blake2b(f"{_REVISION} {size}".encode(), digest_size=12)
    # Of a path the last three parts: split, class and file name.
    lines = [
        f"{'/'.join(path.rsplit(os.sep, 3)[-3:])}\0{num_bytes} {modified}\n"
        for path, num_bytes, modified in files
    ]
    # Names that are no text in UTF-8 come as surrogates.
    digest.update("".join(lines).encode(errors="surrogateescape"))
    return digest.hexdigest()


def _load(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The entry, whose checksum is verified on reading; None: absent or damaged."""
    try:
        # Opened here: numpy leaves a damaged file open.
        with open(path, "rb") as file:
            images = np.load(file, allow_pickle=False)["images"]
    except FileNotFoundError:
        return None
    except _DAMAGE as error:
        _LOG.warning("decoding anew: %s is damaged (%s)", path, error)
        return None
    if images.shape != shape or images.dtype != np.uint8:
        _LOG.warning("decoding anew: %s has other content", path)
        return None
    return images


def _save(path: Path, images: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez(buffer, images=images)
    write_whole(path, buffer.getbuffer())
