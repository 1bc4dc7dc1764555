"""Recorder: the ATen calls of forward code, as operations, on shapes alone."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from agmc.graph.forward_code import CurrentModule, line_of_frame
from agmc.graph.model_graph import TensorSpec
from agmc.graph.own_tensors import OwnTensors
from agmc.graph.program import Operation, Ref
from agmc.graph.shape_answers import ShapeAnswers
from agmc.graph.shape_tensor import ShapeTensor, reshape_in_place, shape_tensor

#: Of `if x.sum() > 0`, `int(x)`, `x.tolist()`.
_READ_VALUES = frozenset({"item", "_local_scalar_dense", "is_nonzero", "equal"})


class Recorder(TorchDispatchMode):
    """Records the calls inside of it, which is entered in `torch.inference_mode()`.

    There torch hands a call over before it takes it apart, so that `conv2d`, `linear`
    and `batch_norm` are recorded as such. Parameters and buffers are named, never
    read or written.

    Args:
        state: qualified name -> parameter or buffer of the network.
        held: name -> tensor that its modules hold besides.
        module: the module whose forward code runs.
        most: operations; more raise a ValueError. None: any number.

    Attributes:
        operations: in execution order.
        tensors: name of a value -> its shape.
        sources: name of a value -> line of the forward code that made it.
    """

    def __init__(
        self,
        state: Mapping[str, Tensor],
        held: Mapping[str, Tensor],
        module: CurrentModule,
        *,
        most: int | None = None,
    ) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.tensors: dict[str, TensorSpec] = {}
        self.sources: dict[str, str] = {}
        self._module = module
        self._most = most
        self._free = _FreeNames((*state, *held))
        self._own = OwnTensors(state, held, functools.partial(self._free, "constant"))
        self._answers = ShapeAnswers()
        self._autocast_depth = _autocast_depth()

    @property
    def constants(self) -> Mapping[str, Tensor]:
        """Name -> tensor that the forward code reads and that is not in the state."""
        return self._own.constants

    def input(self, name: str, example: Tensor, shape: Sequence[int]) -> ShapeTensor:
        """A value to call the forward code with.

        Args:
            name: wanted; another is given where it is taken.
            example: of the wanted data type and device.
            shape: of the value.
        """
        meta = torch.empty(tuple(shape), dtype=example.dtype, device="meta")
        last = torch.channels_last
        if example.ndim == 4 and not example.is_contiguous():
            if example.is_contiguous(memory_format=last):
                meta = meta.contiguous(memory_format=last)
        return self._value(meta, example.device, self._free(name))

    def ref(self, value: Any) -> Any:
        """`Ref` in the place of a tensor; other values as they are."""
        return Ref(self._own.shape(value).value) if isinstance(value, Tensor) else value

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if _autocast_depth() != self._autocast_depth:
            raise ValueError("it has autocast in its forward code; move it outside")
        read = [x for x in _leaves((args, kwargs)) if isinstance(x, Tensor)]
        writes = func._schema.is_mutable
        computable = self._own.is_own if writes else self._own.is_constant
        if read and all(map(computable, read)):
            return func(*args, **kwargs)  # as in `torch.tensor([1, 2]).prod()`
        if not read and func.namespace != "aten":  # marks of the profiler
            return func(*args, **kwargs)
        device = _device(args, kwargs, read)
        kind = func._schema.name.rpartition("::")[2]
        if kind in ("detach", "alias"):
            return self._same(args[0])
        if kind == "to":  # where a value lies is not for a program to say
            func, args, kwargs = _to_dtype(func, args, kwargs)
            if args[1] is args[0].dtype and not kwargs:
                return self._elsewhere(args[0], device)
        if kind in _READ_VALUES:
            raise ValueError(
                "what its forward code does depends on the value of "
                f"{self.ref(args[0]).name!r} ({kind})"
            )
        if writes and not (kind.endswith("_") and isinstance(args[0], Tensor)):
            raise ValueError(f"its forward code writes with {func}; avoid out=, lists")
        given, named = _map(args, self._meta), _map(kwargs, self._meta)
        if not read and any(x.name == "device" for x in func._schema.arguments):
            named["device"] = torch.device("meta")
        answer = self._answers.of(func, given, named)
        if not isinstance(answer, (Tensor, list, tuple)):
            return answer  # a check says None
        operation = Operation(
            name=self._free(kind),
            op=str(func),
            args=_map(args, self.ref),
            kwargs={
                key: _map(value, self.ref)
                for key, value in kwargs.items()
                if key not in ("device", "pin_memory")  # it runs where its inputs are
            },
            layer=self._module.path,
        )
        line = line_of_frame(sys._getframe(1))
        self._add(operation, line)
        if not isinstance(answer, Tensor):
            return type(answer)(
                self._part(operation, place, part, device, line)
                for place, part in enumerate(answer)
            )
        result = self._value(answer, device, operation.name)
        if not writes:
            return result
        self._own.note_write(args[0])
        if torch.Tag.inplace_view in func.tags:
            reshape_in_place(args[0], result)
        return args[0]

    def check_state(self) -> None:
        """Refuses forward code that gave a weight other elements.

        Raises:
            ValueError: it did, by `weight.data = ...`.
        """
        for name in self._own.replaced():
            raise ValueError(f"its forward code replaces the elements of {name!r}")

    def _add(self, operation: Operation, line: str | None) -> None:
        if len(self.operations) == self._most:
            raise ValueError("its forward code loops over the batch")
        self.operations.append(operation)
        if line is not None:
            self.sources[operation.name] = line

    def _value(self, meta: Tensor, device: torch.device, name: str) -> ShapeTensor:
        self.tensors[name] = TensorSpec.of(meta)
        return shape_tensor(meta, device, name, self._own)

    def _part(
        self,
        operation: Operation,
        place: int,
        part: Any,
        device: torch.device,
        line: str | None,
    ) -> Any:
        """One of several results."""
        if not isinstance(part, Tensor):
            return part
        pick = Operation(
            name=self._free("getitem"),
            op="_operator.getitem",
            args=(Ref(operation.name), place),
            layer=operation.layer,
        )
        self._add(pick, line)
        return self._value(part, device, pick.name)

    def _same(self, value: Tensor) -> Tensor:
        """What `detach` makes: another tensor, the same value and memory."""
        if not isinstance(value, ShapeTensor):
            return value.detach()
        return shape_tensor(value.meta, value.device, value.value, self._own)

    def _elsewhere(self, value: Tensor, device: torch.device) -> Tensor:
        """The same value on another device."""
        if value.device == device:
            return value
        shape = self._own.shape(value)
        return shape_tensor(shape.meta, device, shape.value, self._own)

    def _meta(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._own.shape(value).meta
        return torch.device("meta") if isinstance(value, torch.device) else value


class _FreeNames:
    """Names that no value has: `relu`, `relu_1`, `relu_2`, ...

    An object of its own, so that a recorder is no part of a cycle: it and all that it
    recorded go with its last reader, which matters where memory does.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self._times: dict[str, int] = {}

    def __call__(self, name: str) -> str:
        while True:
            times = self._times.get(name, 0)
            self._times[name] = times + 1
            found = f"{name}_{times}" if times else name
            if found not in self._taken:
                self._taken.add(found)
                return found


