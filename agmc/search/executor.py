"""Executor: evaluates plans, here or on workers; results come in a fixed order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import TracebackType
from typing import Self

from agmc.plan import Plan
from agmc.search.evaluator import Evaluation

Evaluate = Callable[[Plan], Evaluation]


class Executor(ABC):
    """Takes plans in and gives their evaluations back in the same order.

    The order is what keeps a search the same however long each evaluation takes. A plan
    that was handed in before is not evaluated again.
    """

    def __init__(self) -> None:
        self._known: dict[str, Evaluation] = {}
        self._begun: set[str] = set()
        self._submitted: deque[Plan] = deque()

    @property
    @abstractmethod
    def workers(self) -> int:
        """Evaluations that go on at the same time, at most."""

    def remember(self, evaluations: Iterable[Evaluation]) -> None:
        """Takes evaluations over from an earlier run of the same search."""
        for evaluation in evaluations:
            self._known[evaluation.plan.digest] = evaluation

    def submit(self, plan: Plan) -> None:
        """Hands a plan in; returns at once."""
        self._submitted.append(plan)
        if plan.digest not in self._known and plan.digest not in self._begun:
            self._begun.add(plan.digest)
            self._begin(plan)

    def result(self) -> Evaluation:
        """Waits for the evaluation of the first plan whose result was not yet taken.

        Raises:
            Exception: what the evaluation raised.
        """
        plan = self._submitted.popleft()
        known = self._known.get(plan.digest)
        if known is not None:
            return replace(known, seconds=0.0, cached=True)
        evaluation = self._end(plan)
        self._known[plan.digest] = evaluation
        self._begun.discard(plan.digest)
        return evaluation

    def close(self) -> None:
        """Lets the workers go; what they were at is lost."""
        return

    @abstractmethod
    def _begin(self, plan: Plan) -> None:
        """A new plan; it may be evaluated from now on."""

    @abstractmethod
    def _end(self, plan: Plan) -> Evaluation:
        """Waits for the evaluation of a plan that has begun."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class InProcess(Executor):
    """Evaluates in this process, one plan after the other.

    Args:
        evaluate: Plan -> Evaluation.
    """

    def __init__(self, evaluate: Evaluate) -> None:
        super().__init__()
        self._evaluate = evaluate

    @property
    def workers(self) -> int:
        """One."""
        return 1

    def _begin(self, plan: Plan) -> None:
        """Nothing: the evaluation waits until somebody wants it."""

    def _end(self, plan: Plan) -> Evaluation:
        return self._evaluate(plan)
