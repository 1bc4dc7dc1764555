from __future__ import annotations

import numpy as np

from agmc.graph.labels import Labels
from agmc.graph.model_graph import TensorSpec
from agmc.graph.program import Operation, Ref


def labels():
    tensors = {"a": TensorSpec((1, 3, 2, 2)), "b": TensorSpec((1, 3, 2, 2))}
    return Labels(tensors, {"conv.weight": (3, 5, 1, 1)})


def test_atoms_join_and_zero_is_fixed():
    made = labels()
    one, two = made.new(3), made.new(3)
    assert one.tolist() == [1, 2, 3] and two.tolist() == [4, 5, 6]
    made.join(one, two)
    assert [made.root(a) for a in two] == [1, 2, 3]
    assert made.fix(two[:1])
    assert not made.fix(two[:1])
    assert [made.root(a) for a in one] == [0, 2, 3]
    made.join(one[:2], np.array([0, 0]))
    assert made.root(2) == made.root(5) == 0


def test_labels_take_the_smallest_array_that_broadcasts():
    made = labels()
    atoms = made.new(3)
    made.set("a", np.broadcast_to(atoms[:, None, None], (1, 3, 2, 2)))
    assert made.of("a").shape == (1, 3, 1, 1)
    assert made.full("a").shape == (1, 3, 2, 2)
    assert made.along("a", 1).tolist() == atoms.tolist()
    assert made.along("a", 2) is None
    made.set_fixed("b")
    assert made.along("b", 1).tolist() == [0, 0, 0]


def test_a_slot_used_twice_joins_both_uses():
    made = labels()
    one, two = made.new(3), made.new(3)
    made.slot("conv.weight", 0, one)
    made.slot("conv.weight", 0, two)
    assert [made.root(a) for a in two] == one.tolist()


def test_parameters_kept_whole_before_and_after_they_are_cut():
    made = labels()
    first, second = made.new(3), made.new(5)
    made.slot("conv.weight", 0, first)
    assert made.keep_whole("conv.weight", "because")
    assert made.root(1) == 0 and made.reasons == []
    made.slot("conv.weight", 1, second)
    assert made.root(4) == 0 and made.reasons == ["because"]
    # Nothing left to say.
    made.slot("conv.weight", 1, second)
    assert made.reasons == ["because"]


def test_a_parameter_read_as_an_activation_is_kept_whole():
    made = labels()
    made.slot("conv.weight", 0, made.new(3))
    assert made.of("conv.weight").shape == (1, 1, 1, 1)
    assert made.root(1) == 0
    assert "'conv.weight'" in made.reasons[0]


def test_leaving_alone_names_operator_and_layer_once():
    made = labels()
    made.set("a", made.new(3).reshape(1, 3, 1, 1))
    operation = Operation("b", "aten.odd.default", (Ref("a"),), {}, "block.odd")
    made.leave_alone(operation, "it is odd")
    made.leave_alone(operation, "it is odd")
    assert made.reasons == [
        "channels that reach odd 'b' in 'block.odd' are left alone: it is odd"
    ]
    assert made.of("b").tolist() == [[[[0]]]]
