from __future__ import annotations

import copy
import dataclasses
import json

import pytest
import torch
from graph_nets import NETS, graph_of

from agmc.graph.program import (
    Operation,
    Program,
    Ref,
    map_refs,
    reading,
    refs_in,
)
from agmc.graph.program_json import program_from_json, program_to_json


@pytest.mark.parametrize("name", NETS)
def test_round_trip_through_json(name):
    program = graph_of(name).program
    text = json.dumps(program_to_json(program), allow_nan=False)
    assert program_from_json(json.loads(text)) == program


def test_every_kind_of_argument_survives():
    operation = Operation(
        "y",
        "aten.clone.default",
        (Ref("x"),),
        {"memory_format": torch.channels_last},
        "layer",
    )
    other = Operation(
        "z",
        "aten.pad.default",
        (Ref("y"), [0, (1, True)], "constant", float("-inf")),
        {},
    )
    cast = Operation("w", "aten.to.dtype", (Ref("z"), torch.float16))
    outputs = {"a": [Ref("w")], "b": (Ref("y"), None)}
    program = Program(("x",), ((1, 2),), (operation, other, cast), outputs, (), ())
    record = json.loads(json.dumps(program_to_json(program), allow_nan=False))
    again = program_from_json(record)
    assert again == program
    assert again.operations[0].kwargs["memory_format"] is torch.channels_last
    assert again.operations[1].args[3] == float("-inf")
    assert again.output_names() == ("w", "y")


def test_what_cannot_be_stored_is_refused():
    program = Program((), (), (Operation("a", "aten.relu.default", (1j,)),), (), (), ())
    with pytest.raises(TypeError, match="complex cannot be stored"):
        program_to_json(program)


RECORD = {
    "inputs": ["x"],
    "input_shapes": [[1, 3]],
    "operations": [
        ["y", "aten.relu.default", {"tuple": [{"ref": "x"}]}, {"dict": {}}, ""]
    ],
    "outputs": {"tuple": [{"ref": "y"}]},
    "parameters": [],
    "buffers": [],
}


def changed(**fields):
    record = copy.deepcopy(RECORD)
    operation = record["operations"][0]
    for i, key in enumerate(("name", "op", "args", "kwargs", "layer")):
        if key in fields:
            operation[i] = fields.pop(key)
    return record | fields


def test_the_record_itself_is_fine():
    assert program_from_json(RECORD).operations[0].op == "aten.relu.default"


HOSTILE = {
    "unknown operator": changed(op="aten.nothing_like_it.default"),
    "unknown overload": changed(op="aten.relu.other"),
    "not an operator": changed(op="aten.name.default"),
    "private attribute": changed(op="aten.__class__.__init__"),
    "other namespace": changed(op="prims.add.default"),
    "python": changed(op="_operator.attrgetter"),
    "builtin": changed(op="builtins.eval"),
    "reads files": changed(op="aten.from_file.default"),
    "in place": changed(op="aten.relu_.default"),
    "out": changed(op="aten.add.out"),
    "too many arguments": changed(args={"tuple": [{"ref": "x"}] * 2}),
    "too few arguments": changed(args={"tuple": []}),
    "read before made": changed(args={"tuple": [{"ref": "z"}]}),
    "reads itself": changed(args={"tuple": [{"ref": "y"}]}),
    "made twice": changed(name="x"),
    "no such output": changed(outputs={"ref": "z"}),
    "unknown kind": changed(args={"tuple": [{"pickle": "x"}]}),
    "two kinds": changed(args={"tuple": [{"ref": "x", "float": "1"}]}),
    "no dtype": changed(args={"tuple": [{"dtype": "load"}]}),
    "arguments no tuple": changed(args={"ref": "x"}),
    "keyword arguments no dict": changed(kwargs=3),
    "name a number": changed(name=3),
    "inputs a text": changed(inputs="x"),
    "parameters of numbers": changed(parameters=[1]),
    "shapes of texts": changed(input_shapes=[["a"]]),
    "operations missing": {k: v for k, v in RECORD.items() if k != "operations"},
    "operations a number": changed() | {"operations": 5},
    "operation too short": changed() | {"operations": [["y"]]},
    "list": [],
    "none": None,
    "text": "program",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_records_are_refused_in_one_line(case):
    with pytest.raises(ValueError) as caught:
        program_from_json(HOSTILE[case])
    assert "\n" not in str(caught.value)


def test_deep_nesting_is_refused():
    tree = {"ref": "x"}
    for _ in range(100_000):
        tree = [tree]
    with pytest.raises(ValueError, match="damaged"):
        program_from_json(changed(args={"tuple": [tree]}))


def test_refs_are_found_and_mapped_in_order():
    tree = (Ref("a"), [1, {"k": Ref("b")}], Ref("a"))
    assert list(refs_in(tree)) == ["a", "b", "a"]
    assert map_refs(tree, str.upper) == ("A", [1, {"k": "B"}], "A")
    operation = Operation("y", "aten.add.Tensor", (Ref("a"),), {"other": Ref("c")})
    assert list(operation.refs()) == ["a", "c"]
    assert operation.kind == "add"


def test_reading_other_values():
    add = Operation("a", "aten.add.Tensor", (Ref("x"), [Ref("y"), 2]), {"k": Ref("x")})
    other = reading(add, lambda name: {"x": "z"}.get(name, name))
    assert other.args == (Ref("z"), [Ref("y"), 2]) and other.kwargs == {"k": Ref("z")}
    assert list(other.refs()) == ["z", "y", "z"] and list(add.refs()) == ["x", "y", "x"]
    assert reading(add, lambda name: name) is add


def test_keys_of_outputs_stay_what_they_are():
    graph = graph_of("chain")
    outputs = {0: graph.program.outputs, 1: [graph.program.outputs], "last": 2}
    program = dataclasses.replace(graph.program, outputs=outputs)
    text = json.dumps(program_to_json(program))
    assert program_from_json(json.loads(text)) == program
