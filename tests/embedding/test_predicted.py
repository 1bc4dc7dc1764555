"""What the second head expects as an observation: its file, its rows, its mistakes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agmc.embedding.autoencoder import GraphAutoencoder
from agmc.embedding.checkpoint import save_autoencoder
from agmc.embedding.embedding import EmbeddingContext
from agmc.embedding.predicted import sensitivity
from agmc.embedding.progress import PROGRESS_COLUMNS
from agmc.embedding.sensitivity import Measured
from agmc.plan_space import PlanSpace
from tests.embedding.embedding_nets import residual_graph

GRAPH = residual_graph()


def model_with_head(seed: int) -> GraphAutoencoder:
    model = GraphAutoencoder(dim=4, hidden=8, layers=1, ratios=(0.5, 0.25))
    random = torch.Generator().manual_seed(seed)
    described = torch.randn(20, 6, generator=random)
    model.head().learn([Measured(described, torch.rand(20, 2, generator=random))])
    return model


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "encoder.safetensors"
    save_autoencoder(model_with_head(0), path)
    return path


def context(checkpoint=None):
    return EmbeddingContext(GRAPH, PlanSpace(GRAPH), checkpoint=checkpoint)


def test_rows_are_the_standardised_losses(path):
    made = sensitivity(context(), fit=str(path))
    names = [column.name for column in made.columns]
    assert names == ["drop_at_0.5", "drop_at_0.25", *(c.name for c in PROGRESS_COLUMNS)]
    model = model_with_head(0)
    losses = model.head()(model.describe(GRAPH)).double()
    expected = (losses - losses.mean(0)) / losses.std(0, correction=0) / 3
    assert np.allclose(made()[:, :2], expected.clamp(-1, 1), atol=1e-6)
    mean = losses.mean(1)
    expected = (mean - mean.mean()) / mean.std(correction=0)
    assert made.sensitivities == pytest.approx(expected.tolist())


def test_a_run_that_goes_on_keeps_what_it_began_with(path, tmp_path):
    checkpoint = tmp_path / "kept.safetensors"
    before = sensitivity(context(checkpoint), fit=str(path))
    assert checkpoint.exists()
    again = sensitivity(context(checkpoint), fit=str(path))
    assert torch.equal(before(), again()) and before.fitted == again.fitted
    save_autoencoder(model_with_head(1), path)  # another file: another search
    other = sensitivity(context(checkpoint), fit=str(path))
    assert other.fitted != before.fitted
    assert not torch.equal(before(), other())


def test_the_package_has_a_head():
    rows = sensitivity(context())()
    assert rows.shape == (len(GRAPH.groups), 6) and rows.abs().max() <= 1
    assert rows[:, :3].std(dim=0).min() > 0.1


def test_a_file_without_a_head(tmp_path):
    path = tmp_path / "encoder.safetensors"
    save_autoencoder(GraphAutoencoder(dim=4, hidden=8, layers=1), path)
    with pytest.raises(ValueError, match=r"no sensitivities; .* measured=FOLDER"):
        sensitivity(context(), fit=str(path))


def test_a_head_is_not_fitted_in_a_search():
    with pytest.raises(
        ValueError, match=r"fit \(='anew'\) makes no .* measured=FOLDER"
    ):
        sensitivity(context(), fit="anew")


def test_no_file():
    with pytest.raises(ValueError, match=r"'nowhere'\) is no file; choose shipped"):
        sensitivity(context(), fit="nowhere")
