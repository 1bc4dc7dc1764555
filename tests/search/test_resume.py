"""Killed at twenty random moments, a search of every agent ends as if nothing happened.

The search runs in a child that is forked, so that it starts within milliseconds, and
the kill comes from outside at any moment: while the agent acts or learns, while a plan
is evaluated, and while a line is being written.
"""

from __future__ import annotations

import os
import pickle
import random
import signal
import threading
import time
import traceback

import pytest
import torch
from search_fakes import FormulaEvaluator, make_agent, make_env, small_agent

from agmc.search.choices import AGENTS
from agmc.search.episode_log import EpisodeLog
from agmc.search.runner import search

# Python 3.12 warns of threads, of which the child starts one anew.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
EPISODES = 16
KILLS = 20


def generator_states(thing, seen=None):
    """The states of all random generators and networks that an agent holds."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return []
    seen.add(id(thing))
    if isinstance(thing, torch.Generator):
        return [thing.get_state().numpy().tobytes()]
    if isinstance(thing, torch.nn.Module):
        return [value.numpy().tobytes() for value in thing.state_dict().values()]
    if type(thing).__name__ in ("RandomState", "Generator"):
        return [pickle.dumps(thing)]
    if isinstance(thing, dict):
        parts = list(thing.values())
    elif isinstance(thing, (list, tuple)):
        parts = list(thing)
    elif type(thing).__module__.startswith(("agmc.", "optuna.")):
        parts = list(getattr(thing, "__dict__", {}).values())
    else:
        return []
    return [state for part in parts for state in generator_states(part, seen)]


def run(name, directory, *, in_flight):
    """A search, and the state of its agent at the end."""
    agent = small_agent(name, episodes=EPISODES)
    found = search(
        make_env(FormulaEvaluator(lambda: time.sleep(0.001))),
        agent,
        episodes=EPISODES,
        log=EpisodeLog(directory / "episodes.jsonl", "run"),
        in_flight=in_flight,
    )
    episodes = [(past.plan, past.reward, past.probe) for past in found.episodes]
    return found.plan, found.reward, episodes, generator_states(agent)


def forked(name, directory, after, in_flight):
    """Runs in a child and kills it `after` seconds; whether it had ended by then."""
    child = os.fork()
    if child == 0:
        # In a thread of its own: see agmc.search.processes.
        thread = threading.Thread(target=live, args=(name, directory, in_flight))
        thread.start()
        thread.join()
        os._exit(1)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return not os.WIFSIGNALED(status)


def live(name, directory, in_flight):
    try:
        run(name, directory, in_flight=in_flight)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def kills_of(name, directory, seconds, in_flight):
    """Twenty kills; a search that gets to its end is put back by some episodes."""
    moments = random.Random(name)
    path = directory / "episodes.jsonl"
    lines = b""
    for _ in range(KILLS):
        forked(name, directory, moments.random() * seconds, in_flight)
        content = path.read_bytes() if path.exists() else b""
        assert content.startswith(lines)
        lines = content[: content.rfind(b"\n") + 1]
        if lines.count(b"\n") == EPISODES:
            left = moments.randrange(EPISODES)
            lines = b"".join(lines.splitlines(keepends=True)[:left])
            path.write_bytes(lines)
        elif moments.random() < 0.2:  # as if the kill had torn a line
            path.write_bytes(lines + b'{"episode": 3, "plan": {"dig')


@pytest.mark.parametrize(
    ("agent", "in_flight"),
    [*((name, 1) for name in AGENTS), ("ddpg", 3), ("greedy", 3)],
)
def test_twenty_kills_change_nothing(tmp_path, agent, in_flight):
    run(agent, tmp_path / "first", in_flight=in_flight)  # imports what the agent needs
    started = time.perf_counter()
    whole = run(agent, tmp_path / "whole", in_flight=in_flight)
    seconds = time.perf_counter() - started
    (tmp_path / "cut").mkdir()
    kills_of(agent, tmp_path / "cut", seconds, in_flight)
    assert run(agent, tmp_path / "cut", in_flight=in_flight) == whole
    log = EpisodeLog(tmp_path / "cut" / "episodes.jsonl", "run")
    assert [past.episode for past in log.records] == [*range(EPISODES)]
    assert [(past.plan, past.reward, past.probe) for past in log.records] == whole[2]


def test_the_state_of_an_agent_is_seen():
    agents = [make_agent(AGENTS[name]) for name in ("random", "ddpg", "cmaes")]
    before = [generator_states(agent) for agent in agents]
    assert all(before) and len(before[1]) > 10
    for agent in agents:
        search(make_env(), agent, episodes=3)
    assert all(
        old != generator_states(agent)
        for agent, old in zip(agents, before, strict=True)
    )
