from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from agmc.embedding import checkpoint
from agmc.embedding.autoencoder import GraphAutoencoder
from agmc.embedding.checkpoint import key_of, load_autoencoder, save_autoencoder
from agmc.embedding.pyg import GraphConverter
from agmc.embedding.sensitivity import Measured
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


def header_of(path):
    size = int.from_bytes(path.read_bytes()[:8], "little")
    return json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"]


def test_round_trip(model, path):
    again = load_autoencoder(path)
    data = GraphConverter(chain_graph()).data()
    assert torch.equal(again(data), model(data))
    assert key_of(path) == "what it was learned from"
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


def test_truncated(path):
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="damaged, or no graph auto-encoder"):
        load_autoencoder(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04K\x01."])
def test_garbage(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged, or no graph auto-encoder"):
        key_of(path)


def test_foreign_safetensors(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="format None"):
        load_autoencoder(path)


def test_missing(tmp_path):
    with pytest.raises(ValueError, match="is no file"):
        load_autoencoder(tmp_path / "nothing.safetensors")


def test_weights_of_other_sizes(path):
    state, header = load_file(path), header_of(path)
    state["decoder.nodes.0.weight"] = torch.zeros(16, 7)
    save_file(state, path, metadata=header)
    with pytest.raises(ValueError, match="damaged"):
        load_autoencoder(path)


def test_missing_weights(path):
    state, header = load_file(path), header_of(path)
    del state["encoder.output.weight"]
    save_file(state, path, metadata=header)
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
        "[]",
        '{"encoder": "gin", "dim": 8, "hidden": 16}',
        '{"encoder": "gin", "dim": 8, "hidden": 16, "layers": 3, "ratios": []}',
        '{"encoder": "gcn", "dim": 8, "hidden": 16, "layers": 2, "ratios": []}',
        '{"encoder": "bert", "dim": 8, "hidden": 16, "layers": 2, "ratios": []}',
        '{"encoder": ["gin"], "dim": 8, "hidden": 16, "layers": 2, "ratios": []}',
        '{"encoder": "gin", "dim": 8, "hidden": 16, "layers": true, "ratios": []}',
        '{"encoder": "gin", "dim": 8, "hidden": 1000000000, "layers": 2, "ratios": []}',
        '{"encoder": "gin", "dim": 8, "hidden": 16, "layers": 2, "ratios": 1}',
        '{"encoder": "gin", "dim": 8, "hidden": 16, "layers": 2, "ratios": ["a"]}',
        '{"encoder": "gin", "dim": 8, "hidden": 16, "layers": 2, "ratios": [0.5]}',
        '{"encoder": "gin", "dim": 8.0, "hidden": 16, "layers": 2, "ratios": []}',
    ],
)
def test_hostile_sizes(path, sizes):
    save_file(load_file(path), path, metadata={**header_of(path), "sizes": sizes})
    with pytest.raises(ValueError, match="damaged"):
        load_autoencoder(path)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite(path, model, value):
    state, header = load_file(path), header_of(path)
    state["encoder.output.bias"][0] = value
    save_file(state, path, metadata=header)
    with pytest.raises(ValueError, match="output.bias holds NaN or infinity"):
        load_autoencoder(path)
    model.load_state_dict(state)
    with pytest.raises(ValueError, match="cannot be saved: encoder.output.bias"):
        save_autoencoder(model, path)
