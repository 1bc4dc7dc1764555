"""Image folders: order, the search cut, the cache, and one line for every bad tree."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from agmc.data import decoded, load_imagefolder


def write(path: Path, red: int, size: tuple[int, int] = (4, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    pixels[..., 0] = red
    Image.fromarray(pixels).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of 20 training images; the red channel counts the files."""
    root = tmp_path / "set"
    for label, name in enumerate(("bee", "ant")):  # not in alphabetical order
        for index in reversed(range(20)):
            write(root / "train" / name / f"{index:04}.png", 100 * label + index)
        for index in range(3):
            write(root / "test" / name / f"{index}.png", 200 + 10 * label + index)
    return root


def load(root: Path, **knobs):
    knobs = {"size": 4, "cache": None, **knobs}
    return load_imagefolder(root=root, **knobs)


def red(split) -> list[int]:
    assert not split.images[:, 1:].any()
    return split.images[:, 0, 0, 0].tolist()


def test_classes_and_files_are_in_order(root):
    splits = load(root)
    assert splits.classes == ("ant", "bee")
    assert red(splits.train) == [*range(100, 118), *range(18)]
    assert splits.train.labels.tolist() == [0] * 18 + [1] * 18
    assert red(splits.test) == [210, 211, 212, 200, 201, 202]
    assert splits.test.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_search_is_the_last_tenth_by_name(root):
    splits = load(root)
    assert red(splits.search) == [118, 119, 18, 19]
    assert splits.search.labels.tolist() == [0, 0, 1, 1]


def test_other_files_are_passed_over(root):
    before = load(root).digest
    (root / "train" / "ant" / "README.txt").write_text("no image")
    (root / "train" / ".hidden").mkdir()
    (root / "train" / "labels.csv").write_text("a,b")
    assert load(root).digest == before


def test_images_of_that_size_are_untouched_and_others_resized(root):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / "train" / "ant" / "0000.png")
    write(root / "train" / "ant" / "0001.png", 77, size=(9, 7))
    images = load(root).train.images
    assert images[0].permute(1, 2, 0).tolist() == pixels.tolist()
    assert images[1].shape == (3, 4, 4)
    assert images[1][0].unique().tolist() == [77]


def test_grey_images_become_rgb(root):
    Image.new("L", (4, 4), 9).save(root / "train" / "ant" / "0000.png")
    assert load(root).train.images[0].unique().tolist() == [9]


def test_cache_spares_the_decoding(root, tmp_path, monkeypatch):
    first = load(root, cache=tmp_path / "cache")
    monkeypatch.setattr(decoded, "decode", None)  # would fail when called
    second = load(root, cache=tmp_path / "cache")
    assert second.digest == first.digest


def test_cache_sees_a_changed_file_and_another_size(root, tmp_path):
    cache = tmp_path / "cache"
    load(root, cache=cache)
    path = root / "train" / "ant" / "0000.png"
    write(path, 55)
    os.utime(path, ns=(1, 1))
    assert red(load(root, cache=cache).train)[0] == 55
    assert load(root, cache=cache, size=2).image_shape == (3, 2, 2)
    assert len(list(cache.iterdir())) == 3  # and no partial file


@pytest.mark.parametrize("damage", ["truncated", "flipped", "foreign", "empty"])
def test_damaged_cache_is_made_anew(root, tmp_path, damage, caplog):
    cache = tmp_path / "cache"
    expected = load(root, cache=cache).digest
    (entry,) = cache.iterdir()
    whole = entry.read_bytes()
    middle = len(whole) // 2
    entry.write_bytes(
        {
            "truncated": whole[:middle],
            "flipped": whole[:middle] + b"\x55" + whole[middle + 1 :],
            "foreign": b"something else",
            "empty": b"",
        }[damage]
    )
    assert load(root, cache=cache).digest == expected
    assert "decoding anew" in caplog.text
    assert entry.read_bytes() == whole


