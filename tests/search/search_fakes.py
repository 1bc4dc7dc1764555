"""A search without a network: a chain of three layers whose accuracy is a formula."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import torch

from agmc.agents.agent import AgentContext
from agmc.cost.model import Cost
from agmc.embedding.embedding import Embedding
from agmc.graph.model_graph import ChannelGroup
from agmc.plan import Plan
from agmc.plan_space import PlanSpace
from agmc.search.budgets import Budgets
from agmc.search.choices import AGENTS
from agmc.search.env import CompressionEnv
from agmc.search.evaluator import Evaluation
from agmc.search.goals import goal_of
from agmc.search.reward import error
from agmc.search.uniform import uniform_plan

SIZES = (16, 24, 32)
#: Agent -> knobs of smaller networks, which learn the same and faster.
SMALL = {
    **dict.fromkeys(
        ("ddpg", "td3", "sb3_td3", "sb3_sac"),
        {"hidden_dim": 8, "batch_size": 8, "warmup_share": 0.5},
    ),
    "critic": {"proposals": 32, "rounds": 1},
}


class ChainCost:
    """macs = sum of products of neighbours."""

    metrics = ("macs",)

    @property
    def without_info(self):
        return self

    def evaluate(self, metric, counts, parts=None, kept=None):
        ends = np.ones((*counts.shape[:-1], 1), dtype=np.int64)
        padded = np.concatenate([ends, counts, ends], axis=-1)
        return (padded[..., :-1] * padded[..., 1:]).sum(-1)

    def ceiling(self, metric, counts, parts=None, kept=None):
        return self.evaluate(metric, counts)

    def cost(self, counts):
        return Cost(int(self.evaluate("macs", counts)), 1, 4)


class StepEmbedding(Embedding):
    """One-hot step, and the keep ratio of the decision before."""

    columns = (None,) * 4

    def rows(self, counts):
        return torch.stack([self.row(step, counts) for step in range(len(SIZES))])

    def row(self, step, counts):
        row = torch.zeros(4)
        row[step] = 1
        row[3] = counts[step - 1] / SIZES[step - 1] if step else 1
        return row


class FormulaEvaluator:
    """Wide last layers are best; counts how often it had to compute."""

    def __init__(self, before=lambda: None):
        self.known, self.computed, self.before = {}, 0, before

    def give_up(self, plan):
        counts = np.rint(np.array(list(plan.keep_ratio.values())) * SIZES).astype(int)
        cost = Cost(int(ChainCost().evaluate("macs", counts)), 1, 4)
        return Evaluation(plan, 0.0, cost, failed=True)

    def __call__(self, plan):
        if plan.digest in self.known:
            return replace(self.known[plan.digest], cached=True)
        self.before()
        self.computed += 1
        ratios = np.array(list(plan.keep_ratio.values()))
        noise = int(hashlib.sha256(plan.digest.encode()).hexdigest()[:4], 16) / 2**16
        accuracy = float(ratios @ [0.1, 0.2, 0.6]) + 0.05 * noise
        counts = np.rint(ratios * SIZES).astype(int)
        cost = ChainCost().cost(counts)
        self.known[plan.digest] = Evaluation(plan, accuracy, cost, 0.25)
        return self.known[plan.digest]


def make_env(evaluator=None, *, limit=0.5, reward=error):
    """Under a share of the macs, or a range of them; None: without a limit."""
    groups = tuple(ChannelGroup(f"c{n}", n, (), (), (f"c{n}",)) for n in SIZES)
    space = PlanSpace(SimpleNamespace(groups=groups, unprunable=()))
    rungs = Budgets.of(f"macs:{limit}" if limit else None).rungs
    bounds = [rung.bind(ChainCost(), space) for rung in rungs]
    whole = Plan.uniform(space, 1.0)
    original = Evaluation(whole, 0.9, ChainCost().cost(np.array(SIZES)))
    evaluator = evaluator or FormulaEvaluator()
    return CompressionEnv(bounds, StepEmbedding(), evaluator, reward, original=original)


def make_agent(build, *, episodes=20, seed=0, **knobs):
    env = make_env()
    context = AgentContext(
        observation_dim=4,
        num_decisions=3,
        num_episodes=episodes,
        seed=seed,
        uniform_keep_ratios=tuple(uniform_plan(env.budget).keep_ratio.values()),
        choices=goal_of(env.budget).choices,
    )
    return build(context, **knobs)


def small_agent(name, *, episodes):
    return make_agent(AGENTS[name], episodes=episodes, **SMALL.get(name, {}))
