"""Benchmark: what a search on ResNet-56 costs besides its evaluations, and in all.

    python experiments/benchmark_search/run.py --data FOLDER --weights FILE \
        --results FOLDER [--parts share memory pace]

Every part is measured in a process of its own and kept in the results folder, so that a
second call goes on. Writes results.csv, targets.json and the table in README.md beside
this file. Linux only: memory and processor time are read from /proc.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from table import write

import agmc
from agmc.data import load_imagefolder
from agmc.models import load_model
from agmc.plan import Plan, kept_channels
from agmc.search.evaluator import Evaluation, Evaluator
from agmc.search.runner import Progress
from agmc.search.workers import Workers
from agmc.whole_file import write_whole

HERE = Path(__file__).parent
AGENTS = ("critic", "ddpg")
SEARCH_IMAGES = 1000
#: Real episodes; of the first ones, before the agents learn, nothing is taken.
FIRST, EPISODES = 8, 20
#: Episodes without evaluation, and after how many the memory is read.
MADE_UP, EVERY = 2000, 100
#: Turns of the two ways to use two cores, and episodes of each; so many are left out.
TURNS, PACED, BEFORE = 3, 10, 2


class Clock:
    """Processor time of an evaluator, which is handed to `find_plan`."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def real(self, *arguments: Any) -> Timed:
        """The default evaluator on `SEARCH_IMAGES`."""
        return Timed(*arguments, search_images=SEARCH_IMAGES, clock=self)


class Timed(Evaluator):
    """Adds what every evaluation takes to a clock."""

    def __init__(self, *arguments: Any, clock: Clock, **knobs: Any) -> None:
        super().__init__(*arguments, **knobs)
        self.clock = clock

    def __call__(self, plan: Plan) -> Evaluation:
        """The evaluation."""
        started = time.process_time()
        evaluation = super().__call__(plan)
        self.clock.seconds += time.process_time() - started
        return evaluation


class MadeUp(Evaluator):
    """Takes no time: the costs are right, and the accuracy is made up."""

    def __init__(self, pruner: Any, cost_model: Any, *_: Any) -> None:
        self._pruner, self._cost_model = pruner, cost_model

    def __call__(self, plan: Plan) -> Evaluation:
        """Its accuracy rises with every keep ratio."""
        ratios = torch.tensor([*plan.keep_ratio.values()])
        weights = torch.linspace(1.0, 2.0, len(ratios))
        accuracy = float((weights * ratios.sqrt()).sum() / weights.sum())
        counts = kept_channels(self._pruner.graph, plan)
        return Evaluation(plan, accuracy, self._cost_model.cost(counts))


def searched(
    data: str,
    weights: str,
    agent: str,
    evaluator: Callable[..., Evaluator],
    episodes: int,
    on_episode: Callable[[Progress], None],
    **settings: Any,
) -> None:
    """A search within half of the MACs, that keeps its episodes on the disk."""
    splits = load_imagefolder(root=data)
    model = load_model(10, 3, name="resnet56", weights=weights).eval()
    with tempfile.TemporaryDirectory() as directory:
        agmc.find_plan(
            model,
            splits,
            "macs:0.5",
            agent=agent,
            embedding="autoencoder",
            evaluator=evaluator,
            episodes=episodes,
            directory=directory,
            on_episode=on_episode,
            **settings,
        )


def share(data: str, weights: str, agent: str) -> dict[str, Any]:
    """Processor seconds of evaluations and of all else, an episode each, one thread."""
    torch.set_num_threads(1)
    clock, rows = Clock(), []
    last = [0.0, 0.0]

    def note(progress: Progress) -> None:
        now = [time.process_time(), clock.seconds]
        whole, evaluation = now[0] - last[0], now[1] - last[1]
        last[:] = now
        if progress.done > FIRST and not progress.record.cached:
            rows.append((evaluation, whole - evaluation))

    searched(data, weights, agent, clock.real, EPISODES, note)
    return {"evaluation": [row[0] for row in rows], "else": [row[1] for row in rows]}


def memory(data: str, weights: str, agent: str) -> dict[str, Any]:
    """Memory and processor seconds of a search whose evaluations cost nothing."""
    torch.set_num_threads(1)
    resident, seconds = {}, {}

    def note(progress: Progress) -> None:
        if progress.done % EVERY == 0:
            resident[progress.done] = resident_bytes()
            seconds[progress.done] = time.process_time()

    searched(data, weights, agent, MadeUp, MADE_UP, note)
    return {"bytes": resident, "seconds": seconds}


def pace(data: str, weights: str, workers: int) -> dict[str, Any]:
    """Wall and processor seconds of episodes on two cores, and what others used."""
    torch.set_num_threads(2)
    moments = []

    def note(progress: Progress) -> None:
        moments.append((time.perf_counter(), own_seconds(), busy_seconds()))

    started = time.perf_counter()
    real = functools.partial(Evaluator, search_images=SEARCH_IMAGES)
    searched(
        *(data, weights, "critic", real, BEFORE + PACED, note),
        workers=Workers(workers=workers, in_flight=2),
    )
    wall, own, busy = (
        (b - a) for a, b in zip(moments[BEFORE - 1], moments[-1], strict=True)
    )
    return {
        "wall": wall / PACED,
        "cpu": own / PACED,
        "others": max(busy - own, 0.0) / wall,
        "start": moments[0][0] - started,
    }


def resident_bytes() -> int:
    """Of this process, in the memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def own_seconds() -> float:
    """Processor time of this process and of its living workers."""
    ticks = 0
    for child in multiprocessing.active_children():
        fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def busy_seconds() -> float:
    """Processor time of all processes of this machine."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, irq, softirq, *rest = map(int, fields)
    ticks = user + nice + system + irq + softirq
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measures what is missing and writes the table of what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--results", type=Path, required=True)
    parts = ("share", "memory", "pace")
    parser.add_argument("--parts", nargs="*", choices=parts, default=parts)
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    cases: list[tuple[str, Callable[..., dict[str, Any]], Any]] = []
    for agent in AGENTS:
        cases += [(f"share {agent}", share, agent), (f"memory {agent}", memory, agent)]
    for turn in range(TURNS):
        cases += [(f"pace {workers} {turn}", pace, workers) for workers in (2, 1)]
    context = multiprocessing.get_context("spawn")
    for name, measure, argument in cases:
        file = options.results / f"{name}.json"
        if name.split()[0] not in options.parts or file.exists():
            continue
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            found = pool.submit(measure, options.data, options.weights, argument)
            write_whole(file, json.dumps(found.result()) + "\n")
        print(name, flush=True)
    write(HERE, options.results)


if __name__ == "__main__":
    main()
