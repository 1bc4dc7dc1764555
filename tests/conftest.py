"""agmc as users start it, and one small run that is finished."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from agmc.__main__ import main

ROOT = Path(__file__).resolve().parents[1]
#: The digits and ResNet-20, with as little of everything as there can be.
SMALL = (
    "train.epochs=1",
    "search.episodes=3",
    "compression=channels",
    "finetune.epochs=1",
    "search.evaluator.search_images=60",
    "search.corpus.names=[squeezenet1_1]",
)
#: A network of a user; and the smallest job on it, see the fixture `tiny`.
NET = """
from torch import nn

def net(num_classes, in_channels=3):
    return nn.Sequential(
        nn.Conv2d(in_channels, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8),
        nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes),
    )
"""
TINY = (
    "model=torchvision",
    "model.name=net_of_a_user:net",
    "cache=null",
    "embedding=rules",
    "agent=random",
    "train.epochs=1",
    "finetune.epochs=1",
    "search.episodes=2",
    "compression=channels",
    "compression.round_to=1",
)


@dataclass(frozen=True)
class Outcome:
    """How a call of agmc ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Finished:
    """A finished run: where it is, what was asked for, and how it ended."""

    directory: Path
    cache: Path
    overrides: tuple[str, ...]
    outcome: Outcome


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """`python -m agmc` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "agmc", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="session")
def process() -> Callable[..., Outcome]:
    """Runs agmc in a process of its own."""

    def run(*arguments: str, cwd: Path) -> Outcome:
        started = start(*arguments, cwd=cwd)
        out, err = started.communicate(timeout=300)
        return Outcome(started.returncode, out, err)

    return run


@pytest.fixture(scope="session")
def starter() -> Callable[..., subprocess.Popen[str]]:
    """Starts agmc and does not wait for its end."""
    return start


@pytest.fixture(scope="session")
def finished(
    tmp_path_factory: pytest.TempPathFactory, process: Callable[..., Outcome]
) -> Finished:
    """A small run of `compress`, started as users do; nothing may be written there."""
    folder = tmp_path_factory.mktemp("finished")
    directory, cache = folder / "run", folder / "cache"
    overrides = (*SMALL, f"cache={cache}")
    outcome = process(*overrides, f"out={directory}", cwd=folder)
    return Finished(directory, cache, overrides, outcome)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, ...]]:
    """Overrides for a job of a second."""
    (tmp_path / "net_of_a_user.py").write_text(NET)
    monkeypatch.syspath_prepend(tmp_path)
    yield TINY
    sys.modules.pop("net_of_a_user", None)


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Iterator[Callable[..., Outcome]]:
    """Calls `main` in this process and in a folder of its own."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # main sets it: taken back at the end

    def run(*arguments: str) -> Outcome:
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["agmc", *arguments])
        capfd.readouterr()
        code = 0
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("default")  # as in a process of its own
                main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Outcome(code, *capfd.readouterr())

    yield run
    GlobalHydra.instance().clear()
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
