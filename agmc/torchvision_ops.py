"""Lets torchvision be imported beside a torch that its binary was not built for.

A torchvision built for CUDA cannot load its compiled operators beside a CPU-only torch
and then fails on import, because it describes operators that nobody declared.
Classifiers and data sets need none of them: declaring their schemas is enough. Where
the operators do load, nothing happens. Import this module before torchvision.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path

import torch

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def declare_missing_operators() -> torch.library.Library | None:
    """Declares the operators that torchvision describes on import, where missing.

    Returns:
        the declarations, which live as long as the object does; None when torchvision
        is not installed or its operators are there.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return None
    # Declared twice they would clash, so the compiled ones get the first chance.
    _load_compiled(Path(spec.submodule_search_locations[0]))
    missing = [name for name in _SCHEMAS if not _declared(name)]
    if not missing:
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in missing:
        library.define(_SCHEMAS[name])
    return library


def _load_compiled(folder: Path) -> None:
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        path = folder / f"_C{suffix}"
        if path.exists():
            try:
                torch.ops.load_library(str(path))
            except OSError:  # built for another torch
                continue
            return


def _declared(name: str) -> bool:
    return hasattr(torch.ops.torchvision, name)


_library = declare_missing_operators()
