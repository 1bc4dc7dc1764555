"""Folders of measured networks: read back, with their weights, and damaged."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from agmc.models import build, save_weights
from agmc.search.measured import measured_networks
from agmc.search.sensitivity import Sensitivity

GROUPS = (
    "conv1",
    "layer1.0.conv1",
    "layer2.0.conv1",
    "layer3.0.conv1",
    "layer3.0.conv2",
)
TABLE = np.linspace(0.9, 0.1, 10).reshape(5, 2)
BUILD = "agmc.models.cifar_resnet:CifarResNet"
ARGUMENTS = {"num_blocks": 1, "widths": [2, 2, 4]}
HOW = {
    "family": "resnet",
    "build": BUILD,
    "arguments": ARGUMENTS,
    "image_size": 16,
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "networks.json").write_text(json.dumps({"small": HOW}))
    Sensitivity((0.5, 0.25), 0.9, TABLE, GROUPS).save(tmp_path / "small.json")
    return tmp_path


def test_read(folder):
    names = []
    network = measured_networks(folder, on_network=names.append)["small"]
    assert names == ["small"]
    assert network.family == "resnet"
    assert tuple(group.name for group in network.graph.groups) == GROUPS
    assert np.allclose(network.sensitivity.drops, 0.9 - TABLE)


def test_weights_beside_it_are_taken(folder):
    fresh = measured_networks(folder)["small"].graph
    model = build(BUILD, num_classes=10, **ARGUMENTS)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.5)
    save_weights(model, folder / "small.safetensors")
    given = measured_networks(folder)["small"].graph
    name = "conv1.weight"
    assert given.parameters[name] != fresh.parameters[name]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "networks.json is no JSON file"),
        ("{}", "with a network at least"),
        ("[]", "with a network at least"),
        ('{"a": 1}', r"'a' must be an object with family \(str\)"),
        ('{"a": {"family": "b", "build": 3}}', r"must be an object with build \(str\)"),
    ],
)
def test_damaged_description(folder, text, message):
    (folder / "networks.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        measured_networks(folder)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("arguments", {"foo": 1}, "small cannot be built and traced: .*foo"),
        ("arguments", {"num_classes": 10}, "small cannot be built and traced"),
        ("build", "nowhere", "small cannot be built and traced: .*nowhere"),
        ("image_size", -1, "small cannot be built and traced"),
    ],
)
def test_networks_that_cannot_be_built(folder, part, value, message):
    described = {"small": {**HOW, part: value}}
    (folder / "networks.json").write_text(json.dumps(described))
    with pytest.raises(ValueError, match=message):
        measured_networks(folder)


def test_measurement_of_another_network(folder):
    other = Sensitivity((0.5,), 0.9, np.array([[0.7]]), ("conv1",))
    other.save(folder / "small.json")
    with pytest.raises(ValueError, match=r"its groups are \('conv1',\).*small again"):
        measured_networks(folder)


def test_other_ratios_than_the_first(folder):
    (folder / "networks.json").write_text(json.dumps({"small": HOW, "second": HOW}))
    Sensitivity((0.5,), 0.9, TABLE[:, :1], GROUPS).save(folder / "second.json")
    with pytest.raises(ValueError, match=r"its ratios are \(0.5,\), expected \(0.5, 0"):
        measured_networks(folder)
