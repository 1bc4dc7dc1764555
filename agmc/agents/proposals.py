"""Proposals: whole plans that a critic may be asked about, within a budget."""

from __future__ import annotations

import numpy as np

from agmc.agents.agent import Choices, Goal

#: Steps of a proposal away from a good plan, standard deviations of log keep ratios,
#: and the shares of its decisions that take one.
_STEPS = (0.03, 0.1, 0.2, 0.4)
_SHARES = (0.15, 0.4, 1.0)
#: Of the steps around plans: the share of proposals in which decisions step together.
_ALIKE = 0.5
#: The scaling of a plan to a budget: range of its logarithm, and halvings of it.
_SCALES = (-1.7, 1.7)
_HALVINGS = 10


class Proposals:
    """Draws plans near others, as keep ratios in (0, 1], and scales them to the budget.

    Steps that every decision takes for itself cancel out in networks of many layers:
    that a whole kind of layer should keep less is hardly ever tried. So, once `see` has
    shown what decisions look like, those which look alike also step together.

    Args:
        choices: ranges and cost of the plans.
        random: that draws.

    Attributes:
        free: whether there is no budget to use up.
    """

    def __init__(self, choices: Choices, random: np.random.Generator) -> None:
        self._choices = choices
        self._random = random
        self._least = np.array([levels[0] for levels in choices.levels])
        self._looks = np.zeros((len(choices.levels), 0))
        whole = np.ones((1, len(choices.levels)))
        self.free = bool(choices.cost(whole)[0] <= 1.0)

    def see(self, looks: np.ndarray) -> None:
        """Learns which decisions look alike.

        Args:
            looks: float64 `[D, F]`, the squared lengths of the rows 1 on average (or
                all 0): a step together is as long as one of each for itself.
        """
        self._looks = looks

    def near(self, plan: np.ndarray, spread: float, together: float) -> np.ndarray:
        """One random plan.

        Args:
            plan: float64 `[D]`.
            spread: standard deviation of log keep ratios.
            together: share of its variance that decisions which look alike have in
                common, in [0, 1].
        """
        steps = self._random.normal(size=(1, len(plan)))
        if self._looks.any():
            common = np.sqrt(together) * self._steps_alike(1)
            steps = np.sqrt(1 - together) * steps + common
        steps = spread * steps
        drawn: np.ndarray = self.within(plan * np.exp(steps))[0]
        return drawn

    def around(self, plans: np.ndarray, number: int) -> np.ndarray:
        """A step of many sizes, in some or all decisions, away from any of the plans.

        Args:
            plans: float64 `[N, D]`.
            number: of the proposals.

        Returns:
            float64 `[number, D]`.
        """
        shape = number, plans.shape[1]
        start = plans[self._random.integers(len(plans), size=number)]
        step = self._random.choice(_STEPS, size=(number, 1))
        share = self._random.choice(_SHARES, size=(number, 1))
        taken = self._random.random(shape) < share
        moves = taken * self._random.normal(size=shape)
        if self._looks.any():
            some = int(_ALIKE * number)
            moves[:some] = self._steps_alike(some)
        return self.within(start * np.exp(step * moves))

    def between(self, plans: np.ndarray, number: int) -> np.ndarray:
        """As far away from any of the plans as these are from each other.

        Arguments and result as of `around`.
        """
        shape = number, plans.shape[1]
        start = plans[self._random.integers(len(plans), size=number)]
        width = np.log(plans).std(0).clip(0.02, 0.3)
        width = width * self._random.choice([0.3, 1.0], size=(number, 1))
        return self.within(start * np.exp(width * self._random.normal(size=shape)))

    def _steps_alike(self, number: int) -> np.ndarray:
        """Steps `[number, D]`, alike for decisions that look alike."""
        weights = self._random.normal(size=(number, self._looks.shape[1]))
        steps: np.ndarray = weights @ self._looks.T
        return steps

    def within(self, plans: np.ndarray) -> np.ndarray:
        """Plans scaled as a whole until the budget is used up, float64 `[N, D]`.

        Without a budget to use up, only the ranges are kept.
        """
        plans = np.clip(plans, self._least, 1.0)
        if self.free:
            return plans
        low, high = (np.full(len(plans), scale) for scale in _SCALES)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            tried = np.clip(plans * np.exp(middle)[:, None], self._least, 1.0)
            holds = self._choices.cost(tried) <= 1.0
            low, high = np.where(holds, middle, low), np.where(holds, high, middle)
        return np.clip(plans * np.exp(low)[:, None], self._least, 1.0)

    def executable(self, plan: np.ndarray) -> np.ndarray:
        """What the budget leaves of a plan `[D]`, at levels that there are."""
        return np.array(self._choices.clamp([float(ratio) for ratio in plan]))


def start_of(
    goal: Goal,
    sensitivities: tuple[float, ...] | None,
    tilt: float,
    random: np.random.Generator,
) -> tuple[np.ndarray, Proposals]:
    """Where plans under a goal are drawn around, `[D]`, and what draws them.

    Args:
        goal: its uniform plan and choices.
        sensitivities: see `AgentContext`; None: it is the uniform plan.
        tilt: a decision expected to matter by a standard deviation more than the mean
            keeps exp(tilt) times as much, before the budget is used up; >= 0.
        random: that draws.
    """
    plan = np.array(goal.uniform_keep_ratios)
    proposals = Proposals(goal.choices, random)
    if sensitivities is not None:
        tilted = plan * np.exp(tilt * np.array(sensitivities))
        plan = proposals.within(tilted[None])[0]
    return plan, proposals
