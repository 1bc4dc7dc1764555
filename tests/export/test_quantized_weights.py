from __future__ import annotations

import pytest
import torch

from agmc.export.quantized_weights import check_codebooks, quantizers
from agmc.graph.operators import operator_of
from agmc.graph.program import Operation, Program, Ref

LEARNABLE = "aten._fake_quantize_learnable_per_{}_affine.default"
BY_CHANNEL = "aten.fake_quantize_per_channel_affine.default"
BY_TENSOR = "aten.fake_quantize_per_tensor_affine.tensor_qparams"


def program(*operations):
    names = {name for operation in operations for name in operation.refs()}
    return Program(
        *(("x",), ((1, 3),), operations, Ref(operations[-1].name)),
        *(tuple(sorted(names - {"x", "z", "q", "index"})), ("z", "index")),
    )


def quantise(op, *numbers):
    return Operation("q", op, (Ref("w"), Ref("s"), Ref("z"), *numbers))


def use():
    return Operation("y", "aten.linear.default", (Ref("x"), Ref("q")))


def state_of(op, axis, low, high, zero_point, shape=(5, 4, 3)):
    torch.manual_seed(0)
    size = 1 if axis is None else shape[axis]
    weight = torch.randn(shape) * 3
    weight[weight.abs() < 1] = 0
    scale = torch.rand(size) * 6 / (high - low + 1) + 0.01
    kind = torch.int32 if "learnable" not in op else torch.float32
    return {"w": weight, "s": scale, "z": torch.full((size,), zero_point).to(kind)}


CASES = [
    (LEARNABLE.format("channel"), 0, -8, 7, 0.0),
    (LEARNABLE.format("channel"), 1, 0, 15, 7.4),
    (LEARNABLE.format("channel"), 2, -128, 127, -300.0),
    (LEARNABLE.format("tensor"), None, -1, 1, 0.0),
    (LEARNABLE.format("tensor"), None, 0, 1, 0.6),
    (LEARNABLE.format("tensor"), None, -32768, 32767, 5.5),
    (BY_CHANNEL, 0, -4, 3, 1),
    (BY_TENSOR, None, 0, 255, 128),
]


@pytest.mark.parametrize(("op", "axis", "low", "high", "zero_point"), CASES)
def test_codes_give_what_the_operation_gave(op, axis, low, high, zero_point):
    state = state_of(op, axis, low, high, zero_point)
    numbers = (low, high) if axis is None else (axis, low, high)
    made = program(quantise(op, *numbers), use())
    (quantizer,) = quantizers(made).values()
    codes = quantizer.codes(state["w"], state)
    assert quantizer.num_levels == high - low + 1
    assert 2 ** (quantizer.bits - 1) < high - low + 1 <= 2**quantizer.bits
    assert codes.max() < high - low + 1
    again = quantizer.weight(codes, state["w"].shape, state)
    run = operator_of(op)
    wanted = run(*state.values(), *numbers)
    assert torch.equal(run(again, state["s"], state["z"], *numbers), wanted)
    assert torch.equal(again, wanted)
    if low <= zero_point <= high:
        assert not codes[(wanted == 0).reshape(-1).numpy()].any()


def test_codes_by_hand():
    made = program(quantise(LEARNABLE.format("channel"), 0, -2, 1), use())
    state = {
        "w": torch.tensor([[-1.0, 0.4, 0.6], [-1.0, 0.4, 9.0]]),
        "s": torch.tensor([0.5, 1.0]),
        "z": torch.tensor([0.0, -1.0]),
    }
    (quantizer,) = quantizers(made).values()
    codes = quantizer.codes(state["w"], state)
    # Levels counted from zero: -2, 1, 1; with z = -1: -1, 0, 2. Modulo 4.
    assert codes.tolist() == [2, 1, 1, 3, 0, 2]
    assert quantizer.weight(codes, (2, 3), state).tolist() == [
        [-1.0, 0.5, 0.5],
        [-1.0, 0.0, 2.0],
    ]


@pytest.mark.parametrize(
    "operations",
    [
        (quantise(LEARNABLE.format("tensor"), -8.0, 7), use()),
        (quantise(LEARNABLE.format("tensor"), 7, -8), use()),
        (quantise(LEARNABLE.format("tensor"), 0, 2**16), use()),
        (quantise(LEARNABLE.format("tensor"), 2**40, 2**40 + 1), use()),
        (quantise(LEARNABLE.format("tensor"), -8), use()),
        (Operation("q", BY_TENSOR, (Ref("w"), 0.5, Ref("z"), -8, 7)), use()),
        (Operation("q", BY_TENSOR, (Ref("x"), Ref("s"), Ref("z"), -8, 7)), use()),
        (Operation("q", BY_TENSOR, (Ref("s"), Ref("s"), Ref("z"), -8, 7)), use()),
        (
            quantise(LEARNABLE.format("tensor"), -8, 7),
            Operation("y", "aten.linear.default", (Ref("q"), Ref("w"))),
        ),
    ],
)
def test_other_calls_quantise_no_weight(operations):
    assert quantizers(program(*operations)) == {}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"s": torch.full((5,), 1.3e38), "w": torch.full((5, 4), 3.39e38)}, "normal"),
        ({"z": torch.full((5,), 0.5)}, "z whole ones"),
        ({"s": torch.ones(4)}, r"s has shape \(4,\), not \(5,\)"),
        ({"z": torch.zeros(5, 1)}, r"z has shape \(5, 1\)"),
        ({"w": torch.zeros(5, 0), "s": torch.ones(2)}, "s has shape"),
    ],
)
def test_weights_without_exact_codes_are_refused(changes, word):
    (quantizer,) = quantizers(program(quantise(BY_CHANNEL, 0, -8, 7), use())).values()
    torch.manual_seed(0)
    state = {"w": torch.randn(5, 4), "s": torch.ones(5), "z": torch.zeros(5)}
    with pytest.raises(ValueError, match=word):
        quantizer.codes((state | changes)["w"], state | changes)


def test_an_index_stays_within_its_codebook():
    made = program(Operation("y", "aten.take.default", (Ref("book"), Ref("index"))))
    state = {"book": torch.randn(4), "index": torch.tensor([[0, 3], [1, 1]])}
    check_codebooks(made, state)
    for index in ([4, 0], [-1, 0]):
        with pytest.raises(ValueError, match="index holds .* has 4 entries"):
            check_codebooks(made, state | {"index": torch.tensor(index)})
