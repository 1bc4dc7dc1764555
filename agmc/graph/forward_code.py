"""Where in the forward code a call is made: which module, which line."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import torch
from torch import nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)

_TORCH = f"{Path(torch.__file__).parent}{os.sep}"
_HERE = f"{Path(__file__).parent}{os.sep}"


@dataclass
class CurrentModule:
    """The innermost module whose forward code runs, by qualified name; "" outside."""

    _open: list[str] = field(default_factory=lambda: [""])

    @property
    def path(self) -> str:
        """Qualified name; that of the first place of a shared module."""
        return self._open[-1]


@contextmanager
def current_module(model: nn.Module) -> Iterator[CurrentModule]:
    """Follows the forward code from module to module."""
    paths = {id(module): path for path, module in model.named_modules()}
    current = CurrentModule()
    stack = current._open

    def enter(module: nn.Module, args: object) -> None:
        stack.append(paths.get(id(module), stack[-1]))

    def leave(module: nn.Module, args: object, result: object) -> None:
        stack.pop()

    before = register_module_forward_pre_hook(enter)
    after = register_module_forward_hook(leave, always_call=True)
    try:
        yield current
    finally:
        before.remove()
        after.remove()


def line_of_frame(frame: FrameType | None) -> str | None:
    """The innermost line of forward code outside of torch, "resnet.py:102"."""
    while frame is not None:
        path = frame.f_code.co_filename
        if not path.startswith(_TORCH):
            # Where the forward code was called from is no part of it.
            return None if path.startswith(_HERE) else f"{_name(path)}:{frame.f_lineno}"
        frame = frame.f_back
    return None


def line_of(error: BaseException) -> str:
    """Where in the forward code an error was raised, if that is known."""
    place = ""
    trace = error.__traceback__
    while trace is not None:
        path = trace.tb_frame.f_code.co_filename
        if not path.startswith((_TORCH, _HERE)):
            place = f" ({_name(path)}:{trace.tb_lineno})"
        trace = trace.tb_next
    return place


@functools.cache
def _name(path: str) -> str:
    return Path(path).name
