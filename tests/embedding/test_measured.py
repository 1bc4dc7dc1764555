"""An embedding with the errors of least squares beside it."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from agmc.embedding.embedding import EmbeddingContext
from agmc.embedding.learned import autoencoder
from agmc.embedding.measured import MeasuredEmbedding, measured
from agmc.embedding.onehot import onehot
from agmc.embedding.rules import rules
from agmc.plan_space import PlanSpace
from tests.embedding.embedding_nets import branches_graph

GRAPH = branches_graph()
NUM = len(GRAPH.groups)


def context(errors=None):
    given = None if errors is None else lambda: np.array(errors)
    return EmbeddingContext(GRAPH, PlanSpace(GRAPH), errors=given)


def powers(base=10.0):
    return [base**i for i in range(NUM)]


def test_one_column_more_the_standardised_logarithm():
    made, inner = measured(context(powers()), of=rules), rules(context())
    assert made.columns[:-1] == tuple(inner.columns)
    assert made.columns[-1].name == "reconstruction_error"
    assert torch.equal(made()[:, :-1], inner())
    # Powers of ten are evenly spaced but for the floor below the median.
    logarithms = np.log(np.array(powers()) + 0.01 * np.median(powers()))
    z = (logarithms - logarithms.mean()) / logarithms.std()
    assert np.allclose(made()[:, -1], (z / 3).clip(-1, 1), atol=1e-6)
    assert made.sensitivities == pytest.approx(z.tolist())


def test_a_row_is_that_of_all_rows():
    made = measured(context(powers()), of=rules)
    counts = np.array([max(1, group.size // 2) for group in GRAPH.groups])
    for step in range(NUM):
        assert torch.equal(made.row(step, counts), made.rows(counts)[step])


def test_what_the_other_embedding_expects_counts_as_much():
    inner = rules(context())
    inner.sensitivities = tuple(
        -np.linspace(-1, 1, NUM) / np.linspace(-1, 1, NUM).std()
    )
    alone = np.array(measured(context(powers()), of=rules).sensitivities)
    both = np.array(MeasuredEmbedding(inner, np.array(powers())).sensitivities)
    total = alone + inner.sensitivities
    assert both == pytest.approx(total / total.std())


def test_by_default_it_is_that_of_the_auto_encoder():
    made = measured(context(powers()))
    inner = autoencoder(context())
    assert torch.equal(made()[:, :-1], inner()) and made.fitted == inner.fitted
    assert made.sensitivities != inner.sensitivities
    assert torch.equal(made.absolute[:, :-1], inner.absolute)
    assert made.absolute[0, -1] != made.absolute[1, -1]


def test_a_group_without_an_error_is_an_average_one():
    errors = powers()
    errors[1] = np.nan
    made = measured(context(errors), of=onehot)
    assert made.sensitivities[1] == pytest.approx(0)
    nothing = measured(context([np.nan] * NUM), of=onehot)
    assert set(nothing.sensitivities) == {0} and not nothing()[:, -1].any()


@pytest.mark.parametrize("errors", [[1.0], [-1.0] * NUM])
def test_errors_that_are_none_are_refused(errors):
    with pytest.raises(ValueError, match="one number >= 0"):
        measured(context(errors), of=rules)


def test_it_needs_data_channels_and_a_frozen_embedding():
    with pytest.raises(ValueError, match=r"context\.errors"):
        measured(context(), of=rules)
    with pytest.raises(ValueError, match="frozen"):
        measured(context(powers()), of=functools.partial(autoencoder, freeze=False))
    space = PlanSpace(GRAPH, parts=["keep_ratio", "weight_bits"])
    with pytest.raises(ValueError, match="channel groups only"):
        measured(EmbeddingContext(GRAPH, space, errors=lambda: np.ones(NUM)))
