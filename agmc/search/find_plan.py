"""find_plan: the search from plain Python, rooms chosen by name or handed in."""

from __future__ import annotations

import functools
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from agmc.compression.importance import Importance, l1
from agmc.compression.quantize import Quantization
from agmc.cost.model import CostModel
from agmc.cost.tables import Tables
from agmc.data import Splits
from agmc.embedding.embedding import EmbeddingContext, no_corpus
from agmc.graph.model_graph import ModelGraph
from agmc.graph.trace import trace
from agmc.plan_space import PlanSpace
from agmc.search.budgets import Budgets, Demand, Later
from agmc.search.choices import (
    AGENTS,
    EMBEDDINGS,
    BuildAgent,
    BuildEmbedding,
    chosen,
)
from agmc.search.env import CompressionEnv
from agmc.search.episode_log import EpisodeLog
from agmc.search.evaluator import Evaluator
from agmc.search.found import Found
from agmc.search.goals import context_of, goal_of
from agmc.search.policy import Policy
from agmc.search.rehearsal import rehearse_agent
from agmc.search.repair import errors_of, pruner_of
from agmc.search.reward import Reward, reward_for
from agmc.search.run_key import run_key
from agmc.search.runner import OnEpisode, in_flight_of, search
from agmc.search.workers import Workers
from agmc.search.worth import RewardError
from agmc.training import Execution

_logger = logging.getLogger(__name__)


