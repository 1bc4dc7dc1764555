"""MNIST as torchvision stores it, written by hand."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from agmc.data import load_mnist


def write_idx(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    path.write_bytes(header + values.astype(np.uint8).tobytes())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for prefix, count in (("train", 40), ("t10k", 20)):
        labels = np.arange(count) % 10
        images = np.broadcast_to(np.arange(count)[:, None, None], (count, 28, 28))
        raw = tmp_path / "MNIST" / "raw"
        write_idx(raw / f"{prefix}-images-idx3-ubyte", images)
        write_idx(raw / f"{prefix}-labels-idx1-ubyte", labels)
    return tmp_path


def test_splits(root):
    splits = load_mnist(root=root, search_share=0.25)
    assert splits.image_shape == (1, 28, 28)
    assert splits.train.images[:, 0, 0, 0].tolist() == list(range(30))
    assert splits.search.images[:, 0, 0, 0].tolist() == list(range(30, 40))
    assert splits.search.labels.tolist() == list(range(10))
    assert splits.test.images[:, 0, 5, 5].tolist() == list(range(20))
    assert not splits.flip


def test_missing_says_how_to_get_it(tmp_path):
    with pytest.raises(ValueError) as caught:
        load_mnist(root=tmp_path)
    assert "\n" not in str(caught.value)
    assert "data.download=true" in str(caught.value)
    assert str(tmp_path) in str(caught.value)
