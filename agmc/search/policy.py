"""Policy: what an agent has learned, kept in a file for other searches."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from agmc.agents.agent import Agent
from agmc.embedding.embedding import Embedding
from agmc.tensor_file import read_tensors, write_tensors
from agmc.whole_file import digest_of

FORMAT = "agmc policy 2"


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Which policy a search begins with, and where it leaves its own.

    A loaded policy, of this network or of another, plays the first episode greedily,
    one for each of several budgets, and learns on in those that follow.

    Args:
        save: file for the agent's policy, its encoder included, when the search is
            over; None keeps none.
        load: file of a policy of the same agent over the same embedding; None begins
            from scratch.
        episodes: after the greedy ones, >= 0: 0 only plays what was learned elsewhere;
            None: as many as the search has in all.

    Raises:
        ValueError: a number is out of range, or `load` is no policy.
    """

    save: str | None = None
    load: str | None = None
    episodes: int | None = None

    def __post_init__(self) -> None:
        if self.episodes is not None and self.load is None:
            raise ValueError(
                f"policy.episodes (={self.episodes}) counts those after a loaded "
                "policy; add policy.load=FILE, or set search.episodes"
            )
        if self.episodes is not None and self.episodes < 0:
            raise ValueError(f"policy.episodes (={self.episodes}) must be >= 0")
        if self.load is not None:
            _read(Path(self.load).expanduser())
        if self.save is not None and Path(self.save).expanduser().is_dir():
            raise ValueError(f"policy.save (={self.save!r}) is a folder; name a file")
        places = [Path(name).expanduser() for name in (self.save, self.load) if name]
        if len({place.resolve() for place in places}) < len(places):
            raise ValueError(
                f"policy.save and policy.load (={self.load!r}) are one file; a run "
                "that goes on needs what it began with: save to another"
            )

    def greedy(self, budgets: int) -> int:
        """Episodes that only play the loaded policy, in a search of some budgets."""
        return budgets if self.load is not None else 0

    def total(self, episodes: int, budgets: int) -> int:
        """Episodes of a search, those of the loaded policy included.

        Args:
            episodes: that the search has without a word of ours.
            budgets: of the search.
        """
        if self.episodes is None:
            return episodes
        return self.greedy(budgets) + self.episodes

    @property
    def digest(self) -> str | None:
        """Names the loaded policy by its content."""
        if self.load is None:
            return None
        return digest_of(Path(self.load).expanduser())

    def check(self, agent: Agent, embedding: Embedding | None = None) -> None:
        """Sees that an agent of this class has a policy, before anything takes long.

        Args:
            agent: as it will search; takes the loaded policy over where `embedding` is
                known.
            embedding: that it will see, fitted or not; None where that is not known.

        Raises:
            ValueError: it has none, or the loaded one is of another agent or embedding,
                or does not fit.
            OSError: there can be no file where it is to be saved.
        """
        if self.save is not None or self.load is not None:
            agent.policy_state()
        if self.save is not None:  # after a long search it would be late
            Path(self.save).expanduser().parent.mkdir(parents=True, exist_ok=True)
        if self.load is not None:
            path = Path(self.load).expanduser()
            header, state = _read(path)
            here = {"agent": type(agent).__name__}
            if embedding is not None:
                here = _described(agent, embedding)
                here.pop("fitted")
            _compare(header, here, path)
            if embedding is not None:
                _give(agent, state, path)

    def begin(self, agent: Agent, embedding: Embedding) -> None:
        """Gives the agent the loaded policy, where there is one.

        Raises:
            ValueError: the policy is of another agent or embedding.
        """
        if self.load is None:
            return
        path = Path(self.load).expanduser()
        header, state = _read(path)
        _compare(header, _described(agent, embedding), path)
        _give(agent, state, path)

    def keep(self, agent: Agent, embedding: Embedding, *, run: str) -> None:
        """Writes what the agent has learned, whole or not at all.

        Args:
            agent: that has searched.
            embedding: that it has seen.
            run: name of the search.
        """
        if self.save is None:
            return
        path = Path(self.save).expanduser()
        path.parent.mkdir(parents=True, exist_ok=True)
        header = {"run": run, **_described(agent, embedding)}
        write_tensors(path, FORMAT, header, agent.policy_state())

    def kept(self, run: str) -> bool:
        """Whether there is nothing to save, or a search of this name has done it."""
        if self.save is None:
            return True
        path = Path(self.save).expanduser()
        try:
            return os.path.isfile(path) and _read(path)[0].get("run") == run
        except ValueError:
            return False


def _give(agent: Agent, state: dict[str, Tensor], path: Path) -> None:
    try:
        agent.load_policy_state(state)
    except ValueError as error:
        raise ValueError(f"{path} does not fit: {error}") from error


def _compare(header: Mapping[str, str], here: Mapping[str, str], path: object) -> None:
    """Raises ValueError where what a policy depends on is something else here."""
    for what in ("agent", "embedding"):
        if what in here and header.get(what) != here[what]:
            raise ValueError(
                f"{path} is a policy of the {what} {header.get(what)}, and this search "
                f"has {here[what]}; take the same"
            )
    for key, what in (("columns", "shows other columns"), ("fitted", "is another")):
        if key in here and header.get(key) != here[key]:
            raise ValueError(
                f"{path} was trained over {here['embedding']} that {what} than "
                "that of this search; take the same knobs and the same fit, or "
                "train the encoder with the agent, which keeps it in the policy "
                "(embedding.freeze=false)"
            )


def _described(agent: Agent, embedding: Embedding) -> dict[str, str]:
    """What a policy depends on besides its weights."""
    name = type(embedding).__name__
    columns: list[str] = []
    if embedding.encoder is not None:  # reads the rows of any network
        name = f"{name} with {type(embedding.encoder).__name__}"
    else:
        columns = [column.name for column in embedding.columns]
    return {
        "agent": type(agent).__name__,
        "embedding": name,
        "columns": json.dumps(columns),
        "fitted": embedding.fitted,
    }


def _read(path: Path) -> tuple[Mapping[str, Any], dict[str, Tensor]]:
    return read_tensors(path, FORMAT, way_out="write one with policy.save")
