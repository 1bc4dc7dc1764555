"""The executor on a Ray cluster of two nodes, which the test starts."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest
from search_nets import tiny_net, tiny_splits

from agmc.search.evaluator import Evaluator
from agmc.search.find_plan import find_plan
from agmc.search.on_ray import OnRay
from agmc.search.workers import Workers
from agmc.training import Execution

ray = pytest.importorskip("ray")
# A cluster takes a while to start, and leaves sockets and files to the collector.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def address():
    from ray.cluster_utils import Cluster

    # The workers cannot import this file.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        yield cluster.address
    finally:
        cluster.shutdown()


class Fragile(Evaluator):
    """Notes the nodes that it runs on, and dies once, on the third plan."""

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


def find(directory, **knobs):
    return find_plan(
        tiny_net(),
        tiny_splits(),
        "macs:0.5",
        embedding="rules",
        agent="random",
        round_to=1,
        episodes=10,
        directory=directory,
        execution=Execution(device="cpu", precision="float32"),
        **knobs,
    )


def test_a_killed_worker_on_two_nodes_changes_nothing(address, tmp_path):
    whole = find(tmp_path / "whole", workers=Workers(in_flight=2))
    notes = tmp_path / "notes"
    notes.mkdir()

    def fragile(*arguments):
        evaluator = Fragile(*arguments)
        evaluator.notes, evaluator.victim = str(notes), whole.episodes[2].plan.digest
        return evaluator

    found = find(
        tmp_path / "ray",
        evaluator=fragile,
        workers=Workers(workers=2, executor="ray", address=address),
    )
    assert found.plan == whole.plan
    assert [(past.plan, past.reward, past.failed) for past in found.episodes] == [
        (past.plan, past.reward, False) for past in whole.episodes
    ]
    names = sorted(file.name for file in notes.iterdir())
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


class Unmade(Evaluator):
    """Cannot be brought to a worker."""

    def __init__(self):
        pass

    def __setstate__(self, state):
        raise OSError("no such module")


def test_workers_that_cannot_start_stop_the_search(address):
    evaluator = Unmade()
    evaluator.state = 1
    with OnRay(evaluator, workers=1, give_up=print, address=address) as executor:
        executor.submit(tiny_plan())
        with pytest.raises(Exception, match="no such module"):
            executor.result()


def tiny_plan():
    from agmc.plan import Plan

    return Plan({"c": 0.5})
