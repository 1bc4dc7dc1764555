"""What is said of a network on its data."""

from __future__ import annotations

import pytest
import torch
from search_nets import tiny_net, tiny_splits
from torch import nn

from agmc.measure import graph_of, measure
from agmc.training import Execution

EXECUTION = Execution(device="cpu", precision="float32")


def always(label, num_classes=3):
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, num_classes))
    with torch.no_grad():
        net[1].weight.zero_()
        net[1].bias.zero_()[label] = 1
    return net


def test_accuracy_and_cost_by_hand():
    measured = measure(
        always(1), tiny_splits(), num_bytes=500, execution=EXECUTION, batch_size=10
    )
    record = measured.record()
    assert record == {
        "accuracy": {"search": 1 / 3, "test": 1 / 3},
        "macs": 36 * 3,
        "params": 36 * 3 + 3,
        "bytes": 500,
    }
    text = "accuracy: search 33.33%, test 33.33%; 108 macs, 111 params, 500 bytes"
    assert str(measured) == text


def test_the_graph_is_held_to_the_classes_of_the_data():
    assert graph_of(tiny_net(), tiny_splits()).groups
    with pytest.raises(ValueError, match=r"'noise' have 3 classes and need \[\(1, 3"):
        graph_of(always(0, num_classes=4), tiny_splits())
    with pytest.raises(ValueError, match="cannot be traced with inputs of shape"):
        graph_of(nn.Linear(7, 3), tiny_splits())


class InADictionary(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = tiny_net()

    def forward(self, x):
        return {"logits": self.net(x)}


def test_logits_in_a_dictionary_are_refused():
    with pytest.raises(ValueError, match="returns a dict; wrap it in one that returns"):
        graph_of(InADictionary(), tiny_splits())
