"""RunConfig: what a run was asked to do, and in what several runs differ."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

#: Not what a run does, but where it leaves things, and how often it is done.
_ASIDE = {
    *("seed", "out", "cache", "command", "runs", "reference", "checkpoint"),
    *("tracking", "hydra"),
    *("policy.save", "search.executor", "search.address"),
}
#: What a run is about: results of different ones stand beside each other, not together.
_TASK = {"model", "data", "train", "budget", "reward"}


@dataclass(frozen=True)
class RunConfig:
    """The configuration of a run.

    Attributes:
        choices: group of the configuration -> name of the file chosen.
        values: dotted key -> value, as the configuration has it; interpolations are
            not resolved.
    """

    choices: Mapping[str, str]
    values: Mapping[str, Any]

    @classmethod
    def load(cls, directory: Path, result: Mapping[str, Any] | None) -> RunConfig:
        """From `.hydra/` of a run directory, else from the settings in its result.

        What Hydra has written there may be of a later call, which was refused.

        Args:
            directory: of the run.
            result: the content of its `result.json`; None where there is none yet.

        Raises:
            ValueError: a file in `.hydra/` is broken.
        """
        main, hydra = (directory / ".hydra" / f"{n}.yaml" for n in ("config", "hydra"))
        result = result or {}
        node = _yaml(hydra) if main.exists() and hydra.exists() else {}
        words = _inside(node, "hydra", "overrides").get("task")
        made_by = result.get("command")
        of_another = words and made_by and shlex.join(["agmc", *words]) != made_by
        if not node or of_another:
            settings = dict(result.get("settings") or {})
            settings |= {"seed": result.get("seed"), "command": "compress"}
            return cls({}, settings)
        node = _inside(node, "hydra", "runtime", "choices")
        values = _yaml(main)
        chosen = {str(k): str(v) for k, v in node.items() if v and "hydra" not in k}
        return cls(chosen, dict(_leaves(values)))

    @property
    def command(self) -> str:
        """That the run was started with."""
        return str(self.values.get("command", "compress"))

    @property
    def seed(self) -> str:
        """Of the run, as text."""
        return str(self.values.get("seed"))

    @property
    def episodes(self) -> int | None:
        """That the search was to have."""
        wanted = self.values.get("search.episodes", self.values.get("episodes"))
        return wanted if isinstance(wanted, int) else None

    def text(self, keys: Iterable[str]) -> str:
        """`key=value, ...` of the keys that the run has."""
        found = {**self.values, **self.choices}
        return ", ".join(f"{key}={found[key]}" for key in keys if key in found)


def differing(configs: Sequence[RunConfig]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The keys in which runs differ, seed and directories aside.

    A key inside of a group counts where runs with the same choice differ in it: that
    agents of two kinds have other knobs says no more than that they are of two kinds.

    Returns:
        The keys that say what the runs are about (model, data, budget, reward, training
        of the original), and the others.
    """
    keys = dict.fromkeys(key for config in configs for key in config.choices)
    found = [k for k in keys if len({c.choices.get(k) for c in configs}) > 1]
    # `embedding@second_embedding` is a choice for the keys `second_embedding. ...`.
    group_of = {key.rpartition("@")[2]: key for key in keys}
    for key in dict.fromkeys(key for config in configs for key in config.values):
        parts = key.split(".")
        packages = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
        group = next((group_of[name] for name in packages if name in group_of), "")
        seen: dict[str | None, set[str]] = {}
        for config in configs:
            if key in config.values:
                value = repr(config.values[key])
                seen.setdefault(config.choices.get(group), set()).add(value)
        if any(len(values) > 1 for values in seen.values()):
            found.append(key)
    found = [key for key in found if not {key, key.partition(".")[0]} & _ASIDE]
    about = [key for key in found if key.partition(".")[0] in _TASK]
    return tuple(about), tuple(key for key in found if key not in about)


def _leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, node


def _inside(node: dict[str, Any], *keys: str) -> dict[str, Any]:
    """What stands below some keys, one after the other; {} where nothing does."""
    for key in keys:
        node = node.get(key) or {}
    return node


def _yaml(path: Path) -> dict[str, Any]:
    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except Exception as error:  # those of YAML derive from nothing narrower
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no configuration")
    return {str(key): value for key, value in content.items()}
