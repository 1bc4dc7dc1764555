"""Where in the forward code a call was made: which module, which line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import get_proxy_mode

_FRAME = re.compile(r'File "(.+?)", line (\d+)')
#: Frames from here are not the model's own.
_NOT_OWN = (
    f"{Path(torch.__file__).parent}{os.sep}",
    f"{Path(__file__).parent}{os.sep}",
)


@contextmanager
def module_calls(model: nn.Module) -> Iterator[list[tuple[int, str | None]]]:
    """Where modules begin and end (None), as positions in the graph being made."""
    calls: list[tuple[int, str | None]] = []

    def position() -> int:
        mode = get_proxy_mode()
        return 0 if mode is None else len(mode.tracer.graph.nodes)

    hooks = []
    for path, module in model.named_modules():
        hooks.append(
            module.register_forward_pre_hook(
                lambda m, args, path=path: calls.append((position(), path))
            )
        )
        hooks.append(
            module.register_forward_hook(
                lambda m, args, out: calls.append((position(), None)),
                always_call=False,
            )
        )
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def layers_of_nodes(
    nodes: Sequence[torch.fx.Node], calls: Sequence[tuple[int, str | None]]
) -> dict[str, str]:
    """Every node's innermost module, given what `module_calls` found."""
    result = {}
    open_modules: list[str] = []
    upcoming = iter(calls)
    call = next(upcoming, None)
    for position, node in enumerate(nodes):
        while call is not None and call[0] <= position:
            if call[1] is None:
                open_modules.pop()
            else:
                open_modules.append(call[1])
            call = next(upcoming, None)
        result[node.name] = open_modules[-1] if open_modules else ""
    return result


def source_of_node(node: torch.fx.Node) -> str | None:
    """The innermost line of the forward code outside of torch."""
    frames = _FRAME.findall(node.meta.get("stack_trace") or "")
    own = [frame for frame in frames if not frame[0].startswith(_NOT_OWN)]
    return f"{Path(own[-1][0]).name}:{own[-1][1]}" if own else None


def line_of(error: BaseException) -> str:
    """Where in the forward code an error was raised, if that is known."""
    place = ""
    trace = error.__traceback__
    while trace is not None:
        path = trace.tb_frame.f_code.co_filename
        if not path.startswith(_NOT_OWN):
            place = f" ({Path(path).name}:{trace.tb_lineno})"
        trace = trace.tb_next
    return place
