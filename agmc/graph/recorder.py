"""Recorder: the ATen calls of forward code, as operations, on shapes alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from agmc.graph.forward_code import CurrentModule, line_of_frame
from agmc.graph.model_graph import TensorSpec
from agmc.graph.program import Operation, Ref

#: Results look like the first argument, in evaluation mode and for floating numbers;
#: torch takes up to three milliseconds to say so.
_LIKE_FIRST = frozenset(
    {
        *("batch_norm", "relu", "relu_", "relu6", "relu6_", "hardtanh", "hardtanh_"),
        *("hardswish", "hardswish_", "hardsigmoid", "hardsigmoid_", "silu", "silu_"),
        *("sigmoid", "sigmoid_", "gelu"),
    }
)


#: Of `if x.sum() > 0`, `int(x)`, `x.tolist()`.
_READ_VALUES = frozenset({"item", "_local_scalar_dense", "is_nonzero", "equal"})


class ShapeTensor(Tensor):
    """A value of which shape, strides, data type and device are known, no more.

    Attributes:
        meta: a tensor of that shape on the meta device.
        value: name of the value.
    """

    meta: Tensor
    value: str

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Refuses: only a `Recorder` knows what to do."""
        raise RuntimeError(f"{func} was called on a value that has only a shape")


def _shape_tensor(meta: Tensor, device: torch.device, value: str) -> ShapeTensor:
    # Views of parameters must not be of the kind that inference mode makes.
    with torch.inference_mode(False):
        made: ShapeTensor = Tensor._make_wrapper_subclass(
            ShapeTensor, meta.shape, meta.stride(), dtype=meta.dtype, device=device
        )
    made.meta, made.value = meta, value
    return made


