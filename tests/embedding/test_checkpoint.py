from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from agmc.embedding import checkpoint
from agmc.embedding.autoencoder import GraphAutoencoder
from agmc.embedding.checkpoint import (
    kept_autoencoder,
    load_autoencoder,
    save_autoencoder,
)
from agmc.embedding.messages import LAYERS
from agmc.embedding.pyg import GraphConverter
from agmc.embedding.sensitivity import Measured
from agmc.embedding.starting import SHIPPED, starting_file
from agmc.tensor_file import read_tensors, write_tensors
from tests.embedding.embedding_nets import chain_graph


@pytest.fixture(params=["gin", "dag"])
def model(request):
    model = GraphAutoencoder(encoder=request.param, dim=8, hidden=16, layers=2)
    model.fit([GraphConverter(chain_graph()).data()], steps=2)
    return model


@pytest.fixture
def path(model, tmp_path):
    path = tmp_path / "encoder.safetensors"
    save_autoencoder(model, path, key="what it was learned from")
    return path


def content_of(path):
    """Header and tensors."""
    return read_tensors(path, checkpoint.FORMAT, way_out="")


def change(path, *, sizes=None, **tensors):
    """Puts others in the place of what a file holds; None stands for left out."""
    header, state = content_of(path)
    changed = {**state, **tensors}
    write_tensors(
        path,
        checkpoint.FORMAT,
        header if sizes is None else {**header, "sizes": sizes},
        {name: value for name, value in changed.items() if value is not None},
    )


def test_round_trip(model, path):
    again = load_autoencoder(path)
    data = GraphConverter(chain_graph()).data()
    assert torch.equal(again(data), model(data))
    assert content_of(path)[0]["key"] == "what it was learned from"
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_second_head_comes_along(tmp_path):
    model = GraphAutoencoder(dim=8, hidden=16, layers=1, ratios=(0.5, 0.25))
    model.head().learn([Measured(torch.randn(9, 10), torch.rand(9, 2))])
    save_autoencoder(model, tmp_path / "encoder.safetensors")
    again = load_autoencoder(tmp_path / "encoder.safetensors")
    assert again.sizes == model.sizes
    assert again.sensitivity is not None
    assert again.sensitivity.ratios == (0.5, 0.25)
    described = torch.randn(3, 10)
    assert torch.equal(again.sensitivity(described), model.sensitivity(described))


@pytest.mark.parametrize("encoder", LAYERS)
def test_shipped_files_are_what_would_be_saved_again(encoder, tmp_path):
    shipped = starting_file(SHIPPED, encoder=encoder)
    again = tmp_path / "again.safetensors"
    key = content_of(shipped)[0]["key"]
    save_autoencoder(load_autoencoder(shipped), again, key=key)
    assert again.read_bytes() == shipped.read_bytes()


def test_another_process_writes_the_same_bytes(tmp_path):
    code = (
        "import sys\n"
        "from agmc.embedding.checkpoint import *\n"
        "model = load_autoencoder(sys.argv[1])\n"
        "save_autoencoder(model, sys.argv[2], key=sys.argv[3])\n"
    )
    shipped = starting_file(SHIPPED, encoder="gin")
    again = tmp_path / "again.safetensors"
    subprocess.run(
        [sys.executable, "-c", code, shipped, again, content_of(shipped)[0]["key"]],
        env={**os.environ, "PYTHONHASHSEED": "12345"},
        check=True,
    )
    assert again.read_bytes() == shipped.read_bytes()


def test_what_is_kept_is_read_once_and_what_has_another_key_is_made(
    path, model, monkeypatch
):
    def make():
        made.append(GraphAutoencoder(dim=4, hidden=8, layers=1))
        return made[-1]

    def counted(*args, **knobs):
        read.append(args)
        return read_tensors(*args, **knobs)

    read, made = [], []
    monkeypatch.setattr(checkpoint, "read_tensors", counted)
    kept = kept_autoencoder(path, "what it was learned from", make)
    assert (kept.sizes, len(read), made) == (model.sizes, 1, [])
    other = kept_autoencoder(path, "something else", make)
    assert made == [other]
    assert content_of(path)[0]["key"] == "something else"
    assert kept_autoencoder(path, "something else", make).sizes == other.sizes
    assert len(made) == 1
    new = path.with_name("new.safetensors")
    kept_autoencoder(new, "", make)
    kept_autoencoder(None, "", make)
    assert len(made) == 3 and new.exists()


def test_truncated(path):
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="damaged, or no graph auto-encoder"):
        load_autoencoder(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04K\x01."])
def test_garbage(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged, or no graph auto-encoder"):
        load_autoencoder(path)


def test_foreign_safetensors(tmp_path):
    path = tmp_path / "other.safetensors"
    write_tensors(path, "agmc policy 1", {}, {"weight": torch.zeros(2)})
    with pytest.raises(ValueError, match="format None"):
        load_autoencoder(path)


def test_missing(tmp_path):
    with pytest.raises(ValueError, match="is no file"):
        load_autoencoder(tmp_path / "nothing.safetensors")


def test_weights_of_other_sizes(path):
    change(path, **{"decoder.nodes.0.weight": torch.zeros(16, 7)})
    with pytest.raises(ValueError, match="damaged"):
        load_autoencoder(path)


def test_missing_weights(path):
    change(path, **{"encoder.output.weight": None})
    with pytest.raises(ValueError, match="damaged"):
        load_autoencoder(path)


def test_other_columns(path, monkeypatch):
    monkeypatch.setattr(checkpoint, "NODE_COLUMNS", checkpoint.NODE_COLUMNS[1:])
    with pytest.raises(ValueError, match="other graph attributes"):
        load_autoencoder(path)


@pytest.mark.parametrize(
    "sizes",
    [
        "",
        [],
        {"layers": None},
        {"layers": 3},
        {"encoder": "gcn"},
        {"encoder": "bert"},
        {"encoder": ["gin"]},
        {"layers": True},
        {"hidden": 1000000000},
        {"ratios": 1},
        {"ratios": ["a"]},
        {"ratios": [0.5]},
        {"dim": 8.0},
    ],
)
def test_hostile_sizes(path, model, sizes):
    named = isinstance(sizes, dict)
    change(path, sizes={**model.sizes, **sizes} if named else sizes)
    with pytest.raises(ValueError, match="damaged"):
        load_autoencoder(path)


@pytest.mark.parametrize("name", ["encoder", "layers", "ratios"])
def test_missing_sizes(path, model, name):
    change(path, sizes={n: size for n, size in model.sizes.items() if n != name})
    with pytest.raises(ValueError, match="damaged"):
        load_autoencoder(path)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite(path, model, value):
    bias = model.encoder.output.bias.detach()
    bias[0] = value
    with pytest.raises(ValueError, match="cannot be saved: encoder.output.bias"):
        save_autoencoder(model, path)
    change(path, **{"encoder.output.bias": bias})
    with pytest.raises(ValueError, match="output.bias holds NaN or infinity"):
        load_autoencoder(path)
