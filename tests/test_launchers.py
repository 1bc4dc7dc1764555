"""Sweeps through launchers of Hydra, each an extra, and torchrun, as users do it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.filterwarnings("ignore")
ROOT = Path(__file__).resolve().parents[1]
SWEEP = ("-m", "command=graph", "seed=0,1")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "plug_in"),
    [
        ("local_joblib", "hydra_joblib_launcher"),
        ("local_submitit", "hydra_submitit_launcher"),
        ("local_ray", "hydra_ray_launcher"),
    ],
)
def test_a_sweep_on_this_machine(process, tmp_path, launcher, plug_in):
    pytest.importorskip(f"hydra_plugins.{plug_in}")
    out = tmp_path / "sweep"
    got = process(*SWEEP, f"hydra/launcher={launcher}", f"out={out}", cwd=tmp_path)
    assert got.code == 0, got.err
    assert all((out / job / "graph.html").exists() for job in "01")


@pytest.mark.slow
def test_a_sweep_on_a_cluster_that_is_there(process, tmp_path, monkeypatch):
    pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # or it would be left behind
    out = tmp_path / "sweep"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        got = process(
            *SWEEP,
            "hydra/launcher=ray_cluster",
            f"hydra.launcher.ray.init.address={cluster.address}",
            f"out={out}",
            cwd=tmp_path,
        )
    finally:
        cluster.shutdown()
    assert got.code == 0, got.err
    assert all((out / job / "graph.html").exists() for job in "01")


@pytest.mark.slow
def test_a_sweep_as_slurm_jobs_is_handed_in(process, tmp_path, monkeypatch):
    """There is no SLURM here: the script that `sbatch` would get is looked at."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "srun").write_text("#!/bin/sh\n")
    (commands / "sbatch").write_text(f"#!/bin/sh\ncp $1 {tmp_path}/script; exit 1\n")
    for command in commands.iterdir():
        command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    got = process(
        *SWEEP,
        "hydra/launcher=slurm",
        "hydra.launcher.partition=cpu",
        f"out={tmp_path / 'sweep'}",
        cwd=tmp_path,
    )
    assert got.code != 0  # of the sbatch above
    script = (tmp_path / "script").read_text()
    for line in ("--partition=cpu", "--array=0-1%2", "--time=1440", "--mem=8GB"):
        assert f"#SBATCH {line}\n" in script


@pytest.mark.slow
def test_torchrun_shares_the_trainings_of_a_run(tiny, tmp_path):
    subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"),
            *("-m", "agmc", "compress", *tiny, "train.epochs=2", "out=run"),
        ],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}", "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        timeout=300,
        check=True,
    )
    assert {path.name for path in tmp_path.iterdir()} == {"net_of_a_user.py", "run"}
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["compressed"]["macs"] <= result["baseline"]["macs"] / 2
    log = (tmp_path / "run" / "run.log").read_text()
    assert log.count("train: epoch 2/2") == log.count("fine-tune: epoch 1/1") == 1


@pytest.mark.parametrize("words", [("evaluate",), ("-m", "train", "seed=0,1")])
def test_torchrun_is_for_one_training(call, monkeypatch, words):
    monkeypatch.setenv("WORLD_SIZE", "2")
    got = call(*words)
    assert got.code == 2 and got.err.startswith("agmc: error: torchrun shares the")
