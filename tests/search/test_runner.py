"""The loop: the best plan, the log, and a stopped search that ends the same."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
from search_fakes import FormulaEvaluator, make_agent, make_env

from agmc.agents import DDPG, Greedy, Random, Uniform
from agmc.search.episode_log import EpisodeLog
from agmc.search.found import Found
from agmc.search.runner import search

EPISODES = 20
AGENTS = {
    "ddpg": functools.partial(DDPG, hidden_dim=16),
    "greedy": Greedy,  # measures outside of the budget first
    "random": Random,
}


def run(directory, *, agent="ddpg", evaluator=None, episodes=EPISODES, **knobs):
    """One search with a log in `directory`, and the evaluator it used."""
    evaluator = evaluator or FormulaEvaluator()
    found = search(
        make_env(evaluator),
        make_agent(AGENTS[agent], episodes=EPISODES),
        episodes=episodes,
        log=EpisodeLog(Path(directory) / "episodes.jsonl", "run"),
        **knobs,
    )
    return found, evaluator


def lines_of(directory):
    """The log without the seconds, which no two runs share."""
    text = (Path(directory) / "episodes.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def outcome(found):
    return found.plan, found.reward, [past.plan for past in found.episodes]


def test_the_best_reward_wins_and_the_first_of_equals():
    found = search(make_env(), make_agent(Random), episodes=30)
    rewards = [past.reward for past in found.episodes]
    first = rewards.index(max(rewards))
    assert len(rewards) == 30
    assert (found.plan, found.reward) == (found.episodes[first].plan, max(rewards))
    assert found.accuracy == found.episodes[first].accuracy == found.reward + 1
    assert found.cost.macs <= make_env().budget.limits["macs"]
    again = Found.best_of((found.episodes[first], *found.episodes))
    assert again.plan is found.episodes[first].plan


def test_measurements_outside_of_the_budget_are_never_the_result(tmp_path):
    found, _ = run(tmp_path, agent="greedy")
    probes = [past for past in found.episodes if past.probe]
    limit = make_env().budget.limits["macs"]
    assert probes[0].cost.macs > limit and probes[0].reward > found.reward
    assert found.cost.macs <= limit
    assert [line["probe"] for line in lines_of(tmp_path)] == [
        past.probe for past in found.episodes
    ]
    with pytest.raises(ValueError, match="used up all 2 episodes"):
        Found.best_of(found.episodes[:2])


def test_uniform_is_evaluated_once():
    evaluator = FormulaEvaluator()
    found = search(make_env(evaluator), make_agent(Uniform), episodes=5)
    assert evaluator.computed == 1
    assert [past.cached for past in found.episodes] == [False, True, True, True, True]
    assert len({past.plan.digest for past in found.episodes}) == 1


@pytest.mark.parametrize("agent", AGENTS)
def test_same_seed_same_search(tmp_path, agent):
    first, _ = run(tmp_path / "a", agent=agent)
    second, _ = run(tmp_path / "b", agent=agent)
    assert outcome(first) == outcome(second)
    assert lines_of(tmp_path / "a") == lines_of(tmp_path / "b")
    assert [line["episode"] for line in lines_of(tmp_path / "a")] == [*range(EPISODES)]


class Stop(Exception):
    """Ends a search in the middle of an episode."""


def stop_at(count):
    def before():
        if evaluator.computed == count:
            raise Stop

    evaluator = FormulaEvaluator(before)
    return evaluator


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_an_interrupted_search_ends_like_an_uninterrupted_one(tmp_path, agent, share):
    whole, all_of_it = run(tmp_path / "whole", agent=agent)
    count = 1 + int(share * (all_of_it.computed - 2))
    with pytest.raises(Stop):
        run(tmp_path / "cut", agent=agent, evaluator=stop_at(count))
    past = lines_of(tmp_path / "cut")
    assert 0 < len(past) < EPISODES
    again, rest_of_it = run(tmp_path / "cut", agent=agent)
    assert outcome(again) == outcome(whole)
    assert lines_of(tmp_path / "cut") == lines_of(tmp_path / "whole")
    assert lines_of(tmp_path / "cut")[: len(past)] == past
    assert rest_of_it.computed == all_of_it.computed - count


def test_a_complete_log_is_the_result(tmp_path):
    whole, _ = run(tmp_path)
    before = (tmp_path / "episodes.jsonl").read_bytes()
    again, evaluator = run(tmp_path, on_episode=pytest.fail)
    assert outcome(again) == outcome(whole)
    assert evaluator.computed == 0
    assert (tmp_path / "episodes.jsonl").read_bytes() == before


def test_a_log_that_does_not_replay_is_cut_and_goes_on(tmp_path, caplog):
    run(tmp_path, agent="random", episodes=6)
    found, _ = run(tmp_path, agent="ddpg")
    assert "differs from the log" in caplog.text
    assert [past.episode for past in found.episodes] == [*range(EPISODES)]
    log = EpisodeLog(tmp_path / "episodes.jsonl", "run")
    assert [past.plan for past in log.records] == [p.plan for p in found.episodes]


def test_progress_is_told_after_every_episode(tmp_path):
    told = []
    found, _ = run(tmp_path, on_episode=told.append)
    assert [news.record for news in told] == list(found.episodes)
    assert [(news.done, news.total) for news in told] == [
        (i + 1, EPISODES) for i in range(EPISODES)
    ]
    best = [news.best.reward for news in told]
    assert best == sorted(best) and best[-1] == found.reward
    assert all(news.seconds_left > 0 for news in told[:-1])
    assert told[-1].seconds_left == 0


def test_a_search_without_episodes_is_refused():
    with pytest.raises(ValueError, match=r"episodes \(=0\) must be >= 1"):
        search(make_env(), make_agent(Random), episodes=0)
