from __future__ import annotations

import torch

from agmc.agents import Episode
from agmc.agents.best_episodes import BestEpisodesReplay
from agmc.agents.replay import Replay


def _episode(reward: float, action: float | None = None) -> Episode:
    action = reward if action is None else action
    return Episode(torch.full((2, 1), reward), torch.full((2,), action), reward)


def _rewards(replay: BestEpisodesReplay, share_drawn: int = 200) -> set[float]:
    generator = torch.Generator().manual_seed(0)
    batch = replay.sample(share_drawn, generator=generator)
    return {round(reward, 4) for reward in batch.rewards[:, 0].tolist()}


def _filled(elite_share: float) -> BestEpisodesReplay:
    replay = BestEpisodesReplay(2, 2, 1, elite_share=elite_share, elite_episodes=3)
    for reward in (0.1, 0.9, 0.3, 0.8, 0.7, 0.2, 0.4):
        replay.add(_episode(reward))
    return replay


def test_a_share_of_each_batch_comes_from_the_best_of_all() -> None:
    assert _rewards(_filled(0.0)) == {0.2, 0.4}
    assert _rewards(_filled(1.0)) == {0.9, 0.8, 0.7}
    assert _rewards(_filled(0.5)) == {0.2, 0.4, 0.9, 0.8, 0.7}
    batch = _filled(0.25).sample(8, generator=torch.Generator().manual_seed(0))
    assert (batch.rewards > 0.5).sum().item() == 2
    assert [field.shape[0] for field in batch] == [8] * 5


def test_without_the_best_it_is_the_ring_number_for_number() -> None:
    plain, replay = Replay(4, 1), _filled(0.0)
    for reward in (0.2, 0.4):
        plain.add(_episode(reward))
    # The ring has gone round an odd number of times: same rows, other order.
    drawn = replay.sample(64, generator=torch.Generator().manual_seed(3))
    rows = torch.randint(4, (64,), generator=torch.Generator().manual_seed(3))
    order = torch.tensor([0.4, 0.4, 0.2, 0.2])
    assert torch.equal(drawn.rewards[:, 0], order[rows])
    assert len(replay) == len(plain) == 4


def test_the_same_actions_are_kept_once_and_of_equals_the_first() -> None:
    replay = BestEpisodesReplay(1, 2, 1, elite_share=1.0, elite_episodes=2)
    replay.add(_episode(0.9, action=0.5))
    replay.add(_episode(0.9, action=0.5))
    replay.add(_episode(0.1, action=0.6))
    replay.add(_episode(0.1, action=0.7))
    drawn = replay.sample(100, generator=torch.Generator().manual_seed(0))
    assert {round(a, 4) for a in drawn.actions[:, 0].tolist()} == {0.5, 0.6}
