"""Checkpoints from elsewhere: read, checked whole, and only then loaded."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from agmc.models.registry import build
from agmc.tensor_file import separate
from agmc.whole_file import write_whole

_LOG = logging.getLogger(__name__)
_PICKLES = (".pt", ".pth", ".th")
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_NUM_NAMED = 3
#: The entry of a file's metadata.
_CLASSES = "classes"


def load_model(
    num_classes: int,
    in_channels: int,
    *,
    name: str,
    weights: str | os.PathLike[str] | None = None,
    other_classes: bool = False,
) -> nn.Module:
    """The network `name`, freshly initialised or with the weights of a checkpoint.

    Args:
        num_classes: of the data.
        in_channels: of the images.
        name: as for `agmc.models.build`.
        weights: path of a checkpoint as for `load_weights`; None: fresh weights.
        other_classes: see `load_weights`.

    Raises:
        ValueError: as `build` and `load_weights`.
        FileNotFoundError: `weights` is not there.
    """
    model = build(name, num_classes=num_classes, in_channels=in_channels)
    if weights is not None:
        load_weights(model, weights, other_classes=other_classes)
    return model


def load_weights(
    model: nn.Module, path: str | os.PathLike[str], *, other_classes: bool = False
) -> None:
    """Loads a checkpoint into `model`, in place; on any error the model is unchanged.

    Args:
        model: the network the checkpoint was made from.
        path: a `.safetensors` file, or `.pt`, `.pth`, `.th` read by torch with
            `weights_only=True`; a state dict, bare or under the key `state_dict`;
            `module.` in front of every name is dropped where the model has none.
        other_classes: whether the checkpoint may tell other classes apart; where it has
            another number of them, what gives one number for each stays as it is.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: it is truncated or foreign, names or shapes differ from the model's,
            or weights are not finite.
    """
    path = Path(path).expanduser()
    own = model.state_dict()
    state = _read(path, own)
    _check_names(path, state, own)
    if other_classes and (numbers := _numbers_of_classes(state, own)):
        fresh = _unlike(state, own)
        for name in fresh:
            del state[name]
        text = "%s is for %d classes, not for %d: %s as new"
        _LOG.info(text, path, *numbers, _some(fresh))
    _check_values(path, state, own)
    # Counters that older files lack keep the model's values.
    model.load_state_dict({**own, **state})


def fresh_in(model: nn.Module, path: str | os.PathLike[str]) -> list[str]:
    """Names of the tensors that `load_weights` left as they were, of other classes.

    Args:
        model: that has loaded the checkpoint.
        path: of the checkpoint.
    """
    own = model.state_dict()
    return _unlike(_read(Path(path).expanduser(), own), own)


def _read(path: Path, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a checkpoint, by the names that the model's `own` have."""
    state = _tensors(path)
    if state and all(name.startswith("module.") for name in state):
        bare = {name.removeprefix("module."): value for name, value in state.items()}
        state = max(state, bare, key=lambda names: len(names.keys() & own.keys()))
    return state


def _tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    if path.suffix != ".safetensors" and path.suffix not in _PICKLES:
        raise ValueError(
            f"{path}: expected a checkpoint ending in .safetensors, "
            f"{', '.join(_PICKLES)}"
        )
    try:
        if path.suffix == ".safetensors":
            content: Any = safetensors.torch.load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file can break its reader in any way
        kind = "safetensors" if path.suffix == ".safetensors" else "torch"
        raise ValueError(
            f"{path} is truncated or no {kind} checkpoint of plain tensors "
            f"({_first_line(error)})"
        ) from error
    if isinstance(content, Mapping):
        for wrapper in _WRAPPERS:
            if isinstance(content.get(wrapper), Mapping):
                content = content[wrapper]
                break
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) and not value.is_sparse
        for name, value in content.items()
    ):
        raise ValueError(f"{path} holds no state dict (a mapping of names to tensors)")
    return dict(content)


def _check_names(
    path: Path, state: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> None:
    missing = [
        name
        for name in own
        if name not in state and not name.endswith("num_batches_tracked")
    ]
    unexpected = [name for name in state if name not in own]
    if missing or unexpected:
        parts = []
        if missing:
            parts.append(f"misses {_some(missing)}")
        if unexpected:
            parts.append(f"has unexpected {_some(unexpected)}")
        raise ValueError(
            f"{path} {' and '.join(parts)}; is it a checkpoint of another model?"
        )


def _check_values(
    path: Path, state: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> None:
    different = _unlike(state, own)
    if different:
        name = different[0]
        if numbers := _numbers_of_classes(state, own):
            raise ValueError(
                f"{path} is for {numbers[0]} classes, the model has {numbers[1]} "
                f"({name})"
            )
        theirs, ours = tuple(state[name].shape), tuple(own[name].shape)
        raise ValueError(
            f"{path}: {name} has shape {theirs}, the model's has {ours}"
            + (f", and {len(different) - 1} more differ" if different[1:] else "")
        )
    for name, value in state.items():
        if name in own and value.is_floating_point() != own[name].is_floating_point():
            raise ValueError(
                f"{path}: {name} is of type {value.dtype}, the model's of "
                f"{own[name].dtype}; is it a quantised checkpoint?"
            )
    broken = [
        name
        for name, value in state.items()
        if value.is_floating_point() and not bool(torch.isfinite(value).all())
    ]
    if broken:
        raise ValueError(f"{path} has NaN or infinite values in {_some(broken)}")


def _unlike(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """Names of tensors whose shapes differ."""
    return [
        name
        for name, value in own.items()
        if name in state and state[name].shape != value.shape
    ]


def _numbers_of_classes(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> tuple[int, int] | None:
    """Of the checkpoint and of the model, where nothing else differs.

    Tensors that have a row for each class differ in their first size alone, and all by
    the same; a hidden layer of another width would change what reads it as well.
    """
    pairs = [(state[name].shape, own[name].shape) for name in _unlike(state, own)]
    numbers = {(theirs[0], ours[0]) for theirs, ours in pairs if theirs and ours}
    if len(numbers) == 1 and all(theirs[1:] == ours[1:] for theirs, ours in pairs):
        return numbers.pop()
    return None


def _some(names: Collection[str]) -> str:
    listed = ", ".join(list(names)[:_NUM_NAMED])
    return listed + (
        f" and {len(names) - _NUM_NAMED} more" if len(names) > _NUM_NAMED else ""
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:120]


def save_weights(
    model: nn.Module, path: str | os.PathLike[str], *, classes: Sequence[str] = ()
) -> None:
    """Writes the state dict as safetensors, whole or not at all.

    Args:
        model: the network.
        path: of the file.
        classes: that its outputs stand for, in their order; kept in the file.
    """
    said = {_CLASSES: json.dumps(list(classes))} if classes else None
    write_whole(path, safetensors.torch.save(separate(model.state_dict()), said))


def classes_of(path: str | os.PathLike[str]) -> list[str]:
    """The classes that a checkpoint says its outputs stand for; none where it is mute.

    Args:
        path: a file that `load_weights` takes.
    """
    path = Path(path).expanduser()
    if path.suffix != ".safetensors":
        return []
    with safetensors.safe_open(path, framework="pt") as file:
        said = (file.metadata() or {}).get(_CLASSES, "[]")
    try:
        names = json.loads(said)
    except (ValueError, RecursionError):
        return []  # of somebody else, who calls another thing so
    return [str(name) for name in names] if isinstance(names, list) else []
