"""Broken and hostile files are refused in one line, whatever is wrong with them."""

from __future__ import annotations

import contextlib
import json
import random
import resource
import time
import zlib

import numpy as np
import pytest
import safetensors.numpy
import torch
from packed_nets import KINDS, codebook, dense, quantised, sparse

from agmc.export.checkpoint import load, save
from agmc.export.packed_file import read_packed_file, to_packed_file
from agmc.graph.network import GraphNetwork

METADATA = {"format": "agmc", "version": "2"}


def refused(path, match=""):
    with pytest.raises(ValueError, match=match) as raised:
        load(path)
    message = str(raised.value)
    assert message.startswith(str(path)) and "\n" not in message
    assert len(message) - len(str(path)) < 500
    return message


def packed(content):
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return np.frombuffer(zlib.compress(raw, 9), np.uint8)


@pytest.fixture
def changed(tmp_path):
    """Writes a network with another description or data and checksums that hold."""

    def write(net, change=lambda description: None, data=None):
        path = tmp_path / "net.safetensors"
        save(net, path)
        description, old = read_packed_file(path)
        description = change(description) or description
        path.write_bytes(
            to_packed_file(description, old.tobytes() if data is None else data)
        )
        return path

    return write


def test_what_is_written_comes_back(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(to_packed_file({"info": {"a": [1, None]}}, b"\x00\xff"))
    description, data = read_packed_file(path)
    assert description == {"info": {"a": [1, None]}, "crc32": zlib.crc32(b"\x00\xff")}
    assert data.tolist() == [0, 255]


BOMB = np.frombuffer(zlib.compress(b" " * 70 * 2**20, 9), np.uint8)


@pytest.mark.parametrize(
    ("metadata", "tensors", "message"),
    [
        ({}, {}, "no agmc checkpoint.*model.weights=FILE"),
        ({"format": "pt"}, {}, "no agmc checkpoint"),
        ({**METADATA, "version": "1"}, {}, "version '1', this agmc reads '2'"),
        ({**METADATA, "version": "9" * 500}, {}, "version '999"),
        (METADATA, {"more": packed({})}, "damaged.*3 tensors"),
        (METADATA, {"data": np.zeros(3, np.int8)}, "damaged.*no bytes"),
        (METADATA, {"data": np.zeros((3, 3), np.uint8)}, "damaged.*no bytes"),
        (METADATA, {"data": np.zeros(3, np.uint8)}, "damaged.*checksum"),
        (METADATA, {"description": np.zeros(0, np.uint8)}, "cut off"),
        (METADATA, {"description": np.zeros(9, np.uint8)}, "damaged.*broken"),
        (METADATA, {"description": packed({})[:-1]}, "cut off"),
        (METADATA, {"description": BOMB}, "cut off or too large"),
        (METADATA, {"description": packed(b"[" * 100_000)}, "damaged.*recursion"),
        (METADATA, {"description": packed(b'{"a":' * 100_000)}, "damaged"),
        (METADATA, {"description": packed(b"\xff\xfe{}")}, "damaged"),
        (METADATA, {"description": packed(b"9" * 100_000)}, "damaged"),
        (METADATA, {"description": packed([])}, "no JSON object"),
        (METADATA, {"description": packed({})}, "damaged.*checksum"),
    ],
)
def test_other_files_are_refused(metadata, tensors, message, tmp_path):
    path = tmp_path / "net.safetensors"
    save(dense(), path)
    held = safetensors.numpy.load_file(path) | tensors
    safetensors.numpy.save_file(held, path, metadata)
    refused(path, message)


def test_bytes_behind_the_description_are_refused(tmp_path):
    path = tmp_path / "net.safetensors"
    save(dense(), path)
    held = safetensors.numpy.load_file(path)
    held["description"] = np.append(held["description"], np.uint8(0))
    safetensors.numpy.save_file(held, path, METADATA)
    refused(path, "damaged")


def record(number, **changes):
    def change(description):
        description["tensors"][number] |= changes

    return change


def entry(key, value):
    return lambda description: {**description, key: value}


def program(key, value):
    def change(description):
        description["program"][key] = value

    return change


def call(position, value):
    """Another argument of the first operation."""

    def change(description):
        description["program"]["operations"][0][2]["tuple"][position] = value

    return change


def nested(depth):
    tree = {"ref": "x"}
    for _ in range(depth):
        tree = {"tuple": [tree]}
    return tree


def named_twice(description):
    description["program"]["buffers"] = ["fc.codebook", "fc.index"]
    description["tensors"].append(description["tensors"][0])


def deep_name(description):
    name = ".".join("a" * 100_000)
    return json.loads(json.dumps(description).replace("fc.bias", name))


def calls(op, *args):
    return [["y", op, {"tuple": [{"ref": "x"}, *args]}, {"dict": {}}, ""]]


@pytest.mark.parametrize(
    ("net", "change", "message"),
    [
        *((dense, lambda d, k=k: d.pop(k) and d, "") for k in ("program", "tensors")),
        (dense, lambda d: d.pop("info") and d or {k: d[k] for k in ("program",)}, ""),
        (dense, entry("info", [1]), ""),
        (dense, entry("tensors", {}), "2 tensors"),
        (dense, entry("tensors", []), "2 tensors"),
        (dense, entry("tensors", [{"shape": [384]}] * 3), "2 tensors"),
        (dense, entry("program", None), "damaged"),
        (dense, program("operations", 3), "damaged"),
        (codebook, named_twice, "named twice"),
        (dense, deep_name, "inside more than 100 modules"),
        (dense, program("parameters", ["fc.weight", "fc.b"]), "before it is made"),
        (dense, program("parameters", ["../../a", "fc.bias"]), "before it is made"),
        (dense, program("outputs", {"ref": "nothing"}), "no output"),
        (dense, record(0, shape=[2**40, 2**40]), r"tensors are described, 1,\d+ there"),
        (dense, record(0, shape=[16, 16]), "are described"),
        (dense, record(0, shape=[-24, -16]), "has the shape"),
        (dense, record(0, shape=[16, 24]), ""),
        (dense, record(0, bits=8), "are described"),
        (sparse, record(0, entries=1), "are described"),
        (sparse, record(0, entries=-1), "has entries -1"),
        (
            sparse,
            record(0, shape=[24, 8]),
            "beyond their tensor|other number|described",
        ),
        (quantised, record(0, bits=3), "are described"),
        (quantised, record(2, shape=[12]), "are described"),
        (quantised, call(4, 0.5), "no operation makes 4 bits of fc.weight"),
        (quantised, call(4, 700), "no operation makes 4 bits of fc.weight"),
        (quantised, call(4, -(10**30)), "no operation makes"),
        (quantised, call(3, 1), "shape"),
        (quantised, call(3, 7), "no axis 7"),
        (quantised, call(3, -1), "no axis -1"),
        (quantised, call(5, 1), "is not below 10"),
        (quantised, call(1, {"ref": "fc.weight"}), "no operation makes"),
        (codebook, record(1, minimum=1), "fc.index holds 1 to 6"),
        (codebook, record(1, minimum=-1), "fc.index holds -1 to"),
        (codebook, record(1, minimum=2**62), "fc.index holds"),
        (codebook, record(1, minimum=2**63 - 1), "is no int64"),
    ],
)
def test_descriptions_that_do_not_fit_are_refused(net, change, message, changed):
    refused(changed(net(), change), f"damaged: .*({message})")


@pytest.mark.parametrize(
    "name", ["y", "x", "forward", "fc.forward.a", "a..b", "..", ""]
)
def test_names_that_no_tensor_may_have(name, changed):
    def change(description):
        text = json.dumps(description).replace('"fc.bias"', json.dumps(name))
        return json.loads(text)

    path = changed(dense(), change)
    try:
        network = load(path)
    except ValueError as error:
        assert str(error).startswith(f"{path} is damaged: ")
    else:
        assert list(network.forward.__func__.__module__) == list(
            GraphNetwork.__module__
        )


@pytest.mark.parametrize(
    "op",
    [
        *("aten.from_file.default", "aten.relu_.default", "_operator.setitem"),
        *("os.system", "builtins.eval", "aten.save.default", "aten.conv2d"),
    ],
)
def test_no_operator_but_the_harmless_runs(op, changed):
    refused(changed(dense(), program("operations", calls(op))), "operator")


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_numbers_that_are_not_finite_are_refused(value, changed):
    data = torch.full((408,), value).numpy().tobytes()
    refused(changed(dense(), data=data), "fc.weight holds NaN or infinity")
    net = quantised(shape=(1, 16), sparsity=0)
    held = bytes(8) + torch.tensor([value, 0.0]).numpy().tobytes()
    refused(changed(net, data=held), "holds NaN or infinity")


def hostile_calls(number):
    """Many operations that would all be compared with one another."""
    return [
        [f"y{i}", "aten.conv2d.default", args, {"dict": {}}, ""]
        for i in range(number)
        for args in [
            {"tuple": [{"ref": "x"}, {"ref": "fc.weight"}, {"ref": "fc.bias"}]}
        ]
    ]


def many_records(number):
    def change(description):
        names = [f"a.b{i}.weight" for i in range(number)]
        description["program"]["parameters"] += names
        description["tensors"] += [{"shape": [1, 1]}] * number
        description["program"]["operations"] += [
            [
                *(f"z{i}", "aten.linear.default"),
                {"tuple": [{"ref": "x"}, {"ref": name}]},
                *({"dict": {}}, ""),
            ]
            for i, name in enumerate(names)
        ]

    return change


def long_groups(description):
    groups = {
        "tuple": [*[{"ref": r} for r in ("x", "fc.weight")], None, 1, 0, 1, "a" * 10**6]
    }
    description["program"]["operations"][0][1:3] = ["aten.conv2d.default", groups]
    description["tensors"][0]["shape"] = [1, 384, 1, 1]


@pytest.mark.parametrize(
    "change",
    [
        *(program("operations", hostile_calls(3000)), many_records(3000)),
        *(long_groups, program("outputs", nested(400))),
        record(0, shape=[2**30], coding="run-length", entries=2**18, gap_bits=12),
        record(0, shape=[2**31], zlib=1000),
        lambda d: {**d, "tensors": [{"shape": [2**47, 0, 2**47]}, {"shape": [24]}]},
    ],
)
def test_small_files_take_neither_much_time_nor_memory(change, changed):
    path = changed(dense(), change)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    try:
        load(path)
    except ValueError as error:
        assert str(error).startswith(f"{path} is damaged: ")
    assert time.process_time() - start < 10
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 300 * 1024  # KiB


# Mutations.


def mutated(content, random_):
    """The content with one to four places changed, cut, doubled or moved."""
    content = bytearray(content)
    for _ in range(random_.choice((1, 1, 2, 4))):
        if len(content) < 2:
            break
        start = random_.randrange(len(content))
        length = min(random_.choice((1, 1, 2, 8, 64)), len(content) - start)
        kind = random_.randrange(6)
        if kind == 0:
            content[start] ^= 1 << random_.randrange(8)
        elif kind == 1:
            content[start : start + length] = random_.randbytes(length)
        elif kind == 2:
            del content[start : start + length]
        elif kind == 3:
            content[start:start] = random_.randbytes(length)
        elif kind == 4:
            content[start:start] = content[start : start + length]
        else:
            del content[max(1, start) :]
    return bytes(content)


def same(network, other):
    states = network.state_dict(), other.state_dict()
    return (
        network.program == other.program
        and network.info == other.info
        and states[0].keys() == states[1].keys()
        and all(torch.equal(value, states[1][k]) for k, value in states[0].items())
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("entropy", [None, "zlib"])
def test_mutated_files_are_refused_or_equal(kind, entropy, tmp_path):
    path = tmp_path / "net.safetensors"
    save(KINDS[kind](), path, info={"classes": ["a", "b"]}, entropy=entropy)
    content, network = path.read_bytes(), load(path)
    random_ = random.Random(f"{kind} {entropy}")
    wrong = loaded = 0
    for _ in range(1250):
        path.write_bytes(mutated(content, random_))
        try:
            again = load(path)
        except ValueError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            continue
        loaded += 1
        wrong += not same(network, again)
    assert wrong == 0 and loaded < 125


VALUES = (None, True, -1, 0, 1, 3, 2**31, 2**63, 10**40, 0.5, -1e300, "", "x", [], {})


def other_values(tree, random_):
    """The tree with one of its values replaced, left out or doubled."""
    path, node = [], tree
    while (
        isinstance(node, (dict, list)) and node and (not path or random_.random() < 0.9)
    ):
        key = random_.choice([*node] if isinstance(node, dict) else range(len(node)))
        path.append((node, key))
        node = node[key]
    parent, key = path[-1]
    kind = random_.randrange(4)
    if kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(parent, list):
        parent.insert(key, node)
    elif kind == 2 and isinstance(node, int):
        parent[key] = node + random_.choice((-1, 1, 1000))
    else:
        parent[key] = random_.choice(VALUES)


@pytest.mark.parametrize("kind", KINDS)
def test_descriptions_of_someone_who_knows_the_format_load_or_are_refused(
    kind, tmp_path
):
    path = tmp_path / "net.safetensors"
    network = KINDS[kind]()
    example = torch.ones(2, *network.program.input_shapes[0][1:])
    save(network, path, info={"classes": ["a", "b"]})
    description, data = read_packed_file(path)
    text, random_ = json.dumps(description), random.Random(kind)
    refused_ = 0
    for _ in range(600):
        other = json.loads(text)
        other_values(other, random_)
        path.write_bytes(to_packed_file(other, data.tobytes()))
        try:
            again = load(path)
        except ValueError as error:
            refused_ += 1
            assert str(error).startswith(f"{path} is damaged: ")
            assert "\n" not in str(error)
            continue
        with contextlib.suppress(ArithmeticError, RuntimeError, TypeError, ValueError):
            again(example)  # no crash
    assert 200 < refused_ < 600