def _autocast_depth() -> int:
    """How many autocast blocks are open."""
    torch.autocast_increment_nesting()
    return torch.autocast_decrement_nesting()


def _leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, (list, tuple)):
        for item in tree:
            yield from _leaves(item)
    elif isinstance(tree, dict):
        yield from _leaves(list(tree.values()))
    else:
        yield tree


def _map(tree: Any, function: Callable[[Any], Any]) -> Any:
    if isinstance(tree, (list, tuple)):
        return type(tree)([_map(item, function) for item in tree])
    if isinstance(tree, dict):
        return {key: _map(item, function) for key, item in tree.items()}
    return function(tree)


def _device(args: Any, kwargs: Any, read: Sequence[Tensor]) -> torch.device:
    """Where the result of a call lies."""
    asked = [x for x in _leaves((args, kwargs)) if isinstance(x, torch.device)]
    if asked:
        return asked[0]
    wide = [x for x in read if x.ndim] or read  # a single number goes anywhere
    return wide[0].device if wide else torch.get_default_device()


def _to_dtype(
    func: torch._ops.OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[torch._ops.OpOverload, tuple[Any, ...], dict[str, Any]]:
    """`x.to(...)`, in whichever form, as `x.to(dtype)`."""
    names = [argument.name for argument in func._schema.arguments]
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    source = given["other"] if "other" in given else args[0]
    dtype = given.get("dtype") or source.dtype
    layout = given.get("memory_format")
    if layout in (None, torch.preserve_format):
        layout = {}
    else:
        layout = {"memory_format": layout}
    return torch.ops.aten.to.dtype, (args[0], dtype), layout
