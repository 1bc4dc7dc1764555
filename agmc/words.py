"""The words of the command line, as users write them and as Hydra reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from agmc.commands import command_of

#: Parts of the configuration that there may be nothing for; a command needs all others.
OPTIONAL = {
    *("reward", "finetune", "quantized_finetune", "search.corpus"),
    *("compression.second", "compression.zeros", "experiment"),
}


def config_directory() -> Path:
    """conf/ inside the installed package, or beside it in the repository."""
    package = Path(__file__).resolve().parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def command_first(arguments: list[str]) -> None:
    """Turns `agmc compare A B seed=1` into the overrides `command=compare runs=[A,B]`.

    Only `report` and `compare` take directories.

    Args:
        arguments: with the name of the program; changed in place.

    Raises:
        ValueError: there is no such command.
    """
    index = 2 if arguments[1:2] in (["-m"], ["--multirun"]) else 1
    word = arguments[index] if len(arguments) > index else "-"
    if not _is_name(word):
        return
    command_of(word)
    rest = arguments[index + 1 :]
    runs = []
    if word in ("report", "compare"):
        # A sweep may have called its directories `agent=ddpg,seed=1`.
        runs = [text for text in rest if _is_name(text) or Path(text).is_dir()]
        rest = [text for text in rest if text not in runs]
    if runs:
        quoted = (text.replace("\\", "\\\\").replace("'", "\\'") for text in runs)
        rest.append("runs=[" + ",".join(f"'{text}'" for text in quoted) + "]")
    arguments[index:] = [f"command={word}", *rest]


def refuse_null(arguments: Iterable[str]) -> None:
    """Says how to leave out a group, which Hydra does not do by the word null.

    Raises:
        ValueError: a group is to be null.
    """
    for word in arguments:
        group, _, choice = word.partition("=")
        folder, _, package = group.partition("@")
        if choice == "null" and (config_directory() / folder).is_dir():
            way_out = f"leave it out with ~{group}"
            if (package or folder) not in OPTIONAL:
                way_out = f"choose one: {group}=NAME"
            raise ValueError(f"{word}: null is none of the choices; {way_out}")


def own_rewards(arguments: Iterable[str]) -> list[str]:
    """Every `package.module:function` of `reward=A,B`."""
    asked = (word for word in arguments if re.match(r"\+*reward=", word))
    found = (re.findall(r"([\w.]+)\\?:([\w.]+)", word) for word in asked)
    return [f"{module}:{path}" for names in found for module, path in names]


def as_hydra_reads_it(word: str) -> str:
    """Puts quotes around every `accuracy>=SHARE`, whose signs mean others to Hydra."""
    return re.sub(r"(?<!['\"\w])accuracy\s*>=\s*[^,\]\s'\"]*", r"'\g<0>'", word)


def _is_name(argument: str) -> bool:
    return "=" not in argument and not argument.startswith(("-", "+", "~"))
