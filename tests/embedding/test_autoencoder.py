from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch.nn import functional

from agmc.embedding.autoencoder import GraphAutoencoder
from agmc.embedding.corpus import training_graphs
from agmc.embedding.decoder import Losses, summaries
from agmc.embedding.fidelity import fidelity
from agmc.embedding.messages import LAYERS
from agmc.embedding.pyg import NUM_TYPES, GraphConverter
from agmc.plan_space import PlanSpace
from tests.embedding.embedding_nets import branches_graph, chain_graph, residual_graph


@pytest.fixture(scope="module")
def graphs():
    """What is learned from: four networks and their variants."""
    others = [branches_graph(), residual_graph(16, 2), chain_graph()]
    return training_graphs(PlanSpace(residual_graph()), others, variants=8)


@pytest.fixture(scope="module")
def held_out():
    """Deeper and of other widths than anything learned from."""
    networks = (residual_graph(12, 3), branches_graph(12))
    return [GraphConverter(graph).data() for graph in networks]


@pytest.fixture(scope="module")
def fitted(graphs):
    model = GraphAutoencoder(dim=16, hidden=32, layers=3)
    model.fit(graphs, steps=200, batch_size=4)
    return model


def mean_losses(model, graphs):
    """Over all graphs, nothing masked."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        rows = [torch.stack(model.losses(data, generator)) for data in graphs]
    return Losses(*torch.stack(rows).mean(dim=0))


def test_loss_falls_on_held_out_graphs(graphs, held_out, fitted):
    fresh = GraphAutoencoder(dim=16, hidden=32, layers=3)
    fresh.load_state_dict({**fresh.state_dict(), **dict(fitted.named_buffers())})
    before, after = mean_losses(fresh, held_out), mean_losses(fitted, held_out)
    assert after.total < before.total / 3
    for now, then in zip(after, before, strict=True):
        assert now < then


def test_beats_the_best_constant_on_held_out_graphs(graphs, held_out, fitted):
    """The means of all attributes, the frequencies of all types, a coin for links."""
    learned = torch.cat([data.edge_attr[:, :NUM_TYPES] for data in graphs])
    logits = (learned.mean(dim=0) + 1e-3).log()
    losses = mean_losses(fitted, held_out)
    right = most_frequent = 0
    for data in held_out:
        scaled = fitted.standardised(data)
        numbers = scaled.edge_attr[:, NUM_TYPES:]
        zeros = torch.zeros_like
        assert losses.nodes < functional.smooth_l1_loss(zeros(scaled.x), scaled.x) / 2
        assert losses.edges < functional.smooth_l1_loss(zeros(numbers), numbers) / 2
        types = data.edge_attr[:, :NUM_TYPES].argmax(dim=1)
        constant = functional.cross_entropy(logits.expand(len(types), -1), types)
        assert losses.types < constant / 2
        with torch.no_grad():
            made = fitted.decoder(fitted.vectors(data), data.edge_index)
            made = made.types.argmax(dim=1)
        right += int((made == types).sum())
        most_frequent += int((types == logits.argmax()).sum())
    assert right > 2 * most_frequent
    assert losses.links < np.log(2) / 2
    learned = torch.cat([summaries(fitted.standardised(data)) for data in graphs])
    whole = torch.cat([summaries(fitted.standardised(data)) for data in held_out])
    constant = learned.mean(dim=0).expand_as(whole)
    assert losses.networks < functional.smooth_l1_loss(constant, whole)


@pytest.mark.parametrize("encoder", LAYERS)
def test_every_encoder_learns_all_that_is_decoded(graphs, encoder):
    """Operation types, links, shapes and cost shares of plans not learned from."""
    model = GraphAutoencoder(encoder=encoder, dim=16, hidden=32, layers=2)
    model.fit(graphs, steps=60, batch_size=4, learning_rate=0.01)
    space = PlanSpace(residual_graph())
    others = [branches_graph(), residual_graph(16, 2), chain_graph()]
    found = fidelity(model, training_graphs(space, others, variants=4, seed=9))
    assert found.types > 0.6
    assert found.links > 0.7
    assert found.shapes > 0.15
    assert found.shares > 0.25
    fresh = GraphAutoencoder(encoder=encoder, dim=16, hidden=32, layers=2)
    fresh.load_state_dict({**fresh.state_dict(), **dict(model.named_buffers())})
    for learned, guessed in zip(found, fidelity(fresh, graphs), strict=True):
        assert learned > guessed + 0.1


def test_fidelity_on_held_out_graphs(held_out, fitted):
    found = fidelity(fitted, held_out)
    assert found.types > 0.9
    assert found.links > 0.9
    assert found.shapes > 0.3
    assert found.shares > 0.5


def test_the_vectors_of_a_graph_are_nodes_and_network(graphs, fitted):
    vectors = fitted.vectors(graphs[0])
    assert torch.equal(vectors.nodes, fitted(graphs[0]))
    assert vectors.networks.shape == (1, 16)


@pytest.mark.parametrize("encoder", LAYERS)
def test_gradients_reach_every_parameter(graphs, encoder):
    model = GraphAutoencoder(encoder=encoder, dim=8, hidden=16, layers=2)
    model.losses(graphs[0], torch.Generator().manual_seed(0)).total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_fit_moves_every_parameter(graphs):
    model = GraphAutoencoder(dim=8, hidden=16, layers=2)
    before = {name: value.clone() for name, value in model.named_parameters()}
    history = model.fit(graphs, steps=3)
    assert len(history) == 3
    for name, value in model.named_parameters():
        assert not torch.equal(value, before[name]), name


def test_same_seed_same_weights(graphs):
    def fit(seed):
        model = GraphAutoencoder(dim=8, hidden=16, layers=2, seed=seed)
        model.fit(graphs, steps=5, seed=seed)
        return torch.cat([value.flatten() for value in model.state_dict().values()])

    assert torch.equal(fit(0), fit(0))
    assert not torch.equal(fit(0), fit(1))


def test_global_random_states_are_left_alone(graphs):
    torch.manual_seed(7)
    random.seed(7)
    np.random.seed(7)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    model = GraphAutoencoder(dim=8, hidden=16, layers=1, seed=3)
    model.fit(graphs, steps=2)
    mean_losses(model, graphs[:2])
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2])


def test_standardised_on_what_was_learned_from(graphs, fitted):
    scaled = torch.cat([fitted.standardised(data).x for data in graphs])
    assert torch.allclose(scaled.mean(dim=0), torch.zeros(scaled.shape[1]), atol=1e-4)
    assert (scaled.std(dim=0) < 1.01).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("mask", 1.0),
        ("noise", -0.1),
    ],
)
def test_numbers_are_checked(graphs, name, value):
    with pytest.raises(ValueError, match=rf"{name} \(={value}\) must be"):
        GraphAutoencoder(dim=8, hidden=16, layers=1).fit(graphs, **{name: value})


def test_there_must_be_a_graph():
    with pytest.raises(ValueError, match="at least one graph"):
        GraphAutoencoder(dim=8, hidden=16, layers=1).fit([])
