"""What may be decided about a layer, and what an action makes of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from graph_nets import graph_of
from hypothesis import given
from hypothesis import strategies as st

from agmc.decision import Decision, layer_decisions
from agmc.graph.weighted import weighted_layers
from agmc.plan import Plan
from agmc.plan_space import PlanSpace

LAYERS = ("a", "b", "c")
KNOBS = {
    "weight_bits": (2, 4, 8),
    "act_bits": (6, 8),
    "end_bits": 8,
    "max_sparsity": 0.9,
    "mapping": "share",
}


def decided(*parts, layers=LAYERS, start=None, **knobs):
    return layer_decisions(layers, parts, start or Plan({}), **{**KNOBS, **knobs})


def test_a_layer_between_the_ends_is_decided_about():
    decisions, start = decided("weight_bits")
    assert decisions == [Decision("b", (2, 4, 8), "weight_bits", (2, 4, 8))]
    # The ends have 8 bits, and so have all inputs: nobody decides about those.
    assert start == Plan({}, {}, {"a": 8, "c": 8}, dict.fromkeys(LAYERS, 8))


def test_without_bits_for_the_ends_all_are_decided_layer_by_layer():
    decisions, start = decided("act_bits", "weight_bits", "sparsity", end_bits=None)
    order = ("sparsity", "weight_bits", "act_bits")
    assert [(d.name, d.part) for d in decisions] == [
        (layer, part) for layer in LAYERS for part in order
    ]
    assert start == Plan({})


def test_one_number_of_bits_is_no_decision():
    decisions, start = decided("sparsity", "weight_bits", weight_bits=[5], end_bits=7)
    assert {d.part for d in decisions} == {"sparsity"}
    assert start.weight_bits == {"a": 7, "b": 5, "c": 7}
    assert start.act_bits == {"a": 7, "b": 8, "c": 7}


def test_zeros_alone_round_nothing():
    decisions, start = decided("sparsity", max_sparsity=0.15)
    assert decisions == [Decision(n, (17, 18, 19, 20), "sparsity") for n in LAYERS]
    assert start == Plan({})
    assert [decisions[0].value(n) for n in (17, 20)] == [pytest.approx(0.15), 0]


def test_what_a_plan_says_before_stays():
    before = Plan({}, {"b": 0.5}, {"a": 3}, {"b": 4, "c": 5})
    _, start = decided("weight_bits", start=before)
    assert start.weight_bits == {"a": 3, "c": 8}
    assert start.act_bits == {"a": 8, "b": 4, "c": 5}
    assert start.sparsity == {"b": 0.5}


@given(least=st.integers(1, 8), choices=st.integers(2, 9), action=st.floats(0, 1))
def test_actions_become_bits_as_in_haq(least, choices, action):
    """b = round(b_min - 0.5 + a (b_max - b_min + 1)), kept between both."""
    most = least + choices - 1
    bits = range(least, most + 1)
    (decision,), _ = decided(
        "weight_bits", layers=["a"], weight_bits=bits, end_bits=None, mapping="haq"
    )
    exact = least - 0.5 + action * (most - least + 1)
    if abs(exact - math.floor(exact) - 0.5) < 1e-4:
        return  # float32 decides between two
    expected = min(max(round(exact), least), most)
    for asked in (action, float(np.float32(action))):
        assert decision.value(decision.nearest(asked)) == expected


def test_equal_parts_of_haq_by_hand():
    (decision,), _ = decided("weight_bits", mapping="haq")
    assert decision.counts == (1, 2, 3) and decision.values == (2, 4, 8)
    bits = [decision.value(decision.nearest(a)) for a in (0, 0.3, 0.4, 0.66, 0.7, 1)]
    assert bits == [2, 2, 4, 4, 8, 8]
    # What was executed, asked for again, is executed.
    for count in decision.counts:
        assert decision.nearest(float(np.float32(count / 3))) == count


def test_shares_of_the_most_bits_by_hand():
    (decision,), _ = decided("weight_bits")
    bits = [decision.nearest(a) for a in (0, 0.3, 0.375, 0.5, 0.74, 0.75, 1)]
    assert bits == [2, 2, 4, 4, 4, 8, 8]


def test_what_a_plan_says_is_found_again():
    (bits,), _ = decided("weight_bits", mapping="haq")
    assert [
        bits.count_in(Plan({}, weight_bits={"b": said})) for said in (2, 4, 7, 16)
    ] == [1, 2, 3, 3]
    assert bits.count_in(Plan({})) == 3
    zeros = decided("sparsity")[0][1]
    assert zeros.count_in(Plan({}, {"b": 0.9})) == 2
    assert zeros.count_in(Plan({}, {"b": 0.28})) == 14
    assert (zeros.unit, bits.unit) == ("20ths of its weights", "bits")


@pytest.mark.parametrize(
    ("parts", "knobs", "message"),
    [
        (["weight_bits"], {"weight_bits": [0, 4]}, r"weight_bits \(=0\) must be in 1"),
        (["weight_bits"], {"weight_bits": [17]}, r"weight_bits \(=17\) must be in 1"),
        (["weight_bits"], {"weight_bits": []}, r"weight_bits \(=\[\]\) must name"),
        (["act_bits"], {"act_bits": [4.5]}, r"act_bits \(=4.5\) must be a whole"),
        (["act_bits"], {"act_bits": [True]}, r"act_bits \(=True\) must be a whole"),
        (["weight_bits"], {"end_bits": 33}, r"end_bits \(=33\)"),
        (["sparsity"], {"max_sparsity": 1}, r"max_sparsity \(=1\) must be in \(0, 1\)"),
        (["weight_bits"], {"mapping": "HAQ"}, r"mapping \(='HAQ'\) must be one of sh"),
        (["weight_bits"], {"layers": []}, "no layer with weights of its own"),
    ],
)
def test_decisions_that_cannot_be_are_refused(parts, knobs, message):
    with pytest.raises(ValueError, match=message):
        decided(*parts, **knobs)


def test_a_network_of_one_layer_without_bits_for_the_ends():
    decisions, _ = decided("weight_bits", layers=["a"], end_bits=None)
    assert [d.name for d in decisions] == ["a"]


def test_the_ends_are_those_of_the_execution():
    space = PlanSpace(graph_of("resnet20"), parts=["weight_bits"])
    names = list(weighted_layers(space.graph.program))
    assert [d.name for d in space] == names[1:-1]
    assert space.start.weight_bits == {names[0]: 8, names[-1]: 8}
