from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from agmc.tensor_file import not_finite, read_tensors

FORMAT = "agmc thing 3"


def read(path, **knobs):
    return read_tensors(path, FORMAT, way_out="look elsewhere", **knobs)


def test_header_and_tensors_come_back(tmp_path):
    path, state = tmp_path / "file", {"a": torch.arange(3), "b": torch.ones(2)}
    header = {"format": FORMAT, "more": "text"}
    save_file(state, path, metadata=header)
    found, tensors = read(path)
    assert found == header
    assert {name: t.tolist() for name, t in tensors.items()} == {
        "a": [0, 1, 2],
        "b": [1, 1],
    }
    save_file(state, path, metadata={"thing": json.dumps(header)})
    assert read(path, entry="thing")[0] == header


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (None, r"is no thing \(format None, not 'agmc thing 3'\); look elsewhere"),
        ({"format": "agmc thing 2"}, r"is no thing \(format 'agmc thing 2'"),
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
        read(tmp_path / "file", entry="thing")


def test_files_that_are_missing_or_damaged_are_refused(tmp_path):
    path = tmp_path / "file"
    with pytest.raises(ValueError, match="is no file, and no thing; look elsewhere"):
        read(path)
    save_file({"a": torch.ones(9)}, path, metadata={"format": FORMAT})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="damaged, or no thing: .*; look elsewhere"):
        read(path)


@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_tensors_that_are_not_finite_are_refused(tmp_path, value):
    state = {"a": torch.arange(2), "b": torch.tensor([0.0, value])}
    assert not_finite(state) == "b" and not_finite({"a": state["a"]}) == ""
    save_file(state, tmp_path / "file", metadata={"format": FORMAT})
    with pytest.raises(ValueError, match="damaged thing: b holds NaN or infinity"):
        read(tmp_path / "file")
