"""Experiments of which a part was asked for."""

from __future__ import annotations

import argparse


def is_partial(
    parser: argparse.ArgumentParser, options: argparse.Namespace, *names: str
) -> bool:
    """Whether options choose a part: tables are of the whole and stay as they are.

    Args:
        parser: of the options, with their defaults.
        options: as given.
        names: of the options that choose, as attributes; the default names the whole.
    """
    chosen = [n for n in names if {*parser.get_default(n)} - {*getattr(options, n)}]
    if chosen:
        said = ", ".join(f"--{name}" for name in chosen)
        print(f"{said}: a part, the tables stay as they are", flush=True)
    return bool(chosen)
