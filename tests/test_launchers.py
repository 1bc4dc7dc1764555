"""Sweeps through Hydra's launchers, each an extra, as users start them."""

from __future__ import annotations

import os

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
SWEEP = ("-m", "command=graph", "seed=0,1")


@pytest.mark.parametrize(
    ("launcher", "plug_in"),
    [
        ("local_joblib", "hydra_joblib_launcher"),
        ("local_ray", "hydra_ray_launcher"),
        ("local_submitit", "hydra_submitit_launcher"),
    ],
)
def test_a_sweep_on_this_machine(process, tmp_path, launcher, plug_in):
    pytest.importorskip(f"hydra_plugins.{plug_in}")
    out = tmp_path / "sweep"
    got = process(*SWEEP, f"hydra/launcher={launcher}", f"out={out}", cwd=tmp_path)
    assert got.code == 0, got.err
    assert all((out / job / "graph.html").exists() for job in "01")


def test_a_sweep_on_a_cluster_that_exists(process, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        out = tmp_path / "sweep"
        got = process(
            *SWEEP,
            "hydra/launcher=ray_cluster",
            f"hydra.launcher.ray.init.address={cluster.address}",
            f"out={out}",
            cwd=tmp_path,
        )
        assert got.code == 0, got.err
        assert all((out / job / "graph.html").exists() for job in "01")
    finally:
        cluster.shutdown()


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
        assert f"#SBATCH {line}" in script
