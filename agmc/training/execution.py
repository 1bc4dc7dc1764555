"""Execution: on what device and in what precision networks run."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import torch
from torch import nn

_DEVICES = ("auto", "cpu", "cuda")
_PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Device, precision and memory layout, resolved at construction.

    Weights stay float32; convolutions and products run in `dtype` under autocast.
    Images and convolution weights are channels_last.

    Args:
        device: `auto` (cuda where there is one), `cpu` or `cuda`.
        precision: `auto`, `float32`, `bfloat16`, or, on cuda only, `float16`. `auto`
            is the fastest that the hardware has: bfloat16 on cuda and on CPUs with
            instructions for it, float16 on older cuda devices, else float32.

    Raises:
        ValueError: no such device or precision, or not on this machine.
    """

    device: str = "auto"
    precision: str = "auto"

    def __post_init__(self) -> None:
        if self.device not in _DEVICES:
            raise ValueError(
                f"device (={self.device!r}) must be one of {', '.join(_DEVICES)}"
            )
        if self.precision != "auto" and self.precision not in _PRECISIONS:
            raise ValueError(
                f"precision (={self.precision!r}) must be one of auto, "
                f"{', '.join(_PRECISIONS)}"
            )
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError(
                "device (='cuda') is not available to this torch; use device=cpu"
            )
        if self.precision == "float16" and self.torch_device.type == "cpu":
            raise ValueError(
                "precision (='float16') is for cuda; use bfloat16 or float32 on the CPU"
            )

    @cached_property
    def torch_device(self) -> torch.device:
        """Where tensors lie."""
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return torch.device(self.device)

    @cached_property
    def dtype(self) -> torch.dtype:
        """What convolutions compute in."""
        if self.precision != "auto":
            return _PRECISIONS[self.precision]
        if self.torch_device.type == "cuda":
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
            return torch.bfloat16 if fast else torch.float16
        return torch.bfloat16 if _cpu_has_bfloat16() else torch.float32

    @property
    def memory_format(self) -> torch.memory_format:
        """Of images and convolution weights."""
        return torch.channels_last

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """The context in which networks run; does nothing for float32."""
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.torch_device.type, self.dtype)

    def place(self, module: Module) -> Module:
        """Moves the module, in place, to the device and the layout; returns it."""
        module.to(self.torch_device)
        # torch's stubs lack this form of the call.
        module.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        return module


def exact(execution: Execution) -> Execution:
    """The same device in float32: what rounds by itself must not be rounded twice."""
    return replace(execution, precision="float32")


def _cpu_has_bfloat16() -> bool:
    # Private names of torch, so a version without them means: no.
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        supported = getattr(torch.cpu, name, None)
        if supported is not None and supported():
            return True
    return False
