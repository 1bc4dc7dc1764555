"""The commands of agmc, each a function of a `Job`."""

from collections.abc import Callable

from agmc.commands.compress import compress
from agmc.commands.look import compare, graph, profile, report
from agmc.commands.network import evaluate, export, train
from agmc.job import Job

COMMANDS: dict[str, Callable[[Job], None]] = {
    command.__name__: command
    for command in (compress, train, evaluate, export, graph, profile, report, compare)
}


def command_of(name: str) -> Callable[[Job], None]:
    """The command of a name.

    Raises:
        ValueError: there is none.
    """
    if name not in COMMANDS:
        raise ValueError(
            f"unknown command {name!r}; choose one of {', '.join(COMMANDS)}"
        )
    return COMMANDS[name]
