from __future__ import annotations

import dataclasses

import pytest
import torch

from agmc.embedding.autoencoder import GraphAutoencoder
from agmc.embedding.checkpoint import load_autoencoder, save_autoencoder
from agmc.embedding.embedding import EmbeddingContext
from agmc.embedding.learned import LearnedEmbedding, autoencoder
from agmc.embedding.messages import LAYERS
from agmc.embedding.progress import Progress
from agmc.embedding.pyg import GraphConverter
from agmc.embedding.sensitivity import Measured
from agmc.embedding.standardised import within_reach
from agmc.graph.trace import trace
from agmc.models import build
from agmc.plan_space import PlanSpace
from tests.embedding.embedding_nets import chain_graph, residual_graph

QUICK = {
    "fit": "anew",
    "dim": 8,
    "hidden": 16,
    "layers": 2,
    "variants": 2,
    "corpus_variants": 1,
    "steps": 5,
}


@pytest.fixture
def context():
    graph = residual_graph(8, 2)
    return EmbeddingContext(graph, PlanSpace(graph), seed=3)


@pytest.mark.parametrize("follow_plan", [False, True])
def test_row_equals_call_and_calls_agree(context, follow_plan):
    embedding = autoencoder(context, **QUICK, follow_plan=follow_plan)
    plan = context.space.sample(torch.Generator().manual_seed(2))
    rows = embedding(plan)
    assert rows.shape == (len(context.space), embedding.dim) == (3, 11)
    assert rows.dtype == torch.float32 and not rows.requires_grad
    assert rows.abs().max() <= 1
    assert torch.equal(rows, embedding(plan))
    counts = context.space.counts(plan)
    for step in range(len(context.space)):
        future = counts.copy()
        future[step:] = 1
        assert torch.equal(embedding.row(step, counts), rows[step])
        assert torch.equal(embedding.row(step, future), rows[step])


def test_only_the_last_three_columns_follow_the_plan(context):
    embedding = autoencoder(context, **QUICK)
    plan = context.space.sample(torch.Generator().manual_seed(2))
    full, pruned = embedding(None), embedding(plan)
    assert torch.equal(full[:, :-3], pruned[:, :-3])
    progress = Progress(context.graph).rows(context.space.counts(plan))
    assert torch.equal(pruned[:, -3:], torch.from_numpy(progress).float())


def test_follow_plan_encodes_the_pruned_network(context):
    still = autoencoder(context, **QUICK)
    following = autoencoder(context, **QUICK, follow_plan=True)
    plan = context.space.sample(torch.Generator().manual_seed(2))
    assert torch.allclose(still(None), following(None), atol=1e-6)
    assert torch.equal(still(plan)[0], following(plan)[0])
    assert not torch.allclose(still(plan)[2], following(plan)[2], atol=1e-3)


def test_decisions_can_be_told_apart(context):
    vectors = autoencoder(context, **QUICK)(None)[:, :-3]
    distances = torch.cdist(vectors, vectors) + torch.eye(len(vectors))
    assert distances.min() > 0.1
    assert torch.allclose(vectors.mean(dim=0), torch.zeros(8), atol=1e-5)


def test_one_decision_alone_is_all_zero():
    graph = chain_graph()
    group = graph.groups[0]
    graph = dataclasses.replace(
        graph, groups=(group,), group_atoms=graph.group_atoms[:1]
    )
    embedding = autoencoder(EmbeddingContext(graph, PlanSpace(graph)), **QUICK)
    assert embedding(None)[0, :-3].tolist() == [0] * 8


def test_same_seed_same_rows(context):
    rows = autoencoder(context, **QUICK)(None)
    assert torch.equal(rows, autoencoder(context, **QUICK)(None))
    other = dataclasses.replace(context, seed=4)
    assert not torch.equal(rows, autoencoder(other, **QUICK)(None))


def test_checkpoint_is_written_read_and_replaced(context, tmp_path):
    calls = []

    def corpus():
        calls.append(1)
        return [chain_graph()]

    path = tmp_path / "encoder.safetensors"
    context = dataclasses.replace(context, corpus=corpus, checkpoint=path)
    rows = autoencoder(context, **QUICK)(None)
    written = path.read_bytes()
    assert torch.equal(rows, autoencoder(context, **QUICK)(None))
    assert len(calls) == 1
    autoencoder(context, **{**QUICK, "steps": 6})
    assert len(calls) == 2 and path.read_bytes() != written


