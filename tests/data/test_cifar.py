"""CIFAR as torchvision stores it; the batches are made up."""

from __future__ import annotations

import numpy as np
import pytest

from agmc.data import load_cifar10, load_cifar100


class FakeCifar:
    """The attributes of torchvision's class that are read."""

    def __init__(self, *, root, train: bool, download: bool, num_classes: int) -> None:
        count = 4 * num_classes if train else num_classes
        self.data = np.zeros((count, 32, 32, 3), dtype=np.uint8)
        self.data[:, 1, 2, 0] = np.arange(count) % 256
        self.targets = [index % num_classes for index in range(count)]
        self.classes = [f"class {index}" for index in range(num_classes)]


@pytest.mark.parametrize(
    ("load", "name", "num_classes"),
    [(load_cifar10, "CIFAR10", 10), (load_cifar100, "CIFAR100", 100)],
)
def test_splits(load, name, num_classes, monkeypatch):
    monkeypatch.setattr(
        f"torchvision.datasets.{name}",
        lambda **arguments: FakeCifar(**arguments, num_classes=num_classes),
    )
    splits = load(search_share=0.25)
    assert splits.name == name.lower()
    assert splits.image_shape == (3, 32, 32)
    assert splits.num_classes == num_classes
    # Row 1, column 2, red: the index in the set.
    expected = [index % 256 for index in range(4 * num_classes)]
    assert splits.train.images[:, 0, 1, 2].tolist() == expected[: 3 * num_classes]
    assert splits.search.images[:, 0, 1, 2].tolist() == expected[3 * num_classes :]
    assert splits.test.labels.tolist() == list(range(num_classes))
    assert splits.flip and splits.crop_padding == 4


@pytest.mark.parametrize("load", [load_cifar10, load_cifar100])
def test_missing_says_how_to_get_it(load, tmp_path):
    with pytest.raises(ValueError) as caught:
        load(root=tmp_path)
    assert "\n" not in str(caught.value)
    assert "data.download=true" in str(caught.value)


def test_failed_download_is_one_line(tmp_path, monkeypatch):
    def refuse(**arguments):
        raise OSError("no route to host\nand more")

    monkeypatch.setattr("torchvision.datasets.CIFAR10", refuse)
    with pytest.raises(ValueError, match="downloaded.*no route to host$"):
        load_cifar10(root=tmp_path, download=True)
