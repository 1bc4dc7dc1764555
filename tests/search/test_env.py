"""The environment keeps Gymnasium's contract and its own data sheet."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from search_bounds import one_notch_more
from search_fakes import SIZES, FormulaEvaluator, make_env

from agmc.search.worth import RewardError


@pytest.mark.filterwarnings("ignore:.*render modes.*:UserWarning")
def test_gymnasium_contract():
    check_env(make_env())


def walk(env, actions):
    observation, info = env.reset(seed=3)
    steps = [(observation, 0.0, False, False, info)]
    for action in actions:
        steps.append(env.step(np.array([action], np.float32)))
    return steps


def test_one_step_per_decision_and_the_reward_at_the_end():
    steps = walk(make_env(), [0.5, 0.5, 0.5])
    assert [reward for _, reward, *_ in steps[:-1]] == [0.0, 0.0, 0.0]
    assert [done for _, _, done, _, _ in steps] == [False, False, False, True]
    assert not any(truncated for *_, truncated, _ in steps)
    evaluation = steps[-1][-1]["evaluation"]
    assert steps[-1][1] == evaluation.accuracy - 1
    assert not steps[-1][0].any()


def test_info_tells_what_was_asked_and_what_was_done():
    env = make_env()
    infos = [info for *_, info in walk(env, [0.0, 1.0, 0.4])][1:]
    assert [info["requested"] for info in infos] == pytest.approx([0.0, 1.0, 0.4])
    counts = [info["count"] for info in infos]
    assert [info["executed"] for info in infos] == [
        count / size for count, size in zip(counts, SIZES, strict=True)
    ]
    assert infos[-1]["evaluation"].plan == env.budget.space.plan(counts)
    used = env.budget.usage(np.array(counts))
    assert used <= 1 < one_notch_more(env.budget, counts)


def test_observations_follow_the_executed_counts():
    steps = walk(make_env(), [0.0, 1.0, 0.4])
    assert steps[0][0].tolist() == [1, 0, 0, 1]
    assert steps[1][0][3] == pytest.approx(steps[1][4]["executed"])
    assert steps[1][4]["executed"] >= 0.2 > steps[1][4]["requested"]
    assert steps[2][0][3] == pytest.approx(steps[2][4]["executed"])


def test_same_actions_same_episode_whatever_the_seed():
    env = make_env()
    first = walk(env, [0.3, 0.9, 0.1])
    env.reset(seed=99)
    second = walk(env, [0.3, 0.9, 0.1])
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one[0], other[0]) and one[1:] == other[1:]


def test_a_step_after_the_end_or_before_the_start_is_refused():
    env = make_env()
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(np.array([0.5]))
    walk(env, [0.5, 0.5, 0.5])
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(np.array([0.5]))


@pytest.mark.parametrize("action", [[0.5, 0.5], [], [np.nan], [1.5], [-0.5]])
def test_actions_that_are_no_keep_ratio_are_refused(action):
    env = make_env()
    env.reset()
    with pytest.raises(ValueError, match="action"):
        env.step(np.array(action))


def test_random_episodes_keep_the_budget():
    env = make_env(FormulaEvaluator(), limit=0.37)
    env.action_space.seed(0)
    for _ in range(50):
        env.reset()
        done = False
        while not done:
            _, _, done, _, info = env.step(env.action_space.sample())
        used = info["evaluation"].cost.macs / env.budget.limits["macs"]
        counts = env.budget.space.counts(info["evaluation"].plan)
        assert used <= 1 < one_notch_more(env.budget, counts)


def test_rewards_see_the_network_itself():
    seen = []
    env = make_env(reward=lambda outcome: seen.append(outcome) or 0.5)
    *_, (_, reward, *_, info) = walk(env, [0.5, 0.5, 0.5])
    assert reward == 0.5
    (outcome,) = seen
    assert outcome.cost == info["evaluation"].cost
    assert outcome.original_accuracy == 0.9
    assert outcome.original_cost.macs == env.budget.original["macs"]


def test_a_reward_that_is_no_number_stops_the_episode_with_its_plan():
    env = make_env(reward=lambda outcome: math.nan)
    with pytest.raises(RewardError, match=r"\(=nan\) must be a finite") as raised:
        walk(env, [0.5, 0.5, 0.5])
    counts = env.budget.space.counts(raised.value.plan)
    assert env.budget.usage(counts) <= 1


def test_without_a_limit_every_count_can_be_taken():
    *_, info = walk(make_env(limit=None), [0.0, 1.0, 0.5])[-1]
    assert env_counts(info) == [4, 24, 16]


def env_counts(info):
    return [
        round(ratio * size)
        for ratio, size in zip(
            info["evaluation"].plan.keep_ratio.values(), SIZES, strict=True
        )
    ]


def test_a_look_along_a_plan_is_what_an_episode_shows():
    env = make_env()
    ratios = [0.5, 0.5, 0.75]
    seen = [env.reset()[0]]
    executed = []
    while len(executed) < env.num_decisions:
        observation, info = env.decide(np.array([ratios[len(executed)]]))
        executed.append(info["executed"])
        seen.append(observation)
    looked = env.look(executed)
    assert looked.dtype == torch.float32
    assert np.array_equal(looked.numpy(), np.stack(seen[:-1]))