def find_plan(
    model: nn.Module,
    data: Splits,
    budget: Demand,
    *,
    embedding: str | BuildEmbedding = "autoencoder",
    agent: str | BuildAgent = "critic",
    reward: Reward | str | None = None,
    importance: Importance = l1,
    evaluator: Callable[..., Evaluator] = Evaluator,
    space: PlanSpace | None = None,
    quantization: Quantization | None = None,
    min_keep_ratio: float = 0.2,
    round_to: int | Mapping[str, int] = 8,
    episodes: int = 200,
    seed: int = 0,
    corpus: Callable[[], Sequence[ModelGraph]] = no_corpus,
    execution: Execution | None = None,
    tables: Tables | None = None,
    info: Mapping[str, Any] | None = None,
    directory: str | os.PathLike[str] | None = None,
    graph: ModelGraph | None = None,
    workers: Workers | int = 1,
    policy: Policy | None = None,
    later: Later | None = None,
    on_stage: Callable[[str], None] | None = None,
    on_episode: OnEpisode | None = None,
) -> Found:
    """Finds the plan of the highest reward within a budget.

    With a directory, `episodes.jsonl` and the fitted embedding are kept there, and a
    call with the same arguments goes on where an earlier one was interrupted. It ends
    in the plan that it would have ended in without the interruption.

    Args:
        model: a trained network; what it computes is not touched.
        data: `train` recalibrates batch norm, `search` drives the reward, `test` is
            not read.
        budget: what may be kept, "macs:0.5", or several of that, ["macs:0.5",
            "latency:2.5ms"], all of which hold; "accuracy>=0.9" searches for the
            cheapest plan of that accuracy, None allows every plan. A range,
            "macs:0.3..0.8", is searched as a whole: its limits take turns, the tighter
            the more often, and `Found.front` has a plan for each; the plan found is
            that of the tightest. See `Budgets.of`.
        embedding: one of `EMBEDDINGS` ("autoencoder", "rules", ...), or a function
            that builds an `Embedding`.
        agent: one of `AGENTS` ("critic", "ddpg", "additive", "tpe", ...), or a
            function that builds an `Agent`.
        reward: Outcome -> float, see `agmc.search.reward`, also as text
            "package.module:function"; None takes the one that fits the budget.
        importance: scores the channels; those with the highest stay.
        evaluator: `Evaluator`, or a `functools.partial` of it with other numbers of
            images.
        space: the decisions, of a graph of the model; None: one about every channel
            group, with the two arguments that follow.
        quantization: how plans with bits round; None: the standard one.
        min_keep_ratio: see `PlanSpace`.
        round_to: see `PlanSpace`.
        episodes: of the whole search, >= 1.
        seed: of everything random.
        corpus: other networks for the embedding to learn from.
        execution: device and precision; None chooses.
        tables: for budgets and rewards on latency or energy.
        info: what `agmc.save` will be handed in: a limit on bytes holds with it.
        directory: that the search can go on from; None keeps nothing.
        graph: of the model, where it was traced before; None traces it.
        workers: evaluations at a time, each in a process of its own, or `Workers` for
            a Ray cluster.
        policy: what the agent begins with and leaves behind; None: nothing.
        later: what is asked of this space besides, see `Budgets.bind_rungs`.
        on_stage: called with "embedding" and "search" when these begin.
        on_episode: see `search`.

    Raises:
        ValueError: an argument is out of range, a name is unknown, the budget cannot
            be met, or the directory holds another search.
        RewardError: the reward of a plan is no finite number; the plan is saved as
            `refused_plan.json` in the directory.
    """
    budgets = Budgets.of(budget)
    reward = reward_for(budgets, reward)
    policy = Policy() if policy is None else policy
    workers = Workers(workers=workers) if isinstance(workers, int) else workers
    build_embedding = chosen("embedding", embedding, EMBEDDINGS)
    build_agent = chosen("agent", agent, AGENTS)
    if space is not None:
        graph = space.graph
    home = next((weight.device for weight in model.parameters()), None)
    if graph is None:
        graph = trace(model, data.example_input().to(home))
    if space is None:
        space = PlanSpace(graph, min_keep_ratio=min_keep_ratio, round_to=round_to)
    quantization = quantization or Quantization()
    shared = quantization.shares_numbers
    cost_model = CostModel(graph, tables, codebooks=shared, info=info)
    bounds = budgets.bind_rungs(cost_model, space, later)
    goals = tuple(goal_of(bound) for bound in bounds)
    episodes = policy.total(episodes, len(bounds))
    agent_to_be = rehearse_agent(build_agent, goals, episodes=episodes, seed=seed)
    policy.check(agent_to_be)
    in_flight = in_flight_of(agent_to_be, workers.proposals)
    log, checkpoint, run = None, None, ""
    floats = space.only_channels and later is None
    on_bytes = any("bytes" in bound.limits for bound in bounds) or later is not None
    if directory is not None:
        run = run_key(
            model,
            data,
            embedding=embedding,
            agent=agent,
            reward=reward,
            importance=importance,
            evaluator=evaluator,
            corpus=corpus,
            episodes=episodes,
            seed=seed,
            tables=tables,
            in_flight=in_flight,
            budget=str(budgets),
            space=json.dumps(space.described()),
            **({"policy": policy.digest} if policy.load else {}),
            **({"info": json.dumps(info)} if info and on_bytes else {}),
            **({} if floats else {"quantization": quantization}),
            **({} if later is None else {"later": [b.described() for b in bounds]}),
        )
        log = EpisodeLog(Path(directory) / "episodes.jsonl", run)
        checkpoint = Path(directory) / "embedding.safetensors"
        if len(log.records) >= episodes and policy.kept(run):
            return Found.best_of(log.records[:episodes], bounds)
    execution = Execution() if execution is None else execution
    try:
        pruner = pruner_of(model, graph, data, importance, execution)
        on_stage = on_stage or (lambda name: None)
        on_stage("embedding")
        errors = functools.partial(errors_of, pruner, data, execution)
        observe = build_embedding(
            EmbeddingContext(graph, space, seed, corpus, checkpoint, errors)
        )
        on_stage("search")
        if not space.only_channels:
            evaluator = functools.partial(evaluator, quantization=quantization)
        evaluate = evaluator(pruner, cost_model, data, execution)
        original = evaluate(space.whole)
        if budgets.floor and original.accuracy < budgets.floor.accuracy:
            _logger.warning(
                "the network itself has a search accuracy of %.4f, less than %s "
                "asks for",
                *(original.accuracy, budgets.floor),
            )
        env = CompressionEnv(bounds, observe, evaluate, reward, original=original)
        context = context_of(
            goals,
            observation_dim=env.observation_dim,
            episodes=episodes,
            seed=seed,
            encoder=observe.encoder,
            look=env.look,
            sensitivities=observe.sensitivities,
            absolute=observe.absolute,
        )
        acting = build_agent(context)
        policy.begin(acting, observe)
        with workers.executor_of(evaluate) as executor:
            found = search(
                env,
                acting,
                episodes=episodes,
                log=log,
                on_episode=on_episode,
                executor=executor,
                in_flight=in_flight,
                greedy=policy.greedy(len(bounds)),
                replay=policy.save is not None,
            )
    except RewardError as failure:
        if directory is None:
            raise
        path = Path(directory) / "refused_plan.json"
        failure.plan.save(path)
        raise RewardError(f"{failure}; the plan is in {path}", failure.plan) from (
            failure.__cause__
        )
    finally:
        model.to(home)
    policy.keep(acting, observe, run=run)
    return found
