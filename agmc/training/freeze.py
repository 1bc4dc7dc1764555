"""frozen: layers that a training leaves as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase

from torch import nn


@contextmanager
def frozen(module: nn.Module, patterns: Sequence[str]) -> Iterator[list[nn.Module]]:
    """Takes the gradients of layers away, and gives them back on leaving.

    Batch norm would still follow the images, and dropout drop: a training has to keep
    the layers in evaluation mode.

    Args:
        module: the network.
        patterns: of names of layers, `features.*` or `layer[12]`; all that is in them
            is frozen as well.

    Yields:
        the layers.

    Raises:
        ValueError: a pattern fits no layer, or nothing is left to train.
    """
    layers = [part for pattern in patterns for part in _layers(module, pattern)]
    weights = [w for part in layers for w in part.parameters() if w.requires_grad]
    for weight in weights:
        weight.requires_grad_(False)
    try:
        if not any(weight.requires_grad for weight in module.parameters()):
            raise ValueError(
                f"freeze (={list(patterns)}) leaves nothing to train; name fewer layers"
            )
        yield layers
    finally:
        for weight in weights:
            weight.requires_grad_(True)


def _layers(module: nn.Module, pattern: str) -> list[nn.Module]:
    named = {name: part for name, part in module.named_modules() if name}
    found = [part for name, part in named.items() if fnmatchcase(name, pattern)]
    if not found:
        outer = ", ".join(name for name in named if "." not in name)
        raise ValueError(f"freeze: {pattern!r} fits no layer; there are {outer}")
    return found
