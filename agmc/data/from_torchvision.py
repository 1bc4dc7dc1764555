"""Opens a torchvision data set, or says in one line how to get it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from agmc import torchvision_ops  # noqa: F401  (must run before torchvision)


def open_dataset(
    name: str, root: str | os.PathLike[str], *, train: bool, download: bool
) -> Any:
    """The data set `torchvision.datasets.NAME` under `root`.

    Raises:
        ValueError: it is not there, or not whole, or cannot be downloaded.
    """
    import torchvision

    root = Path(root).expanduser()
    try:
        return getattr(torchvision.datasets, name)(
            root=root, train=train, download=download
        )
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        if download:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ValueError(
                f"{name} could not be downloaded to root (={root}): {reason}"
            ) from error
        raise ValueError(
            f"root (={root}) has no whole copy of {name}; "
            "set data.download=true, or data.root to the folder that holds it"
        ) from error
