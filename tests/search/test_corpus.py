"""The corpus: the same graphs at every call, and nobody else's random numbers."""

from __future__ import annotations

import inspect

import pytest
import torch

from agmc.search.corpus import NAMES, corpus, graphs_by_family


def test_networks_of_different_families_by_default():
    assert inspect.signature(corpus).parameters["names"].default == NAMES
    assert len(set(NAMES)) == len(NAMES) >= 4


def test_the_same_graphs_at_every_call_and_the_generator_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    (first,) = corpus(names=["squeezenet1_1"], image_size=32)
    assert torch.equal(torch.rand(3), expected)
    (again,) = corpus(names=["squeezenet1_1"], image_size=32)
    assert first.parameters == again.parameters
    assert first.program == again.program
    assert first.program.input_shapes == ((1, 3, 32, 32),)
    assert first.groups


def test_what_cannot_be_pruned_there_warns_nobody(recwarn):
    (graph,) = corpus(names=["shufflenet_v2_x0_5"])
    assert not list(recwarn)
    assert graph.tensors


def test_none_is_none():
    assert list(corpus(names=[])) == []


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"names": ["nothing"]}, "nothing"),
        ({"names": ["squeezenet1_1"], "image_size": 4}, "traced"),
    ],
)
def test_mistakes_are_value_errors(knobs, message):
    with pytest.raises(ValueError, match=message):
        corpus(**knobs)


def test_graphs_by_family():
    told = []
    families = {"cifar_resnet": ("resnet20",), "squeezenet": ("squeezenet1_1",)}
    graphs = graphs_by_family(families, random_networks=1, on_network=told.append)
    assert told == ["resnet20", "squeezenet1_1", "random_0"]
    assert [*graphs] == ["cifar_resnet", "squeezenet", "random"]
    (resnet,) = graphs["cifar_resnet"]
    assert resnet.program.input_shapes == ((1, 3, 32, 32),)
    assert len(resnet.groups) == 12
