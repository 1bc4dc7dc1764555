"""WorkerPool: an executor of workers that may die."""

from __future__ import annotations

import logging
import pickle
import traceback
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from agmc.plan import Plan
from agmc.search.evaluator import Evaluation
from agmc.search.executor import Evaluate, Executor

_logger = logging.getLogger(__name__)
#: Of workers on one plan, after which it is given up.
_DEATHS_OF_A_PLAN = 2
#: Of workers, one after the other without a single result, after which all stops.
_DEATHS_IN_A_ROW = 8


class WorkerDied(Exception):
    """A worker is gone, and with it what it was at."""


class Worker(ABC):
    """A process, here or elsewhere, that evaluates one plan at a time."""

    @abstractmethod
    def begin(self, plan: Plan) -> None:
        """Hands a plan over and does not wait; a dead worker shows in `end` only."""

    @abstractmethod
    def end(self) -> Evaluation | Exception:
        """Waits for the evaluation, or for what it raised.

        Raises:
            WorkerDied: the worker is gone.
        """

    @abstractmethod
    def close(self) -> None:
        """Ends the worker, whatever it is at."""


AnyWorker = TypeVar("AnyWorker", bound=Worker)


class WorkerPool(Executor, Generic[AnyWorker]):
    """Hands plans to idle workers, and those of a dead worker to a fresh one.

    A plan that two workers have died on is given up: its evaluation is what `give_up`
    makes of it.

    Args:
        workers: at most so many, >= 1; hired when there is something to do.
        give_up: Plan -> the evaluation of a plan that failed.

    Raises:
        ValueError: `workers` is out of range.
    """

    def __init__(self, workers: int, give_up: Callable[[Plan], Evaluation]) -> None:
        super().__init__()
        if workers < 1:
            raise ValueError(f"workers (={workers}) must be >= 1; 1 needs no processes")
        self._workers = workers
        self._give_up = give_up
        self._idle: list[AnyWorker] = []
        self._busy: dict[AnyWorker, Plan] = {}
        self._todo: deque[Plan] = deque()
        self._done: dict[str, Evaluation | Exception] = {}
        self._deaths: Counter[str] = Counter()
        self._deaths_in_a_row = 0

    @property
    def workers(self) -> int:
        """As many as were asked for."""
        return self._workers

    @abstractmethod
    def _hire(self) -> AnyWorker:
        """A fresh worker."""

    @abstractmethod
    def _ready(self, busy: Sequence[AnyWorker]) -> Sequence[AnyWorker]:
        """Waits for news of any of them; those that have ended or died, maybe none."""

    def close(self) -> None:
        """Ends all workers."""
        for worker in (*self._idle, *self._busy):
            worker.close()
        self._idle.clear()
        self._busy.clear()

    def _begin(self, plan: Plan) -> None:
        self._todo.append(plan)
        self._hand_out()

    def _end(self, plan: Plan) -> Evaluation:
        while plan.digest not in self._done:
            for worker in self._ready([*self._busy]):
                self._take_back(worker)
            self._hand_out()
        done = self._done.pop(plan.digest)
        if isinstance(done, Exception):
            raise done
        return done

    def _hand_out(self) -> None:
        while self._todo and (self._idle or len(self._busy) < self._workers):
            worker = self._idle.pop() if self._idle else self._hire()
            plan = self._todo.popleft()
            self._busy[worker] = plan
            worker.begin(plan)

    def _take_back(self, worker: AnyWorker) -> None:
        plan = self._busy.pop(worker)
        try:
            self._done[plan.digest] = worker.end()
        except WorkerDied as death:
            worker.close()
            self._bury(plan, death)
        else:
            self._deaths_in_a_row = 0
            self._idle.append(worker)

    def _bury(self, plan: Plan, death: WorkerDied) -> None:
        self._deaths[plan.digest] += 1
        self._deaths_in_a_row += 1
        if self._deaths_in_a_row == _DEATHS_IN_A_ROW:
            raise ChildProcessError(
                f"{_DEATHS_IN_A_ROW} workers died one after the other without a "
                f"result, the last one: {death}; search.workers=1 shows what is wrong"
            )
        if self._deaths[plan.digest] < _DEATHS_OF_A_PLAN:
            _logger.warning("%s; plan %s goes to a fresh one", death, plan.digest)
            self._todo.appendleft(plan)
        else:
            _logger.warning("%s; plan %s has failed", death, plan.digest)
            self._done[plan.digest] = self._give_up(plan)


def answer_of(evaluate: Evaluate, plan: Plan) -> Evaluation | Exception:
    """What a worker answers: the evaluation, or what it raised and where.

    An error that cannot be sent to another process is put into other words.
    """
    try:
        return evaluate(plan)
    except Exception as error:
        error.add_note(traceback.format_exc())
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return RuntimeError(f"{type(error).__name__}: {error}")
        return error