def test_unwritable_cache_is_passed_over(root, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    splits = load(root, cache=tmp_path / "file" / "cache")
    assert len(splits.train) == 36
    assert "not kept" in caplog.text


def assert_refused(root: Path | None, *words: str, **knobs) -> None:
    with pytest.raises(ValueError) as caught:
        load(root, **knobs)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_no_root():
    assert_refused(None, "data.root", "train/CLASS")


def test_no_folder(tmp_path):
    assert_refused(tmp_path / "nowhere", "nowhere", "train")


def test_no_test_folder(tmp_path):
    write(tmp_path / "train" / "ant" / "0.png", 1)
    assert_refused(tmp_path, str(tmp_path / "test"))


def test_no_class_folders(tmp_path):
    write(tmp_path / "train" / "0.png", 1)
    assert_refused(tmp_path, "no class folders", "train/CLASS")


@pytest.mark.parametrize(("missing", "there"), [("test", "train"), ("train", "test")])
def test_class_missing(root, missing, there):
    write(root / there / "cow" / "0.png", 1)
    assert_refused(root, "'cow'", f"of {there}", str(root / missing))


@pytest.mark.parametrize("content", [b"", b"no image at all", None])
def test_unreadable_image_is_named(root, content, tmp_path):
    path = root / "train" / "ant" / "0007.png"
    path.write_bytes(path.read_bytes()[:48] if content is None else content)
    assert_refused(root, str(path), "cannot be read", cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_memory_limit(root):
    assert_refused(root, "46 images", "memory_limit_gb", memory_limit_gb=1e-6)


def test_bad_size(root):
    assert_refused(root, "size (=0)", size=0)


@pytest.mark.skipif("AGMC_DATA" not in os.environ, reason="AGMC_DATA is not set")
def test_real_images(tmp_path):
    """Real JPEGs, twenty of each class, come out as PIL decodes them."""
    source = Path(os.environ["AGMC_DATA"]) / "cifar10-jpeg"
    if not source.is_dir():
        pytest.skip(f"there is no {source}")
    for split in ("train", "test"):
        for folder in (source / split).iterdir():
            (tmp_path / split / folder.name).mkdir(parents=True)
            for path in sorted(folder.iterdir())[:20]:
                (tmp_path / split / folder.name / path.name).symlink_to(path)
    splits = load_imagefolder(root=tmp_path, cache=None)
    counts = [torch.bincount(s.labels).tolist() for s in splits.by_name.values()]
    assert counts == [[18] * 10, [2] * 10, [20] * 10]
    assert splits.classes[0] == "airplane"
    with Image.open(source / "train" / "airplane" / "0018.jpg") as image:
        expected = np.asarray(image.convert("RGB"))
    assert np.array_equal(splits.search.images[0].permute(1, 2, 0).numpy(), expected)


def test_some_classes_alone_are_read(root):
    write(root / "train" / "cat" / "1.png", 7)
    (root / "train" / "cat" / "2.png").write_text("no image")
    with pytest.raises(ValueError):
        load(root)
    splits = load(root, classes=["bee", "ant"])
    assert splits.classes == ("bee", "ant")
    assert red(splits.train) == [*range(18), *range(100, 118)]
    with pytest.raises(ValueError, match="class 'cat' of train has no image in"):
        load(root, classes=["cat", "ant"])
    with pytest.raises(
        ValueError, match="there is no class 'dog'; there are ant, bee, "
    ):
        load(root, classes=["ant", "dog"])


def test_of_16_bits_the_upper_eight_are_taken(root):
    pixels = np.full((4, 4), 40 * 256 + 7, dtype=np.uint16)
    file = root / "test" / "ant" / "0.png"
    Image.fromarray(pixels).save(file)
    assert load(root).test.images[0].unique().tolist() == [40]
    Image.fromarray(np.full((4, 4), 0.5, dtype=np.float32)).save(
        file.with_suffix(".tiff")
    )
    file.unlink()
    with pytest.raises(ValueError, match="0.tiff cannot be read"):
        load(root)


def test_names_that_are_no_utf_8(root, tmp_path):
    os.rename(
        root / "test" / "ant" / "0.png",
        os.fsencode(root / "test" / "ant") + b"/\xe9.png",
    )
    for _ in range(2):
        assert sorted(red(load(root, cache=tmp_path).test))[0] == 200
