"""OwnTensors: what the network and its forward code hold while calls are recorded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from agmc.graph.shape_tensor import ShapeTensor, shape_tensor

#: Address, shape and strides: the same for a parameter and its `.data`.
_Memory = tuple[int, tuple[int, ...], tuple[int, ...]]


class OwnTensors:
    """Names and shapes of tensors that have elements; none is read or written.

    Args:
        state: qualified name -> parameter or buffer of the network.
        held: name -> tensor that its modules hold besides.
        name: gives a name to a tensor that the forward code made without the network.

    Attributes:
        constants: name -> copy of a tensor that is no parameter or buffer.
    """

    def __init__(
        self,
        state: Mapping[str, Tensor],
        held: Mapping[str, Tensor],
        name: Callable[[], str],
    ) -> None:
        self.constants: dict[str, Tensor] = {}
        self._name = name
        self._held = {id(tensor): name for name, tensor in held.items()}
        self._known: dict[int, ShapeTensor] = {}
        self._in_memory: dict[_Memory, ShapeTensor] = {}
        self._alive: list[tuple[Tensor, int]] = []  # so that no id is used twice
        self._values: dict[int, set[str]] = defaultdict(set)
        self._read = {_storage(tensor) for tensor in held.values()}
        self._written: set[int] = set()
        for qualified, tensor in state.items():
            self._learn(tensor, qualified)

    def shape(self, tensor: Tensor) -> ShapeTensor:
        """Name and shape; a tensor that was not seen before is a constant."""
        if isinstance(tensor, ShapeTensor):
            if tensor.owner is not self:
                raise ValueError(
                    "its forward code keeps values outside of its modules, in a "
                    "functools.cache or a global; call the network once before"
                )
            return tensor
        if id(tensor) not in self._known:
            self._learn(tensor, None)
        return self._known[id(tensor)]

    def is_constant(self, tensor: Tensor) -> bool:
        """Whether its elements are known here, and no recorded call changes them."""
        if isinstance(tensor, ShapeTensor) or _storage(tensor) in self._written:
            return False
        shape = self._known.get(id(tensor), self._in_memory.get(_memory(tensor)))
        return shape is None or shape.value in self.constants

    def is_own(self, tensor: Tensor) -> bool:
        """Whether only the forward code has it, and no recorded call has read it."""
        own = not isinstance(tensor, ShapeTensor)
        return own and _storage(tensor) not in self._read

    def note_write(self, tensor: Tensor) -> None:
        """A recorded call changes the elements, which are known no more.

        Raises:
            ValueError: they have been read as another constant too.
        """
        storage = _storage(tensor)
        self._written.add(storage)
        if storage and len(self._values[storage]) > 1:
            raise ValueError("its forward code writes into a view of a constant")

    def replaced(self) -> list[str]:
        """Names of tensors that were given other elements, by `weight.data = ...`."""
        return [
            self._known[id(tensor)].value
            for tensor, address in self._alive
            if not _is_at(tensor, address)
        ]

    def _learn(self, tensor: Tensor, name: str | None) -> None:
        """Gives a tensor that no call has made its name and shape."""
        self._alive.append((tensor, tensor.data_ptr()))
        storage = _storage(tensor)
        self._read.add(storage)
        memory = _memory(tensor)
        if name is None and memory in self._in_memory:  # `weight.data`
            self._known[id(tensor)] = self._in_memory[memory]
            return
        if name is None:
            name = self._held.get(id(tensor)) or self._name()
            with torch.inference_mode(False):  # it may be read in training
                self.constants[name] = tensor.detach().clone()
        meta = torch.empty_strided(
            tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta"
        )
        shape = shape_tensor(meta, tensor.device, name, self)
        self._values[storage].add(name)
        self._known[id(tensor)] = shape
        self._in_memory.setdefault(memory, shape)


def _storage(tensor: Tensor) -> int:
    """Address of its elements; 0 where there are none."""
    return 0 if isinstance(tensor, ShapeTensor) else tensor.untyped_storage().data_ptr()


def _is_at(tensor: Tensor, address: int) -> bool:
    try:
        return tensor.data_ptr() == address
    except RuntimeError:  # it has no elements any more
        return False


def _memory(tensor: Tensor) -> _Memory:
    return tensor.data_ptr(), tuple(tensor.shape), tuple(tensor.stride())
