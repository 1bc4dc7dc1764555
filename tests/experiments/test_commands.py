"""Experiments that are commands, and parts of experiments."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2]
if not (HERE / "experiments" / "commands.py").exists():
    pytest.skip("experiments/ is not here", allow_module_level=True)

from experiments import commands  # noqa: E402
from experiments.commands import agmc  # noqa: E402
from experiments.parts import is_partial  # noqa: E402


@pytest.fixture
def finished(tmp_path):
    """A run that is there already, from when the folder was elsewhere."""
    (tmp_path / ".hydra").mkdir()
    words = [
        "command=train",
        "model=resnet20",
        "seed=1",
        "out=/elsewhere",
        "cache=null",
    ]
    text = "".join(f"- {word}\n" for word in words)
    (tmp_path / ".hydra" / "overrides.yaml").write_text(text)
    (tmp_path / "result.json").write_text(json.dumps({"seed": 1}))
    return tmp_path


def test_a_run_that_is_there_is_read(finished):
    assert agmc(finished, "train", "seed=1", "model=resnet20") == {"seed": 1}


@pytest.mark.parametrize(
    ("command", "words", "said"),
    [
        ("train", ["model=resnet20", "seed=2"], "made with seed=1 instead of seed=2"),
        ("train", ["model=resnet20"], "made with seed=1 instead of less"),
        ("evaluate", ["model=resnet20", "seed=1"], "command=train instead of command="),
    ],
)
def test_a_run_with_other_settings_is_refused(finished, command, words, said):
    with pytest.raises(ValueError, match=said):
        agmc(finished, command, *words)


def test_what_is_not_finished_is_left_out(finished, tmp_path):
    outs = {"a": finished, "b": tmp_path / "begun"}
    assert commands.finished(outs) == {"a": {"seed": 1}}


def test_a_part_lacks_something_of_the_whole(capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", nargs="*", type=int, default=range(3))
    parser.add_argument("--networks", nargs="*", default=("a", "b"))

    def asked(*words):
        names = "seeds", "networks"
        return is_partial(parser, parser.parse_args(words), *names)

    assert not asked() and not asked("--seeds", "2", "1", "0", "3")
    assert not capsys.readouterr().out
    assert asked("--networks", "b")
    assert "--networks: a part" in capsys.readouterr().out
