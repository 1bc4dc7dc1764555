"""Plans go to idle workers; those of dead ones to fresh ones, twice at most."""

from __future__ import annotations

import pytest
from search_fakes import FormulaEvaluator, make_env

from agmc.search.worker_pool import Worker, WorkerDied, WorkerPool


class ScriptedWorker(Worker):
    """Dies on the plans that it is told to die on."""

    def __init__(self, pool):
        self.pool, self.plan, self.closed = pool, None, False

    def begin(self, plan):
        self.plan = plan

    def end(self):
        if self.pool.deaths.get(self.plan.digest, 0):
            self.pool.deaths[self.plan.digest] -= 1
            raise WorkerDied("a worker died")
        try:
            return self.pool.evaluate(self.plan)
        except ValueError as error:
            return error

    def close(self):
        self.closed = True


class Scripted(WorkerPool):
    """Workers that end in the opposite order of their beginning."""

    def __init__(self, workers, deaths=None, evaluate=None):
        self.evaluate = evaluate or FormulaEvaluator()
        super().__init__(workers, FormulaEvaluator().give_up)
        self.deaths, self.hired, self.most = deaths or {}, [], 0

    def _hire(self):
        self.hired.append(ScriptedWorker(self))
        return self.hired[-1]

    def _ready(self, busy):
        self.most = max(self.most, len(busy))
        return busy[-1:]


def plans(count):
    """Different plans."""
    space = make_env().budget.space
    return [space.plan([4 + i, 24, 32]) for i in range(count)]


def results(pool, wanted):
    for plan in wanted:
        pool.submit(plan)
    return [pool.result() for _ in wanted]


@pytest.mark.parametrize("workers", [1, 2, 3, 9])
def test_results_come_in_the_order_of_the_plans(workers):
    pool = Scripted(workers)
    found = results(pool, plans(6))
    assert [one.plan for one in found] == plans(6)
    assert found == [FormulaEvaluator()(plan) for plan in plans(6)]
    assert len(pool.hired) == pool.most == min(workers, 6)


def test_a_plan_is_evaluated_once():
    (first, second), pool = plans(2), Scripted(2)
    found = results(pool, [first, second, first])
    assert pool.evaluate.computed == 2
    assert [one.cached for one in found] == [False, False, True]
    assert found[0] == found[2]
    assert results(pool, [second])[0].cached


def test_what_is_remembered_is_not_evaluated():
    (plan,), pool = plans(1), Scripted(2)
    pool.remember([FormulaEvaluator()(plan)])
    assert results(pool, [plan]) == [FormulaEvaluator()(plan)]
    assert pool.hired == []


def test_the_plan_of_a_dead_worker_goes_to_a_fresh_one(caplog):
    wanted = plans(5)
    pool = Scripted(2, {wanted[1].digest: 1, wanted[4].digest: 1})
    assert results(pool, wanted) == [FormulaEvaluator()(plan) for plan in wanted]
    assert len(pool.hired) == 4
    assert [worker.closed for worker in pool.hired].count(True) == 2
    assert caplog.text.count("goes to a fresh one") == 2


def test_a_plan_that_two_workers_died_on_has_failed(caplog):
    wanted = plans(4)
    pool = Scripted(2, {wanted[1].digest: 2})
    found = results(pool, wanted)
    assert [one.failed for one in found] == [False, True, False, False]
    assert (
        found[1].accuracy == 0 and found[1].cost == FormulaEvaluator()(wanted[1]).cost
    )
    assert f"plan {wanted[1].digest} has failed" in caplog.text
    again = results(pool, wanted[1:2])[0]
    assert again.failed and again.cached and len(pool.hired) == 4


def test_workers_that_never_end_anything_stop_the_search():
    wanted = plans(6)
    pool = Scripted(2, {plan.digest: 2 for plan in wanted})
    with pytest.raises(ChildProcessError, match="8 workers died one after the other"):
        results(pool, wanted)


def test_what_the_evaluation_raises_is_raised_with_its_result():
    def evaluate(plan):
        if plan == bad:
            raise ValueError("no such plan")
        return good(plan)

    (first, bad, last), good = plans(3), FormulaEvaluator()
    pool = Scripted(3, evaluate=evaluate)
    for plan in (first, bad, last):
        pool.submit(plan)
    assert pool.result().plan == first
    with pytest.raises(ValueError, match="no such plan"):
        pool.result()


def test_closing_ends_every_worker():
    with Scripted(2) as pool:
        for plan in plans(3):
            pool.submit(plan)
        pool.result()
    assert pool.hired and all(worker.closed for worker in pool.hired)


def test_a_pool_without_workers_is_refused():
    with pytest.raises(ValueError, match=r"workers \(=0\) must be >= 1"):
        Scripted(0)