def test_a_foreign_file_is_left_alone(context, tmp_path):
    path = tmp_path / "letters.safetensors"
    path.write_text("dear reader")
    context = dataclasses.replace(context, checkpoint=path)
    with pytest.raises(ValueError, match="give another file, or delete this one"):
        autoencoder(context, **QUICK)
    assert path.read_text() == "dear reader"


def fitted_file(path, encoder="gin", **sizes):
    model = GraphAutoencoder(encoder=encoder, **{"dim": 8, "hidden": 16, **sizes})
    model.fit([GraphConverter(chain_graph()).data()], steps=2)
    save_autoencoder(model, path)
    return model


def no_fit(*_, **__):
    raise AssertionError("nothing is to be fitted")


@pytest.mark.parametrize("encoder", LAYERS)
def test_a_file_is_started_from_and_nothing_is_fitted(
    context, tmp_path, monkeypatch, encoder
):
    model = fitted_file(tmp_path / "own.safetensors", encoder)
    monkeypatch.setattr(GraphAutoencoder, "fit", no_fit)
    kept = tmp_path / "kept.safetensors"
    context = dataclasses.replace(context, checkpoint=kept, corpus=no_fit)
    knobs = {"encoder": encoder, "dim": 8, "hidden": 16}
    made = autoencoder(context, fit=str(tmp_path / "own.safetensors"), **knobs)
    assert torch.equal(made(None), LearnedEmbedding(context.space, model)(None))
    data = GraphConverter(context.graph).data()
    assert torch.equal(load_autoencoder(kept)(data), model(data))


def test_another_content_of_the_file_is_another_run(context, tmp_path):
    own, kept = tmp_path / "own.safetensors", tmp_path / "kept.safetensors"
    fitted_file(own)
    context = dataclasses.replace(context, checkpoint=kept)
    knobs = {"fit": str(own), "dim": 8, "hidden": 16}
    rows = autoencoder(context, **knobs)(None)
    written = kept.read_bytes()
    assert torch.equal(autoencoder(context, **knobs)(None), rows)
    assert kept.read_bytes() == written
    model = GraphAutoencoder(dim=8, hidden=16, seed=1)
    save_autoencoder(model, own)
    assert not torch.equal(autoencoder(context, **knobs)(None), rows)


def test_by_default_the_fitted_one_of_the_package(context, monkeypatch):
    monkeypatch.setattr(GraphAutoencoder, "fit", no_fit)
    rows = autoencoder(context)(None)
    assert rows.shape == (3, 35)
    assert torch.equal(autoencoder(dataclasses.replace(context, seed=9))(None), rows)


def test_what_it_expects_to_matter_is_what_its_second_head_says():
    graph = residual_graph()
    made = LearnedEmbedding(
        PlanSpace(graph), GraphAutoencoder(dim=4, hidden=8, layers=1)
    )
    assert made.sensitivities is None
    model = GraphAutoencoder(dim=4, hidden=8, layers=1, ratios=(0.5, 0.25))
    described = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    model.head().learn([Measured(described, described[:, 4:].sigmoid())])
    found = torch.tensor(LearnedEmbedding(PlanSpace(graph), model).sensitivities)
    losses = model.head()(model.describe(graph)).mean(1)
    assert found.mean().abs() < 1e-6 and found.argmax() == losses.argmax()


def test_what_networks_share_are_the_vectors_as_they_are():
    model = GraphAutoencoder(dim=4, hidden=8, layers=1)
    space = PlanSpace(residual_graph())
    made = LearnedEmbedding(space, model)
    assert made.absolute.shape == (len(space), 4)
    seen = within_reach(made.absolute, made.absolute)
    assert torch.allclose(seen, made()[:, :4], atol=1e-5)
    # Two decisions about one layer have one vector, and are not the same.
    layers = PlanSpace(residual_graph(), parts=("sparsity", "weight_bits"))
    assert LearnedEmbedding(layers, model).absolute is None


def test_on_the_shared_scale_networks_of_a_kind_are_near_each_other():
    def looks(name):
        graph = trace(build(name, num_classes=10).eval(), torch.zeros(2, 3, 32, 32))
        return autoencoder(EmbeddingContext(graph, PlanSpace(graph))).absolute

    known = looks("resnet20")
    scale = known.std(0)

    def nearest(name):
        return torch.cdist(looks(name) / scale, known / scale).amin(1)

    assert nearest("resnet56").max() < nearest("vgg16_bn_cifar").min()
