"""CompressionEnv: one network under its budget as a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from torch import Tensor

from agmc.agents.goal_turns import goal_of_episode
from agmc.embedding.embedding import Embedding
from agmc.search.bound import BoundBudget
from agmc.search.evaluator import Evaluation, Evaluator
from agmc.search.goals import observation_dim_of
from agmc.search.outcome import Outcome
from agmc.search.reward import Reward
from agmc.search.worth import worth_of


class CompressionEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """Walks through the decisions of a network, one per step, and prunes at the end.

    ## Action
    `Box(0, 1, (1,), float32)`: the share to keep of what is at hand, the channels of a
    group or the bits of a layer (see `Decision`). It is rounded and clamped to what
    keeps the budget in reach from both sides (see `BoundBudget`); `info` tells what was
    done.

    ## Observation
    `Box(-1, 1, (embedding.dim,), float32)`: the embedding's row of the decision at
    hand, under the decisions taken so far. The columns with their units are listed in
    `embedding.columns`. Where there are several budgets, one more column tells the
    place of the present one among them, from 0 for the tightest to 1. After the last
    decision there is nothing to see: zeros.

    ## Reward
    0 before the last decision; then `reward(outcome)` of the finished plan, measured
    without fine-tuning on the search split and compared with the network itself.

    ## Start
    Nothing pruned, at the first decision. Nothing is random: the seed of `reset`
    changes nothing. With `options={"episode": i}` several budgets take turns, see
    `goal_of_episode`.

    ## End
    `terminated` after the last decision; never `truncated`.

    ## Info
    | key | when | meaning |
    |---|---|---|
    | `requested` | step | the action handed in, in [0, 1] |
    | `executed` | step | the keep ratio taken, `count / size`, in (0, 1] |
    | `count` | step | channels kept of the group, bits of the layer |
    | `plan` | last step | the finished `Plan` |
    | `evaluation` | last step | the `Evaluation` of the plan |

    Args:
        budgets: of the network, one or more of one and the same space, which holds the
            decisions.
        embedding: of the same network.
        evaluate: Plan -> Evaluation.
        reward: Outcome -> float.
        original: the evaluation of the plan that keeps everything, which outcomes are
            compared with.

    Raises:
        ResetNeeded: `step` before `reset` or after the end.
        RewardError: the reward of the finished plan is no finite number.
        ValueError: an action that is not one number in [0, 1].
    """

    metadata = {"render_modes": []}

    def __init__(
        self,
        budgets: Sequence[BoundBudget],
        embedding: Embedding,
        evaluate: Evaluator,
        reward: Reward,
        *,
        original: Evaluation,
    ) -> None:
        self.budgets = tuple(budgets)
        self.budget = self.budgets[0]
        self.embedding = embedding
        self.evaluate = evaluate
        self.reward = reward
        self.original = original
        self.action_space = spaces.Box(0.0, 1.0, (1,), np.float32)
        self.observation_dim = observation_dim_of(embedding, len(self.budgets))
        shape = (self.observation_dim,)
        self.observation_space = spaces.Box(-1.0, 1.0, shape, np.float32)
        self._sizes = self.budget.space.sizes
        self._counts = self._sizes.copy()
        self._step = len(self._sizes)

    @property
    def num_decisions(self) -> int:
        """Steps in an episode."""
        return len(self._sizes)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode at the first decision, with everything kept."""
        super().reset(seed=seed)
        episode = int((options or {}).get("episode", 0))
        self.budget = self.budgets[goal_of_episode(episode, len(self.budgets))]
        self._counts = self._sizes.copy()
        self._step = 0
        return self._observation(), {}

    def step(
        self, action: np.ndarray
    ) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Takes the decision at hand; see the data sheet of the class."""
        observation, info = self.decide(action)
        if "plan" not in info:
            return observation, 0.0, False, False, info
        evaluation = self.evaluate(info["plan"])
        info["evaluation"] = evaluation
        return observation, self.worth(evaluation), True, False, info

    def decide(self, action: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        """`step` without the evaluation, for those who evaluate elsewhere.

        Returns:
            The next observation and `info`, which has the finished `plan` after the
            last decision.
        """
        step = self._step
        if step == self.num_decisions:
            raise ResetNeeded("the episode is over or not begun; call reset() first")
        numbers = np.asarray(action, dtype=np.float64)
        if numbers.size != 1:
            raise ValueError(
                f"action (shape {numbers.shape}) must be one keep ratio, shape (1,)"
            )
        requested = float(numbers.item())
        count = self.budget.clamp(requested, self._counts, step)
        self._counts[step] = count
        self._step += 1
        info: dict[str, Any] = {
            "requested": requested,
            "executed": count / int(self._sizes[step]),
            "count": count,
        }
        if self._step < self.num_decisions:
            return self._observation(), info
        info["plan"] = self.budget.space.plan(self._counts)
        return np.zeros(self.observation_dim, np.float32), info

    def look(self, keep_ratios: Sequence[float]) -> Tensor:
        """What is observed along a plan under the first budget, without playing it.

        Args:
            keep_ratios: one a decision.

        Returns:
            Float32 [num_decisions, observation_dim].
        """
        counts = np.rint(np.array(keep_ratios) * self._sizes).astype(np.int64)
        first = self.budgets[0]
        rows = [self._seen(t, counts, first) for t in range(self.num_decisions)]
        return torch.from_numpy(np.stack(rows))

    def worth(self, evaluation: Evaluation) -> float:
        """The reward of an evaluated plan.

        Raises:
            RewardError: it is no finite number.
        """
        outcome = Outcome(
            *(evaluation.accuracy, evaluation.cost),
            *(self.original.accuracy, self.original.cost),
        )
        return worth_of(outcome, self.reward, evaluation.plan)

    def _observation(self) -> np.ndarray:
        return self._seen(self._step, self._counts, self.budget)

    def _seen(self, step: int, counts: np.ndarray, budget: BoundBudget) -> np.ndarray:
        row = self.embedding.row(step, counts)
        seen = row.detach().cpu().numpy().astype(np.float32, copy=True)
        if len(self.budgets) > 1:
            place = self.budgets.index(budget) / (len(self.budgets) - 1)
            seen = np.append(seen, np.float32(place))
        return seen