class Recorder(TorchDispatchMode):
    """Records the calls inside of it, which is entered in `torch.inference_mode()`.

    There torch hands a call over before it takes it apart, so that `conv2d`, `linear`
    and `batch_norm` are recorded as such. Parameters and buffers are named, never
    read or written.

    Args:
        state: qualified name -> parameter or buffer of the network.
        held: name -> tensor that its modules hold besides.
        module: the module whose forward code runs.

    Attributes:
        operations: in execution order.
        tensors: name of a value -> its shape.
        constants: name -> tensor that the forward code reads and that is no
            parameter or buffer.
        sources: name of a value -> line of the forward code that made it.
    """

    def __init__(
        self,
        state: Mapping[str, Tensor],
        held: Mapping[str, Tensor],
        module: CurrentModule,
    ) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.tensors: dict[str, TensorSpec] = {}
        self.constants: dict[str, Tensor] = {}
        self.sources: dict[str, str] = {}
        self._module = module
        self._held = {id(tensor): name for name, tensor in held.items()}
        self._known: dict[int, ShapeTensor] = {}
        self._in_memory: dict[_Memory, ShapeTensor] = {}
        self._alive: list[Tensor] = []  # so that no id is used twice
        self._answers: dict[Any, Any] = {}
        self._times: dict[str, int] = {}
        self._read = {_storage(tensor) for tensor in held.values()}
        self._written: set[int] = set()
        self._taken = {*state, *held}
        self._autocast_depth = _autocast_depth()
        for name, tensor in state.items():
            self._learn(tensor, name)

    def input(self, name: str, example: Tensor, shape: Sequence[int]) -> ShapeTensor:
        """A value to call the forward code with.

        Args:
            name: wanted; another is given where it is taken.
            example: of the wanted data type and device.
            shape: of the value.
        """
        meta = torch.empty(tuple(shape), dtype=example.dtype, device="meta")
        return self._value(meta, example.device, self._free(name))

    def ref(self, value: Any) -> Any:
        """`Ref` in the place of a tensor; other values as they are."""
        return Ref(self._shape(value).value) if isinstance(value, Tensor) else value

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
        computable = self._is_own if writes else self._is_constant
        if read and all(map(computable, read)):
            return func(*args, **kwargs)  # as in `torch.tensor([1, 2]).prod()`
        device = _device(args, kwargs, read)
        kind = func._schema.name.rpartition("::")[2]
        if kind == "to":  # where a value lies is not for a program to say
            func, args, kwargs = _to_dtype(func, args, kwargs)
            if args[1] is args[0].dtype and not kwargs:
                return self._elsewhere(args[0], device)
        if kind in _READ_VALUES:
            raise ValueError(
                f"what its forward code does depends on the value of a tensor ({kind})"
            )
        answer = self._answer(func, args, kwargs, of_nothing=not read)
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
        written = kwargs.get("out", args[0])
        self._written.add(_storage(written))
        if torch.Tag.inplace_view in func.tags:
            _reshape(written, result)
        return written

    def _answer(self, func: Any, args: Any, kwargs: Any, *, of_nothing: bool) -> Any:
        """What the call gives, on the meta device; `of_nothing`: reads no tensor."""
        given, named = _map(args, self._meta), _map(kwargs, self._meta)
        if of_nothing:
            named["device"] = torch.device("meta")
        kind = func._schema.name.rpartition("::")[2]
        if kind in _LIKE_FIRST and _is_dense(given[0]):
            if kind == "batch_norm":
                _check_channels(given[0], given[3])
            return given[0]
        if torch.Tag.inplace_view in func.tags:  # others hold the same shape
            return func(given[0].detach(), *given[1:], **named)
        key = (func, _key(given), _key(named))
        if key not in self._answers:
            self._answers[key] = func(*given, **named)
        return self._answers[key]

    def _add(self, operation: Operation, line: str | None) -> None:
        self.operations.append(operation)
        if line is not None:
            self.sources[operation.name] = line

    def _value(self, meta: Tensor, device: torch.device, name: str) -> ShapeTensor:
        dtype = str(meta.dtype).removeprefix("torch.")
        self.tensors[name] = TensorSpec(tuple(meta.shape), dtype)
        return _shape_tensor(meta, device, name)

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

    def _elsewhere(self, value: Tensor, device: torch.device) -> Tensor:
        """The same value on another device."""
        if value.device == device:
            return value
        shape = self._shape(value)
        return _shape_tensor(shape.meta, device, shape.value)

    def _free(self, name: str) -> str:
        """`relu`, `relu_1`, `relu_2`, ... and no name of a parameter."""
        while True:
            times = self._times.get(name, 0)
            self._times[name] = times + 1
            found = f"{name}_{times}" if times else name
            if found not in self._taken:
                self._taken.add(found)
                return found

    def _shape(self, tensor: Tensor) -> ShapeTensor:
        if isinstance(tensor, ShapeTensor):
            return tensor
        if id(tensor) not in self._known:
            self._learn(tensor, None)
        return self._known[id(tensor)]

    def _meta(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._shape(value).meta
        return torch.device("meta") if isinstance(value, torch.device) else value

    def _is_constant(self, tensor: Tensor) -> bool:
        """Whether its elements are known here, and no recorded call changes them."""
        if isinstance(tensor, ShapeTensor) or _storage(tensor) in self._written:
            return False
        shape = self._known.get(id(tensor), self._in_memory.get(_memory(tensor)))
        return shape is None or shape.value in self.constants

    def _is_own(self, tensor: Tensor) -> bool:
        """Whether only the forward code has it, and no recorded call has read it."""
        own = not isinstance(tensor, ShapeTensor)
        return own and _storage(tensor) not in self._read

    def _learn(self, tensor: Tensor, name: str | None) -> None:
        """Gives a tensor that no call has made its name and shape."""
        self._alive.append(tensor)
        self._read.add(_storage(tensor))
        memory = _memory(tensor)
        if name is None and memory in self._in_memory:  # `weight.data`
            self._known[id(tensor)] = self._in_memory[memory]
            return
        if name is None:
            name = self._held.get(id(tensor)) or self._free("constant")
            with torch.inference_mode(False):  # it may be read in training
                self.constants[name] = tensor.detach().clone()
        meta = torch.empty_strided(
            tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta"
        )
        shape = _shape_tensor(meta, tensor.device, name)
        self._known[id(tensor)] = shape
        self._in_memory.setdefault(memory, shape)


#: Address, shape and strides: the same for a parameter and its `.data`.
_Memory = tuple[int, tuple[int, ...], tuple[int, ...]]


def _storage(tensor: Tensor) -> int:
    """Address of its elements; 0 where there are none."""
    return 0 if isinstance(tensor, ShapeTensor) else tensor.untyped_storage().data_ptr()


def _reshape(value: Tensor, like: ShapeTensor) -> None:
    """Gives a value another shape, as `squeeze_` does."""
    if not isinstance(value, ShapeTensor):
        raise ValueError("its forward code changes the shape of a weight in place")
    with torch._C._DisableTorchDispatch():
        value.data = like
    value.meta = like.meta


def _memory(tensor: Tensor) -> _Memory:
    return tensor.data_ptr(), tuple(tensor.shape), tuple(tensor.stride())


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


def _key(tree: Any) -> Any:
    """Equal for calls that have the same answer."""
    if isinstance(tree, Tensor):
        return tree.shape, tree.stride(), tree.dtype
    if isinstance(tree, (list, tuple)):
        return tuple([_key(item) for item in tree])
    if isinstance(tree, dict):
        return tuple([(key, _key(item)) for key, item in tree.items()])
    return type(tree), tree  # for 1, 1.0 and True are equal


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


def _is_dense(meta: Tensor) -> bool:
    """Floating numbers without gaps and overlaps, which pointwise operators keep."""
    return meta.is_floating_point() and (
        meta.is_contiguous()
        or (meta.ndim == 4 and meta.is_contiguous(memory_format=torch.channels_last))
    )


def _check_channels(x: Tensor, statistic: Tensor | None) -> None:
    if statistic is not None and statistic.shape[0] != x.shape[1]:
        raise ValueError(
            f"batch norm over {statistic.shape[0]} channels got {x.shape[1]}"
        )
