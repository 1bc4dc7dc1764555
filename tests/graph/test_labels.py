from __future__ import annotations

from agmc.graph.labels import Label, Labels
from agmc.graph.model_graph import TensorSpec
from agmc.graph.program import Operation, Ref

SHAPES = {"conv.weight": (3, 5, 1, 1), "scale": (1, 3, 1, 1), "number": (1,)}


def labels(**sources):
    tensors = {name: TensorSpec((1, 3, 2, 2)) for name in ("a", "b")}
    return Labels(tensors, SHAPES, {}, sources)


def roots(made, atoms):
    return made.atoms.roots(atoms).tolist()


def test_atoms_join_and_zero_is_fixed():
    made = labels()
    one, two = made.new(3), made.new(3)
    assert one.tolist() == [1, 2, 3] and two.tolist() == [4, 5, 6]
    made.join(one, two)
    assert roots(made, two) == [1, 2, 3]
    assert made.fix(two[:1])
    assert not made.fix(two[:1])
    assert roots(made, one) == [0, 2, 3]


def test_one_channel_alone_can_never_go():
    assert labels().new(1).tolist() == [0]


def test_channels_lie_along_one_dimension():
    made = labels()
    made.set("a", Label(1, made.new(3)))
    assert made.along("a", 1).tolist() == made.along("a", -3).tolist() == [1, 2, 3]
    assert made.along("a", 2) is None
    assert made.along("b", 2).tolist() == [0, 0]
    assert made.is_zero("a") and made.is_zero("b")
    made.set("b", Label(1, made.new(3), zero=False))
    assert not made.is_zero("b")


def test_a_slot_used_twice_joins_both_uses():
    made = labels()
    one, two = made.new(3), made.new(3)
    made.slot("conv.weight", 0, one, makes=True)
    made.slot("conv.weight", 0, two)
    assert roots(made, two) == one.tolist()
    assert made.made == {("conv.weight", 0)}


def test_parameters_kept_whole_before_and_after_they_are_cut():
    made = labels()
    first, second = made.new(3), made.new(5)
    made.slot("conv.weight", 0, first)
    assert made.keep_whole("conv.weight", "because")
    assert roots(made, first) == [0, 0, 0] and made.reasons == []
    made.slot("conv.weight", 1, second)
    assert roots(made, second) == [0] * 5 and made.reasons == ["because"]
    # Nothing left to say.
    made.slot("conv.weight", 1, second)
    assert made.reasons == ["because"]


def test_a_vector_read_as_an_activation_has_channels_of_its_own():
    made = labels()
    label = made.of("scale")
    assert label.dim == 1 and label.atoms.tolist() == [1, 2, 3]
    assert made.of("scale").atoms is made.slots["scale", 1]
    assert made.of("number") is None


def test_a_matrix_read_as_an_activation_is_kept_whole():
    made = labels()
    made.slot("conv.weight", 0, made.new(3))
    assert made.of("conv.weight") is None
    assert not any(roots(made, made.slots["conv.weight", 0]))
    assert "'conv.weight'" in made.reasons[0]


def test_leaving_alone_names_operator_layer_and_line_once():
    made = labels(b="net.py:12")
    made.set("a", Label(1, made.new(3)))
    operation = Operation("b", "aten.odd.default", (Ref("a"),), {}, "block.odd")
    made.leave_alone(operation, "it is odd")
    made.leave_alone(operation, "it is odd")
    assert made.reasons == [
        "channels that reach odd 'b' in 'block.odd' (net.py:12) are left alone: "
        "it is odd"
    ]
    assert made.of("b") is None
