"""ShapeTensor: a value of forward code without its elements."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class ShapeTensor(Tensor):
    """A value of which shape, strides, data type and device are known, no more.

    Attributes:
        meta: a tensor of that shape on the meta device.
        value: name of the value.
        owner: the `OwnTensors` of the run that it belongs to.
    """

    meta: Tensor
    value: str
    owner: object

    @property
    def data(self) -> Any:
        """The same value."""
        return self.detach()

    @data.setter
    def data(self, other: Any) -> None:
        raise ValueError("its forward code replaces a value, by x.data = ...")

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Refuses: only a `Recorder` knows what to do."""
        raise RuntimeError(
            f"{func} was called on a value that has only a shape: the forward code "
            "has kept it from a trace, in a functools.cache or a global; clear that"
        )


def shape_tensor(
    meta: Tensor, device: torch.device, value: str, owner: object
) -> ShapeTensor:
    """A value of the shape of `meta`, on a device, by its name."""
    # Views of parameters must not be of the kind that inference mode makes.
    with torch.inference_mode(False):
        made: ShapeTensor = Tensor._make_wrapper_subclass(
            ShapeTensor, meta.shape, meta.stride(), dtype=meta.dtype, device=device
        )
    made.meta, made.value, made.owner = meta, value, owner
    return made


def reshape_in_place(value: Tensor, like: ShapeTensor) -> None:
    """Gives a value another shape, as `squeeze_` does."""
    if not isinstance(value, ShapeTensor):
        raise ValueError("its forward code changes the shape of a weight in place")
    with torch._C._DisableTorchDispatch():
        Tensor.data.__set__(value, like)  # type: ignore[attr-defined]
    value.meta = like.meta
