"""Several candidates in flight: the seed decides the run, not the workers or the time.

Every agent has to cope with episodes that begin before others are observed.
"""

from __future__ import annotations

import functools
import json
import os
import random
import signal
import time

import pytest
from search_fakes import FormulaEvaluator, make_agent, make_env, small_agent

from agmc.agents import Random
from agmc.agents.agent import Agent
from agmc.search.choices import AGENTS
from agmc.search.episode_log import EpisodeLog
from agmc.search.executor import InProcess
from agmc.search.found import Found
from agmc.search.processes import Processes
from agmc.search.runner import search

EPISODES = 14


def run(agent, *, evaluate=None, workers=1, in_flight=3, log=None):
    evaluate = evaluate or FormulaEvaluator()
    give_up = FormulaEvaluator().give_up
    with (
        InProcess(evaluate)
        if workers == 1
        else Processes(evaluate, workers=workers, give_up=give_up)
    ) as executor:
        return search(
            make_env(evaluate),
            agent,
            episodes=EPISODES,
            executor=executor,
            in_flight=in_flight,
            log=log,
        )


def outcome(found):
    return [
        (past.plan, past.reward, past.cached, past.probe, past.failed)
        for past in found.episodes
    ]


def dawdling(plan):
    """Takes now a short and now a long time."""
    time.sleep(random.random() * 0.01)
    return FormulaEvaluator()(plan)


@pytest.mark.parametrize("agent", AGENTS)
def test_workers_and_delays_change_nothing(agent):
    one = run(small_agent(agent, episodes=EPISODES))
    two = run(small_agent(agent, episodes=EPISODES), evaluate=dawdling, workers=2)
    assert outcome(one) == outcome(two)
    assert (one.plan, one.reward) == (two.plan, two.reward)


class Diary(Agent):
    """Asks for three probes, and notes what happens when."""

    def __init__(self, context):
        self.notes = []

    def probe(self, index):
        return [1.0, 1.0, 1 / (index + 1)] if index < 3 else None

    def observe_probe(self, keep_ratios, reward):
        self.notes.append("probed")

    def begin_episode(self, index):
        self.notes.append(index)

    def act(self, observation, explore=True):
        return 0.1 * (self.notes[-1] % 10)

    def observe(self, episode):
        self.notes.append("observed")


@pytest.mark.parametrize("in_flight", [1, 2, 4])
def test_the_agent_is_so_many_proposals_ahead(in_flight):
    diary = make_agent(Diary)
    run(diary, in_flight=in_flight)
    assert diary.notes[:3] == ["probed"] * 3
    begun, seen, ahead = 3, 3, []
    for note in diary.notes[3:]:
        begun, seen = begun + (note != "observed"), seen + (note == "observed")
        ahead.append(begun - seen)
    assert max(ahead) == in_flight and begun == seen == EPISODES


def test_a_killed_worker_changes_nothing(tmp_path):
    def evaluate(plan):
        if plan == victim and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return FormulaEvaluator()(plan)

    mark = tmp_path / "killed"
    whole = run(small_agent("ddpg", episodes=EPISODES))
    victim = whole.episodes[6].plan
    assert outcome(
        run(small_agent("ddpg", episodes=EPISODES), evaluate=evaluate, workers=2)
    ) == outcome(whole)
    assert mark.exists()


def test_a_failed_plan_earns_least_and_is_never_the_result(tmp_path):
    def evaluate(plan):
        if plan == victim:
            os.kill(os.getpid(), signal.SIGKILL)
        return FormulaEvaluator()(plan)

    best = run(make_agent(Random))
    victim = best.plan
    path = tmp_path / "episodes.jsonl"
    found = run(
        make_agent(Random), evaluate=evaluate, workers=2, log=EpisodeLog(path, "r")
    )
    (failed,) = (past for past in found.episodes if past.failed)
    assert failed.plan == victim != found.plan
    assert failed.reward == -1.0 and failed.accuracy == 0
    assert found.reward < best.reward
    lines = path.read_text().splitlines()
    assert [json.loads(line)["failed"] for line in lines] == [
        past.failed for past in found.episodes
    ]
    # A run that goes on does not try it again.
    log = EpisodeLog(path, "r")
    log.truncate(failed.episode + 1)
    again = run(make_agent(Random), evaluate=evaluate, log=EpisodeLog(path, "r"))
    assert outcome(again) == outcome(found)
    with pytest.raises(ValueError, match="workers died on 1 of 1 episodes"):
        Found.best_of((failed,))


@pytest.mark.parametrize("in_flight", [0, -1])
def test_nothing_in_flight_is_refused(in_flight):
    with pytest.raises(ValueError, match=rf"in_flight \(={in_flight}\) must be >= 1"):
        run(make_agent(functools.partial(Random)), in_flight=in_flight)
