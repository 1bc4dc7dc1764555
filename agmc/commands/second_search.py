"""second_search: decides about the network that a first search has left."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from torch import nn

from agmc.commands.encoder import check_encoder, quick
from agmc.data import Splits
from agmc.job import Job
from agmc.measure import graph_of
from agmc.plan import Plan
from agmc.report.progress import Progress
from agmc.report.run_record import SECOND
from agmc.report.watch import Watch
from agmc.search.bound import BoundBudget
from agmc.search.find_plan import find_plan
from agmc.search.goals import goal_of
from agmc.search.rehearsal import (
    rehearse_agent,
    rehearse_embedding,
    rehearse_evaluator,
    rehearse_reward,
)
from agmc.search.reward import reward_for
from agmc.search.second_stage import SecondStage


def rehearse_second_search(
    job: Job,
    second: SecondStage,
    rooms: Mapping[str, Any],
    model: nn.Module,
    splits: Splits,
    first: BoundBudget,
) -> None:
    """Tries the second search out on the whole network, trained or not.

    Args:
        job: with the decisions of the first search.
        second: what is decided, and how.
        rooms: of the first search.
        model: the network.
        splits: `test` is not read.
        first: the budget of the first search.

    Raises:
        ValueError: the budget cannot be met, or something else of `second` cannot be.
    """
    check_encoder(second.embedding, "second_embedding")
    bound = second.bind(first.cost_model, job.space)
    rehearse_reward(reward_for(second.budgets, _reward(second, rooms)), bound)
    space = second.space(first.cost_model.graph, job.space, Plan({}))
    observe = rehearse_embedding(quick(second.embedding), space)
    rehearse_agent(
        *(second.agent, [goal_of(bound)]),
        episodes=second.episodes,
        seed=job.seed,
        embedding=observe,
    )
    rehearse_evaluator(
        functools.partial(rooms["evaluator"], quantization=rooms["quantization"]),
        *(model, splits, bound),
        importance=rooms["importance"],
        execution=rooms["execution"],
    )


def second_search(
    job: Job,
    second: SecondStage,
    rooms: Mapping[str, Any],
    small: nn.Module,
    splits: Splits,
    plan: Plan,
    first: BoundBudget,
    progress: Progress,
) -> tuple[Plan, BoundBudget, dict[str, Any]]:
    """The plan of both searches, the second one's budget, and what the record says.

    Args:
        job: with the directory of the run.
        second: what is decided, and how.
        rooms: of the first search; evaluator, importance, reward, execution, workers,
            quantization and info are the same.
        small: the fine-tuned network; is moved to the CPU.
        splits: `test` is not read.
        plan: of the first search.
        first: its budget.
        progress: told about every stage.

    Raises:
        ValueError: no plan of what is left to decide is within the budget.
    """
    budgets = second.absolute(first.cost_model.of(None))
    graph = graph_of(small.cpu(), splits)
    # Its channels are what the plan has left; what the plan says of layers stays.
    start = dataclasses.replace(plan, keep_ratio={}, dropped=())
    space = second.space(graph, job.space, start)
    bound = budgets.bind(first.cost_model.of_graph(graph), space)
    watch = Watch(progress, budgets, of="second search")
    same = "execution importance evaluator workers quantization tables info".split()
    found = find_plan(
        small,
        splits,
        budgets,
        agent=second.agent,
        embedding=second.embedding,
        reward=_reward(second, rooms),
        space=space,
        episodes=second.episodes,
        seed=job.seed,
        directory=job.directory / SECOND,
        on_stage=lambda name: progress.stage(
            f"second {name}",
            total=second.episodes if name == "search" else None,
            unit="episode",
        ),
        on_episode=watch,
        **{name: rooms[name] for name in same},
    )
    watch.finish(found.episodes)
    both = dataclasses.replace(
        found.plan, keep_ratio=plan.keep_ratio, dropped=plan.dropped
    )
    return both, bound, {"budget": str(second.budgets), **found.summary()}


def _reward(second: SecondStage, rooms: Mapping[str, Any]) -> Any:
    """That of the first search; where the second has an accuracy to reach, its own."""
    return None if second.budgets.floor else rooms["reward"]
