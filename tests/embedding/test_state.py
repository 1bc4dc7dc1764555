from __future__ import annotations

import numpy as np
import pytest
import torch
from embedding_nets import chain_graph, residual_graph
from torch import nn
from trained import multistage_of, sequential_of

from agmc.embedding.progress import Progress
from agmc.embedding.state import StateEmbedding, read_state
from agmc.plan_space import PlanSpace


def embedding() -> StateEmbedding:
    return StateEmbedding(chain_graph(), nn.Identity())


def test_rows_say_what_was_decided_and_nothing_of_the_future():
    made = embedding()  # 4, 6 and 5 channels
    rows = made.rows(np.array([1, 3, 2]))
    assert rows.shape == (3, made.dim) == (3, 7) and rows.dtype == torch.float32
    assert rows[:, 0].tolist() == torch.tensor([0, 1 / 3, 2 / 3]).tolist()
    assert rows[:, 1:4].tolist() == [[1, 1, 1], [0.25, 1, 1], [0.25, 0.5, 1]]
    progress = Progress(made.graph).rows(np.array([1, 3, 2]))
    assert torch.equal(rows[:, 4:], torch.from_numpy(progress).float())
    for step in range(3):
        future = np.array([1, 3, 2])
        future[step:] = 1
        assert torch.equal(made.row(step, future), rows[step])


def test_rows_can_be_read_again_whatever_stands_behind_them():
    made = embedding()
    plan = PlanSpace(made.graph).plan([1, 3, 2])
    rows = torch.cat([made(plan), torch.full((3, 1), 0.75)], dim=1)
    state = read_state(rows, 3)
    assert state.decision.tolist() == [0, 1, 2]
    assert torch.equal(state.kept, rows[:, 1:4])
    assert torch.equal(state.known, rows[:, 4:])


def test_every_decision_of_a_large_network_is_found_again():
    number = 5000
    rows = torch.zeros(number, 1 + number)
    rows[:, 0] = torch.from_numpy((np.arange(number) / number).astype(np.float32))
    assert torch.equal(read_state(rows, number).decision, torch.arange(number))


def test_what_is_seen_after_the_end_reads_as_the_first_decision():
    assert read_state(torch.zeros(2, 7), 3).decision.tolist() == [0, 0]


# What holds for every encoder of such rows.


@pytest.mark.parametrize("made", [multistage_of, sequential_of])
def test_same_seed_same_features_whatever_the_global_state(made):
    torch.manual_seed(1)
    first = made()
    torch.manual_seed(2)
    second = made()
    assert torch.equal(first.encoder(first()), second.encoder(second()))


@pytest.mark.parametrize(("made", "dim"), [(multistage_of, 15), (sequential_of, 9)])
def test_weights_fit_another_network(made, dim):
    small, large = made(chain_graph()), made(residual_graph(8, 3))
    large.encoder.load_state_dict(small.encoder.state_dict())
    assert large.encoder(large()).shape == (4, dim)


@pytest.mark.parametrize("made", [multistage_of, sequential_of])
def test_what_is_seen_after_the_end_is_finite(made):
    embedding = made()
    features = embedding.encoder(torch.zeros(2, embedding.dim))
    assert features.isfinite().all()
