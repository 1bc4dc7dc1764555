from __future__ import annotations

import numpy as np
import pytest
import torch

from agmc.agents.shared_effects import SharedEffects, alike, in_own_units

RANDOM = np.random.default_rng(0)


def test_the_reward_is_a_sum_over_decisions() -> None:
    effects = SharedEffects(np.array([1.0, 2.0]), np.array([0.0, -1.0]))
    features, numbers = np.array([[0.5], [3.0]]), np.array([[1.0, -1.0], [0.0, 0.0]])
    # Slopes 2 and 7, curves -0.5 and -3.
    assert effects.expected(features, numbers).tolist() == [2 - 7 - 0.5 - 3, 0]
    doubled = effects.plus(effects, 1.0)
    assert doubled.expected(features, numbers)[0] == 2 * (2 - 7 - 0.5 - 3)
    again = SharedEffects.of_state(effects.state())
    assert again.slopes.tolist() == [1, 2] and again.curves.tolist() == [0, -1]
    nothing = SharedEffects.none(1)
    assert not nothing.expected(features, numbers).any()
    assert {n: v.dtype for n, v in nothing.state().items()} == {
        "slopes": torch.float64,
        "curves": torch.float64,
    }


@pytest.mark.parametrize("constant", [False, True])
def test_weights_of_the_description_and_of_the_features_agree(constant) -> None:
    features = RANDOM.normal(3, 2, (5, 4))
    if constant:  # a feature without spread is left out of the description
        features[:, 1] = 7
    described = alike(features)
    assert described.shape == (5, 4 if constant else 5)
    weights = RANDOM.normal(size=described.shape[1])
    own = in_own_units(features, weights)
    np.testing.assert_allclose(
        np.column_stack([np.ones(5), features]) @ own, described @ weights
    )
    assert not constant or own[2] == 0
