"""Probes on data whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from agmc.embedding.columns import Column
from agmc.embedding.fixed import FixedEmbedding
from agmc.embedding.probe import (
    Score,
    Subject,
    probe_classes,
    probe_numbers,
    readable_rows,
)
from agmc.embedding.rules import RulesEmbedding
from agmc.plan_space import PlanSpace
from tests.embedding.embedding_nets import chain_graph


def subjects(value, *, families=5, columns=3, decisions=12, seed=0):
    """Two networks a family; `value(rows, family, generator)` is to be found."""
    generator = np.random.default_rng(seed)
    result = []
    for family in range(families):
        for number in range(2):
            rows = generator.normal(size=(decisions + family, columns))
            found = value(rows, family, generator)
            result.append(Subject(f"{family}-{number}", str(family), rows, found))
    return result


def test_what_is_linear_is_found_whatever_the_scale():
    def value(rows, family, generator):
        return 7 + 3 * rows[:, 0] - 0.01 * rows[:, 2]

    score = probe_numbers(subjects(value))
    assert score.value > 0.999 and score.low > 0.999
    scaled = [
        Subject(s.name, s.family, s.rows * [1e-3, 1e3, 1] + 5, s.values)
        for s in subjects(value)
    ]
    assert probe_numbers(scaled).value == pytest.approx(score.value)


def test_half_noise_is_half_found():
    def value(rows, family, generator):
        return rows[:, 0] + generator.normal(size=len(rows))

    score = probe_numbers(subjects(value, decisions=60))
    assert score.low < 0.5 < score.high
    assert 0.35 < score.value < 0.65


def test_noise_is_not_found():
    def value(rows, family, generator):
        return generator.normal(size=len(rows))

    score = probe_numbers(subjects(value, columns=20))
    assert score.value < 0.05


def test_what_only_holds_in_the_own_family_is_not_found():
    def value(rows, family, generator):
        return rows[:, 0] * (1 if family % 2 else -1)

    assert probe_numbers(subjects(value)).value < 0.1


def test_offsets_of_networks_count_unless_within():
    def value(rows, family, generator):
        return rows[:, 0] + 5 * generator.normal()

    given = subjects(value)
    assert probe_numbers(given).value < 0.3
    assert probe_numbers(given, within=True).value > 0.99
    # Rows that say which network it is, and nothing else, find nothing within it.
    constant = [
        Subject(
            s.name, s.family, np.full((len(s.values), 1), s.values.mean()), s.values
        )
        for s in given
    ]
    assert probe_numbers(constant).value > 0.9
    assert probe_numbers(constant, within=True).value == pytest.approx(0)


def test_every_network_counts_the_same():
    generator = np.random.default_rng(0)
    many = [
        Subject("a", "a", rows := generator.normal(size=(400, 1)), rows[:, 0]),
        *(
            Subject(name, name, rows := generator.normal(size=(8, 1)), -rows[:, 0])
            for name in "bcdef"
        ),
    ]
    score = probe_numbers(many, read=["b", "c", "d", "e", "f"])
    assert score.value > 0.3  # 400 decisions say otherwise, but one network only


def test_classes():
    def value(rows, family, generator):
        return np.where(rows[:, 0] > 0.7, "conv", np.where(rows[:, 1] > 0, "add", "-"))

    given = subjects(value, decisions=60)
    score = probe_classes(given)
    assert 0.75 < score.low < score.value < score.high <= 1
    blind = [Subject(s.name, s.family, s.rows[:, 2:], s.values) for s in given]
    assert probe_classes(blind).value < 0.55


def test_a_class_that_was_not_fitted_on_is_wrong():
    def value(rows, family, generator):
        return np.full(len(rows), "only here" if family == 4 else "everywhere")

    assert probe_classes(subjects(value)).value == pytest.approx(0.8)
    assert probe_classes(subjects(value), read=["4"]) == Score(0, 0, 0)


def test_shorter_rows_are_filled_up():
    given = subjects(lambda rows, family, generator: rows[:, 0])
    cut = [
        Subject(s.name, s.family, s.rows[:, : 1 + int(s.family) % 3], s.values)
        for s in given
    ]
    assert probe_numbers(cut).value > 0.99


def test_the_seed_decides_on_the_interval_only():
    def value(rows, family, generator):
        return rows[:, 0] + generator.normal(size=len(rows))

    first, again, other = (
        probe_numbers(subjects(value), seed=seed) for seed in (0, 0, 1)
    )
    assert first == again != other
    assert first.value == other.value
    assert str(Score(0.514, 0.4, 0.6)) == "0.51 [0.40, 0.60]"


def test_what_cannot_be_probed():
    given = subjects(lambda rows, family, generator: rows[:, 0], families=2)
    with pytest.raises(ValueError, match="at least three families"):
        probe_numbers(given)
    given = subjects(lambda rows, family, generator: rows[1:, 0])
    with pytest.raises(ValueError, match="0-0 has 12 rows and 11 values"):
        probe_numbers(given)
    given = subjects(lambda rows, family, generator: rows[:, 0])
    with pytest.raises(ValueError, match="no network is of the families"):
        probe_numbers(given, read=["x"])


def test_rows_with_and_without_progress():
    rows = RulesEmbedding(chain_graph())(None).double().numpy()
    embedding = RulesEmbedding(chain_graph())
    assert np.array_equal(readable_rows(embedding), rows)
    assert np.array_equal(readable_rows(embedding, progress=False), rows[:, :8])


def test_rows_go_through_the_encoder():
    embedding = FixedEmbedding(
        PlanSpace(chain_graph()), [Column("a", "1")], np.ones((3, 1))
    )
    embedding.encoder = nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5))
    expected = embedding.encoder[0](embedding(None)).detach().double()
    found = torch.from_numpy(readable_rows(embedding, progress=False))
    assert torch.equal(found, expected)
