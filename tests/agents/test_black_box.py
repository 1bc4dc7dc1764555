from __future__ import annotations

import sys

import numpy as np
import pytest
from agent_plans import context, play

from agmc.agents import BlackBox
from agmc.agents.black_box import ALGORITHMS

TARGET = np.array([0.9, 0.2, 0.3, 0.8])


def reward(plan: np.ndarray) -> float:
    return float(-((plan - TARGET) ** 2).sum())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_it_begins_with_uniform_and_ends_near_the_optimum(algorithm: str) -> None:
    played = play(BlackBox(context(), algorithm=algorithm), reward, 100)
    assert played[0][0] == context().uniform_keep_ratios
    early, late = (max(r for _, r in part) for part in (played[:5], played))
    assert late > early and late > -0.06


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_seed_decides(algorithm: str) -> None:
    plans = [
        [p for p, _ in play(BlackBox(context(seed=s), algorithm=algorithm), reward, 15)]
        for s in (1, 1, 2)
    ]
    assert plans[0] == plans[1] != plans[2]


def test_unknown_algorithms_and_a_missing_optuna_are_named(monkeypatch) -> None:
    with pytest.raises(ValueError, match="must be one of tpe, cmaes, nsga2"):
        BlackBox(context(), algorithm="annealing")
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ValueError, match=r"agmc\[blackbox\]"):
        BlackBox(context())
