"""Worker processes: the same result, whatever their number, delays and deaths."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from search_fakes import FormulaEvaluator, make_env
from search_nets import tiny_net, tiny_splits

from agmc.compression.prune import Pruner
from agmc.cost.model import CostModel
from agmc.graph.trace import trace
from agmc.plan import Plan
from agmc.plan_space import PlanSpace
from agmc.search.evaluator import Evaluator
from agmc.search.processes import Processes
from agmc.training import Execution

# Python 3.12 warns of threads, of which the child here uses none.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def plans(count):
    space = make_env().budget.space
    return [space.plan([4 + i, 24, 32]) for i in range(count)]


def results(executor, wanted):
    for plan in wanted:
        executor.submit(plan)
    return [executor.result() for _ in wanted]


@contextmanager
def processes(evaluate=None, *, workers=2, **knobs):
    formula = FormulaEvaluator()
    with Processes(
        evaluate or formula, workers=workers, give_up=formula.give_up, **knobs
    ) as executor:
        yield executor


def alive(pid):
    """Whether a process runs and is not just waiting to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_results_come_in_order_however_long_each_takes():
    def evaluate(plan):
        time.sleep(0.05 if plan == wanted[0] else 0)
        return formula(plan)

    wanted, formula = plans(6), FormulaEvaluator()
    with processes(evaluate) as executor:
        found = results(executor, wanted)
    assert found == [formula(plan) for plan in wanted]


def test_workers_share_the_threads_and_live_on(tmp_path):
    def evaluate(plan):
        (tmp_path / plan.digest).write_text(f"{os.getpid()} {torch.get_num_threads()}")
        return FormulaEvaluator()(plan)

    before = torch.get_num_threads()
    torch.set_num_threads(5)
    try:
        torch.randn(300, 300) @ torch.randn(300, 300)  # with all threads, then forks
        with processes(evaluate) as executor:
            results(executor, plans(8))
            notes = [file.read_text().split() for file in tmp_path.iterdir()]
            pids = {int(pid) for pid, _ in notes}
            assert os.getpid() not in pids and 1 <= len(pids) <= 2
            assert {threads for _, threads in notes} == {"2"}
            assert all(alive(pid) for pid in pids)
        assert not any(alive(pid) for pid in pids)
    finally:
        torch.set_num_threads(before)


def test_products_of_many_threads_work_after_the_fork():
    def evaluate(plan):
        assert torch.equal(left @ right, product)
        return FormulaEvaluator()(plan)

    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        left, right = torch.ones(400, 400), torch.ones(400, 400)
        product = left @ right
        with processes(evaluate) as executor:
            assert len(results(executor, plans(4))) == 4
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("times", [1, 2])
def test_a_killed_worker_loses_nothing(tmp_path, times, caplog):
    def evaluate(plan):
        if plan == wanted[2]:
            marks = [tmp_path / "first", tmp_path / "second"][:times]
            for mark in marks:
                if not mark.exists():
                    mark.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
        return FormulaEvaluator()(plan)

    wanted = plans(6)
    with processes(evaluate) as executor:
        found = results(executor, wanted)
    assert [one.plan for one in found] == wanted
    assert [one.failed for one in found] == [i == 2 and times == 2 for i in range(6)]
    assert "died (SIGKILL)" in caplog.text
    fine = [one for one in found if not one.failed]
    assert fine == [FormulaEvaluator()(one.plan) for one in fine]


def test_an_idle_worker_may_die_too(tmp_path):
    def evaluate(plan):
        (tmp_path / str(os.getpid())).touch()
        return FormulaEvaluator()(plan)

    wanted = plans(4)
    with processes(evaluate, workers=1) as executor:
        first = results(executor, wanted[:2])
        (file,) = tmp_path.iterdir()
        os.kill(int(file.name), signal.SIGKILL)
        time.sleep(0.05)
        rest = results(executor, wanted[2:])
    assert first + rest == [FormulaEvaluator()(plan) for plan in wanted]


class Unsendable(Exception):
    def __init__(self, one, two):
        super().__init__(one)


@pytest.mark.parametrize(
    ("error", "expected", "text"),
    [
        (ValueError("too small"), ValueError, "too small"),
        (Unsendable("a", "b"), RuntimeError, "Unsendable: a"),
    ],
)
def test_errors_come_back_and_say_where_they_were_raised(error, expected, text):
    def evaluate(plan):
        raise error

    with processes(evaluate) as executor:
        executor.submit(plans(1)[0])
        with pytest.raises(expected) as raised:
            executor.result()
    assert str(raised.value) == text
    if expected is ValueError:
        assert "in evaluate" in "".join(raised.value.__notes__)


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    def evaluate(plan):
        (tmp_path / str(os.getpid())).touch()
        return FormulaEvaluator()(plan)

    parent = os.fork()
    if parent == 0:
        with processes(evaluate) as executor:
            results(executor, plans(6))
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(parent, 0)
    pids = [int(file.name) for file in tmp_path.iterdir()]
    assert pids
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def real_evaluator():
    net, splits = tiny_net(), tiny_splits()
    graph = trace(net, splits.example_input())
    execution = Execution(device="cpu", precision="float32")
    return Evaluator(Pruner(net, graph), CostModel(graph), splits, execution), graph


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_a_real_evaluator_says_the_same_in_every_process(start_method):
    evaluator, graph = real_evaluator()
    wanted = [Plan.uniform(PlanSpace(graph), ratio) for ratio in (0.3, 0.5, 0.8, 1.0)]
    expected = [evaluator(plan) for plan in wanted]
    with Processes(
        evaluator,
        workers=2 if start_method == "fork" else 1,
        give_up=evaluator.give_up,
        start_method=start_method,
    ) as executor:
        assert results(executor, wanted) == expected
    assert evaluator.give_up(wanted[0]).cost == expected[0].cost
