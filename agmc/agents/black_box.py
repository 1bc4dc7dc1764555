"""Black-box optimisers of Optuna, by ask and tell."""

from __future__ import annotations

import warnings
from collections import deque
from typing import Any

from torch import Tensor

from agmc.agents.agent import Agent, AgentContext, Episode

ALGORITHMS = ("tpe", "cmaes", "nsga2")


class BlackBox(Agent):
    """Asks Optuna for the keep ratios of a whole plan and tells it the reward.

    The optimiser is told what its proposal earned after the budget has clamped it. TPE
    is multivariate; all begin with the uniform plan.

    Args:
        context: dimensions, number of episodes, seed and the uniform plan.
        algorithm: "tpe" (tree-structured Parzen estimators, Bergstra et al. 2011),
            "cmaes" (Hansen 2016, arXiv 1604.00772) or "nsga2" (Deb et al. 2002).

    Raises:
        ValueError: the algorithm is unknown, or Optuna is not installed.
    """

    def __init__(self, context: AgentContext, *, algorithm: str = "tpe") -> None:
        context.require_one_budget(algorithm)
        if algorithm not in ALGORITHMS:
            raise ValueError(
                f"algorithm (={algorithm!r}) must be one of {', '.join(ALGORITHMS)}"
            )
        try:
            import optuna
        except ImportError as error:
            raise ValueError(
                f"agent {algorithm} needs Optuna: pip install 'agmc[blackbox]'"
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # multivariate is called experimental
            samplers: dict[str, Any] = {
                "tpe": lambda: optuna.samplers.TPESampler(
                    multivariate=True, seed=context.seed
                ),
                "cmaes": lambda: optuna.samplers.CmaEsSampler(seed=context.seed),
                "nsga2": lambda: optuna.samplers.NSGAIISampler(
                    population_size=max(4, min(20, context.num_episodes // 10)),
                    seed=context.seed,
                ),
            }
            self._study = optuna.create_study(
                sampler=samplers[algorithm](), direction="maximize"
            )
        names = [f"decision_{i:03d}" for i in range(context.num_decisions)]
        self._study.enqueue_trial(
            dict(zip(names, context.uniform_keep_ratios, strict=True))
        )
        uniform = optuna.distributions.FloatDistribution(0.0, 1.0)
        self._distributions: dict[str, Any] = dict.fromkeys(names, uniform)
        self._trials: deque[Any] = deque()  # asked for and not yet told
        self._plan: list[float] = []

    def begin_episode(self, index: int) -> None:
        """Ask for a plan."""
        trial = self._study.ask(self._distributions)
        self._trials.append(trial)
        self._plan = [trial.params[name] for name in self._distributions]

    def act(self, observation: Tensor, explore: bool = True) -> float:
        """Return the keep ratio of the next decision."""
        return self._plan.pop(0)

    def observe(self, episode: Episode) -> None:
        """Tell the reward."""
        self._study.tell(self._trials.popleft(), episode.reward)
