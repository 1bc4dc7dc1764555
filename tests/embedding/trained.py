"""Encoders that agents train, episodes of random rewards, and what is moved by them."""

from __future__ import annotations

import functools

import torch
from embedding_nets import residual_graph
from torch import Tensor, nn

from agmc.agents import DDPG, PPO, TD3, Agent, AgentContext, Episode, Reinforce
from agmc.embedding.embedding import Embedding, EmbeddingContext
from agmc.embedding.learned import autoencoder
from agmc.embedding.multistage import multistage
from agmc.embedding.sequential import sequential
from agmc.embedding.state import StateEmbedding
from agmc.graph.model_graph import ModelGraph
from agmc.plan_space import PlanSpace

#: Knobs of a graph encoder that is fitted in no time.
QUICK = {
    "fit": "anew",
    "dim": 8,
    "hidden": 16,
    "layers": 2,
    "variants": 1,
    "corpus_variants": 1,
    "steps": 3,
}
#: Quick versions of the agents that train an encoder.
AGENTS = {
    "ddpg": functools.partial(DDPG, hidden_dim=16, warmup_share=0.0),
    "td3": functools.partial(TD3, hidden_dim=16, warmup_share=0.0),
    "ppo": functools.partial(PPO, hidden_dim=16, episodes_per_update=2, epochs=2),
    "reinforce": functools.partial(Reinforce, hidden_dim=16, episodes_per_update=2),
}


def context_of(graph: ModelGraph | None = None) -> EmbeddingContext:
    graph = residual_graph(8, 2) if graph is None else graph
    return EmbeddingContext(graph, PlanSpace(graph), seed=3)


def multistage_of(graph: ModelGraph | None = None, **knobs) -> StateEmbedding:
    return multistage(context_of(graph), **{"dim": 6, "hidden": 8, **knobs})


def sequential_of(graph: ModelGraph | None = None, **knobs) -> StateEmbedding:
    quick = functools.partial(autoencoder, **QUICK)
    return sequential(context_of(graph), **{"dim": 6, "graph_encoder": quick, **knobs})


def agent_of(name: str, embedding: Embedding, *, beside: int = 0) -> Agent:
    """An agent over the embedding, with `beside` more columns behind each row."""
    number = len(embedding.graph.groups)
    return AGENTS[name](
        AgentContext(
            observation_dim=embedding.dim + beside,
            num_decisions=number,
            num_episodes=4,
            seed=0,
            uniform_keep_ratios=(0.5,) * number,
            encoder=embedding.encoder,
        )
    )


def play(agent: Agent, embedding: Embedding, *, episodes: int, beside: int = 0) -> None:
    """Lets the agent act and learn; the reward is the mean keep ratio."""
    sizes = torch.tensor([float(group.size) for group in embedding.graph.groups])
    for index in range(episodes):
        agent.begin_episode(index)
        counts = sizes.clone()
        seen = []
        for step in range(len(sizes)):
            row = embedding.row(step, counts.numpy())
            seen.append(torch.cat([row, torch.full((beside,), 0.5)]))
            wanted = agent.act(seen[-1]) * sizes[step]
            counts[step] = wanted.round().clamp(1, sizes[step])
        actions = counts / sizes
        agent.observe(Episode(torch.stack(seen), actions, float(actions.mean())))


def moved(encoder: nn.Module, before: dict[str, Tensor]) -> set[str]:
    """Names of the weights that are not what they were."""
    return {
        name
        for name, value in encoder.named_parameters()
        if not torch.equal(value, before[name])
    }


def copy_of(encoder: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in encoder.named_parameters()}
