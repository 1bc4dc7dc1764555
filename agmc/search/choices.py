"""The agents and embeddings of a search, by name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TypeVar

from agmc.agents import (
    DDPG,
    PPO,
    TD3,
    Additive,
    Agent,
    AgentContext,
    BlackBox,
    Critic,
    Greedy,
    PPOVector,
    Random,
    Reinforce,
    Uniform,
    sb3,
)
from agmc.embedding.embedding import Embedding, EmbeddingContext

BuildAgent = Callable[[AgentContext], Agent]
BuildEmbedding = Callable[[EmbeddingContext], Embedding]
_Builder = TypeVar("_Builder", BuildAgent, BuildEmbedding)


def chosen(
    kind: str, choice: str | _Builder, choices: Mapping[str, _Builder]
) -> _Builder:
    """What builds an agent or an embedding, by its name or handed in as it is.

    Args:
        kind: "agent" or "embedding".
        choice: a name, or what builds one.
        choices: those that have names.

    Raises:
        ValueError: the name is unknown.
    """
    if not isinstance(choice, str):
        return choice
    if choice not in choices:
        raise ValueError(
            f"{kind} {choice!r} is unknown; choose one of " + ", ".join(sorted(choices))
        )
    return choices[choice]


def _built(module: str, name: str, context: EmbeddingContext) -> Embedding:
    """An embedding; imported when it is built: torch_geometric takes seconds."""
    build = getattr(import_module(f"agmc.embedding.{module}"), name)
    made: Embedding = build(context)
    return made


def _builder(name: str, module: str = "") -> BuildEmbedding:
    # A partial, and no function of its own: a search is known by its arguments.
    return functools.partial(_built, module or name, name)


AGENTS: Mapping[str, BuildAgent] = {
    "additive": Additive,
    "cmaes": functools.partial(BlackBox, algorithm="cmaes"),
    "critic": Critic,
    "ddpg": DDPG,
    "greedy": Greedy,
    "nsga2": functools.partial(BlackBox, algorithm="nsga2"),
    "ppo": PPO,
    "ppo_vector": PPOVector,
    "random": Random,
    "reinforce": Reinforce,
    "sb3_ppo": sb3.ppo,
    "sb3_sac": sb3.sac,
    "sb3_td3": sb3.td3,
    "td3": TD3,
    "tpe": functools.partial(BlackBox, algorithm="tpe"),
    "uniform": Uniform,
}
EMBEDDINGS: Mapping[str, BuildEmbedding] = {
    "autoencoder": _builder("autoencoder", module="learned"),
    "haq": _builder("haq"),
    "measured": _builder("measured"),
    "multistage": _builder("multistage"),
    "onehot": _builder("onehot"),
    "random_projection": _builder("random_projection"),
    "rules": _builder("rules"),
    "rules_weights": _builder("rules_weights"),
    "sensitivity": _builder("sensitivity", module="predicted"),
    "sequential": _builder("sequential"),
}
