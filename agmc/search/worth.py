"""worth_of: a reward's number, checked, so that no search learns from nonsense."""

from __future__ import annotations

import math

from agmc.plan import Plan
from agmc.search.outcome import Outcome
from agmc.search.reward import Reward


class RewardError(ValueError):
    """A reward gave no finite number.

    Attributes:
        plan: that caused it.
    """

    def __init__(self, message: str, plan: Plan) -> None:
        super().__init__(message)
        self.plan = plan


def worth_of(outcome: Outcome, reward: Reward, plan: Plan) -> float:
    """`reward(outcome)` as a finite float.

    Args:
        outcome: of the plan.
        reward: a function of it, maybe a user's.
        plan: for the error.

    Raises:
        RewardError: the reward raised, or its value is no finite number.
    """
    about = (
        f"on plan {plan.digest} (accuracy {outcome.accuracy:.4f}, "
        f"{outcome.cost.macs} macs, {outcome.cost.params} params)"
    )
    try:
        value = reward(outcome)
    except Exception as error:
        raise RewardError(
            f"reward {_name(reward)} raised {type(error).__name__}: {error}; {about}",
            plan,
        ) from error
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise RewardError(
            f"reward {_name(reward)} (={value!r}) must be a finite number {about}", plan
        )
    return number


def _name(reward: Reward) -> str:
    function = getattr(reward, "func", reward)
    return str(getattr(function, "__qualname__", type(function).__qualname__))
