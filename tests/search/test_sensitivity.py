"""One group at a time: by hand, resumed, and files that hold something else."""

from __future__ import annotations

import json

import numpy as np
import pytest
from search_nets import tiny_net, tiny_splits

from agmc.compression.prune import Pruner
from agmc.cost.model import Cost, CostModel
from agmc.graph.trace import trace
from agmc.plan import Plan, kept_channels
from agmc.search.evaluator import Evaluation, Evaluator
from agmc.search.sensitivity import Sensitivity, measure_sensitivity
from agmc.training import Execution

SPLITS = tiny_splits()
NET = tiny_net()
GRAPH = trace(NET, SPLITS.example_input())
NAMES = tuple(group.name for group in GRAPH.groups)


class Fake:
    """Accuracy falls with the channels that go, at a rate of the group."""

    def __init__(self, dies_after=10**9, baseline=0.9):
        self.plans, self.left, self.baseline = [], dies_after, baseline

    def __call__(self, plan):
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        self.plans.append(plan)
        lost = 0.0
        for name, ratio in plan.keep_ratio.items():
            lost += (1 - ratio) * 0.1 * (1 + NAMES.index(name))
        return Evaluation(plan, self.baseline - lost, Cost(0, 0, 0))


def test_every_group_alone_at_every_ratio():
    fake, told = Fake(), []
    found = measure_sensitivity(
        GRAPH, fake, (0.5, 0.25), on_group=lambda *news: told.append(news)
    )
    assert found.ratios == (0.5, 0.25) and found.groups == NAMES
    assert found.baseline == 0.9
    rates = 0.1 * np.arange(1, len(NAMES) + 1)
    assert found.drops == pytest.approx(rates[:, None] * [[0.5, 0.75]])
    assert fake.plans[0] == Plan({})
    assert fake.plans[1:] == [Plan({n: r}) for n in NAMES for r in (0.5, 0.25)]
    assert told == [(name, i + 1, len(NAMES)) for i, name in enumerate(NAMES)]


def test_by_an_evaluator():
    evaluator = Evaluator(
        Pruner(NET, GRAPH),
        CostModel(GRAPH),
        SPLITS,
        Execution(device="cpu", precision="float32"),
        reconstruction_images=0,
        recalibration_images=0,
    )
    found = measure_sensitivity(GRAPH, evaluator, [0.5])
    assert found.baseline == evaluator(Plan({})).accuracy
    for row, name in zip(found.accuracy, NAMES, strict=True):
        assert row[0] == evaluator(Plan({name: 0.5})).accuracy
    assert kept_channels(GRAPH, Plan({NAMES[0]: 0.5}))[0] < GRAPH.groups[0].size


def test_file_and_back(tmp_path):
    found = measure_sensitivity(GRAPH, Fake(), path=tmp_path / "a.json")
    found.save(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_text() == (tmp_path / "b.json").read_text()
    again = Sensitivity.load(tmp_path / "a.json")
    assert (again.ratios, again.baseline, again.groups) == (
        (0.75, 0.5, 0.25),
        0.9,
        NAMES,
    )
    assert np.array_equal(again.accuracy, found.accuracy)


def test_an_interrupted_measurement_goes_on(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(KeyboardInterrupt):
        measure_sensitivity(GRAPH, Fake(dies_after=3), (0.5, 0.25), path=path)
    with pytest.raises(ValueError, match=f"1 of {len(NAMES)} groups"):
        Sensitivity.load(path)
    fake = Fake()
    found = measure_sensitivity(GRAPH, fake, (0.5, 0.25), path=path)
    assert len(fake.plans) == 1 + 2 * (len(NAMES) - 1)
    whole = measure_sensitivity(GRAPH, Fake(), (0.5, 0.25))
    assert np.array_equal(found.accuracy, whole.accuracy)


@pytest.mark.parametrize(
    ("fake", "ratios", "word"),
    [(Fake(), (0.5,), "ratios"), (Fake(baseline=0.8), (0.5, 0.25), "baseline")],
)
def test_another_measurement_is_not_gone_on_with(fake, ratios, word, tmp_path):
    path = tmp_path / "a.json"
    measure_sensitivity(GRAPH, Fake(), (0.5, 0.25), path=path)
    before = path.read_text()
    with pytest.raises(ValueError, match=f"its {word} are") as caught:
        measure_sensitivity(GRAPH, fake, ratios, path=path)
    assert "\n" not in str(caught.value) and path.read_text() == before


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"ratios": "0.5"},
        {"groups": [1]},
        {"baseline": 2},
        {"baseline": True},
        {"accuracy": [["x", 0.1]]},
        {"accuracy": [[0.1]]},
        {"accuracy": [[0.1, float("nan")]]},
        {"accuracy": [[0.1, 0.1]] * 99},
    ],
    ids=str,
)
def test_damaged_files(change, tmp_path):
    path = tmp_path / "a.json"
    measure_sensitivity(GRAPH, Fake(), (0.5, 0.25), path=path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    for call in (
        lambda: Sensitivity.load(path),
        lambda: measure_sensitivity(GRAPH, Fake(), (0.5, 0.25), path=path),
    ):
        with pytest.raises(ValueError, match="is no measured sensitivity"):
            call()


def test_a_file_that_is_no_json(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("{")
    with pytest.raises(ValueError, match="is no measured sensitivity"):
        Sensitivity.load(path)


@pytest.mark.parametrize("ratios", [(), (0.5, 1.0), (0.0,)])
def test_bad_ratios(ratios):
    with pytest.raises(ValueError, match="ratios"):
        measure_sensitivity(GRAPH, Fake(), ratios)


def test_numbers_that_do_not_fit():
    with pytest.raises(ValueError, match="a row a group"):
        Sensitivity((0.5,), 0.9, np.zeros((2, 2)), ("a", "b"))
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        Sensitivity((0.5,), 0.9, np.array([[1.5]]), ("a",))
