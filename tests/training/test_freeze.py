"""Layers that a training leaves as they are."""

from __future__ import annotations

import pytest
from torch import nn

from agmc.training.freeze import frozen


def net():
    body = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    named = {"body": body, "body2": nn.Conv2d(2, 2, 1), "head": nn.Linear(2, 3)}
    module = nn.Module()
    for name, part in named.items():
        module.add_module(name, part)
    return module


def trained(module):
    return [name for name, w in module.named_parameters() if w.requires_grad]


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        ([], ["body.0", "body.1", "body2", "head"]),
        (["body"], ["body2", "head"]),
        (["body*"], ["head"]),
        (["body.1", "head"], ["body.0", "body2"]),
    ],
)
def test_gradients_go_and_come_back(patterns, left):
    module = net()
    module.body2.bias.requires_grad_(False)  # by somebody else
    every = trained(module)
    with frozen(module, patterns) as layers:
        expected = [name for name in every if name.rpartition(".")[0] in left]
        assert trained(module) == expected
        assert bool(layers) == bool(patterns)
    assert trained(module) == every


def test_what_cannot_be_frozen_is_refused():
    module = net()
    with (
        pytest.raises(
            ValueError, match="'tail' fits no layer; there are body, body2, "
        ),
        frozen(module, ["tail"]),
    ):
        pass
    with (
        pytest.raises(ValueError, match="leaves nothing to train"),
        frozen(module, ["*"]),
    ):
        pass
    assert len(trained(module)) == 8


def test_an_error_inside_gives_the_gradients_back():
    module = net()
    with pytest.raises(RuntimeError), frozen(module, ["body"]):
        raise RuntimeError
    assert len(trained(module)) == 8
