"""What counts as finished, for sweeps that are started again."""

from __future__ import annotations

import dataclasses
import json

import pytest

from agmc.job import Job

RECORD = {"settings": {"agent": "ddpg"}, "seed": 0, "command": "agmc seed=0"}


def job(directory):
    given = {field.name: None for field in dataclasses.fields(Job)}
    return Job(**{**given, "directory": directory, "record": RECORD})


@pytest.mark.parametrize(
    ("more", "finished"),
    [
        ({}, True),
        ({"budget": None}, True),
        ({"budget": {"holds": True}}, True),
        ({"budget": {"holds": False}}, False),
        ({"seed": 1}, False),
        ({"command": "agmc seed=0 agent=random"}, False),
    ],
)
def test_the_result_of_the_same_command_that_keeps_its_budget(tmp_path, more, finished):
    (tmp_path / "result.json").write_text(json.dumps({**RECORD, **more}))
    assert job(tmp_path).finished is finished


@pytest.mark.parametrize("text", [None, "", "[1]", "{"])
def test_no_result_is_not_finished(tmp_path, text):
    if text is not None:
        (tmp_path / "result.json").write_text(text)
    assert job(tmp_path).finished is False


@pytest.mark.parametrize(
    ("overridden", "chosen"),
    [
        ([], False),
        (["seed", "train.epochs", "hydra.embedding", "embeddings"], False),
        (["embedding"], True),
        (["seed", "embedding.steps"], True),
    ],
)
def test_whether_the_command_line_chooses_within_a_group(tmp_path, overridden, chosen):
    given = dataclasses.replace(job(tmp_path), overridden=overridden)
    assert given.overrides("embedding") is chosen
