"""Starting: the fitted graph auto-encoders that a search can start from."""

from __future__ import annotations

import os
from pathlib import Path

from agmc.embedding.autoencoder import GraphAutoencoder
from agmc.embedding.checkpoint import load_autoencoder

#: What comes with the package; README.md there says how the files are made.
FOLDER = Path(__file__).parent / "fitted"

SHIPPED, ANEW = "shipped", "anew"


def starting_file(fit: str, *, encoder: str) -> Path:
    """The file that `fit` stands for: "shipped", or the path of one.

    Raises:
        ValueError: no fitted encoder of this kind comes with the package, or the file
            does not exist.
    """
    if fit != SHIPPED:
        path = Path(fit).expanduser()
        if not path.is_file():
            raise ValueError(
                f"fit (={fit!r}) is no file; choose {SHIPPED}, {ANEW} or a "
                "file that `agmc train embedding=autoencoder` wrote"
            )
        return path
    path = FOLDER / f"{encoder}.safetensors"
    if not path.is_file():
        there = sorted(file.stem for file in FOLDER.glob("*.safetensors"))
        raise ValueError(
            f"no fitted encoder {encoder!r} comes with the package, only {there}; take "
            f"one of these or fit={ANEW}"
        )
    return path


def load_fitted(
    path: str | os.PathLike[str], wanted: GraphAutoencoder
) -> GraphAutoencoder:
    """Reads a fitted auto-encoder and sees to it that it is the one that is wanted.

    Args:
        path: of the file.
        wanted: any with the encoder and the sizes that are asked for; a head for
            sensitivities may be there or not.

    Raises:
        ValueError: as `load_autoencoder`, or the file is of another encoder or size.
    """
    model = load_autoencoder(path)
    for name, value in model.sizes.items():
        if name != "ratios" and value != wanted.sizes[name]:
            raise ValueError(
                f"{name} (={wanted.sizes[name]!r}) is not that of {path}, {value!r}; "
                f"ask for {name}={value} or for fit={ANEW}"
            )
    return model
