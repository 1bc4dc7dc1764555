"""Blocks: residual branches, which can be dropped as a whole.

Of y = x + f(x), where nothing else reads what f computes on the way, x is left when f
is gone: the network stays whole, whatever other blocks go (Veit et al. 2016, arXiv
1605.06431). An activation that alone reads the sum goes with it where x has passed the
same one already, as in a chain of such blocks: relu(x) is x if x is a relu's output.

Gates, y = x f(x), are none: without f the result is not about the same, but larger.
"""

from __future__ import annotations

import dataclasses
import os.path
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from agmc.graph.model_graph import Block, TensorSpec
from agmc.graph.program import (
    Operation,
    Program,
    Ref,
    argument,
    map_refs,
    name_of,
    reading,
    refs_in,
    without_unread,
)

#: Applied twice they do what they do once.
_IDEMPOTENT = frozenset({"relu", "relu6", "hardtanh", "clamp", "clamp_min", "abs"})
#: Give numbers that they read.
_CHOOSING = frozenset({"max_pool1d", "max_pool2d", "max_pool3d"})


def find_blocks(
    program: Program, tensors: Mapping[str, TensorSpec]
) -> tuple[Block, ...]:
    """The residual branches of a network, in execution order of their ends.

    A block is all that lies between a value and a sum, or difference, of that value and
    another of the same shape, if it reads no other activation, nothing else reads what
    it computes on the way, and it has parameters. One block may lie inside another.

    Args:
        program: the operations.
        tensors: activation name -> shape.
    """
    finder = _Finder(program)
    found = []
    for operation in program.operations:
        for source, branch in _identities(operation):
            same = tensors.get(source) == tensors.get(operation.name)
            inside = finder.between(source, branch, operation) if same else None
            if inside is not None:
                found.append((source, finder.end(source, operation), inside))
    names = _names(
        [finder.parameters(inside) for _, _, inside in found], program.parameters
    )
    return tuple(
        Block(
            name,
            source,
            ends[-1],
            tuple(n for n in program.by_name if n in inside or n in ends),
        )
        for name, (source, ends, inside) in zip(names, found, strict=True)
    )


def without_blocks(program: Program, blocks: Iterable[Block]) -> Program:
    """The program with the inputs of blocks in the place of their outputs.

    Args:
        program: of the network that the blocks were found in, or of what is left of it
            when channels are gone.
        blocks: of the network.
    """
    instead = {block.output: block.input for block in blocks}
    if not instead:
        return program

    def left(name: str) -> str:
        while name in instead:
            name = instead[name]
        return name

    outputs = map_refs(program.outputs, lambda name: Ref(left(name)))
    operations = without_unread(
        [reading(operation, left) for operation in program.operations], outputs
    )
    read = {name for operation in operations for name in operation.refs()}
    read.update(refs_in(outputs))
    return dataclasses.replace(
        program,
        operations=tuple(operations),
        outputs=outputs,
        parameters=tuple(name for name in program.parameters if name in read),
        buffers=tuple(name for name in program.buffers if name in read),
    )


def _identities(operation: Operation) -> list[tuple[str, str]]:
    """What is left of a sum, and the branch that goes: each of the two can be it."""
    one, other = (name_of(argument(operation, i)) for i in (0, 1))
    if operation.op not in ("aten.add.Tensor", "aten.sub.Tensor"):
        return []
    if one is None or other is None:
        return []
    found = [(one, other)]
    if operation.kind == "add" and not operation.kwargs:  # alpha multiplies the second
        found.append((other, one))
    return found


class _Finder:
    """Looks for blocks in one program."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._order = {name: -1 for name in program.inputs}
        self._order |= {name: i for i, name in enumerate(program.by_name)}
        self._readers: dict[str, set[str]] = defaultdict(set)
        for operation in program.operations:
            for name in operation.refs():
                self._readers[name].add(operation.name)
        for name in program.output_names():
            self._readers[name].add("")  # somebody outside
        self._activations = set(program.inputs)
        for operation in program.operations:
            counts = operation.kind == "sym_size" or operation.op.startswith(
                "_operator."
            )
            if not counts or operation.kind == "getitem":
                if self._activations.intersection(operation.refs()):
                    self._activations.add(operation.name)

    def between(self, source: str, branch: str, join: Operation) -> set[str] | None:
        """The operations from `source` to `branch`; None if they are no block's."""
        inside: set[str] = set()
        waiting, reaches = [branch], False
        while waiting:
            name = waiting.pop()
            if name == source:
                reaches = True
            elif name in self._activations and name not in inside:
                if self._order[name] < self._order[source]:
                    return None
                inside.add(name)
                waiting.extend(self._program.by_name[name].refs())
        within = inside | {join.name}
        closed = all(self._readers[name] <= within for name in inside)
        if not reaches or not closed:
            return None
        inside |= self._only_for(inside)
        return inside if self.parameters(inside) else None

    def end(self, source: str, join: Operation) -> tuple[str, ...]:
        """The sum, and the activation behind it if `source` has passed one like it."""
        readers = self._readers[join.name]
        reader = self._program.by_name.get(next(iter(readers), ""))
        if len(readers) > 1 or reader is None or reader.kind not in _IDEMPOTENT:
            return (join.name,)
        made = self._program.by_name.get(source)
        while made is not None and made.kind in _CHOOSING:
            made = self._program.by_name.get(next(made.refs()))
        if made is None or _settings(made) != _settings(reader):
            return (join.name,)
        return join.name, reader.name

    def parameters(self, inside: set[str]) -> list[str]:
        """What these operations read of the parameters, in execution order."""
        operations = sorted(inside, key=self._order.__getitem__)
        read = [n for name in operations for n in self._program.by_name[name].refs()]
        stored = set(self._program.parameters)
        return [name for name in dict.fromkeys(read) if name in stored]

    def _only_for(self, inside: set[str]) -> set[str]:
        """What is computed of parameters and sizes for these operations alone."""
        found: set[str] = set()
        waiting = list(inside)
        while waiting:
            for name in self._program.by_name[waiting.pop()].refs():
                known = name in self._activations or name in found
                if known or name not in self._program.by_name:
                    continue
                if self._readers[name] <= inside | found:
                    found.add(name)
                    waiting.append(name)
        return found


def _settings(operation: Operation) -> tuple[object, ...]:
    """The operator and all that it is given but its input."""
    return operation.op, operation.args[1:], dict(operation.kwargs)


def _names(parameters: Sequence[Sequence[str]], everything: Sequence[str]) -> list[str]:
    """Of blocks that read these parameters, of `everything` that is read anywhere.

    The module that holds them and no others; where there is none, the layer of the
    first. Where several have the same name they are numbered.
    """
    times: Counter[str] = Counter()
    result = []
    for names in parameters:
        own, path = set(names), os.path.commonprefix([n.split(".")[:-1] for n in names])
        name = ".".join(path)
        if not name or any(
            n.startswith(f"{name}.") for n in everything if n not in own
        ):
            name = names[0].rpartition(".")[0] or names[0]
        times[name] += 1
        result.append(name if times[name] == 1 else f"{name}:{times[name]}")
    return result
