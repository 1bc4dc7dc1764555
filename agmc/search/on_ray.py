"""OnRay: workers on a Ray cluster, on this machine or on many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from agmc.plan import Plan
from agmc.search.evaluator import Evaluation
from agmc.search.executor import Evaluate
from agmc.search.worker_pool import Worker, WorkerDied, WorkerPool, answer_of


class OnRay(WorkerPool["RayWorker"]):
    """Actors of one processor and one thread each, wherever the cluster has room.

    What evaluates is sent to every node once. A dead actor, or a dead node, is a dead
    worker.

    Args:
        evaluate: Plan -> Evaluation, in the workers, on the CPU.
        workers: at most so many, >= 1.
        give_up: Plan -> the evaluation of a plan that two workers died on.
        address: of the cluster to join, "auto" for the one of this machine; None starts
            one of as many processors as workers, which ends with this executor. Where
            this process has joined a cluster before, it stays there.

    Raises:
        ValueError: `workers` is out of range, or Ray is not installed.
        ConnectionError: there is no cluster at the address.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        *,
        workers: int,
        give_up: Callable[[Plan], Evaluation],
        address: str | None = None,
    ) -> None:
        super().__init__(workers, give_up)
        try:
            import ray
        except ImportError as error:
            raise ValueError(
                "executor=ray needs Ray: pip install 'agmc[ray]'"
            ) from error
        self._ray = ray
        self._joined = not ray.is_initialized()
        if self._joined:
            ray.init(
                address=address or "local",
                num_cpus=None if address else workers,
                include_dashboard=None if address else False,
                log_to_driver=False,
            )
        self._evaluate = ray.put(evaluate)
        self._actor: Any = ray.remote(num_cpus=1, max_restarts=0)(Evaluating)

    def close(self) -> None:
        """Ends all workers, and leaves the cluster that this executor has joined."""
        super().close()
        if self._joined:
            self._ray.shutdown()
            self._joined = False

    def _hire(self) -> RayWorker:
        return RayWorker(self._ray, self._actor.remote(self._ray, [self._evaluate]))

    def _ready(self, busy: Sequence[RayWorker]) -> Sequence[RayWorker]:
        workers = {worker.answer: worker for worker in busy}
        ready, _ = self._ray.wait([*workers])
        return [workers[answer] for answer in ready]


class RayWorker(Worker):
    """One actor."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray = ray
        self._actor = actor
        self.answer: Any = None

    def begin(self, plan: Plan) -> None:
        """Calls the actor."""
        self.answer = self._actor.evaluate.remote(plan)

    def end(self) -> Evaluation | Exception:
        """Gets the answer."""
        try:
            answer: Evaluation | Exception = self._ray.get(self.answer)
            return answer
        except self._ray.exceptions.RayActorError as error:
            raise WorkerDied("a worker of the Ray cluster died") from error

    def close(self) -> None:
        """Kills the actor."""
        self._ray.kill(self._actor)


class Evaluating:
    """What an actor is: holds what evaluates.

    Args:
        ray: the module.
        shared: one reference to what evaluates; in a list, because the actor fetches it
            itself: what goes wrong then is an answer, and not the actor's death.
    """

    def __init__(self, ray: Any, shared: list[Any]) -> None:
        self._ray = ray
        self._shared = shared
        self._evaluate: Evaluate | None = None

    def evaluate(self, plan: Plan) -> Evaluation | Exception:
        """The evaluation, or what it raised."""
        return answer_of(self._fetched, plan)

    def _fetched(self, plan: Plan) -> Evaluation:
        if self._evaluate is None:
            self._evaluate = self._ray.get(self._shared[0])
        return self._evaluate(plan)
