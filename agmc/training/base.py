"""Base networks: trained once, then taken from the cache."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import nn

from agmc.data import Splits
from agmc.tensor_file import separate
from agmc.training.execution import Execution
from agmc.training.fit import REVISION, EpochRecord, Recipe, fit
from agmc.training.team import Team
from agmc.whole_file import write_whole

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class BaseRecipe(Recipe):
    """How to train a base network, from fresh weights or those of another.

    Args:
        freeze: patterns of names of layers that stay as they are, `features` or
            `layer[12].*`, which makes sense for the weights of another network.

    Raises:
        ValueError: a number is out of range.
    """

    freeze: Sequence[str] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "freeze", tuple(map(str, self.freeze)))


def train_base(
    module: nn.Module,
    splits: Splits,
    recipe: BaseRecipe,
    *,
    key: str,
    execution: Execution,
    seed: int,
    cache: str | os.PathLike[str] | None,
    on_epoch: Callable[[EpochRecord], None] | None = None,
    team: Team | None = None,
) -> list[EpochRecord]:
    """Trains `module` in place on the train split, or loads what that gave before.

    Args:
        module: built under `seed`, with the weights that the key names; is left placed,
            in evaluation mode.
        splits: only `train` is read.
        recipe: of the training.
        key: names the network, its constructor's arguments and first weights included.
        execution: device and precision.
        seed: of the training; part of the key, so build the module under it as well.
        cache: folder; a damaged entry is made anew, a folder that cannot be written is
            passed over with a warning. None: no cache.
        on_epoch: called after every epoch of training.
        team: as of `fit`; its first process alone reads and writes the cache.

    Returns:
        the epochs; empty when the cache had the network.

    Raises:
        ValueError: as `fit`.
    """
    team = team or Team()
    path = None
    if cache is not None:
        path = base_path(cache, splits, recipe, key=key, execution=execution, seed=seed)
        known = team.told(lambda: module.state_dict() if _load(module, path) else None)
        if known is not None:
            module.load_state_dict(known)
            execution.place(module).eval()
            return []
    records = fit(
        *(module, splits, recipe),
        execution=execution,
        seed=seed,
        on_epoch=on_epoch,
        freeze=recipe.freeze,
        team=team,
    )
    try:
        if path is not None and team.rank == 0:
            _save(module, path)
    except OSError as error:
        _LOG.warning("the trained network is not kept in cache %s: %s", cache, error)
    return records


def base_path(
    cache: str | os.PathLike[str],
    splits: Splits,
    recipe: BaseRecipe,
    *,
    key: str,
    execution: Execution,
    seed: int,
) -> Path:
    """The file in `cache` that `train_base` keeps a network in."""
    parts = (
        *(REVISION, key, splits.digest, splits.crop_padding, splits.flip),
        *(astuple(recipe), seed, str(execution.dtype)),
    )
    name = hashlib.blake2b(repr(parts).encode(), digest_size=12).hexdigest()
    return Path(cache).expanduser() / f"base-{name}.safetensors"


def _load(module: nn.Module, path: Path) -> bool:
    """Whether the entry was there and whole; otherwise the module is unchanged."""
    try:
        state = safetensors.torch.load_file(path)
    except FileNotFoundError:
        return False
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        _LOG.warning("training anew: %s is damaged (%s)", path, error)
        return False
    own = module.state_dict()
    if state.keys() != own.keys() or any(
        state[name].shape != own[name].shape or not _finite(state[name]) for name in own
    ):
        _LOG.warning("training anew: %s has other content", path)
        return False
    module.load_state_dict(state)
    return True


def _finite(value: torch.Tensor) -> bool:
    return not value.is_floating_point() or bool(torch.isfinite(value).all())


def _save(module: nn.Module, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, safetensors.torch.save(separate(module.state_dict())))
