"""The executor on a Ray cluster of two nodes, which the test starts."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest
import search_fakes

from agmc.agents import Random
from agmc.plan import Plan
from agmc.search.executor import InProcess
from agmc.search.on_ray import OnRay
from agmc.search.runner import search
from agmc.search.workers import Workers

ray = pytest.importorskip("ray")
# A cluster takes a while to start, and leaves sockets and files to the collector.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def address():
    from ray.cluster_utils import Cluster

    # The workers cannot import these files.
    for module in (search_fakes, sys.modules[__name__]):
        ray.cloudpickle.register_pickle_by_value(module)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        yield cluster.address
    finally:
        cluster.shutdown()


class Fragile(search_fakes.FormulaEvaluator):
    """Notes the nodes that it runs on, and dies once, on one plan."""

    def __init__(self, notes, victim):
        super().__init__()
        self.before, self.notes, self.victim = int, notes, victim

    def __call__(self, plan):
        node = ray.get_runtime_context().get_node_id()
        open(os.path.join(self.notes, f"node-{node}"), "w").close()
        deadline = time.monotonic() + 60
        while len(os.listdir(self.notes)) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)  # until the other node has begun as well
        mark = os.path.join(self.notes, "dead")
        if plan.digest == self.victim and not os.path.exists(mark):
            open(mark, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(plan)


def test_a_killed_worker_on_two_nodes_changes_nothing(address, tmp_path):
    def run(executor):
        agent = search_fakes.make_agent(Random)
        with executor:
            env = search_fakes.make_env()
            return search(env, agent, episodes=12, executor=executor, in_flight=2)

    def outcome(found):
        return [(past.plan, past.reward, past.failed) for past in found.episodes]

    formula = search_fakes.FormulaEvaluator()
    whole = run(InProcess(formula))
    fragile = Fragile(str(tmp_path), whole.episodes[5].plan.digest)
    workers = Workers(workers=2, executor="ray", address=address)
    fragile.give_up = formula.give_up
    found = run(workers.executor_of(fragile))
    assert outcome(found) == outcome(whole)
    names = sorted(os.listdir(tmp_path))
    assert names[0] == "dead" and len(names) == 3  # and two nodes
    assert not ray.is_initialized()


def test_errors_come_back(address):
    def evaluate(plan):
        raise ValueError("too small")

    with OnRay(evaluate, workers=1, give_up=evaluate, address=address) as executor:
        executor.submit(tiny_plan())
        with pytest.raises(ValueError) as raised:
            executor.result()
    assert str(raised.value) == "too small"


class Unmade:
    """Cannot be brought to a worker."""

    def __setstate__(self, state):
        raise OSError("no such module")


def test_workers_that_cannot_start_stop_the_search(address):
    evaluator = Unmade()
    evaluator.state = 1  # without any, nothing would be set
    with OnRay(evaluator, workers=1, give_up=print, address=address) as executor:
        executor.submit(tiny_plan())
        with pytest.raises(Exception, match="no such module"):
            executor.result()


def tiny_plan():
    return Plan({"c": 0.5})
