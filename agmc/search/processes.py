"""Processes: workers on this machine that share the weights and images in memory."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from multiprocessing import connection, parent_process
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.multiprocessing

from agmc.plan import Plan
from agmc.search.evaluator import Evaluation
from agmc.search.executor import Evaluate
from agmc.search.worker_pool import Worker, WorkerDied, WorkerPool, answer_of


class Processes(WorkerPool["Process"]):
    """Worker processes of this one; they share its threads among them.

    Forked where nothing speaks against it: weights and images are then those of this
    process, and nothing is copied or pickled. On cuda, whose state a fork cannot carry
    over, and where forking is not safe (macOS, Windows), processes are started anew and
    get the tensors in shared memory; a script that calls the search then needs
    `if __name__ == "__main__":`.

    Args:
        evaluate: Plan -> Evaluation, in the workers.
        workers: at most so many, >= 1.
        give_up: Plan -> the evaluation of a plan that two workers died on.
        start_method: "fork" or "spawn"; None chooses.

    Raises:
        ValueError: `workers` is out of range.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        *,
        workers: int,
        give_up: Callable[[Plan], Evaluation],
        start_method: str | None = None,
    ) -> None:
        super().__init__(workers, give_up)
        self._evaluate = evaluate
        self._threads = max(1, torch.get_num_threads() // workers)
        if start_method is None:
            forks = sys.platform == "linux" and not torch.cuda.is_initialized()
            start_method = "fork" if forks else "spawn"
        self._context: Any = torch.multiprocessing.get_context(start_method)

    def _hire(self) -> Process:
        return Process(self._context, self._evaluate, self._threads)

    def _ready(self, busy: Sequence[Process]) -> Sequence[Process]:
        places: dict[Any, Process] = {
            place: worker for worker in busy for place in worker.places
        }
        ready = {places[place] for place in connection.wait([*places])}
        return [worker for worker in busy if worker in ready and worker.has_started()]


class Process(Worker):
    """One worker process, at the other end of a pipe."""

    def __init__(self, context: Any, evaluate: Evaluate, threads: int) -> None:
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, evaluate, threads), daemon=True
        )
        with warnings.catch_warnings():
            # From 3.12 on Python warns of locks that other threads may hold while
            # forking: the worker touches none, it neither prints nor logs.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process.start()
        theirs.close()
        self._started = False

    @property
    def places(self) -> tuple[Any, ...]:
        """What to wait for: an answer, or the end of the process."""
        return self._pipe, self._process.sentinel

    def has_started(self) -> bool:
        """Takes note of the first message, which says that the process has begun.

        Raises:
            ChildProcessError: it cannot; so no other would.
        """
        if self._started:
            return True
        self._started = True
        try:
            self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join()
            if self._process.exitcode > 0:  # otherwise it was killed
                raise ChildProcessError(
                    "a worker process cannot start; what it says stands above, and "
                    "search.workers=1 needs none"
                ) from error
            return True
        return False

    def begin(self, plan: Plan) -> None:
        """Sends the plan."""
        with contextlib.suppress(OSError):  # it is dead, and `end` will say so
            self._pipe.send(plan)

    def end(self) -> Evaluation | Exception:
        """Receives the evaluation; an answer that a worker died on is none."""
        try:
            # A dead worker's pipe is at its end, unless it has a last answer.
            answer: Evaluation | Exception = self._pipe.recv()
            return answer
        except (EOFError, OSError) as error:
            self._process.join()
            raise WorkerDied(
                f"worker {self._process.pid} died ({_cause(self._process.exitcode)})"
            ) from error

    def close(self) -> None:
        """Kills the process."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self._pipe.close()


def _cause(exitcode: int) -> str:
    if exitcode < 0:
        return signal.Signals(-exitcode).name
    return f"exit status {exitcode}"


def _serve(pipe: Connection, evaluate: Evaluate, threads: int) -> None:
    """The life of a worker: evaluates what comes, until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the workers
    # Locks of the terminal may be held by a thread that the fork left behind.
    logging.disable()
    warnings.simplefilter("ignore")
    # So may the threads of OpenMP be lost that belong to the forking thread; a new one
    # gets its own.
    thread = threading.Thread(target=_answer, args=(pipe, evaluate, threads))
    thread.start()
    thread.join()


def _answer(pipe: Connection, evaluate: Evaluate, threads: int) -> None:
    torch.set_num_threads(threads)
    parent = parent_process()
    assert parent is not None
    with contextlib.suppress(EOFError, OSError):  # the parent is gone
        pipe.send("started")
        while pipe in connection.wait([pipe, parent.sentinel]):
            pipe.send(answer_of(evaluate, pipe.recv()))
