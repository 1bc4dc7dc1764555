"""One training on one, two and three processes: the same course."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import threading
import traceback
from pathlib import Path

import pytest
import torch
from torch import nn

from agmc.compression.gradual import GradualMasks, GradualPruning
from agmc.compression.prune import compress
from agmc.compression.sparsify import layer_weights
from agmc.plan import Plan
from agmc.training import Distillation, Team, distil, fit, team

# Python 3.12 warns of threads, of which the child starts one anew.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
ROOT = Path(__file__).resolve().parents[2]
RECIPE = Distillation(epochs=3, learning_rate=0.1, batch_size=14)


def net(seed=0):
    """With batch norm over images and over features, and no dropout."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 6),
        nn.BatchNorm1d(6, momentum=None, affine=False),
        nn.Linear(6, 2),
    )


def course(splits, execution):
    """The losses of a short distillation, its accuracies, and where it ends."""
    student, teacher = net(), net(seed=1)
    with team() as own:
        if own.rank:  # the weights are those of the first process
            student = net(seed=7)
        records = distil(
            student, teacher, splits, RECIPE, execution=execution, seed=3, team=own
        )
    assert all(type(part).forward == part.forward.__func__ for part in student)
    curve = [(record.loss, record.accuracy) for record in records]
    return curve, {name: value.clone() for name, value in student.state_dict().items()}


def together(size, work, folder):
    """What `work` returns in each of `size` forked processes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    children = []
    for rank in range(size):
        child = os.fork()
        if child == 0:
            os.environ |= {
                **{"RANK": str(rank), "WORLD_SIZE": str(size)},
                **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
            }
            # In a thread of its own: see agmc.search.processes.
            thread = threading.Thread(target=live, args=(work, folder / str(rank)))
            thread.start()
            thread.join()
            os._exit(1)
        children.append(child)
    ends = [os.waitpid(child, 0)[1] for child in children]
    assert ends == [0] * size
    return [pickle.loads((folder / str(rank)).read_bytes()) for rank in range(size)]


def live(work, path):
    try:
        path.write_bytes(pickle.dumps(work()))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


@pytest.mark.parametrize("size", [2, 3])
def test_the_course_of_a_training_is_that_of_one_process(
    splits, execution, tmp_path, size
):
    curve, state = course(splits, execution)
    assert curve[-1][0] < curve[0][0]
    for found, weights in together(size, lambda: course(splits, execution), tmp_path):
        for (loss, accuracy), (expected, hits) in zip(found, curve, strict=True):
            assert loss == pytest.approx(expected, rel=1e-4)
            assert accuracy == hits
        for name, value in weights.items():
            assert torch.allclose(value, state[name], rtol=1e-3, atol=1e-4), name


def sparse_course(splits, execution):
    """A plain training in which the smaller weights of a layer go, and its end."""
    module = net()
    small = compress(module, Plan({}), splits.example_input(3))
    masks = GradualMasks(small, {"0": 0.5, "4": 0.7}, GradualPruning(frequency=2))
    with team() as own:
        options = {"execution": execution, "seed": 3, "team": own}
        fit(small, splits, RECIPE, after_step=masks, **options)
    return {name: weight.detach() for name, weight in layer_weights(small).items()}


def test_all_processes_take_the_same_weights_away(splits, execution, tmp_path):
    alone = sparse_course(splits, execution)
    first, second = together(2, lambda: sparse_course(splits, execution), tmp_path)
    for name, count in (("0", 18), ("4", round(0.7 * 384)), ("6", 0)):
        assert (first[name] == 0).sum() == count
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], alone[name], rtol=1e-3, atol=1e-3)


def test_a_process_by_itself_shares_with_nobody(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with team() as alone:
        assert alone == Team(0, 1)
    batch, module = torch.arange(5), net()
    assert torch.equal(alone.part(batch), batch)
    assert alone.total(torch.tensor(3.0)) == 3
    with alone.joined(module) as same:
        assert same is module


def test_parts_are_the_whole_and_none_is_empty():
    batch = torch.arange(7)
    parts = [Team(rank, 3).part(batch) for rank in range(3)]
    assert torch.equal(torch.cat(parts), batch)
    with pytest.raises(ValueError, match="a batch of 7 images does not go round 8"):
        Team(0, 8).part(batch)


def test_a_failing_training_gives_the_layers_back(splits, execution, tmp_path):
    def work():
        module = net()
        with team() as own, pytest.raises(ValueError, match="does not go round"):
            recipe = Distillation(batch_size=1)
            fit(module, splits, recipe, execution=execution, seed=0, team=own)
        return [type(part).forward == part.forward.__func__ for part in module]

    for found in together(2, work, tmp_path):
        assert all(found)


@pytest.mark.slow
def test_torchrun_starts_such_a_team(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from agmc.training import team\n"
        "with team() as own:\n"
        "    open(f'{own.rank} of {own.size}', 'w').close()\n"
    )
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", script],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        timeout=300,
        check=True,
    )
    assert (tmp_path / "0 of 2").exists() and (tmp_path / "1 of 2").exists()
