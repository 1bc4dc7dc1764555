from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from agmc.tensor_file import read_tensors, write_tensors

FORMAT = "agmc thing 3"


def read(path):
    return read_tensors(path, FORMAT, way_out="look elsewhere")


def test_header_and_tensors_come_back(tmp_path):
    path, state = tmp_path / "file", {"a": torch.arange(3), "b": torch.ones(2)}
    write_tensors(path, FORMAT, {"more": ["text", {"a": 0.1}]}, state)
    found, tensors = read(path)
    assert found == {"format": FORMAT, "more": ["text", {"a": 0.1}]}
    assert {name: t.tolist() for name, t in tensors.items()} == {
        "a": [0, 1, 2],
        "b": [1, 1],
    }
    assert load_file(path).keys() == state.keys()  # anyone reads it


def test_the_same_content_gives_the_same_bytes(tmp_path):
    state = {name: torch.arange(3) for name in "abcdefgh"}
    header = {name: name for name in "ijklmnop"}
    written = set()
    for turn in range(8):
        turned = dict(sorted(state.items(), reverse=bool(turn % 2)))
        write_tensors(tmp_path / "file", FORMAT, header, turned)
        written.add((tmp_path / "file").read_bytes())
    assert len(written) == 1


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (None, r"is no thing \(format None, not 'agmc thing 3'\); look elsewhere"),
        ({"format": FORMAT}, r"is no thing \(format None"),
        (
            {"thing": '{"format": "agmc thing 2"}'},
            r"is no thing \(format 'agmc thing 2'",
        ),
    ],
)
def test_other_formats_are_refused(tmp_path, metadata, words):
    save_file({"a": torch.ones(1)}, tmp_path / "file", metadata=metadata)
    with pytest.raises(ValueError, match=words):
        read(tmp_path / "file")


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "[1]", '"a"'])
def test_hostile_headers_are_refused(tmp_path, text):
    save_file({"a": torch.ones(1)}, tmp_path / "file", metadata={"thing": text})
    with pytest.raises(ValueError, match="no thing"):
        read(tmp_path / "file")


def test_files_that_are_missing_or_damaged_are_refused(tmp_path):
    path = tmp_path / "file"
    with pytest.raises(ValueError, match="is no file, and no thing; look elsewhere"):
        read(path)
    write_tensors(path, FORMAT, {}, {"a": torch.ones(9)})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="damaged, or no thing: .*; look elsewhere"):
        read(path)


@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_tensors_that_are_not_finite_are_refused(tmp_path, value):
    state = {"a": torch.arange(2), "b": torch.tensor([0.0, value])}
    write_tensors(tmp_path / "file", FORMAT, {}, state)
    with pytest.raises(ValueError, match="damaged thing: b holds NaN or infinity"):
        read(tmp_path / "file")
