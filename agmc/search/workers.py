"""Workers: how many plans of a search are evaluated at a time, and where."""

from __future__ import annotations

from dataclasses import dataclass

from agmc.search.evaluator import Evaluator
from agmc.search.executor import Executor, InProcess
from agmc.search.on_ray import OnRay
from agmc.search.processes import Processes

EXECUTORS = ("processes", "ray")


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Where the plans of a search are evaluated.

    `in_flight` and the seed decide what a search finds; the number of workers and
    where they are decide how long it takes.

    Args:
        workers: evaluations at a time, >= 1; 1 process is this one.
        in_flight: proposals that the agent makes before it learns from the first, >= 1;
            None: as many as there are workers. Agents that are `on_policy` have 1.
        executor: "processes" of this machine, or "ray": of a Ray cluster.
        address: of a Ray cluster to join, "auto" for the one of this machine; None
            starts one here.

    Raises:
        ValueError: a number is out of range, or the executor is unknown.
    """

    workers: int = 1
    in_flight: int | None = None
    executor: str = "processes"
    address: str | None = None

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(
                f"workers (={self.workers}) must be >= 1; 1 is this process"
            )
        if self.in_flight is not None and self.in_flight < 1:
            raise ValueError(
                f"in_flight (={self.in_flight}) must be >= 1, or null for as many as "
                "there are workers"
            )
        if self.executor not in EXECUTORS:
            raise ValueError(
                f"executor (={self.executor!r}) must be one of {', '.join(EXECUTORS)}"
            )
        if self.address is not None and self.executor != "ray":
            raise ValueError(
                f"address (={self.address!r}) is that of a Ray cluster; "
                "add executor=ray"
            )

    @property
    def proposals(self) -> int:
        """In flight at a time."""
        return self.workers if self.in_flight is None else self.in_flight

    def executor_of(self, evaluator: Evaluator) -> Executor:
        """The executor; to be closed.

        Raises:
            ValueError: Ray is not installed.
            ConnectionError: there is no Ray cluster at the address.
        """
        if self.executor == "ray":
            return OnRay(
                evaluator,
                workers=self.workers,
                give_up=evaluator.give_up,
                address=self.address,
            )
        if self.workers == 1:
            return InProcess(evaluator)
        return Processes(evaluator, workers=self.workers, give_up=evaluator.give_up)
