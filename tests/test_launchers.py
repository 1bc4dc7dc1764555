"""Sweeps through Hydra's launchers, each an extra, as users start them."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
SWEEP = ("-m", "command=graph", "seed=0,1")


@pytest.mark.parametrize(
    ("launcher", "plug_in"),
    [
        ("local_joblib", "hydra_joblib_launcher"),
        ("local_submitit", "hydra_submitit_launcher"),
    ],
)
def test_a_sweep_on_this_machine(process, tmp_path, launcher, plug_in):
    pytest.importorskip(f"hydra_plugins.{plug_in}")
    out = tmp_path / "sweep"
    got = process(*SWEEP, f"hydra/launcher={launcher}", f"out={out}", cwd=tmp_path)
    assert got.code == 0, got.err
    assert all((out / job / "graph.html").exists() for job in "01")
