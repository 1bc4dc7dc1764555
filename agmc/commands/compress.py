"""compress: from a trained network to a smaller one."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from agmc.carry_out import CarryOut
from agmc.commands.encoder import check_encoder, quick
from agmc.commands.second_search import rehearse_second_search, second_search
from agmc.commands.steps import (
    data_and_model,
    progress_of,
    refuse_ignored,
    show,
    train_network,
)
from agmc.compression.calibration import check_images
from agmc.compression.importance import Importance
from agmc.cost.model import CostModel
from agmc.data import Splits
from agmc.export.checkpoint import check_entropy
from agmc.export.tables import tables_for
from agmc.graph.model_graph import ModelGraph
from agmc.graph.weighted import check_layers, left_out, weighted_layers
from agmc.job import Job
from agmc.measure import graph_of
from agmc.pipeline import Pipeline, info_of
from agmc.plan import Plan
from agmc.plan_space import PlanSpace
from agmc.report.before_after import before_after, budget_text
from agmc.report.pareto import write_front
from agmc.report.progress import Progress
from agmc.report.run_record import SECOND, final_values
from agmc.report.watch import Watch
from agmc.search.bound import BoundBudget
from agmc.search.budgets import Budgets, Later
from agmc.search.find_plan import find_plan
from agmc.search.goals import goal_of
from agmc.search.policy import Policy
from agmc.search.rehearsal import (
    rehearse_agent,
    rehearse_embedding,
    rehearse_evaluator,
    rehearse_reward,
)
from agmc.search.repair import check_repair
from agmc.search.reward import Reward, reward_for
from agmc.search.second_stage import SecondStage
from agmc.search.workers import Workers
from agmc.training import Execution, team

_log = logging.getLogger("agmc")


def compress(job: Job) -> None:
    """Trains or loads a network, finds a plan within the budget and carries it out."""
    refuse_ignored(job)
    if job.plan is not None and job.policy["save"] is not None:
        raise ValueError(
            f"policy.save (={job.policy['save']!r}) is for a search, and plan "
            f"(={job.plan!r}) takes its place; leave one of them out"
        )
    budgets = Budgets.of(job.budget)
    second: SecondStage | None = job.make("compression.second")
    _check_zeros(job, second)
    tables = tables_for(budgets.metrics, job.latency_table, job.energy_table, job.cache)
    given = None if job.plan is None else Plan.load(job.plan)
    execution: Execution = job.make("execution")
    trainings = {
        "finetune": job.make("finetune"),
        "gradual": job.make("compression.gradual"),
        "zeros": job.make("compression.zeros"),
        "quantized_finetune": job.make("quantized_finetune"),
    }
    rooms = _rooms_of_the_search(job)
    quantization = rooms["quantization"]
    reward = reward_for(budgets, rooms["reward"])  # a conflict shows at once
    check_repair(job.reconstruction_images, job.recalibration_images, job.batch_size)
    check_images(job.calibration_images)
    check_entropy(job.entropy)
    if freeze := job.make("train").freeze:
        raise ValueError(
            f"train.freeze (={list(freeze)}) is for a network that is trained again: "
            "agmc train model.weights=FILE"
        )
    if given is None:
        check_encoder(rooms["embedding"])
    rooms["tables"] = tables
    with team() as own, progress_of(job) as progress:
        splits, model = data_and_model(job, progress)
        rooms["info"] = info = info_of(splits, job.record)
        # What cannot be done is refused here, before the training.
        progress.stage("trace")
        graph = graph_of(model, splits)
        arguments = dict(job.space)
        if given is not None:  # may go further than the search would
            arguments |= {"parts": ["keep_ratio"], "min_keep_ratio": 1e-9}
            arguments |= {"round_to": 1}
        space = PlanSpace(graph, **arguments)
        shared = quantization.shares_numbers
        costs = CostModel(graph, tables, codebooks=shared, info=info)
        later: Later | None = None
        if given is None and second is not None and budgets.limits:
            later = functools.partial(second.later, costs, job.space)
        rungs = budgets.bind_rungs(costs, space, later)
        bound = rungs[0]  # what is found has to hold
        if given is not None:
            check_layers(given.layers, weighted_layers(graph.program))
            quantization.check(given)
            bound.check(given)
        else:
            _tell_of_floats(job, second, graph)
            _rehearse(job, rooms, reward, model, splits, rungs)
            if second is not None:
                rehearse_second_search(job, second, rooms, model, splits, bound)
        if job.weights is None:
            train_network(job, model, graph, splits, execution, progress, own)
            progress.stage("trace")
            graph = graph_of(model, splits)  # knows the statistics of the weights
        bounds, record = [bound], dict(job.record)
        if given is not None:
            plan, record["search"] = given, {"plan": job.plan}
        else:
            plan, record["search"] = own.told(
                lambda: _search(job, rooms, model, splits, graph, later, progress)
            )
            plan.save(job.directory / "plan.json")
            if second is not None:
                second.check(bound.cost_model, job.space, plan)

        def then(small: nn.Module, plan: Plan) -> Plan:
            """The second search, on the fine-tuned network."""
            assert second is not None

            def search() -> Plan:
                found, held, record["second"] = second_search(
                    *(job, second, rooms, small, splits, plan, bound, progress)
                )
                bounds.append(held)
                return found

            return own.told(search)

        carry_out = CarryOut(
            **trainings,
            quantization=quantization,
            importance=rooms["importance"],
            reconstruction_images=job.reconstruction_images,
            recalibration_images=job.recalibration_images,
            calibration_images=job.calibration_images,
            batch_size=job.batch_size,
            execution=execution,
            seed=job.seed,
            team=own,
            then=then if second is not None and given is None else None,
            kept=job.directory / SECOND / "finetuned.safetensors",
        )
        carried = carry_out(model, graph, splits, plan, progress)
        if own.rank:
            return
        result = Pipeline(carry_out, job.entropy, job.int4).run(
            *(model, splits, carried, bounds, job.directory, progress), record=record
        )
        progress.track(0, final_values(result), of="final")
    show(before_after(result))
    _log.info("%s\neverything is in %s", budget_text(result), job.directory)


def _check_zeros(job: Job, second: SecondStage | None) -> None:
    """Raises ValueError where two would decide about zeros."""
    if job.make("compression.zeros") is None:
        return
    if job.plan is not None:
        raise ValueError(
            f"compression.zeros makes zeros that the plan (={job.plan!r}) does not "
            "have; leave one of them out"
        )
    for name, parts in {
        "parts": job.space["parts"],
        "second.parts": [] if second is None else second.parts,
    }.items():
        if "sparsity" in parts:
            raise ValueError(
                f"compression.zeros and {name} (sparsity) would both decide about "
                "zeros; leave one of them out"
            )


def _tell_of_floats(job: Job, second: SecondStage | None, graph: ModelGraph) -> None:
    """Warns of weights that stay as they are where others get zeros or bits."""
    parts = {*job.space["parts"], *(second.parts if second is not None else ())}
    others = parts & {"sparsity", "weight_bits"} or job.make("compression.zeros")
    if others and (names := left_out(graph.program)):
        _log.warning(
            "no zeros and no bits for %s: the weights are read more than once, or "
            "computed",
            ", ".join(names),
        )


def _rooms_of_the_search(job: Job) -> dict[str, Any]:
    """The arguments of `find_plan` that are rooms: mistakes in them show at once."""
    same = ("embedding", "agent", "reward", "execution")
    importance = job.make("compression.importance")
    if not isinstance(importance, Importance):
        raise ValueError(
            f"compression.importance.path names a {type(importance).__name__}; it "
            "must be an Importance, as agmc.compression.importance.l1 is"
        )
    return {name: job.make(name) for name in same} | {
        "importance": importance,
        "evaluator": job.make("search.evaluator"),
        "corpus": job.make("search.corpus"),
        "workers": Workers(**job.workers),
        "policy": Policy(**job.policy),
        "quantization": job.make("compression.quantization"),
    }


def _rehearse(
    job: Job,
    rooms: Mapping[str, Any],
    reward: Reward,
    model: nn.Module,
    splits: Splits,
    rungs: Sequence[BoundBudget],
) -> None:
    """Tries the search out on the network as it is, trained or not."""
    bound = rungs[0]
    goals = [goal_of(rung) for rung in rungs]
    episodes = rooms["policy"].total(job.episodes, len(goals))
    observe = rehearse_embedding(quick(rooms["embedding"]), bound.space)
    agent = rehearse_agent(
        rooms["agent"], goals, episodes=episodes, seed=job.seed, embedding=observe
    )
    rooms["policy"].check(agent, observe)
    rehearse_reward(reward, bound)
    evaluator = rooms["evaluator"]
    if not bound.space.only_channels:
        evaluator = functools.partial(evaluator, quantization=rooms["quantization"])
    room = {name: rooms[name] for name in ("importance", "execution")}
    rehearse_evaluator(evaluator, model, splits, bound, **room)


def _search(
    job: Job,
    rooms: Mapping[str, Any],
    model: nn.Module,
    splits: Splits,
    graph: ModelGraph,
    later: Later | None,
    progress: Progress,
) -> tuple[Plan, dict[str, Any]]:
    """The best plan that the search finds, and what the record says of the search."""
    budgets = Budgets.of(job.budget)
    watch = Watch(progress, budgets)
    episodes = rooms["policy"].total(job.episodes, len(budgets.rungs))
    found = find_plan(
        model,
        splits,
        job.budget,
        **rooms,
        space=PlanSpace(graph, **job.space),
        later=later,
        episodes=job.episodes,
        seed=job.seed,
        directory=job.directory,
        on_stage=lambda name: progress.stage(
            name, total=episodes if name == "search" else None, unit="episode"
        ),
        on_episode=watch,
    )
    watch.finish(found.episodes)
    if found.front and budgets.ladder is not None:
        write_front(found.front, job.directory, metric=budgets.ladder.metric)
    return found.plan, found.summary()
