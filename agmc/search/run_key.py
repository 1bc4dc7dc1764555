"""run_key: the name of a search, from everything that it depends on."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from agmc.data import Splits
from agmc.whole_file import digest_of


def run_key(model: nn.Module, data: Splits, **settings: Any) -> str:
    """Twelve hex digits that name a search: weights, data and settings.

    Args:
        model: its parameters and buffers count, not its class.
        data: counts by its `digest`.
        settings: numbers, texts, lists of them, or builders, which count by their
            names and by the arguments of a `functools.partial`; never by an address in
            memory.
    """
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    digest.update(data.digest.encode())
    described = {name: _describe(value) for name, value in settings.items()}
    digest.update(json.dumps(described, sort_keys=True).encode())
    return digest.hexdigest()[:12]


def _describe(setting: Any) -> Any:
    if setting is None or isinstance(setting, str | int | float):
        return setting
    if isinstance(setting, Mapping):
        return {str(name): _describe(value) for name, value in setting.items()}
    if isinstance(setting, list | tuple):
        return [_describe(value) for value in setting]
    if isinstance(setting, functools.partial):
        return [
            _describe(setting.func),
            [_describe(value) for value in setting.args],
            {name: _describe_knob(value) for name, value in setting.keywords.items()},
        ]
    if dataclasses.is_dataclass(setting) and not isinstance(setting, type):
        return [
            type(setting).__qualname__,
            {
                field.name: _describe(getattr(setting, field.name))
                for field in dataclasses.fields(setting)
            },
        ]
    named = setting if hasattr(setting, "__qualname__") else type(setting)
    return f"{named.__module__}.{named.__qualname__}"


def _describe_knob(value: Any) -> Any:
    """As `_describe`, but a file is what it holds and not what it is called."""
    if isinstance(value, str) and (path := Path(value).expanduser()).is_file():
        return digest_of(path)
    return _describe(value)
