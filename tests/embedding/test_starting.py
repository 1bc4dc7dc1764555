from __future__ import annotations

import pytest

from agmc.embedding import starting
from agmc.embedding.autoencoder import GraphAutoencoder
from agmc.embedding.checkpoint import save_autoencoder
from agmc.embedding.messages import LAYERS
from agmc.embedding.starting import FOLDER, load_fitted, starting_file


@pytest.mark.parametrize("encoder", LAYERS)
def test_the_package_has_a_small_file_of_every_encoder(encoder):
    path = starting_file("shipped", encoder=encoder)
    assert path.parent == FOLDER
    assert path.stat().st_size <= 1_000_000
    usual = GraphAutoencoder(encoder=encoder)
    model = load_fitted(path, usual)
    assert model.sizes == {**usual.sizes, "ratios": [0.75, 0.5, 0.25]}
    assert model.head().slopes.abs().max() > 0.1
    assert (model.node_mean != 0).all()  # fitted, not fresh
    assert f"embedding.encoder={encoder}" in (FOLDER / "README.md").read_text()


def test_no_fitted_encoder(tmp_path, monkeypatch):
    monkeypatch.setattr(starting, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match="no fitted encoder 'dag' .* fit=anew"):
        starting_file("shipped", encoder="dag")


def test_no_file():
    with pytest.raises(ValueError, match="'nowhere.* is no file; choose shipped"):
        starting_file("nowhere.safetensors", encoder="gin")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"dim": 8}, r"dim \(=8\) is not that of .*, 4; ask for dim=4 or for fit=anew"),
        ({"encoder": "gcn"}, r"encoder \(='gcn'\) is not that of .*, 'gin'"),
        ({"layers": 1}, r"layers \(=1\) is not that of .*, 3"),
    ],
)
def test_the_file_must_be_what_is_asked_for(tmp_path, asked, message):
    sizes = {"encoder": "gin", "dim": 4, "hidden": 8}
    path = tmp_path / "encoder.safetensors"
    save_autoencoder(GraphAutoencoder(**sizes), path)
    with pytest.raises(ValueError, match=message):
        load_fitted(path, GraphAutoencoder(**{**sizes, **asked}))
