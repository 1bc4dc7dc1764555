from __future__ import annotations

import numpy as np
import pytest
from agent_plans import LEVELS, context, probes_of

from agmc.agents import AgentContext, Greedy


class Measuring(Greedy):
    """Any agent that probes."""


def test_the_whole_network_and_then_every_decision_alone_are_measured() -> None:
    probes = probes_of(Measuring(context(3, num_episodes=100), max_levels=2))
    assert probes[0] == (1, 1, 1)
    assert [sum(ratio < 1 for ratio in probe) for probe in probes[1:]] == [1] * 6
    assert {probe[0] for probe in probes[1:3]} == {0.1, 0.5} or probes[2][0] == 0.6


@pytest.mark.parametrize("num_episodes", [1, 4, 5, 8, 100])
def test_at_least_one_episode_is_played(num_episodes: int) -> None:
    number = len(probes_of(Measuring(context(3, num_episodes=num_episodes))))
    assert number <= num_episodes - 1
    assert number in (0, 1 + 3 * ((number - 1) // 3))


def test_losses_are_measured_and_interpolated_in_between() -> None:
    agent = Measuring(context(2, num_episodes=100), max_levels=3)
    for probe in probes_of(agent):
        agent.observe_probe(probe, 5.0 - 2.0 * (1 - probe[0]) - (1 - probe[1]))
    first, second = agent.losses()
    assert np.allclose(first, 2 * (1 - np.array(LEVELS)))
    assert np.allclose(second, 1 - np.array(LEVELS))


def test_without_measurements_what_goes_is_what_it_costs() -> None:
    agent = Measuring(context(2, num_episodes=1))
    assert np.allclose(agent.losses()[0], 1 - np.array(LEVELS))


def test_plans_must_be_known() -> None:
    with pytest.raises(ValueError, match="needs context.choices"):
        Measuring(AgentContext(1, 2, 3, 0, (0.5, 0.5)))
    with pytest.raises(ValueError, match=r"max_levels \(=0\)"):
        Measuring(context(), max_levels=0)
