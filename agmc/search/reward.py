"""Rewards: what an episode is worth, as plain functions of an `Outcome`.

A reward is any callable `Outcome -> float` that grows with what is wanted; knobs follow
the outcome as keyword-only parameters (`functools.partial` sets them). Accuracies are
those of the search split before fine-tuning, as shares in [0, 1].
"""

from __future__ import annotations

import functools
import importlib
import inspect
import math
from collections.abc import Callable

from agmc.search.budgets import Budgets
from agmc.search.outcome import Outcome

Reward = Callable[[Outcome], float]


def error(outcome: Outcome) -> float:
    """Minus the error: `R = -(1 - accuracy)`, in [-1, 0].

    R_err of AMC (arXiv 1802.03494, section 3.4) for searches under a budget, where the
    cost is bound already; it is not read.
    """
    return -(1.0 - outcome.accuracy)


def error_log_macs(outcome: Outcome) -> float:
    """Minus the error, weighed by the work: `R = -(1 - accuracy) * log(macs)`.

    R_FLOPs of AMC (arXiv 1802.03494, section 3.4), with the natural logarithm of
    multiply-adds: of two plans with the same error the cheaper one is worth more.
    """
    return -(1.0 - outcome.accuracy) * math.log(max(1, outcome.cost.macs))


def error_log_params(outcome: Outcome) -> float:
    """Minus the error, weighed by the size: `R = -(1 - accuracy) * log(params)`.

    R_Param of AMC (arXiv 1802.03494, section 3.4), otherwise as `error_log_macs`.
    """
    return -(1.0 - outcome.accuracy) * math.log(max(1, outcome.cost.params))


def accuracy_gain(outcome: Outcome, *, scale: float = 0.1) -> float:
    """What the plan adds to the accuracy: `R = scale * 100 (accuracy - original)`.

    That of HAQ (arXiv 1811.08886, section 3.4), which has scale 0.1 and accuracies in
    percent; for searches under a budget.

    Args:
        outcome: of the plan.
        scale: of a percentage point, > 0.

    Raises:
        ValueError: a knob is out of range.
    """
    _must(scale > 0, "scale", scale, "above 0")
    return scale * 100.0 * (outcome.accuracy - outcome.original_accuracy)


def sigmoid_product(
    outcome: Outcome,
    *,
    accuracy_threshold: float = 0.9,
    time_threshold: float = 0.3,
    size_threshold: float = 0.6,
    slope: float = 15.0,
    time: str = "macs",
    size: str = "params",
) -> float:
    """The product of thresholded sigmoids of accuracy, time and size, in (0, 1).

    `R = S(A/A0 - a) * S(t - T/T0) * S(s - P/P0)` with `S(x) = 1 / (1 + exp(-slope x))`
    and the thresholds a, t, s: equation (1) of DDC (arXiv 1911.12740), which measures
    the time. For searches without limits (`budget=null`): the thresholds trade.

    Args:
        outcome: of the plan.
        accuracy_threshold: a, share of the original accuracy, > 0.
        time_threshold: t, share of the original time, > 0.
        size_threshold: s, share of the original size, > 0.
        slope: of all three, > 0.
        time: metric that stands for the time; `latency` needs a table.
        size: metric that stands for the size.

    Raises:
        ValueError: a knob is out of range, or there is no such metric.
    """
    for name, value in (
        ("accuracy_threshold", accuracy_threshold),
        ("time_threshold", time_threshold),
        ("size_threshold", size_threshold),
        ("slope", slope),
    ):
        _must(value > 0, name, value, "above 0")
    return (
        _sigmoid(slope * (outcome.accuracy_share - accuracy_threshold))
        * _sigmoid(slope * (time_threshold - outcome.share(time)))
        * _sigmoid(slope * (size_threshold - outcome.share(size)))
    )


def exponential_penalty(
    outcome: Outcome, *, metric: str = "macs", target: float = 0.5, weight: float = 5.0
) -> float:
    """The accuracy, cut down above a target: `R = A exp(-weight max(0, share - t))`.

    A soft limit: up to the target share t of the metric nothing is lost, beyond it the
    reward falls by `1 - exp(-weight / 100)` per percent of the original. For searches
    without limits (`budget=null`).

    Args:
        outcome: of the plan.
        metric: whose share is looked at.
        target: t, share of the original, in (0, 1].
        weight: >= 0; 0 reads the accuracy alone.

    Raises:
        ValueError: a knob is out of range, or there is no such metric.
    """
    _must(0 < target <= 1, "target", target, "in (0, 1]")
    _must(weight >= 0, "weight", weight, ">= 0")
    return outcome.accuracy * math.exp(
        -weight * max(0.0, outcome.share(metric) - target)
    )


def cheapest_above(outcome: Outcome, *, accuracy: float, metric: str = "macs") -> float:
    """Plans that reach an accuracy by what they save, others by what they lack.

    `R = max(0, 1 - share(metric))` in [0, 1) if `outcome.accuracy >= accuracy`,
    otherwise `R = outcome.accuracy - accuracy` in [-1, 0): every plan that reaches the
    accuracy is worth more than every plan that does not, be it slower than the network
    itself, as odd numbers of channels are. The reward of `AccuracyFloor`.

    Args:
        outcome: of the plan.
        accuracy: the least that is wanted, in (0, 1].
        metric: what is to be low.
    """
    if outcome.accuracy < accuracy:
        return outcome.accuracy - accuracy
    return max(0.0, 1.0 - outcome.share(metric))


def own(*, function: str | None = None) -> Reward:
    """A user's own reward, by name.

    Args:
        function: `package.module:function`, which takes an `Outcome`.

    Raises:
        ValueError: it cannot be imported, or cannot be called with one argument.
    """
    expected = "expected package.module:function with the package on PYTHONPATH"
    if function is None:
        raise ValueError(f"reward=own names no function; {expected}")
    module_name, _, path = function.partition(":")
    try:
        found: object = importlib.import_module(module_name)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"reward {function!r} cannot be imported ({error}); {expected}"
        ) from error
    if not callable(found):
        raise ValueError(f"reward {function!r} is no function; {expected}")
    try:
        inspect.signature(found).bind(None)
    except TypeError as error:
        raise ValueError(
            f"reward {function!r} cannot be called with one outcome ({error})"
        ) from error
    return found


def reward_for(budgets: Budgets, reward: Reward | str | None) -> Reward:
    """The reward of a search: the one given, or the one that fits the budgets.

    Args:
        budgets: of the search.
        reward: a function, `package.module:function`, or None: `error` under limits
            and without any, `cheapest_above` with an accuracy floor.

    Raises:
        ValueError: a reward is given although the floor has its own, or it cannot be
            imported.
    """
    floor = budgets.floor
    if floor is not None:
        if reward is not None:
            raise ValueError(
                f"budget {floor} brings its own reward, the cheapest plan above the "
                "accuracy; leave out reward, or set limits instead of the accuracy"
            )
        return functools.partial(
            cheapest_above, accuracy=floor.accuracy, metric=floor.metric
        )
    if isinstance(reward, str):
        return own(function=reward)
    return error if reward is None else reward


def _sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))


def _must(holds: bool, name: str, value: float, expected: str) -> None:
    if not holds:
        raise ValueError(f"{name} (={value}) must be {expected}")
