from __future__ import annotations

import numpy as np
import pytest
from search_fakes import FormulaEvaluator, make_env

from agmc.agents import AgentContext, Critic, Random, Uniform
from agmc.cost.model import Cost
from agmc.plan import Plan
from agmc.search.episode_log import EpisodeRecord
from agmc.search.found import Found
from agmc.search.goals import goal_of
from agmc.search.runner import search
from agmc.search.uniform import uniform_plan


def agent_for(env, build, episodes):
    goals = tuple(goal_of(bound) for bound in env.budgets)
    return build(
        AgentContext(
            *(env.observation_dim, env.num_decisions, episodes, 0),
            goals[0].uniform_keep_ratios,
            choices=goals[0].choices,
            goals=goals,
        )
    )


@pytest.mark.parametrize("build", [Critic, Random, Uniform])
def test_a_range_ends_in_a_plan_for_each_budget(build):
    env = make_env(limit="0.3..0.7/3")
    found = search(env, agent_for(env, build, 30), episodes=30)
    assert [point.budget for point in found.front] == [
        "macs:0.3",
        "macs:0.5",
        "macs:0.7",
    ]
    rewards = [point.reward for point in found.front]
    assert rewards == sorted(rewards)
    assert found.plan == found.front[0].plan
    space = env.budget.space
    for bound, point in zip(env.budgets, found.front, strict=True):
        assert bound.usage(space.counts(point.plan)) <= 1
        held = [r for r in found.episodes if bound.usage(space.counts(r.plan)) <= 1]
        assert point.reward == max(record.reward for record in held)
    if build is Uniform:
        for goal, bound in zip(env.budgets, found.episodes, strict=False):
            assert bound.plan == uniform_plan(goal)
    again = Found.best_of(found.episodes, env.budgets)
    assert again.front == found.front


def test_budgets_take_turns_and_are_told_apart():
    env = make_env(limit="0.3..0.7/3")
    usages, places = [], []
    for episode in range(6):
        observation, _ = env.reset(options={"episode": episode})
        places.append(float(observation[-1]))
        assert observation.shape == env.observation_space.shape
        done = False
        while not done:
            _, _, done, _, info = env.step(np.array([1.0]))
        usages.append(env.budgets[-1].usage(env.budget.space.counts(info["plan"])))
    assert places == [0.0, 0.5, 1.0] * 2
    assert usages[0] < usages[1] < usages[2] <= 1
    assert usages[:3] == usages[3:]


def test_one_front_costs_less_than_its_searches():
    """Under ten budgets the critic gets as far as alone under one of them."""
    env = make_env(FormulaEvaluator(), limit="0.3..0.8/10")
    front = search(env, agent_for(env, Critic, 120), episodes=120).front
    for point in (front[2], front[7]):
        alone = make_env(limit=point.budget.partition(":")[2])
        found = search(alone, agent_for(alone, Critic, 60), episodes=60)
        assert point.reward >= found.reward - 0.02


def test_too_few_episodes_for_the_budgets_are_refused():
    env = make_env(limit="0.1..0.9/3")
    loose = make_env(limit=0.9)
    episodes = search(loose, agent_for(loose, Uniform, 1), episodes=1).episodes
    with pytest.raises(ValueError, match="no episode is within the budget macs:0.1"):
        Found.best_of(episodes, env.budgets)


@pytest.mark.parametrize(
    ("cached", "expected"),
    [((False, True, False), (2, 2.0)), ((True, True, True), (0, None))],
)
def test_the_record_of_a_search(cached, expected):
    cost = Cost(1, 1, 1)
    episodes = tuple(
        EpisodeRecord(i, Plan({}), float(i), 0.5, cost, 1.0 + i, was)
        for i, was in enumerate(cached)
    )
    record = Found.best_of(episodes).summary()
    assert (record["evaluations"], record["seconds_per_evaluation"]) == expected
    assert (record["reward"], record["episodes"]) == (2.0, 3)
