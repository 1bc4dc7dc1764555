from __future__ import annotations

import pytest
import torch

from agmc.graph.model_graph import TensorSpec
from agmc.graph.program import Operation, Program, Ref
from agmc.graph.shuffles import find_shuffles

IMAGE, SPLIT, SWAPPED = (1, 6, 2, 2), (1, 2, 3, 2, 2), (1, 3, 2, 2, 2)


def find(*steps, source=IMAGE, outputs=(), extra=(), hidden=()):
    """Shuffles of a chain x -> a -> b ...; a step is (kind, shape, *arguments)."""
    operations, tensors = [], {"x": TensorSpec(source)}
    names = ["x", *"abcdefg"[: len(steps)]]
    for before, name, (kind, shape, *more) in zip(
        names[:-1], names[1:], steps, strict=True
    ):
        operations.append(Operation(name, f"aten.{kind}.default", (Ref(before), *more)))
        tensors[name] = TensorSpec(shape)
    last = tuple(Ref(name) for name in (*outputs, names[-1]))
    tensors = {name: spec for name, spec in tensors.items() if name not in hidden}
    made = Program(("x",), (source,), (*operations, *extra), last, (), ())
    return find_shuffles(made, tensors)


def as_tuple(shuffle):
    return shuffle.source, shuffle.steps, shuffle.dim, shuffle.order.tolist()


VIEW = ("view", SPLIT, list(SPLIT))
SWAP = ("transpose", SWAPPED, 1, 2)
BACK = ("view", IMAGE, list(IMAGE))
DEALT = [0, 3, 1, 4, 2, 5]


def test_view_transpose_view_deals_channels_out():
    found = find(VIEW, SWAP, BACK)
    assert list(found) == ["a"]
    assert as_tuple(found["a"]) == ("x", ("a", "b", "c"), 1, DEALT)


@pytest.mark.parametrize(
    "steps",
    [
        (VIEW, ("transpose", SWAPPED, -4, -3), BACK),
        (VIEW, ("swapaxes", SWAPPED, 2, 1), BACK),
        (VIEW, ("permute", SWAPPED, [0, 2, 1, 3, 4]), BACK),
        (VIEW, ("permute", SWAPPED, [0, 2, 1, -2, -1]), BACK),
        (VIEW, SWAP, ("contiguous", SWAPPED), BACK),
        (VIEW, SWAP, ("contiguous", SWAPPED), ("clone", SWAPPED), BACK),
        (("reshape", SPLIT, list(SPLIT)), SWAP, ("flatten", IMAGE, 1, 2)),
        (VIEW, SWAP, ("clone", SWAPPED), ("_unsafe_view", IMAGE, list(IMAGE))),
    ],
)
def test_other_ways_to_write_a_shuffle(steps):
    found = find(*steps)
    names = tuple("abcde"[: len(steps)])
    assert as_tuple(found["a"]) == ("x", names, 1, DEALT) and len(found) == 1


def test_a_shuffle_of_one_operation():
    found = find(("channel_shuffle", IMAGE, 2))
    assert as_tuple(found["a"]) == ("x", ("a",), 1, DEALT)
    places = torch.arange(6.0).reshape(1, 6, 1, 1)
    assert torch.channel_shuffle(places, 2).flatten().tolist() == DEALT


def test_the_order_tells_where_each_position_comes_from():
    found = find(("channel_shuffle", IMAGE, 3))
    assert found["a"].order.tolist() == [0, 2, 4, 1, 3, 5]


@pytest.mark.parametrize("groups", [1, 6])
def test_a_shuffle_that_moves_nothing_is_none(groups):
    assert find(("channel_shuffle", IMAGE, groups)) == {}


def test_rows_can_be_shuffled_too():
    apart = (1, 2, 2, 2, 3)
    rows = (1, 2, 4, 3)
    found = find(
        ("view", apart, list(apart)),
        ("transpose", apart, 2, 3),
        ("view", rows, list(rows)),
        source=rows,
    )
    assert as_tuple(found["a"]) == ("x", ("a", "b", "c"), 2, [0, 2, 1, 3])


def test_two_shuffles_in_a_row_are_both_found():
    found = find(VIEW, SWAP, BACK, ("channel_shuffle", IMAGE, 3))
    assert list(found) == ["a", "d"]
    assert as_tuple(found["d"])[:2] == ("c", ("d",))


def test_reshapes_that_move_nothing_are_no_shuffle():
    assert find(VIEW, BACK) == {}
    assert find(VIEW, ("contiguous", SPLIT), BACK) == {}


def test_channels_that_change_places_with_pixels_are_no_shuffle():
    flat, image = (1, 4, 4), (1, 4, 2, 2)
    assert (
        find(
            ("view", flat, list(flat)),
            ("transpose", flat, 1, 2),
            ("view", image, list(image)),
            source=image,
        )
        == {}
    )


def test_rows_and_channels_shuffled_together_are_no_shuffle_along_one_dimension():
    split, rows = (1, 2, 3, 2, 2, 2), (1, 6, 4, 2)
    moved = (1, 3, 2, 2, 2, 2)
    assert (
        find(
            ("view", split, list(split)),
            ("permute", moved, [0, 2, 1, 4, 3, 5]),
            ("view", rows, list(rows)),
            source=rows,
        )
        == {}
    )


@pytest.mark.parametrize("read", ["a", "b"])
def test_a_second_reader_inside_stops_it(read):
    other = Operation("other", "aten.relu.default", (Ref(read),))
    assert find(VIEW, SWAP, BACK, extra=[other]) == {}
    assert find(VIEW, SWAP, BACK, outputs=[read]) == {}


@pytest.mark.parametrize("read", ["x", "c"])
def test_readers_of_its_ends_do_not_stop_it(read):
    other = Operation("other", "aten.relu.default", (Ref(read),))
    assert list(find(VIEW, SWAP, BACK, extra=[other], outputs=[read])) == ["a"]


@pytest.mark.parametrize(
    "steps",
    [
        (VIEW,),
        (VIEW, SWAP),
        (VIEW, SWAP, ("relu", SWAPPED), BACK),
        (VIEW, SWAP, ("view", (1, 3, 8, 2), [1, 3, 8, 2])),
        (SWAP, BACK),
        (VIEW, SWAP, *[("contiguous", SWAPPED)] * 3, BACK),
    ],
    ids=["alone", "no end", "relu", "another shape", "no start", "too long"],
)
def test_runs_of_another_form_are_no_shuffles(steps):
    assert find(*steps) == {}


@pytest.mark.parametrize("hidden", ["x", "a", "b", "c"])
def test_values_without_a_shape_are_passed_over(hidden):
    assert find(VIEW, SWAP, BACK, hidden=[hidden]) == {}


def test_operations_that_read_no_activation_first_are_passed_over():
    extra = [
        Operation("none", "aten.view.default", ()),
        Operation("constant", "aten.view.default", (3, [1])),
    ]
    assert list(find(VIEW, SWAP, BACK, extra=extra)) == ["a"]
