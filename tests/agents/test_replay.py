from __future__ import annotations

import pytest
import torch

from agmc.agents import Episode
from agmc.agents.replay import Replay


def _episode(first: float, length: int, reward: float) -> Episode:
    rows = torch.arange(first, first + length)
    return Episode(rows[:, None].repeat(1, 2), rows / 100, reward)


def _contents(replay: Replay) -> set[tuple[float, ...]]:
    batch = replay.sample(500, generator=torch.Generator().manual_seed(0))
    rows = torch.cat(
        [
            batch.observations[:, :1],
            batch.actions * 100,
            batch.rewards,
            batch.next_observations[:, :1] * batch.continues,
            batch.continues,
        ],
        dim=1,
    )
    return {tuple(row) for row in rows.round(decimals=3).tolist()}


def test_each_step_has_the_final_reward_and_its_successor() -> None:
    replay = Replay(6, 2)
    replay.add(_episode(10.0, 3, 0.5))
    assert len(replay) == 3
    # observation, action * 100, reward, next observation, continues
    assert _contents(replay) == {
        (10.0, 10.0, 0.5, 11.0, 1.0),
        (11.0, 11.0, 0.5, 12.0, 1.0),
        (12.0, 12.0, 0.5, 0.0, 0.0),
    }


def test_the_ring_overwrites_the_oldest_steps() -> None:
    replay = Replay(5, 2)
    replay.add(_episode(10.0, 3, 0.5))
    replay.add(_episode(20.0, 3, 0.25))
    assert len(replay) == 5
    assert {row[0] for row in _contents(replay)} == {11.0, 12.0, 20.0, 21.0, 22.0}
    replay.add(_episode(30.0, 5, 0.75))
    assert len(replay) == 5
    assert {row[2] for row in _contents(replay)} == {0.75}


@pytest.mark.parametrize("length", [0, 6])
def test_an_episode_must_fit(length: int) -> None:
    with pytest.raises(ValueError, match=f"{length} steps does not fit a replay of 5"):
        Replay(5, 2).add(Episode(torch.zeros(length, 2), torch.zeros(length), 1.0))


def test_an_episode_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="have 3 features, expected 2"):
        Replay(5, 2).add(Episode(torch.zeros(1, 3), torch.zeros(1), 1.0))


def test_a_cleared_replay_holds_what_is_added_after_alone() -> None:
    replay = Replay(6, 2)
    replay.add(_episode(10.0, 3, reward=0.5))
    replay.clear()
    assert len(replay) == 0
    replay.add(_episode(30.0, 2, reward=0.25))
    assert {row[0] for row in _contents(replay)} == {30.0, 31.0}
