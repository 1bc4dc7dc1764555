"""Base networks: the second call loads what the first trained."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from agmc.training import BaseRecipe, train_base
from agmc.training.base import base_path

RECIPE = BaseRecipe(epochs=2, batch_size=20, learning_rate=0.05)


@pytest.fixture
def train(build, splits, execution, tmp_path):
    def train(**changes):
        module = build()
        arguments = {
            "splits": splits,
            "recipe": RECIPE,
            "key": "tiny",
            "execution": execution,
            "seed": 0,
            "cache": tmp_path / "cache",
            **changes,
        }
        records = train_base(
            module, arguments.pop("splits"), arguments.pop("recipe"), **arguments
        )
        return module, records

    return train


def assert_same(a, b):
    for name, value in a.state_dict().items():
        torch.testing.assert_close(value, b.state_dict()[name], rtol=0, atol=0)


def test_second_call_loads(train, tmp_path):
    first, trained = train()
    second, loaded = train()
    assert len(trained) == 2
    assert loaded == []
    assert_same(first, second)
    assert not second.training
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".safetensors"]


@pytest.mark.parametrize(
    "changes",
    [{"key": "other"}, {"seed": 1}, {"recipe": replace(RECIPE, momentum=0.8)}],
)
def test_anything_else_trains_anew(train, changes):
    train()
    _, records = train(**changes)
    assert len(records) == 2


def test_other_data_trains_anew(train, splits):
    train()
    assert len(train(splits=replace(splits, train=splits.test))[1]) == 2
    assert len(train(splits=replace(splits, crop_padding=1))[1]) == 2


@pytest.mark.parametrize("damage", ["truncated", "foreign", "empty", "nan"])
def test_damaged_entry_trains_anew(train, damage, tmp_path, splits, execution, caplog):
    first, _ = train()
    path = base_path(
        tmp_path / "cache", splits, RECIPE, key="tiny", execution=execution, seed=0
    )
    whole = path.read_bytes()
    path.write_bytes(
        {
            "truncated": whole[:-10],
            "foreign": b"something else",
            "empty": b"",
            "nan": whole[:-400] + b"\xff" * 400,
        }[damage]
    )
    second, records = train()
    assert len(records) == 2
    assert "training anew" in caplog.text
    assert_same(first, second)
    assert path.read_bytes() == whole


def test_without_cache(train, tmp_path):
    assert len(train(cache=None)[1]) == 2
    assert len(train(cache=None)[1]) == 2
    assert not (tmp_path / "cache").exists()


def test_unwritable_cache_is_passed_over(train, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    module, records = train(cache=tmp_path / "file" / "cache")
    assert len(records) == 2
    assert "not kept" in caplog.text
